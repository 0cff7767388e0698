"""PT3, the Paired Trajectory Turing Test: is the simulated user the same person?

A case is a held-out real conversation and the goal behind it. A simulated user pursues the goal under each
arm; a judge then compares only the user's messages with the original, in five dimensions. The **fidelity
index** is the share of dimension verdicts that are a match (RealUserSim; 0..1, higher is closer).

The prompts and the reference arms ``same_user`` and ``other_user`` are ours; the two-call judge, the cut to 9
messages and the index are the paper's.
"""

from typing import get_args

import numpy as np
import pandas as pd

from realusersim_nb import stats
from realusersim_nb.pt3.cases import ReferenceArm
from realusersim_nb.pt3.judges import DIMENSIONS
from realusersim_nb.records import Case, Judgement

SAME, OTHER = get_args(ReferenceArm)
VERDICT_COLUMNS = "case_id user_id arm judge order trial domain dimension match".split()


def tabulate_verdicts(judgements: list[Judgement], cases: list[Case] = ()) -> pd.DataFrame:
    """One row a dimension verdict, with VERDICT_COLUMNS: ``match`` is 1 or 0, NaN if unscored."""
    domains = {case.case_id: case.domain for case in cases}
    rows = []
    for j in judgements:
        about = [j.case_id, j.user_id, j.arm, j.judge, j.order, j.trial, domains.get(j.case_id, "")]
        rows += [[*about, d, float((j.verdicts or {}).get(d, "nan"))] for d in DIMENSIONS]
    return pd.DataFrame(rows, columns=VERDICT_COLUMNS)


def tabulate_contradictions(judgements: list[Judgement]) -> pd.DataFrame:
    """How often a model's verdict says the opposite of its own analysis, and is unscored for that: one row a
    judge that gives an analysis of its own.

    ``n`` judgements with verdicts, ``verdicts`` in them, how many are ``contradicted``, and the ``share``.
    """
    given = [j for j in judgements if j.replies and (j.verdicts or j.contradicted)]
    counts = [(j.judge, 1, len(j.verdicts or {}) + len(j.contradicted), len(j.contradicted)) for j in given]
    table = pd.DataFrame(counts, columns=["judge", "n", "verdicts", "contradicted"])
    table = table.groupby("judge", sort=False).sum()
    return table.assign(share=table["contradicted"] / table["verdicts"])


def score_fidelity(verdicts: pd.DataFrame, by: str | list[str] = "arm", *, seed: int = 0) -> pd.DataFrame:
    """Fidelity index of each arm, or of each combination of ``by``: one row each, in the order met.

    ``by``: arm, judge, domain, dimension. Columns ``rate, ci_low, ci_high`` (0..1, 95% by user),
    ``without_D3`` (D3 is near its ceiling for every simulator), ``n_cases`` (scored) and ``n_failed`` (no
    verdict: failed calls and role breaks).
    """
    rates = stats.tabulate_rates(verdicts, "match", by=by, unit="user_id", item="case_id", seed=seed)
    without = verdicts[verdicts["dimension"] != "D3"].groupby(by)["match"].mean()
    rates.insert(3, "without_D3", without.reindex(rates.index))
    return rates.rename(columns={"n": "n_cases"})


def normalise_fidelity(verdicts: pd.DataFrame, *, seed: int = 0) -> pd.DataFrame:
    """Each arm between a stranger (0) and the same person (1): (arm - other) / (same - other).

    Index: judge, arm; columns ``normalised, ci_low, ci_high`` (95%, users resampled for arm and reference
    arms together) and ``n_users``. NaN where the judge scores strangers as high as the person, since then
    nothing is between them; a resample without a difference makes the interval NaN too.
    """
    by_user = verdicts.dropna(subset="match").groupby(["judge", "user_id", "arm"], sort=False)["match"].mean()
    rows = {}
    for judge, rates in by_user.groupby("judge", sort=False):
        wide = rates.loc[judge].unstack("arm")
        for arm in wide.columns.drop([SAME, OTHER]) if {SAME, OTHER} <= set(wide.columns) else []:
            columns = tuple(wide[[arm, SAME, OTHER]].to_numpy().T)
            interval = stats.bootstrap_interval(columns, place_between, seed=seed)
            rows[judge, arm] = float(place_between(*columns)), *interval, int(wide[arm].count())
    index = pd.MultiIndex.from_tuples(rows, names=["judge", "arm"])
    return pd.DataFrame(rows.values(), index, columns="normalised ci_low ci_high n_users".split())


def place_between(arm: np.ndarray, same: np.ndarray, other: np.ndarray, axis: int = -1) -> np.ndarray:
    """An arm's mean between those of the two reference arms; NaN unless ``same`` is above ``other``."""
    with np.errstate(divide="ignore", invalid="ignore"):
        arm, same, other = (np.nansum(x, axis) / (~np.isnan(x)).sum(axis) for x in (arm, same, other))
        return np.where(same > other, (arm - other) / (same - other), np.nan)


PLANNED = [
    ("demonstrations", "task_only"),
    ("demonstrations", "shuffled_demonstrations"),
    ("profile", "task_only"),
    ("profile", "shuffled_profile"),
    ("calibrated_demonstrations", "task_only"),
    ("calibrated_demonstrations", "demonstrations"),
    ("profile_demonstrations", "task_only"),
    ("profile_demonstrations", "demonstrations"),
]
"""An arm that is given something of the person, and one without it, or with the same of somebody else."""


def list_pairs(present: list[str]) -> list[tuple[str, str]]:
    """Which arms are compared, of those present: as PLANNED, ``profile`` with all others, and the two
    reference arms.
    """
    taken = {SAME, OTHER}.union(*PLANNED)
    pairs = PLANNED + [("profile", arm) for arm in present if arm not in taken]
    return [pair for pair in pairs if set(pair) <= set(present)] + [(SAME, OTHER)]


def compare_fidelity(verdicts: pd.DataFrame, *, seed: int = 0) -> pd.DataFrame:
    """Paired differences of each judge's index between the arms that were run (see ``stats.compare_paired``).

    ``list_pairs`` says which; users are the pairs, and only verdicts count that both arms have, since
    dimensions differ in how often they match. ``p_holm`` is ``p`` corrected for the comparisons of simulated
    users by one judge; the reference arms' row tests the judge, and has none.
    """
    pairs, rows = list_pairs(list(verdicts["arm"].unique())), []
    for judge, table in verdicts.groupby("judge", sort=False):
        for arm, baseline in pairs:
            names = {"arm": arm, "baseline": baseline, "pair_by": "user_id"}
            both = keep_common(table, [arm, baseline])
            rows.append({"judge": judge, **stats.compare_paired(both, "match", **names, seed=seed)})
    table = pd.DataFrame(rows, columns=["judge", *stats.PAIRED_COLUMNS])
    tested = table[table["arm"] != SAME].groupby("judge")["p"]
    return table.assign(p_holm=tested.transform(stats.correct_holm))


def keep_common(verdicts: pd.DataFrame, arms: list[str]) -> pd.DataFrame:
    """The verdicts of some arms on the cases and dimensions that are scored in all of them."""
    scored = verdicts[verdicts["arm"].isin(arms)].dropna(subset="match")
    n_arms = scored.groupby(["case_id", "dimension", "order", "trial"])["arm"].transform("nunique")
    return scored[n_arms == len(arms)]
