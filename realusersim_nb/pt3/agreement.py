"""What a judge is worth: does it classify real pairs correctly, and agree with itself and with others?

Every reading of the same transcripts is a *reader*: a judge, the same judge with the sides swapped or asked
once more, a human. Two readers are compared on the verdicts that both gave.
"""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pandas as pd
from sklearn.metrics import cohen_kappa_score

from realusersim_nb import stats
from realusersim_nb.llm.models import Models
from realusersim_nb.parallel.bars import show_bar
from realusersim_nb.pt3.judges import JudgeSettings, judge_transcripts
from realusersim_nb.records import Case, Conversation, Judgement

READER_COLUMNS = "one other n n_cases agree ci_low ci_high kappa more_matches shift_low shift_high".split()
VALIDITY_COLUMNS = "judge dimension auc ci_low ci_high same_user other_user n_users".split()


async def judge_again(
    models: Models,
    model: str,
    cases: list[Case],
    transcripts: list[Conversation],
    settings: JudgeSettings,
    *,
    n: int,
) -> list[Judgement]:
    """Second and third judgements of a seeded draw of n transcripts: sides swapped, and simply once more."""
    order = np.random.default_rng(settings.seed).permutation(len(transcripts))[:n]
    judgements, drawn = [], [transcripts[i] for i in order]
    for changed in ({"order": "simulated_first"}, {"trial": 1}):
        judgements += await judge_transcripts(models, model, cases, drawn, replace(settings, **changed))
    return judgements


def name_reader(judgement: Judgement) -> str:
    """The judge, and what was different about this reading."""
    swapped = ", sides swapped" * (judgement.order == "simulated_first")
    return judgement.judge + swapped + ", once more" * (judgement.trial > 0)


def pivot_readers(judgements: list[Judgement]) -> pd.DataFrame:
    """One row a verdict (index case_id, arm, dimension), one column a reader; NaN where one gave none."""
    keys, rows = ["case_id", "arm", "dimension"], []
    for j in judgements:
        rows += [(j.case_id, j.arm, d, name_reader(j), float(m)) for d, m in (j.verdicts or {}).items()]
    table = pd.DataFrame(rows, columns=[*keys, "reader", "match"])
    return table.pivot_table("match", keys, "reader", sort=False)


def compare_readers(judgements: list[Judgement], *, seed: int = 0) -> pd.DataFrame:
    """Agreement of every two readers with verdicts in common.

    Columns ``n`` (verdicts), ``n_cases``, ``agree`` (share, 0..1) with its 95% interval by case, ``kappa``
    (Cohen; 0 chance, 1 perfect; NaN where all verdicts are equal), and ``more_matches``: the second reader's
    match rate less the first's (of swapped sides, the order bias) with its interval.
    """
    rows, wide = [], pivot_readers(judgements)
    for names in combinations(wide.columns, 2):
        both = wide[list(names)].dropna()
        if len(both):
            (_, one), (_, other) = both.items()
            cases = both.index.get_level_values("case_id").to_series()
            *agree, n = stats.estimate_rate(one == other, cases, seed=seed).values()
            *shift, _ = stats.estimate_rate(other - one, cases, is_share=False, seed=seed).values()
            kappa = cohen_kappa_score(one, other) if len(np.unique(both)) > 1 else np.nan
            rows.append([*names, n, cases.nunique(), *agree, kappa, *shift])
    return pd.DataFrame(rows, columns=READER_COLUMNS)


def choose_best_judge(validity: pd.DataFrame, names: list[str]) -> str:
    """The judge whose index separates real people best (its AUC); without any, the first of ``names``."""
    index = validity[(validity["dimension"] == "index") & validity["judge"].isin(names)]
    return index.loc[index["auc"].idxmax(), "judge"] if len(index) else names[0]


def leave_out_judges(verdicts: pd.DataFrame, validity: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """The verdicts of judges that can tell the same person from another, and a sentence on each that cannot.

    A judge can if the interval of its index's AUC is above 0.5 (``measure_validity``). If none can, the best
    one stays.
    """
    names = list(verdicts["judge"].unique())
    index = validity[validity["dimension"] == "index"].set_index("judge")
    able = [name for name in names if name in index.index and index.loc[name, "ci_low"] > 0.5]
    kept, sentences = able or [choose_best_judge(validity, names)], []
    for name in (n for n in names if n not in able):
        row = index.loc[name] if name in index.index else None
        figures = "without verdicts on both reference arms" if row is None else f"AUC {row['auc']:.2f}"
        if row is not None:
            interval = f"{row['ci_low']:.2f} to {row['ci_high']:.2f}"
            interval = interval if row["ci_low"] == row["ci_low"] else "too few for an interval"  # nan
            figures += f", {interval}, {row['n_users']:.0f} users"
        fate = "stays, as no judge can" if name in kept else "is left out of the tables on arms"
        sentences.append(f"{name} cannot tell the same person from another ({figures}): it {fate}.")
    return verdicts[verdicts["judge"].isin(kept)], sentences


def measure_validity(verdicts: pd.DataFrame, *, seed: int = 0) -> pd.DataFrame:
    """How well each judge separates real people: one row a judge and dimension, and one for its index.

    ``auc`` (0.5 chance, 1 perfect; 95% interval by user) of ``same_user`` against ``other_user``, the match
    rates of both, and ``n_users``. ``verdicts`` as of ``scores.tabulate_verdicts``.
    """
    rows, arms = [], ["other_user", "same_user"]
    real = verdicts[verdicts["arm"].isin(arms)].dropna(subset="match")
    groups = pd.concat([real, real.assign(dimension="index")]).groupby(["judge", "dimension"], sort=False)
    for (judge, dimension), table in show_bar(groups, "judges", leave=False):
        wide = table.pivot_table("match", "user_id", "arm").reindex(columns=arms).dropna()
        if len(wide):
            auc = stats.measure_auc(*wide.to_numpy().T, seed=seed)
            rows.append({"judge": judge, "dimension": dimension, **auc, **wide.mean(), "n_users": len(wide)})
    return pd.DataFrame(rows, columns=VALIDITY_COLUMNS)
