"""How well a system's conversations are classified by manner, beside people among themselves.

The classifier is logistic regression on masked n-grams (``style.ngrams``), cross-validated with all
conversations of a user in one fold. Its area under the curve (AUC) is 0.5 by chance and 1 if every simulated
conversation looks less human than every real one. How far from 0.5 it comes for no reason, or by the subject
alone, is measured with people on both sides.
"""

from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np
import pandas as pd
from scipy.sparse import csr_matrix, vstack
from scipy.stats import binomtest, norm
from sklearn.base import clone
from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline

from realusersim_nb.gap.meter.differences import estimate_mean
from realusersim_nb.gap.meter.sides import Side
from realusersim_nb.gap.meter.subjects import Subjects, compute_p, estimate_effect
from realusersim_nb.gap.metrics import FOLDS, PROBE
from realusersim_nb.stats import LEAST, draw_disjoint, make_generator
from realusersim_nb.style.ngrams import find_common_words, list_ngrams

MOST = 600  # conversations a side
REPEATS = 12  # of people against people
DRAWS = 400  # of users, for the interval
RARE = 3  # conversations of both sides, below which an n-gram is left out


@dataclass
class Probed:
    """An AUC with its interval by user, ``n`` conversations a side, and each one's score (see ``scores``).

    ``people_low, people_high``: 95% of people against other people; ``subject_high``: what the subject alone
    gives; ``p`` is of a test against both. ``rows`` are the system's conversations, ``scores`` the shares of
    people's that look less simulated (0..1; their mean is the AUC); ``people_error`` is the AUC's standard
    error for the draw of people alone.
    """

    auc: float
    ci_low: float
    ci_high: float
    n: int
    people: float
    people_low: float
    people_high: float
    subject_high: float
    people_error: float
    p: float
    rows: np.ndarray
    scores: np.ndarray
    p_holm: float = float("nan")


def count_ngrams(people: Side, *sides: Side) -> list[csr_matrix]:
    """Counts of masked n-grams of several sides, ``people`` last; the common words are people's.

    No n-gram is left out here, since one that is rare on a small side would be.
    """
    common = find_common_words(text for messages in people.messages for text in messages)
    counter = CountVectorizer(analyzer=partial(list_ngrams, common=common), dtype=np.float32)
    sides = *sides, people
    counts = counter.fit_transform([messages for side in sides for messages in side.messages]).tocsr()
    ends = np.cumsum([0, *map(len, sides)])
    return [counts[start:end] for start, end in pairwise(ends)]


def score_sides(rows: csr_matrix, is_second: np.ndarray, users: np.ndarray, *, seed: int) -> np.ndarray:
    """Out-of-fold probability (0..1) of each row to be of the second side."""
    model = make_pipeline(TfidfTransformer(sublinear_tf=True), clone(PROBE))
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed)
    how = {"groups": users, "cv": folds, "method": "predict_proba"}
    return cross_val_predict(model, rows, is_second, **how)[:, 1]


