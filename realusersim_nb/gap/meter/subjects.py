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
from sklearn.cluster import KMeans
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS, TfidfVectorizer
from sklearn.preprocessing import normalize

from realusersim_nb.gap.meter.sides import Side
from realusersim_nb.gap.meter.traits import measure_traits

N_SUBJECTS = 10
LEAST = 25  # conversations of people, below which a subject is no draw
COMMON = 0.2  # share of conversations with a word, from which it is no content
DIMENSIONS = 50
DRAWS = 500  # of two mixes that differ by chance


@dataclass
class Subjects:
    """The subject of each conversation of all ``people`` (``labels``) and of the system.

    ``shift`` (0..1): the share of the system that is on other subjects than people, beyond chance.
    """

    people: Side
    labels: np.ndarray
    system_labels: np.ndarray
    shift: float

    @cached_property
    def rows(self) -> list[np.ndarray]:
        """Of each subject with enough people the rows of these."""
        counts = np.bincount(self.labels, minlength=N_SUBJECTS)
        return [np.flatnonzero(self.labels == c) for c in np.flatnonzero(counts >= LEAST)]

    @cached_property
    def traits(self) -> pd.DataFrame:
        """The traits of all people's conversations (``traits.measure_traits``)."""
        return measure_traits(self.people.texts, first=self.people.first)


def find_subjects(people: Side, system: Side, *, seed: int) -> Subjects:
    """The subjects of both sides, by k-means of content words (LSA)."""
    texts = [" ".join(messages) for messages in [*people.messages, *system.messages]]
    words = {"stop_words": list(ENGLISH_STOP_WORDS), "token_pattern": r"(?u)\b[^\W\d_]{3,}\b"}
    vectorizer = TfidfVectorizer(sublinear_tf=True, min_df=2, max_df=COMMON, max_features=20_000, **words)
    weights = vectorizer.fit_transform(texts)
    reduced = TruncatedSVD(min(DIMENSIONS, weights.shape[1] - 1), random_state=seed).fit_transform(weights)
    labels = KMeans(N_SUBJECTS, n_init=3, random_state=seed).fit_predict(normalize(reduced))
    ours, theirs = labels[: len(people)], labels[len(people) :]
    return Subjects(people, ours, theirs, measure_shift(ours, theirs, seed=seed))


def measure_shift(people: np.ndarray, system: np.ndarray, *, seed: int) -> float:
    """The total variation distance of two mixes of subjects, without what chance makes of it (0..1)."""
    p, q = (np.bincount(side, minlength=N_SUBJECTS) / len(side) for side in (people, system))
    pooled = (p * len(people) + q * len(system)) / (len(people) + len(system))
    rng = np.random.default_rng(seed)
    drawn = [rng.multinomial(len(side), pooled, size=DRAWS) / len(side) for side in (people, system)]
    chance = np.quantile(np.abs(drawn[0] - drawn[1]).sum(axis=1) / 2, 0.95)
    return float(np.clip((np.abs(p - q).sum() / 2 - chance) / (1 - chance), 0, 1))


def compute_p(difference: float, sampling: float, subject: float, n_subjects: int) -> float:
    """Two-sided p of a difference with a standard error by ``sampling`` and another by ``subject``.

    The degrees of freedom are Welch's: those of a few subjects count as far as subjects matter.
    """
    error = np.hypot(sampling, subject)
    if not error > 0:
        return float("nan") if difference else 1.0
    share = (subject / error) ** 2
    freedom = (n_subjects - 1) / share**2 if share > 0 and n_subjects > 1 else np.inf
    return float(2 * stats.t.sf(abs(difference) / error, max(freedom, 1)))


def estimate_effect(by_subject: np.ndarray, errors: np.ndarray) -> float:
    """How far people of one subject are from all others, as a root mean square beyond sampling (>= 0)."""
    known = np.isfinite(by_subject) & np.isfinite(errors)
    if not known.any():
        return 0.0
    return float(np.sqrt(max((by_subject[known] ** 2 - errors[known] ** 2).mean(), 0)))
