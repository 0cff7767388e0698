"""Intervals and paired differences, resampled by the unit that was really drawn (user or task)."""

import numpy as np
import pandas as pd
from scipy.stats import bootstrap, t

RESAMPLES = 2000


def rate(values: pd.Series, clusters: pd.Series, *, is_share: bool = True, seed: int = 0) -> dict[str, float]:
    """Mean of the values with its 95 % interval, resampling whole clusters.

    Returns ``rate, ci_low, ci_high`` (in the values' unit), ``n`` (values) and ``n_clusters``.
    Percentile bootstrap over clusters. With fewer than 2 clusters there is no interval, and where
    every cluster has the same mean the resampled interval would be a point, which is not what is
    known: both ends are then the exact Clopper-Pearson bounds for a share of 0 or 1, else NaN.
    """
    by_cluster = values.astype(float).groupby(clusters.to_numpy()).agg(["sum", "count"])
    n, k = int(by_cluster["count"].sum()), len(by_cluster)
    mean = float(by_cluster["sum"].sum() / n) if n else float("nan")
    low = high = float("nan")
    means = by_cluster["sum"] / by_cluster["count"]
    if k > 1 and means.nunique() > 1:
        low, high = resample(by_cluster["sum"], by_cluster["count"], seed=seed)
    elif k > 1 and is_share and mean in (0.0, 1.0):
        low, high = bound_unanimous(mean, k)
    return {"rate": mean, "ci_low": low, "ci_high": high, "n": n, "n_clusters": k}


def resample(sums: pd.Series, counts: pd.Series, *, seed: int) -> tuple[float, float]:
    """95 % percentile interval of sum(sums) / sum(counts) over resampled clusters."""
    result = bootstrap(
        (sums.to_numpy(float), counts.to_numpy(float)),
        lambda s, c, axis: s.sum(axis=axis) / c.sum(axis=axis),
        paired=True,
        vectorized=True,
        n_resamples=RESAMPLES,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    return float(result.confidence_interval.low), float(result.confidence_interval.high)


def bound_unanimous(mean: float, k: int) -> tuple[float, float]:
    """Exact 95 % bounds (Clopper-Pearson) when k of k clusters agree on 0 or on 1."""
    distance = 1 - 0.025 ** (1 / k)
    return (0.0, distance) if mean == 0 else (1 - distance, 1.0)


def difference(table: pd.DataFrame, value: str, *, arm: str, baseline: str, pair_by: str, seed: int = 0) -> dict:
    """Paired difference arm - baseline of ``value``, over the units present in both.

    ``table`` has columns ``arm``, ``pair_by`` (user or task) and ``value``; repeats within a unit
    are averaged first. Returns ``difference, ci_low, ci_high, p, n_pairs``; p is two-sided from
    the sign-flip permutation test (exact up to 12 pairs, else 10,000 draws). There is no
    interval where all pairs show the same difference. ``detectable`` is the power the sample had:
    the smallest true difference that so many pairs, spread as these are, show in 80 % of studies.
    """
    wide = table.groupby([pair_by, "arm"])[value].mean().unstack("arm").reindex(columns=[arm, baseline]).dropna()
    gaps = (wide[arm] - wide[baseline]).astype(float)
    found = rate(gaps, pd.Series(gaps.index, index=gaps.index), is_share=False, seed=seed)
    return {
        "arm": arm, "baseline": baseline, "difference": found["rate"], "ci_low": found["ci_low"],
        "ci_high": found["ci_high"], "p": flip_signs(gaps.to_numpy(), seed=seed), "n_pairs": len(gaps),
        "detectable": find_detectable(gaps.to_numpy()),
    }  # fmt: skip


def find_detectable(gaps: np.ndarray, *, power: float = 0.8) -> float:
    """The smallest true mean gap that a paired test at 5 % finds with this power; NaN below 3 pairs or without spread."""
    if len(gaps) < 3 or np.std(gaps) == 0:
        return float("nan")
    quantiles = t.ppf(0.975, len(gaps) - 1) + t.ppf(power, len(gaps) - 1)
    return float(quantiles * np.std(gaps, ddof=1) / len(gaps) ** 0.5)


def flip_signs(gaps: np.ndarray, *, seed: int = 0) -> float:
    """Two-sided p of the mean gap being 0, by flipping signs; NaN without pairs."""
    if len(gaps) == 0:
        return float("nan")
    if len(gaps) <= 12:
        signs = 1 - 2 * ((np.arange(2 ** len(gaps))[:, None] >> np.arange(len(gaps))) & 1)
    else:
        signs = np.random.default_rng(seed).choice([-1, 1], size=(10_000, len(gaps)))
        signs[0] = 1  # the observed labelling is one of the draws
    means = np.abs((signs * gaps).mean(axis=1))
    return float((means >= abs(gaps.mean()) - 1e-12).mean())
