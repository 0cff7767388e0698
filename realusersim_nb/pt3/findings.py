"""Results in one sentence each, with the figures behind it, as the arguments of ``Run.add_finding``."""

from collections.abc import Hashable
from typing import Any

import pandas as pd

from realusersim_nb.pt3.scores import OTHER, SAME
from realusersim_nb.stats import compare_paired, estimate_rate

Row = dict[Hashable, Any]


def describe_gain(gain: Row, model: str) -> dict[str, Any]:
    """A row of ``likelihood.compare_fit``: how much better an arm predicts real messages than another."""
    size, word = abs(gain["difference"]), "fewer" if gain["difference"] < 0 else "more"
    sentence = (
        f"{model} needs {size:.2f} bits per token {word} for real messages under {gain['arm']} than under "
        f"{gain['baseline']}, with what they ask for given in both ({gain['better']:.0%} of people predicted "
        "better); this does not show how it writes itself"
    )
    return {"sentence": sentence, **list_figures(gain, "p_holm")}


def describe_pair(pair: Row) -> dict[str, Any]:
    """A row of ``scores.compare_fidelity``: an arm's fidelity index less another's."""
    limit = f"differences below {pair['min_detectable']:.0%} could not be seen"
    if pair["arm"] == SAME:
        limit = f"what a judge finds between two real conversations of one person, and of two ({OTHER})"
    sentence = (
        f"fidelity by {pair['judge']}: {pair['arm']} less {pair['baseline']} is "
        f"{100 * pair['difference']:+.0f} points; {limit}"
    )
    return {"sentence": sentence, **list_figures(pair, "p")}


def describe_ceiling(row: Row) -> dict[str, Any]:
    """A row of ``formalism.compare_formalism``: beside the real users of the same cases."""
    sentence = (
        f"{row['feature']}: {row['share']:.0%} of the messages under {row['arm']}, {row['real']:.0%} of "
        "those of the same people themselves; one feature of manner, of one model"
    )
    return {"sentence": sentence, **list_figures(row, "p")}


def describe_attribution(table: pd.DataFrame, n_candidates: int, *, seed: int) -> dict[str, Any]:
    """The rows of ``likelihood.attribute_messages``: the rate of ``first`` in them."""
    scored = table.dropna(subset="first")
    rate = estimate_rate(scored["first"], scored["user_id"], seed=seed)
    sentence = (
        f"among the demonstrations of {n_candidates} people, the writer's make a real message likeliest in "
        f"{rate['rate']:.0%} of cases (chance {1 / n_candidates:.0%}, place {table['place'].mean():.2f}); "
        "it does not show how a simulated message would be attributed"
    )
    figures = {"value": rate["rate"], "ci_low": rate["ci_low"], "ci_high": rate["ci_high"], "n": rate["n"]}
    return {"sentence": sentence, **figures}


def describe_givings(table: pd.DataFrame, arm: str, *, seed: int) -> dict[str, Any]:
    """Rows of ``authorship.attribute_transcripts``: an arm's messages beside task_only's and real ones."""
    pair = compare_paired(table, "first", arm=arm, baseline="task_only", pair_by="user_id", seed=seed)
    rates, n = table.groupby("arm")["first"].mean(), table["user_id"].nunique()
    sentence = (
        f"among {n} people, masked n-grams give {rates[arm]:.0%} of users simulated under {arm} to their "
        f"person, {rates['task_only']:.0%} under task_only, {rates['real']:.0%} of real ones; of one model, "
        "and the neutral sentence tells length and subject in all arms"
    )
    return {"sentence": sentence, **list_figures(pair, "p")}


def list_figures(row: Row, p: str) -> dict[str, float]:
    """The difference of a paired comparison, its interval, pairs and p."""
    ends = {name: row[name] for name in ("ci_low", "ci_high")}
    return {"value": row["difference"], **ends, "n": row["n_pairs"], "p": row[p]}
