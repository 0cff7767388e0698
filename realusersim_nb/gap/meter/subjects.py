"""Subjects of conversations: what a difference in manner may come from, though nobody writes otherwise.

People who ask for code write unlike people who plan a journey. Both sides are clustered together by their
content words; how much people of one cluster differ from all others is what a change of subject does, as far
as the file has other subjects than the people. Subjects are taken as drawn at random (a random effect), so
nothing is assumed of a subject that no person in the reference talks about.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from scipy import stats
from scipy.sparse import csr_matrix, vstack
from sklearn.cluster import KMeans
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from sklearn.preprocessing import normalize

from realusersim_nb.gap.meter.sides import Side
from realusersim_nb.gap.meter.traits import measure_traits
from realusersim_nb.stats import LEAST

N_SUBJECTS = 10
FEWEST = 25  # conversations of people, below which a subject is no draw
COMMON = 0.2  # share of conversations with a word, from which it is no content
DIMENSIONS = 50
MOST = 1000  # conversations


@dataclass
class Subjects:
    """The subject of each conversation of all ``people`` (``labels``), and how far the system's are others:
    ``shift`` is 0 where content words do not separate both sides, 1 where they always do.
    """

    people: Side
    labels: np.ndarray
    shift: float

    @cached_property
    def rows(self) -> list[np.ndarray]:
        """Of each subject with enough people the rows of these."""
        counts = np.bincount(self.labels, minlength=N_SUBJECTS)
        return [np.flatnonzero(self.labels == c) for c in np.flatnonzero(counts >= FEWEST)]

    @cached_property
    def traits(self) -> pd.DataFrame:
        """The traits of all people's conversations (``traits.measure_traits``)."""
        return measure_traits(self.people)


def find_subjects(people: Side, system: Side, *, seed: int) -> Subjects:
    """The subjects of both sides, by k-means of content words (LSA); one in all where there are none."""
    texts = [" ".join(messages) for messages in [*people.messages, *system.messages]]
    words = {"stop_words": list(ENGLISH_STOP_WORDS), "token_pattern": r"(?u)\b[^\W\d_]{3,}\b"}
    vectorizer = TfidfVectorizer(sublinear_tf=True, min_df=2, max_df=COMMON, max_features=20_000, **words)
    try:
        weights = vectorizer.fit_transform(texts)
    except ValueError:  # no word is left
        weights = csr_matrix((len(texts), 0))
    if weights.shape[1] <= N_SUBJECTS:
        return Subjects(people, np.zeros(len(people), dtype=int), 1.0)
    reduced = TruncatedSVD(min(DIMENSIONS, weights.shape[1] - 1), random_state=seed).fit_transform(weights)
    labels = KMeans(N_SUBJECTS, n_init=3, random_state=seed).fit_predict(normalize(reduced))
    shift = measure_shift(
        weights[: len(people)], weights[len(people) :], people.users, system.users, seed=seed
    )
    return Subjects(people, labels[: len(people)], shift)


def measure_shift(
    people: csr_matrix, system: csr_matrix, users: np.ndarray, others: np.ndarray, *, seed: int
) -> float:
    """How well content words alone separate two sides, beyond chance: 2 AUC - 1 (0..1).

    1 with fewer than ten users a side, since nothing is then known of subjects.
    """
    if min(len(set(users)), len(set(others))) < LEAST:
        return 1.0
    rng, n = np.random.default_rng(seed), min(people.shape[0], system.shape[0], MOST)
    one, other = (rng.permutation(table.shape[0])[:n] for table in (people, system))
    is_system, groups = np.repeat([0, 1], n), np.r_[users[one], others[other] + users.max() + 1]
    folds = StratifiedGroupKFold(5, shuffle=True, random_state=seed)
    model, rows = LogisticRegression(max_iter=1000), vstack([people[one], system[other]]).tocsr()
    scores = cross_val_predict(model, rows, is_system, groups=groups, cv=folds, method="decision_function")
    chance = 2 * stats.norm.ppf(0.95) * np.sqrt((2 * n + 1) / (12 * n**2))
    return float(np.clip((2 * roc_auc_score(is_system, scores) - 1 - chance) / (1 - chance), 0, 1))


def compute_p(
    difference: float, sampling: float, subject: float, n_subjects: int, *, n_draws: float = np.inf
) -> float:
    """Two-sided p of a difference with a standard error by ``sampling`` and another by ``subject``.

    The degrees of freedom are Welch's, of the number of subjects and of the draws that gave ``sampling``.
    """
    error = np.hypot(sampling, subject)
    if not error > 0:
        return float("nan") if difference else 1.0
    unsure = subject**4 / max(n_subjects - 1, 1) + sampling**4 / (n_draws - 1)
    freedom = error**4 / unsure if unsure > 0 else np.inf
    return float(2 * stats.t.sf(abs(difference) / error, freedom))


def estimate_effect(by_subject: np.ndarray, errors: np.ndarray) -> float:
    """How far people of one subject are from all others, as a root mean square beyond sampling (>= 0)."""
    known = np.isfinite(by_subject) & np.isfinite(errors)
    if not known.any():
        return 0.0
    return float(np.sqrt(max((by_subject[known] ** 2 - errors[known] ** 2).mean(), 0)))
