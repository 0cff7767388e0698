"""Predictive fit: how well does what an arm is given predict what the person really wrote?

No message is generated and none is judged: the model gives the log-probability of a real message of a
conversation that it does not see, after one neutral sentence on what the message asks for. That sentence is
the same in all arms, so the subject is held equal and only the manner is measured. The unit is bits per
token, lower is better; it needs a model whose endpoint scores texts (``Models.score``).

Ours, not the paper's.
"""

import numpy as np
import pandas as pd

from realusersim_nb import stats
from realusersim_nb.llm.models import Models
from realusersim_nb.prompts.fill import fill_prompt
from realusersim_nb.records import Case, Demonstration, Persona, Profile
from realusersim_nb.simulators import conditions
from realusersim_nb.style import typed_text
from realusersim_nb.text import cut_at_word

MOST_CHARS = 400  # of a message that is scored (ours)
FIT_ARMS = ["task_only", "profile", "shuffled_profile", "demonstrations", "shuffled_demonstrations"]
COMPARED = [
    ("demonstrations", "task_only"),
    ("demonstrations", "shuffled_demonstrations"),
    ("profile", "task_only"),
    ("profile", "shuffled_profile"),
    ("profile_demonstrations", "demonstrations"),
]
"""The comparisons planned beforehand: an arm and its baseline."""


def choose_scorer(scorer: str | None, simulator: str) -> str | None:
    """The model that scores: the one named, else the simulator's if it is embedded: few others can."""
    return scorer or (simulator if simulator == "embedded" else None)


def render_pair(shown: Demonstration) -> str:
    """A demonstration as it stands in the prompt."""
    return f"Wanted: {shown.wanted}\nTyped: {shown.typed}"


def make_context(persona: Persona, wanted: str) -> str:
    """The text that a message is scored after."""
    pairs = [render_pair(shown) for shown in persona.demonstrations]
    shown = "\n\n".join([*pairs, render_pair(Demonstration(wanted=wanted, typed=""))])
    return fill_prompt("predict_message", persona=persona.render_instructions(), shown=shown).strip()


async def measure_bits(models: Models, model: str, case: Case, persona: Persona) -> tuple[float, int]:
    """Bits per token of a case's first real message, with the line break that ends it; and its tokens."""
    message = cut_at_word(typed_text(case.original.user_messages[0]), MOST_CHARS)
    scores = await models.score(model, make_context(persona, case.goal.splitlines()[0]), f" {message}\n")
    return -float(np.sum(scores)) / np.log(2) / len(scores), len(scores)


async def measure_fit(
    models: Models, model: str, cases: list[Case], arms: list[str], profiles: dict[str, Profile], *, seed: int
) -> pd.DataFrame:
    """One row a case and arm: ``case_id, user_id, arm``, ``bits`` (per token; NaN for a failed call),
    ``n_tokens`` and ``error``.
    """
    keys, tasks = [], []
    for arm in arms:
        for case, persona in zip(
            cases, conditions.write_personas(arm, cases, profiles, seed=seed), strict=True
        ):
            keys.append((case.case_id, case.user_id, arm))
            tasks.append(measure_bits(models, model, case, persona))
    outcomes = await models.run_all(tasks, "predictive fit")
    values = [(*(o.result or (np.nan, 0)), str(o.failure or "")) for o in outcomes]
    rows = [(*key, *value) for key, value in zip(keys, values, strict=True)]
    return pd.DataFrame(rows, columns="case_id user_id arm bits n_tokens error".split())


def summarise_fit(fit: pd.DataFrame, *, seed: int) -> pd.DataFrame:
    """Mean ``bits`` of each arm with its 95% interval by user, ``n`` and ``n_failed``; index arm."""
    rows = {}
    for arm, table in fit.groupby("arm", sort=False):
        scored = table.dropna(subset="bits")
        rate = stats.estimate_rate(scored["bits"], scored["user_id"], is_share=False, seed=seed)
        rows[arm] = {"bits": rate.pop("rate"), **rate, "n_failed": len(table) - len(scored)}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("arm")


def compare_fit(fit: pd.DataFrame, *, seed: int) -> pd.DataFrame:
    """The planned comparisons of the arms that are there, users as pairs: ``stats.PAIRED_COLUMNS`` in bits
    per token, ``better`` (0..1: share of users whom the arm predicts better) and ``p_holm``.
    """
    arms, rows = set(fit["arm"]), []
    wide = fit.pivot_table("bits", "user_id", "arm")
    for arm, baseline in [pair for pair in COMPARED if set(pair) <= arms]:
        row = stats.compare_paired(fit, "bits", arm=arm, baseline=baseline, pair_by="user_id", seed=seed)
        both = wide.reindex(columns=[arm, baseline]).dropna()
        rows.append(row | {"better": (both[arm] < both[baseline]).mean()})
    table = pd.DataFrame(rows, columns=[*stats.PAIRED_COLUMNS, "better"])
    return table.assign(p_holm=stats.correct_holm(table["p"]))


async def attribute_messages(
    models: Models,
    model: str,
    cases: list[Case],
    profiles: dict[str, Profile],
    *,
    n_candidates: int,
    seed: int,
) -> pd.DataFrame:
    """Among the demonstrations of ``n_candidates`` people, whose make a real message likeliest?

    One row a case: ``case_id, user_id``, ``first`` (1 if the writer's do; chance is 1 in ``n_candidates``)
    and ``place`` (0..1: share of the others whose predict it less well). The others follow in a random cycle.
    """
    order = np.random.default_rng(seed).permutation(len(cases))
    cycle = [cases[i] for i in [*order, *order][: len(cases) + n_candidates - 1]]
    groups = [cycle[start : start + n_candidates] for start in range(len(cases))]
    tasks = []
    for writer, *others in groups:
        for candidate in (writer, *others):
            persona = conditions.find_arm("demonstrations")(
                profiles[candidate.user_id], profiles[writer.user_id]
            )
            tasks.append(measure_bits(models, model, writer, persona))
    outcomes = await models.run_all(tasks, "attribution")
    bits = np.array([o.result[0] if o.result else np.nan for o in outcomes]).reshape(len(groups), -1)
    less_likely = np.where(np.isnan(bits).any(1), np.nan, (bits[:, 1:] > bits[:, :1]).mean(1))
    people = [(group[0].case_id, group[0].user_id) for group in groups]
    table = pd.DataFrame(people, columns=["case_id", "user_id"])
    return table.assign(place=less_likely, first=np.where(np.isnan(less_likely), np.nan, less_likely == 1))
