"""Rates with intervals, paired differences and random draws, by the unit that was sampled (user or task)."""

import warnings
from collections.abc import Callable

import numpy as np
import pandas as pd
from scipy.stats import DegenerateDataWarning, binomtest, bootstrap, norm, permutation_test, t
from statsmodels.stats.multitest import multipletests

NAN = float("nan")
LEAST = 10  # clusters (users, tasks), below which a value has no interval
RESAMPLES = 2000
DRAWN = 1_000_000  # rows in memory at a time
RATE_COLUMNS = "rate ci_low ci_high n n_failed".split()
PAIRED_COLUMNS = "arm baseline difference ci_low ci_high p n_pairs spread min_detectable".split()
NORMAL = norm.ppf(0.975) + norm.ppf(0.8)  # standard errors in the minimum detectable effect of a large study


def estimate_rate(values: pd.Series, clusters: pd.Series, *, is_share: bool = True, seed: int = 0) -> dict:
    """Mean of the values and its 95% percentile interval over whole clusters: ``rate, ci_low, ci_high, n``.

    A share of 0 or 1 has the exact Clopper-Pearson interval over clusters, since no resample would differ.
    Otherwise both ends are NaN where all clusters have the same mean; with fewer than ten clusters always.
    """
    by_cluster = values.astype(float).groupby(clusters.to_numpy()).agg(["sum", "count"])
    sums, counts = by_cluster["sum"].to_numpy(), by_cluster["count"].to_numpy()
    mean = float(sums.sum() / counts.sum()) if counts.sum() else NAN
    if len(sums) >= LEAST and is_share and mean in (0.0, 1.0):
        ends = binomtest(round(mean * len(sums)), len(sums)).proportion_ci()
    else:
        ends = bootstrap_interval((sums, counts), lambda s, n, axis: s.sum(axis) / n.sum(axis), seed=seed)
    return {"rate": mean, "ci_low": ends[0], "ci_high": ends[1], "n": int(counts.sum())}


def tabulate_rates(
    table: pd.DataFrame, value: str, *, by: str | list[str], unit: str, item: str | list[str], seed: int = 0
) -> pd.DataFrame:
    """A rate for each combination of ``by``: one row each, in the order met, index ``by``.

    Columns ``rate, ci_low, ci_high`` (95% by ``unit``), ``n`` (different ``item`` with a value) and
    ``n_failed`` (those without: NaN is never scored 0).
    """
    rates = {}
    for key, rows in table.groupby(by, sort=False):
        scored = rows.dropna(subset=value)
        n, n_all = (len(some[item].drop_duplicates()) for some in (scored, rows))
        rates[key] = estimate_rate(scored[value], scored[unit], seed=seed) | {"n": n, "n_failed": n_all - n}
    return pd.DataFrame.from_dict(rates, orient="index", columns=RATE_COLUMNS).rename_axis(by)