def compare_rows(
    one: csr_matrix, other: csr_matrix, users: tuple[np.ndarray, np.ndarray], *, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Scores of two sides' rows against each other; ``users`` of both, which have none in common."""
    is_second, rows = np.repeat([0, 1], [one.shape[0], other.shape[0]]), vstack([one, other]).tocsr()
    rows = rows[:, np.bincount(rows.indices, minlength=rows.shape[1]) >= RARE]
    groups = np.r_[users[0], users[1] + users[0].max() + 1]
    scores = score_sides(rows, is_second, groups, seed=seed)
    return scores[: one.shape[0]], scores[one.shape[0] :]


def compute_auc(lower: np.ndarray, higher: np.ndarray) -> float:
    """How often a score of ``higher`` exceeds one of ``lower`` (0..1)."""
    return float(place_scores(lower, higher).mean())


def to_distance(auc: float | np.ndarray, n: int) -> float | np.ndarray:
    """An AUC of ``n`` a side as a distance in standard deviations (0 by chance), on which differences add up.

    1 is taken for half a pair less, since no number of conversations shows more.
    """
    edge = 0.5 / n**2
    return np.sqrt(2) * norm.ppf(np.clip(auc, edge, 1 - edge))


def probe_system(people: Side, system: Side, subjects: Subjects, *, seed: int) -> Probed | None:
    """The probe of a system against people; None with fewer than ten users a side, or where so few people
    wrote so much that there are no two sides of five.
    """
    if min(len(set(people.users)), len(set(system.users))) < LEAST:
        return None
    rng = make_generator(seed, "probe")
    real, simulated, everybody = count_ngrams(subjects.people, people, system)
    n = min(MOST, len(system), len(people))
    rows = np.sort(rng.permutation(len(system))[:n])
    drawn = draw_disjoint(people.users, n, rng)[0]
    sides = people.users[drawn], system.users[rows]
    scores = compare_rows(real[drawn], simulated[rows], sides, seed=seed)
    auc = compute_auc(*scores)
    resampled = resample_auc(scores, sides, rng)
    null = np.array([probe_people(people, real, n, rng, seed=seed + i) for i in range(REPEATS)])
    null = null[np.isfinite(null)]
    if len(null) < 2:
        return None
    one_subject = [probe_subject(subjects.people, everybody, r, rng, seed=seed) for r in subjects.rows]
    distances, spread = (
        to_distance(null, n),
        np.ptp(to_distance(np.quantile(resampled, [0.025, 0.975]), n)) / 3.92,
    )
    by_subject = to_distance(np.array(one_subject), n) - distances.mean()
    subject = subjects.shift * estimate_effect(by_subject, np.full(len(one_subject), distances.std()))
    sampling = max(distances.std(ddof=1), spread)
    p = compute_p(
        to_distance(auc, n) - distances.mean(), sampling, subject, len(one_subject), n_draws=len(null)
    )
    high = norm.cdf((distances.mean() + 2 * subject) / np.sqrt(2))
    ends = np.quantile(resampled, [0.025, 0.975])
    if auc == 1:  # no resample differs: as in the exact interval of a share over users
        ends[0] = binomtest(n_users := min(len(set(side)) for side in sides), n_users).proportion_ci().low
    low_high = np.clip(null.mean() + np.array([-2, 2]) * null.std(ddof=1), 0, 1)
    p = p if auc > null.mean() else 1.0
    error = estimate_people_error(*scores, sides[0])
    return Probed(auc, *ends, n, null.mean(), *low_high, high, error, p, rows, place_scores(*scores))


def estimate_people_error(lower: np.ndarray, higher: np.ndarray, users: np.ndarray) -> float:
    """Standard error of an AUC for the draw of the ``users`` of ``lower``, that of ``higher`` held fixed."""
    placed = pd.DataFrame({"sum": place_scores(higher, lower), "n": 1})
    return estimate_mean(placed, users)[1]


def place_scores(lower: np.ndarray, higher: np.ndarray) -> np.ndarray:
    """Of each score of ``higher`` the share of ``lower`` below it, ties half (0..1)."""
    ordered = np.sort(lower)
    below, not_above = (np.searchsorted(ordered, higher, side=side) for side in ("left", "right"))
    return (below + not_above) / 2 / len(ordered)


def probe_people(people: Side, counts: csr_matrix, n: int, rng: np.random.Generator, *, seed: int) -> float:
    """The AUC of people against others, as many conversations as ``n`` allows; NaN with too few users."""
    one, rest = draw_disjoint(people.users, min(n, int(0.45 * len(people))), rng)
    return compare_people(people, counts, (one, rest[: len(one)]), least=FOLDS, seed=seed)


def probe_subject(
    people: Side, counts: csr_matrix, inside: np.ndarray, rng: np.random.Generator, *, seed: int
) -> float:
    """The AUC of people on one subject against people on others; NaN with too few users."""
    outside = np.flatnonzero(~np.isin(people.users, people.users[inside]))
    n = min(len(inside), len(outside), MOST // 2)
    one, other = rng.permutation(outside)[:n], rng.permutation(inside)[:n]
    return compare_people(people, counts, (one, other), least=LEAST, seed=seed)


def compare_people(
    people: Side, counts: csr_matrix, rows: tuple[np.ndarray, np.ndarray], *, least: int, seed: int
) -> float:
    """The AUC of some conversations of people against others; NaN with fewer than ``least`` users a side."""
    users = people.users[rows[0]], people.users[rows[1]]
    if min(len(set(side)) for side in users) < least:
        return np.nan
    return compute_auc(*compare_rows(counts[rows[0]], counts[rows[1]], users, seed=seed))


def resample_auc(
    scores: tuple[np.ndarray, np.ndarray], users: tuple[np.ndarray, np.ndarray], rng: np.random.Generator
) -> np.ndarray:
    """The AUC of users drawn anew on both sides, one value a draw."""
    groups = [[s[u == user] for user in np.unique(u)] for s, u in zip(scores, users, strict=True)]
    draws = []
    for _ in range(DRAWS):
        drawn = [np.concatenate([g[i] for i in rng.integers(len(g), size=len(g))]) for g in groups]
        draws.append(compute_auc(*drawn))
    return np.array(draws)
