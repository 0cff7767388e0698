"""Differences of traits between a system and people, each with an interval, its floor and a test."""

from collections.abc import Callable

import numpy as np
import pandas as pd

from realusersim_nb.gap.calibration import tidy
from realusersim_nb.gap.meter.sides import Side
from realusersim_nb.gap.meter.subjects import Subjects, compute_p, estimate_effect
from realusersim_nb.gap.meter.traits import BY_NAME, TRAITS
from realusersim_nb.stats import LEAST

COLUMNS = "trait label system people difference ci_low ci_high by_subject effect p n_system n_people".split()


def compare_traits(
    people: tuple[pd.DataFrame, np.ndarray], system: tuple[pd.DataFrame, np.ndarray], subjects: Subjects
) -> pd.DataFrame:
    """One row a trait, the largest difference first; ``people`` and ``system`` are traits and users.

    ``system, people``: rates (0..1), of lengths geometric means in words. ``difference`` with ``ci_low,
    ci_high`` (95% by user): of rates system - people, of lengths the ratio system / people. ``by_subject``
    (>= 0): what the difference of subjects alone comes to, in either direction (one standard deviation).
    ``effect``: the logarithm of the ratio of odds, or of lengths. ``p`` is against sampling and subject. With
    fewer than ten users a side interval and p are NaN. ``n_``: messages, or conversations.
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
    subject = subjects.shift * measure_subject_effect(name, subjects, keep_mean)
    n = [int(table[name]["n"].sum()) for table, _ in (system, people)]
    users = tuple(len(set(users[table[name]["n"] > 0])) for table, users in (people, system))
    ends = difference + np.array([-1.96, 1.96]) * (sampling if min(users) >= LEAST else np.nan)
    p = compute_trait_p(name, (real, error), (simulated, other), users, subjects)
    shown = [simulated, real, difference, *ends, subject]
    if BY_NAME[name].is_count:
        return [name, BY_NAME[name].label, *np.exp(shown), difference, p, *n]
    return [name, BY_NAME[name].label, *shown, compute_log_odds(simulated, n[0], real, n[1]), p, *n]


def compute_trait_p(
    name: str,
    people: tuple[float, float],
    system: tuple[float, float],
    users: tuple[int, int],
    subjects: Subjects,
) -> float:
    """p of a difference of means (each with its error), of so many users; NaN with fewer than ten a side.

    Rates are compared as angles, on whose scale rare and frequent traits vary alike. A rate near 0 has no
    spread of its own to go by: at least people's is taken, at as many users. Where no message of people
    shows a trait, or every one does, theirs is that of one message a user.
    """
    if min(users) < LEAST:
        return np.nan
    scale = keep_mean if BY_NAME[name].is_count else turn_to_angle
    (real, error), (simulated, other) = scale(*people), scale(*system)
    error = users[1] ** -0.5 if np.isnan(error) else error
    other = np.fmax(other, error * np.sqrt(users[0] / users[1]))
    subject = subjects.shift * measure_subject_effect(name, subjects, scale)
    sampling = float(np.hypot(error, other))
    return compute_p(simulated - real, sampling, subject, len(subjects.rows), n_draws=min(users))


def keep_mean(mean: float, error: float) -> tuple[float, float]:
    """A mean and its error as they are."""
    return mean, error


def turn_to_angle(rate: float, error: float) -> tuple[float, float]:
    """A rate and its error as an angle (arcsine of the root); no error is known of 0 and 1."""
    rate = np.clip(rate, 0, 1)
    spread = np.sqrt(rate * (1 - rate))
    return 2 * np.arcsin(np.sqrt(rate)), error / spread if spread > 0 else np.nan


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


def measure_subject_effect(
    name: str, subjects: Subjects, scale: Callable[[float, float], tuple[float, float]]
) -> float:
    """How far people on one subject are from all people on a scale: root mean square beyond sampling."""
    table, users = subjects.traits[name], subjects.people.users
    mean, error = scale(*estimate_mean(table, users))
    estimates = np.array([scale(*estimate_mean(table.iloc[r], users[r])) for r in subjects.rows])
    return (
        estimate_effect(estimates[:, 0] - mean, np.hypot(estimates[:, 1], error)) if len(estimates) else 0.0
    )


def estimate_tidied(people: Side, system: Side) -> tuple[float, float, float]:
    """Share of people's messages that would have to be tidied for as few untidy ones, with its 95% interval.

    Untidy is what ``gap.calibration.tidy`` would change: a lower-case beginning, "i", no mark at the end. 1:
    as tidy as can be, 0 like people, below 0 less tidy. No interval with fewer than ten users a side.
    """
    (real, error), (simulated, other) = (estimate_mean(*count_untidy(side)) for side in (people, system))
    ratio = simulated / real if real else np.nan
    is_known = real and min(len(set(side.users)) for side in (people, system)) >= LEAST
    spread = np.hypot(other / real, ratio * error / real) if is_known else np.nan
    return 1 - ratio, 1 - ratio - 1.96 * spread, 1 - ratio + 1.96 * spread


def count_untidy(side: Side) -> tuple[pd.DataFrame, np.ndarray]:
    """Of each conversation how many of its messages are untidy, and its user."""
    rows = [(sum(tidy(text) != text for text in texts), len(texts)) for texts in side.messages]
    return pd.DataFrame(rows, columns=["sum", "n"]), side.users
