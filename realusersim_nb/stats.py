"""Intervals and paired differences, resampled by the unit that was really drawn (user or task)."""

import warnings
from collections.abc import Callable

import numpy as np
import pandas as pd
from scipy.stats import DegenerateDataWarning, binomtest, bootstrap, norm, permutation_test, t
from sklearn.metrics import roc_auc_score

RESAMPLES = 2000
PAIRED_COLUMNS = [
    "arm",
    "baseline",
    "difference",
    "ci_low",
    "ci_high",
    "p",
    "n_pairs",
    "spread",
    "detectable",
]
NORMAL = norm.ppf(0.975) + norm.ppf(
    0.8
)  # standard errors of a difference seen at 5 % in 80 % of large studies


def estimate_rate(
    values: pd.Series, clusters: pd.Series, *, is_share: bool = True, seed: int = 0
) -> dict[str, float]:
    """Mean of the values with its 95 % interval, resampling whole clusters.

    Returns ``rate, ci_low, ci_high`` (in the values' unit) and ``n`` (values).
    Percentile bootstrap over clusters. With fewer than 2 clusters there is no interval, and where
    every cluster has the same mean the resampled interval would be a point, which is not what is
    known: both ends are then the exact Clopper-Pearson bounds for a share of 0 or 1, else NaN.
    """
    by_cluster = values.astype(float).groupby(clusters.to_numpy()).agg(["sum", "count"])
    sums, counts = by_cluster["sum"].to_numpy(), by_cluster["count"].to_numpy()
    mean = float(sums.sum() / counts.sum()) if counts.sum() else float("nan")
    if len(sums) > 1 and is_share and mean in (0.0, 1.0):
        low, high = binomtest(round(mean * len(sums)), len(sums)).proportion_ci()
    else:
        low, high = bootstrap_interval((sums, counts), divide_sums, seed=seed)
    return {"rate": mean, "ci_low": low, "ci_high": high, "n": int(counts.sum())}


def tabulate_rates(
    table: pd.DataFrame, value: str, *, by: str | list[str], unit: str, item: str | list[str], seed: int = 0
) -> pd.DataFrame:
    """A rate for each combination of ``by``: one row each, in the order met, index ``by``.

    Columns ``rate, ci_low, ci_high`` (95 % by ``unit``), ``n`` (different ``item`` with a value) and ``n_failed``
    (those without: NaN is never scored 0).
    """
    rows = {}
    for key, own in table.groupby(by, sort=False):
        scored = own.dropna(subset=value)
        n, n_all = (len(some[item].drop_duplicates()) for some in (scored, own))
        rows[key] = {**estimate_rate(scored[value], scored[unit], seed=seed), "n": n, "n_failed": n_all - n}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(by)


def bootstrap_interval(
    columns: tuple[np.ndarray, ...], statistic: Callable[..., float], *, seed: int, draws: int = RESAMPLES
) -> tuple[float, float]:
    """95 % percentile interval of ``statistic(*columns)``; what stands in one row (a user, a task) is drawn together.

    Both ends are NaN for fewer than two rows, where all draws are alike (a point is not what is known), and if the statistic of a draw is NaN. A statistic with an argument ``axis`` is asked for all draws at once.
    """
    if len(columns[0]) < 2:
        return float("nan"), float("nan")
    rng = np.random.default_rng(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DegenerateDataWarning)  # the ends say it: they are NaN
        found = bootstrap(columns, statistic, paired=True, n_resamples=draws, method="percentile", rng=rng)
    low, high = map(float, found.confidence_interval)
    return (low, high) if low < high else (float("nan"), float("nan"))


def divide_sums(sums: np.ndarray, counts: np.ndarray, axis: int = -1) -> np.ndarray:
    """The mean over clusters of different size."""
    return sums.sum(axis=axis) / counts.sum(axis=axis)


def measure_auc(lower: np.ndarray, higher: np.ndarray, *, seed: int) -> dict[str, float]:
    """How often a value of ``higher`` lies above one of ``lower``: ``auc`` (0.5 chance, 1 always), ``ci_low, ci_high``.

    Both hold one value a user, in the same order, so that users are drawn for the 95 % interval (500 draws).
    """

    def measure(lower: np.ndarray, higher: np.ndarray) -> float:
        return roc_auc_score(np.repeat([0, 1], [len(lower), len(higher)]), np.concatenate([lower, higher]))

    low, high = bootstrap_interval((lower, higher), measure, seed=seed, draws=500)
    return {"auc": float(measure(lower, higher)), "ci_low": low, "ci_high": high}


def compare_paired(
    table: pd.DataFrame, value: str, *, arm: str, baseline: str, pair_by: str, seed: int = 0
) -> dict:
    """Paired difference arm - baseline of ``value``, over the units present in both.

    ``table`` has columns ``arm``, ``pair_by`` (user or task) and ``value``; repeats within a unit
    are averaged first. Returns ``difference, ci_low, ci_high, p, n_pairs``; p is two-sided from
    the sign-flip permutation test (``flip_signs``). There is no interval where all pairs show the same
    difference. ``spread`` is their standard deviation, ``detectable`` the smallest true difference that
    so many pairs, spread as these are, show in 80 % of studies.
    """
    wide = (
        table.groupby([pair_by, "arm"])[value].mean().unstack("arm").reindex(columns=[arm, baseline]).dropna()
    )
    gaps = (wide[arm] - wide[baseline]).astype(float)
    found = estimate_rate(gaps, pd.Series(gaps.index, index=gaps.index), is_share=False, seed=seed)
    return {
        "arm": arm,
        "baseline": baseline,
        "difference": found["rate"],
        "ci_low": found["ci_low"],
        "ci_high": found["ci_high"],
        "p": test_by_sign_flips(gaps.to_numpy(), seed=seed),
        "n_pairs": len(gaps),
        "spread": gaps.std(),
        "detectable": find_minimum_detectable_effect(gaps.to_numpy()),
    }


def find_minimum_detectable_effect(gaps: np.ndarray) -> float:
    """The smallest true mean gap that a paired test at 5 % finds in 80 % of studies; NaN below 3 pairs or without spread."""
    if len(gaps) < 3 or np.std(gaps) == 0:
        return float("nan")
    quantiles = t.ppf(0.975, len(gaps) - 1) + t.ppf(0.8, len(gaps) - 1)
    return float(quantiles * np.std(gaps, ddof=1) / len(gaps) ** 0.5)


def test_by_sign_flips(gaps: np.ndarray, *, seed: int = 0) -> float:
    """Two-sided p of the mean gap being 0, by flipping signs (exact up to 13 pairs, else 10,000 draws); NaN without pairs."""
    if len(gaps) < 2:
        return 1.0 if len(gaps) else float("nan")
    rng = np.random.default_rng(seed)
    found = permutation_test((gaps,), np.mean, permutation_type="samples", n_resamples=10_000, rng=rng)
    return float(found.pvalue)