def bootstrap_interval(
    columns: tuple[np.ndarray, ...], statistic: Callable[..., float], *, seed: int, draws: int = RESAMPLES
) -> tuple[float, float]:
    """95% percentile interval of ``statistic(*columns)``; each row (a user, a task) is drawn as a whole.

    NaN for fewer than ten rows, where all draws are alike, and if the statistic of a draw is NaN. A statistic
    with an argument ``axis`` is computed for all draws at once.
    """
    if len(columns[0]) < LEAST:
        return NAN, NAN
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DegenerateDataWarning)  # its interval is NaN
        how = {"method": "percentile", "batch": max(1, DRAWN // len(columns[0])), "rng": seed}
        result = bootstrap(columns, statistic, paired=True, n_resamples=draws, **how)
    low, high = map(float, result.confidence_interval)
    return (low, high) if low < high else (NAN, NAN)


def make_generator(seed: int, name: str) -> np.random.Generator:
    """A generator for the draws of one system, by its name: the same whatever other systems there are."""
    return np.random.default_rng([seed, *name.encode()])


def resample_sums(counts: np.ndarray, n: int, rng: np.random.Generator, *, draws: int) -> np.ndarray:
    """Column sums over n clusters (rows) drawn with replacement: one row a draw."""
    shares = np.full(len(counts), 1 / len(counts))
    return rng.multinomial(n, shares, size=draws).astype(counts.dtype) @ counts


def draw_disjoint(clusters: np.ndarray, n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Row numbers of two samples without a cluster in common: ``n`` rows, and all rows of the other clusters.

    ``clusters`` (0, 1, ...) of each row are taken in random order, the last one as far as rows are missing.
    """
    place = np.argsort(rng.permutation(clusters.max() + 1))[clusters]
    rows = np.argsort(place, kind="stable")
    return rows[:n], rows[np.searchsorted(place[rows], place[rows[:n]].max(), side="right") :]


def measure_auc(lower: np.ndarray, higher: np.ndarray, *, seed: int) -> dict[str, float]:
    """How often a value of ``higher`` exceeds one of ``lower``: ``auc``, 0.5 chance, 1 always.

    Both hold one value a user, in the same order: users are drawn for ``ci_low, ci_high`` (95%, 500 draws).
    An ``auc`` of 0 or 1 has the exact Clopper-Pearson interval over users, since no draw would differ.
    """

    def measure(lower: np.ndarray, higher: np.ndarray) -> float:  # as roc_auc_score, ten times as fast
        ordered = np.sort(lower)
        below, not_above = (np.searchsorted(ordered, higher, side=side) for side in ("left", "right"))
        return (below + not_above).mean() / 2 / len(ordered)

    auc, n = float(measure(lower, higher)), len(lower)
    if n >= LEAST and auc in (0.0, 1.0):
        low, high = binomtest(round(auc * n), n).proportion_ci()
    else:
        low, high = bootstrap_interval((lower, higher), measure, seed=seed, draws=500)
    return {"auc": auc, "ci_low": float(low), "ci_high": float(high)}


def compare_paired(
    table: pd.DataFrame, value: str, *, arm: str, baseline: str, pair_by: str, seed: int = 0
) -> dict:
    """Paired difference arm - baseline of ``value`` over units (``pair_by``) present in both: PAIRED_COLUMNS.

    Repeats within a unit are averaged first. ``p`` is of ``compute_permutation_p``, ``spread`` the standard
    deviation of the differences, ``min_detectable`` of ``find_minimum_detectable_effect``.
    """
    wide = table.astype({value: float}).pivot_table(value, pair_by, "arm")
    wide = wide.reindex(columns=[arm, baseline]).dropna()
    gaps = wide[arm] - wide[baseline]
    mean, low, high, n = estimate_rate(gaps, gaps.index.to_series(), is_share=False, seed=seed).values()
    p, effect = compute_permutation_p(gaps, seed=seed), find_minimum_detectable_effect(gaps)
    return dict(zip(PAIRED_COLUMNS, (arm, baseline, mean, low, high, p, n, gaps.std(), effect), strict=True))


def find_minimum_detectable_effect(gaps: pd.Series | np.ndarray) -> float:
    """Minimum detectable effect at 80% power, paired t-test at 5%; NaN below 3 pairs or without spread."""
    if len(gaps) < 3 or np.std(gaps) == 0:
        return NAN
    quantiles = t.ppf(0.975, len(gaps) - 1) + t.ppf(0.8, len(gaps) - 1)
    return float(quantiles * np.std(gaps, ddof=1) / len(gaps) ** 0.5)


def compute_permutation_p(gaps: pd.Series | np.ndarray, *, seed: int = 0) -> float:
    """Two-sided p of the mean gap by random signs (exact up to 13 pairs, else 10,000 draws); NaN for none."""
    if len(gaps) < 2:
        return 1.0 if len(gaps) else NAN
    result = permutation_test((gaps,), np.mean, permutation_type="samples", n_resamples=10_000, rng=seed)
    return float(result.pvalue)


def correct_holm(p: pd.Series) -> pd.Series:
    """Holm's correction over the tests that there are; NaN where there is none."""
    known = p.dropna()
    corrected = multipletests(known, method="holm")[1] if len(known) else []
    return pd.Series(corrected, known.index, dtype=float).reindex(p.index)


def describe_power(least: float) -> str:
    """What a paired difference of shares does not show: less than the ``least`` (0..1) that it can detect."""
    known = least == least  # NaN
    return f"differences below {100 * least:.0f} points" if known else "how much pairs differ: all are alike"


def describe_change(difference: float) -> str:
    """A difference of shares in words: ``8 points higher``."""
    size = f"{abs(100 * difference):.0f}"
    return f"{size} point{'' if size == '1' else 's'} {'lower' if difference < 0 else 'higher'}"
