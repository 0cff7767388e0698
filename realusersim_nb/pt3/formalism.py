"""The Formalism Ceiling without a judge: how simulated users write beside real ones, feature by feature.

The six features are those in which a user played by a model is too well-behaved; each is the share of
messages that show it, but for the median length. The table needs no model, so it can be made of any
transcripts (tau-bench and tau2 results too).
"""

import re

import pandas as pd

from realusersim_nb import stats, style
from realusersim_nb.records import Conversation

GREETS = re.compile(rf"\W*({style.GREETING})\b", re.IGNORECASE)
SHARES = {"starts_lower": "starts in lower case", "ends_stop": "ends in a stop"}
SHARES |= {"please": "please", "thanks": "thanks", "greets": "opens with a greeting"}


def measure_formalism(
    systems: dict[str, list[Conversation]], *, first: int | None = None, seed: int = 0
) -> pd.DataFrame:
    """One row a system and feature: ``share`` (0..1; 95% interval by user), ``n`` messages, ``n_users``.

    The feature ``median words`` is a count, without an interval. ``first`` measures only so many user
    messages of each conversation.
    """
    rows = []
    for name, conversations in systems.items():
        messages = style.measure_conversations(conversations, first=first)
        texts = (text for c in conversations for text in c.user_messages[:first])
        messages["greets"] = [float(GREETS.match(text) is not None) for text in texts]
        about = {"system": name, "n": len(messages), "n_users": messages["user_id"].nunique()}
        rows.append({**about, "feature": "median words", "share": messages["words"].median()})
        for feature, title in SHARES.items():
            shown = messages.dropna(subset=feature)
            rate = stats.estimate_rate(shown[feature], shown["user_id"], seed=seed)
            rows.append({**about, "feature": title, "share": rate.pop("rate"), **rate})
    return pd.DataFrame(rows)


def compare_formalism(
    arm: list[Conversation], real: list[Conversation], *, first: int | None = None, seed: int = 0
) -> list[dict]:
    """Simulated users less the real ones of the same cases, by user: a row a share of ``SHARES``.

    ``feature, share`` (of the arm), ``real`` and ``stats.PAIRED_COLUMNS``, all of the people who are on both
    sides; no row without any.
    """
    people = {c.user_id for c in arm} & {c.user_id for c in real}
    if not people:
        return []
    sides = {"real": real, arm[0].arm: arm}
    sides = {name: [c for c in talks if c.user_id in people] for name, talks in sides.items()}
    measured = {name: style.measure_conversations(talks, first=first) for name, talks in sides.items()}
    for name, talks in sides.items():
        texts = (text for c in talks for text in c.user_messages[:first])
        measured[name]["greets"] = [float(GREETS.match(text) is not None) for text in texts]
    table, [_, name] = pd.concat(measured, names=["arm", None]).reset_index("arm"), sides
    rows = []
    for feature, title in SHARES.items():
        means = table.groupby("arm")[feature].mean()
        row = stats.compare_paired(table, feature, arm=name, baseline="real", pair_by="user_id", seed=seed)
        rows.append({"feature": title, "share": means[name], "real": means["real"], **row})
    return rows


def pivot_formalism(table: pd.DataFrame) -> pd.DataFrame:
    """The same, one row a system and one column a feature, as the papers print it."""
    wide = table.pivot(index="system", columns="feature", values="share")
    wide.insert(0, "users", table.groupby("system")["n_users"].first())
    wide = wide.loc[table["system"].unique(), ["users", "median words", *SHARES.values()]]
    return wide.rename_axis(columns=None)
