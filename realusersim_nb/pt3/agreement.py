"""Can a judge be trusted: does it tell people apart, and does it agree with itself and with others?

Every reading of the same transcripts is a *reader*: a judge, the same judge with the sides swapped
or asked once more, a human. Two readers are compared on the verdicts that both gave.
"""

from itertools import combinations

import numpy as np
import pandas as pd
from sklearn.metrics import cohen_kappa_score

from realusersim_nb import stats
from realusersim_nb.llm.models import Models
from realusersim_nb.parallel.bars import show_bar
from realusersim_nb.pt3 import judges
from realusersim_nb.records import Case, Judgement, Transcript


async def judge_again(
    models: Models,
    model: str,
    cases: list[Case],
    transcripts: list[Transcript],
    *,
    n: int,
    seed: int,
    **settings,
) -> list[Judgement]:
    """Second and third judgements of a seeded draw of n transcripts: sides swapped, and simply once more."""
    order = np.random.default_rng(seed).permutation(len(transcripts))[:n]
    drawn = [transcripts[i] for i in order]
    swapped = await judges.judge_transcripts(
        models, model, cases, drawn, order="simulated_first", seed=seed, **settings
    )
    return swapped + await judges.judge_transcripts(
        models, model, cases, drawn, trial=1, seed=seed, **settings
    )


def name_reader(judgement: Judgement) -> str:
    """The judge, and what was different about this reading."""
    more = [", sides swapped"] * (judgement.order == "simulated_first") + [", once more"] * (
        judgement.trial > 0
    )
    return judgement.judge + "".join(more)


def pivot_readers(judgements: list[Judgement]) -> pd.DataFrame:
    """One row a dimension verdict (index case_id, arm, dimension), one column a reader; NaN where one gave none."""
    rows = [
        {"case_id": j.case_id, "arm": j.arm, "dimension": d, "reader": name_reader(j), "match": float(match)}
        for j in judgements
        for d, match in (j.verdicts or {}).items()
    ]
    table = pd.DataFrame(rows, columns=["case_id", "arm", "dimension", "reader", "match"])
    return table.pivot_table("match", ["case_id", "arm", "dimension"], "reader", sort=False)


def compare_readers(judgements: list[Judgement], *, seed: int = 0) -> pd.DataFrame:
    """Agreement of every two readers with verdicts in common.

    Columns ``n`` (verdicts), ``n_cases``, ``agree`` (share, 0..1) with its 95 % interval by case, ``kappa``
    (Cohen; 0 chance, 1 perfect; NaN where both always say the same), ``alpha`` (Krippendorff, nominal),
    and ``more_matches``: the second reader's match rate less the first's (of swapped sides, the order bias)
    with its interval.
    """
    wide, rows = pivot_readers(judgements), []
    for one, other in combinations(wide.columns, 2):
        both = wide[[one, other]].dropna()
        if both.empty:
            continue
        cases = pd.Series(both.index.get_level_values("case_id"))
        agree = stats.estimate_rate((both[one] == both[other]).reset_index(drop=True), cases, seed=seed)
        shift = stats.estimate_rate(
            (both[other] - both[one]).reset_index(drop=True), cases, is_share=False, seed=seed
        )
        constant = both.nunique().eq(1).all() and both[one].iloc[0] == both[other].iloc[0]
        rows.append(
            {
                "one": one,
                "other": other,
                "n": len(both),
                "n_cases": cases.nunique(),
                "agree": agree["rate"],
                "ci_low": agree["ci_low"],
                "ci_high": agree["ci_high"],
                "kappa": float("nan") if constant else cohen_kappa_score(both[one], both[other]),
                "alpha": measure_alpha(both),
                "more_matches": shift["rate"],
                "shift_low": shift["ci_low"],
                "shift_high": shift["ci_high"],
            }
        )
    return pd.DataFrame(
        rows,
        columns=[
            "one",
            "other",
            "n",
            "n_cases",
            "agree",
            "ci_low",
            "ci_high",
            "kappa",
            "alpha",
            "more_matches",
            "shift_low",
            "shift_high",
        ],
    )


def measure_alpha(table: pd.DataFrame) -> float:
    """Krippendorff's alpha for nominal data: rows are units, columns readers, NaN where one gave none.

    1 is perfect, 0 chance, below 0 worse; NaN where all values are the same. From the matrix of
    coincidences (Krippendorff, Computing Krippendorff's Alpha-Reliability, 2011).
    """
    rows = [row[~np.isnan(row)] for row in table.to_numpy(float)]
    rows = [row for row in rows if len(row) > 1]
    values = np.unique(np.concatenate(rows)) if rows else np.array([])
    if len(values) < 2:
        return float("nan")
    counts = np.array([[(row == value).sum() for value in values] for row in rows], float)
    pairs = counts.sum(axis=1) - 1  # each unit counts by the pairs it allows
    observed = ((counts.sum(axis=1) ** 2 - (counts**2).sum(axis=1)) / pairs).sum()
    total = counts.sum(axis=0)
    expected = (total.sum() ** 2 - (total**2).sum()) / (total.sum() - 1)
    return float(1 - observed / expected)


def measure_validity(verdicts: pd.DataFrame, *, seed: int = 0) -> pd.DataFrame:
    """How well each judge tells real people apart: one row a judge and dimension, and one for its index.

    ``auc`` (0.5 chance, 1 perfect; 95 % interval by user) of ``same_user`` against ``other_user``,
    the match rates of both, and ``n_users``. ``verdicts`` as of ``scores.tabulate_verdicts``.
    """
    real = verdicts[verdicts["arm"].isin(["same_user", "other_user"])].dropna(subset="match")
    whole = pd.concat([real, real.assign(dimension="index")])
    rows = []
    for (judge, dimension), own in show_bar(
        whole.groupby(["judge", "dimension"], sort=False), "judges", leave=False
    ):
        wide = (
            own.pivot_table("match", "user_id", "arm").reindex(columns=["other_user", "same_user"]).dropna()
        )
        if len(wide):
            auc = stats.measure_auc(*wide.to_numpy().T, seed=seed)
            rows.append({"judge": judge, "dimension": dimension, **auc, **wide.mean(), "n_users": len(wide)})
    return pd.DataFrame(
        rows, columns=["judge", "dimension", "auc", "ci_low", "ci_high", "same_user", "other_user", "n_users"]
    )
