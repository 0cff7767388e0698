"""Differences of traits between a system and people, each with an interval, its floor and a test."""

import numpy as np
import pandas as pd

from realusersim_nb.gap.calibration import tidy
from realusersim_nb.gap.meter.sides import Side
from realusersim_nb.gap.meter.subjects import Subjects, compute_p, estimate_effect
from realusersim_nb.gap.meter.traits import BY_NAME, TRAITS

COLUMNS = "trait label system people difference ci_low ci_high by_subject effect p n_system n_people".split()
LEAST = 10  # users a side who can show a trait


def compare_traits(
    people: tuple[pd.DataFrame, np.ndarray], system: tuple[pd.DataFrame, np.ndarray], subjects: Subjects
) -> pd.DataFrame:
    """One row a trait, the largest difference first; ``people`` and ``system`` are traits and users.

    ``system, people``: rates (0..1), of lengths geometric means in words. ``difference`` with ``ci_low,
    ci_high`` (95 % by user): of rates system - people, of lengths the ratio system / people. ``by_subject``
    (>= 0): what the difference of subjects alone comes to, in either direction (one standard deviation).
    ``effect``: the logarithm of the ratio of odds, or of lengths. ``p`` is against sampling and subject, NaN
    with fewer than ten users a side. ``n_``: messages, or conversations.
    """
    rows = [compare_trait(trait.name, people, system, subjects) for trait in TRAITS]
    table = pd.DataFrame(rows, columns=COLUMNS)
    return table.sort_values("effect", key=np.abs, ascending=False, ignore_index=True)


def compare_trait(
    name: str,
    people: tuple[pd.DataFrame, np.ndarray],
    system: tuple[pd.DataFrame, np.ndarray],
    subjects: Subjects,
) -> list:
    """One row of ``compare_traits``."""
    (real, error), (simulated, other) = (
        estimate_mean(table[name], users) for table, users in (people, system)
    )
    difference, sampling = simulated - real, float(np.hypot(error, other))
    subject = subjects.shift * measure_subject_effect(subjects.traits[name], subjects)
    ends = difference + np.array([-1.96, 1.96]) * sampling
    n = [int(table[name]["n"].sum()) for table, _ in (system, people)]
    m, k = (len(set(users[table[name]["n"] > 0])) for table, users in (system, people))
    # A rate near 0 has no spread of its own to go by: the test takes at least people's, at as many users.
    tested = float(np.hypot(error, max(other, error * np.sqrt(k / m)))) if min(m, k) >= LEAST else np.nan
    p = compute_p(difference, tested, subject, len(subjects.rows)) if min(m, k) >= LEAST else np.nan
    shown = [simulated, real, difference, *ends, subject]
    if BY_NAME[name].is_count:
        return [name, BY_NAME[name].label, *np.exp(shown), difference, p, *n]
    return [name, BY_NAME[name].label, *shown, compute_log_odds(simulated, n[0], real, n[1]), p, *n]


def compute_log_odds(one: float, n: int, other: float, m: int) -> float:
    """The logarithm of the ratio of odds of two rates, with half a message added to every count."""
    odds = [(rate * size + 0.5) / ((1 - rate) * size + 0.5) for rate, size in ((one, n), (other, m))]
    return float(np.log(odds[0] / odds[1]))


def estimate_mean(table: pd.DataFrame, users: np.ndarray) -> tuple[float, float]:
    """Mean of what is counted (sum over n), and its standard error by user (linearised)."""
    sums, counts = (np.bincount(users, table[column]) for column in ("sum", "n"))
    seen = counts > 0
    sums, counts = sums[seen], counts[seen]
    if not len(counts):
        return np.nan, np.nan
    mean, n = sums.sum() / counts.sum(), len(counts)
    residuals = sums - mean * counts
    error = np.sqrt((residuals**2).sum() * n / max(n - 1, 1)) / counts.sum()
    if error == 0:  # nobody, or everybody: as if one message differed
        error = 1 / counts.sum() if n > 1 else np.nan
    return float(mean), float(error)


def measure_subject_effect(table: pd.DataFrame, subjects: Subjects) -> float:
    """How far people on one subject are from all people, as a root mean square beyond sampling."""
    users = subjects.people.users
    mean, error = estimate_mean(table, users)
    estimates = np.array([estimate_mean(table.iloc[rows], users[rows]) for rows in subjects.rows])
    return (
        estimate_effect(estimates[:, 0] - mean, np.hypot(estimates[:, 1], error)) if len(estimates) else 0.0
    )


def estimate_tidied(people: Side, system: Side) -> tuple[float, float, float]:
    """Share of people's messages that would have to be tidied for as few untidy ones, with its 95 % interval.

    Untidy is what ``gap.calibration.tidy`` would change: a lower-case beginning, "i", no mark at the end. 1:
    as tidy as can be, 0 like people, below 0 less tidy.
    """
    (real, error), (simulated, other) = (estimate_mean(*count_untidy(side)) for side in (people, system))
    ratio = simulated / real if real else np.nan
    spread = np.hypot(other / real, ratio * error / real) if real else np.nan
    return 1 - ratio, 1 - ratio - 1.96 * spread, 1 - ratio + 1.96 * spread


def count_untidy(side: Side) -> tuple[pd.DataFrame, np.ndarray]:
    """Of each conversation how many of its messages are untidy, and its user."""
    rows = [(sum(tidy(text) != text for text in texts), len(texts)) for texts in side.messages]
    return pd.DataFrame(rows, columns=["sum", "n"]), side.users
