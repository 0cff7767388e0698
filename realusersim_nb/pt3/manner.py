"""How unlike the manner of two lists of messages is: what the authorship-verification judge judges by.

Of each style feature two figures: how far apart both lie among people, and whether both lie at the same
end, since two people who share a rare habit are more alike than two who share a common one. And three
likenesses, each the cosine of TF-IDF: of masked n-grams (``words``), of marks and blanks with every word one
sign (``marks``), and of how messages begin and end (``ends``). A likeness counts as far as it exceeds that to
other people, in standard deviations and from both sides (the symmetric score normalisation of speaker
verification), for short and plain messages are somewhat like everybody's.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import TfidfVectorizer

from realusersim_nb import style
from realusersim_nb.style.ngrams import find_common_words, list_ends, list_marks, list_ngrams

FEATURES_BY_DIMENSION = {
    "D2": (
        "starts_lower lower_i lower_sentences inner_capital ends_stop ends_period no_marks unmarked_question "
        "unmarked_order commas colons quotes line_breaks please thanks shorthand hedges contracts "
        "drops_apostrophe drops_articles"
    ).split(),
    "D4": "opens_with_filler repeats follows_up is_question asks_again".split(),
    "D5": "words opening_words growth".split(),
}
"""The features by which each dimension is judged; those of D5 are logarithms of word counts."""
FEATURES = sorted({name for features in FEATURES_BY_DIMENSION.values() for name in features})
LIKENESSES = ["words_alike", "marks_alike", "ends_alike"]
ALL = "all"  # dimensions together: is it one person?
COHORT = 400  # lists of other people's messages that a likeness is measured against
SELF = 0.999  # cosine from which a list of the cohort is the same one


def name_columns(dimension: str) -> list[str]:
    """The columns of ``measure_differences`` that a dimension is judged by; ``all``: all of them."""
    features = FEATURES if dimension == ALL else FEATURES_BY_DIMENSION[dimension]
    both = [f"both_{name}" for name in features]
    return [*features, *both, *(LIKENESSES if dimension in ("D2", ALL) else [])]


def sketch_all(texts: list[list[str]]) -> pd.DataFrame:
    """The figures of each list of messages, and its ``texts``: one row a list."""
    return pd.DataFrame(map(sketch, texts))[FEATURES].assign(texts=texts)


def sketch(texts: list[str]) -> dict[str, float]:
    """The figures of one side: means of the style features, and the pace in logarithms of words."""
    rows = style.measure_messages(texts)
    words = np.log1p(rows["words"].to_numpy())
    growth = words[1:].mean() - words[0] if len(words) > 1 else np.nan
    return rows.mean().to_dict() | {"words": np.median(words), "opening_words": words[0], "growth": growth}


@dataclass
class Side:
    """One of two tables of sketches, made ready: places among people (0..1), and by likeness the TF-IDF
    vectors with the mean and spread of their cosines with other people's.
    """

    places: pd.DataFrame
    vectors: dict[str, tuple[csr_matrix, np.ndarray, np.ndarray]]

    def take(self, rows: np.ndarray) -> "Side":
        """The side with these rows, in this order."""
        vectors = {name: tuple(array[rows] for array in side) for name, side in self.vectors.items()}
        return Side(self.places.iloc[rows].reset_index(drop=True), vectors)


class Population:
    """The people among whom manner is measured: their sketches, and the weights of their n-grams."""

    def __init__(self, sketches: pd.DataFrame, *, seed: int):
        texts = sketches["texts"].tolist()
        common = find_common_words(text for side in texts for text in side)
        listers = [partial(list_ngrams, common=common), list_marks, partial(list_ends, common=common)]
        drawn = np.random.default_rng(seed).permutation(len(texts))[:COHORT]
        self.sketches, self.weights, self.cohort = sketches, {}, {}
        for name, lister in zip(LIKENESSES, listers, strict=True):
            weights = TfidfVectorizer(analyzer=lister, sublinear_tf=True, min_df=2)
            self.cohort[name], self.weights[name] = weights.fit_transform(texts)[drawn], weights

    def place(self, sketches: pd.DataFrame) -> Side:
        """A table of sketches as one side of a comparison."""
        places = style.compute_percentiles(sketches[FEATURES], self.sketches[FEATURES])
        vectors = {name: self._embed(name, sketches["texts"]) for name in LIKENESSES}
        return Side(places.reset_index(drop=True), vectors)

    def _embed(self, name: str, texts: pd.Series) -> tuple[csr_matrix, np.ndarray, np.ndarray]:
        """The vectors of lists of messages, with mean and spread of their cosines with the cohort."""
        vectors = self.weights[name].transform(texts)
        others = (vectors @ self.cohort[name].T).toarray()
        others = np.ma.masked_greater(others, SELF)
        return vectors, others.mean(axis=1).filled(0), np.maximum(others.std(axis=1).filled(1), 1e-3)


def measure_differences(one: Side, other: Side) -> pd.DataFrame:
    """Two sides row by row: differences of the features as shares of the population between them (0..1),
    whether ``both_`` lie at the same end of it (-0.25 to 0.25), and the LIKENESSES.

    What neither side shows is no difference, what only one shows is not known (NaN).
    """
    left, right = one.places, other.places
    gaps = (left - right).abs().mask(left.isna() & right.isna(), 0.0)
    both = ((left - 0.5) * (right - 0.5)).fillna(0.0).add_prefix("both_")
    alike = {}
    for name in LIKENESSES:
        (left, mean, spread), (right, other_mean, other_spread) = one.vectors[name], other.vectors[name]
        cosines = np.asarray(left.multiply(right).sum(axis=1)).ravel()
        alike[name] = (cosines - mean) / spread + (cosines - other_mean) / other_spread
    return pd.concat([gaps, both], axis=1).assign(**alike)
