"""Results in one sentence each, with the figures behind it, as the arguments of ``Run.add_finding``."""

from collections.abc import Hashable
from typing import Any

import pandas as pd

from realusersim_nb.pt3.scores import SAME
from realusersim_nb.simulators.conditions import describe_arm
from realusersim_nb.stats import compare_paired, describe_change, describe_power, estimate_rate

Row = dict[Hashable, Any]
POINTS = {"unit": "points", "counted": "people"}


def describe_gain(gain: Row, model: str) -> dict[str, Any]:
    """A row of ``likelihood.compare_fit``: how much better an arm predicts real messages than another."""
    size, is_better = abs(gain["difference"]), gain["difference"] < 0
    model = "the local model" if model == "embedded" else f"the model {model}"
    sentence = (
        f"Given {describe_arm(gain['arm'])}, {model} predicts real messages "
        f"{'better' if is_better else 'worse'} than given {describe_arm(gain['baseline'])}: "
        f"{size:.2f} bits per token {'less' if is_better else 'more'} (a token is {2**size:.2f} times as "
        f"{'likely' if is_better else 'unlikely'}), less for {gain['better']:.0%} of people"
    )
    words = {
        "limit": "how the model writes",
        "figure": "predictive_gains",
        "unit": "bits per token",
        "counted": "people",
    }
    return {"sentence": sentence, **words, **list_figures(gain, "p_holm")}


def describe_pair(pair: Row) -> dict[str, Any]:
    """A row of ``scores.compare_fidelity``: an arm's fidelity index less another's."""
    change = describe_change(pair["difference"])
    if pair["arm"] == SAME:
        limit = "anything of simulated users: it is the judge's validity"
        sentence = (
            f"The judge '{pair['judge']}' gives other messages of the real person a fidelity that is "
            f"{change} than that of a real stranger"
        )
    else:
        limit = describe_power(pair["min_detectable"])
        sentence = (
            f"Fidelity of users given {describe_arm(pair['arm'])} is {change} than of users given "
            f"{describe_arm(pair['baseline'])} (judge '{pair['judge']}')"
        )
    figures = list_figures(pair, "p" if pair["arm"] == SAME else "p_holm")
    return {"sentence": sentence, "limit": limit, "figure": "pairs", **POINTS, **figures}


def describe_ceiling(row: Row) -> dict[str, Any]:
    """A row of ``formalism.compare_formalism``: beside the real users of the same cases."""
    sentence = (
        f"'{row['feature'].capitalize()}' is true of {row['share']:.0%} of the messages of users given "
        f"{describe_arm(row['arm'])}, and of {row['real']:.0%} of the same people's real messages"
    )
    words = {"limit": "other features, or other models", "figure": "formalism"}
    return {"sentence": sentence, **words, **POINTS, **list_figures(row, "p")}


def describe_attribution(table: pd.DataFrame, n_candidates: int, *, seed: int) -> dict[str, Any]:
    """The rows of ``likelihood.attribute_messages``: the rate of ``first`` in them."""
    scored = table.dropna(subset="first")
    rate = estimate_rate(scored["first"], scored["user_id"], seed=seed)
    sentence = (
        f"Among the earlier messages of {n_candidates} people, the writer's make a real message likeliest in "
        f"{rate['rate']:.0%} of cases (chance {1 / n_candidates:.0%}, mean place {table['place'].mean():.2f})"
    )
    words = {"limit": "how a simulated message would be attributed", "unit": "%", "counted": "messages"}
    figures = {"value": rate["rate"], "ci_low": rate["ci_low"], "ci_high": rate["ci_high"], "n": rate["n"]}
    return {"sentence": sentence, **words, **figures}


def describe_givings(table: pd.DataFrame, arm: str, *, seed: int) -> dict[str, Any]:
    """Rows of ``authorship.attribute_transcripts``: an arm's messages beside task_only's and real ones."""
    pair = compare_paired(table, "first", arm=arm, baseline="task_only", pair_by="user_id", seed=seed)
    rates = table.groupby("arm")["first"].mean().reindex([arm, "task_only", "real"])
    n = table["user_id"].nunique()
    sentence = (
        f"Among {n} people, masked n-grams attribute {rates[arm]:.0%} of users given {describe_arm(arm)} to "
        f"their person, {rates['task_only']:.0%} of users given {describe_arm('task_only')}, and "
        f"{rates['real']:.0%} of real users"
    )
    return {"sentence": sentence, "limit": "other models", **POINTS, **list_figures(pair, "p")}


def list_figures(row: Row, p: str) -> dict[str, float]:
    """The difference of a paired comparison, its interval, pairs and p."""
    ends = {name: row[name] for name in ("ci_low", "ci_high")}
    return {"value": row["difference"], **ends, "n": row["n_pairs"], "p": row[p]}
