"""A judge that needs no model: how alike are two people's messages in what can be measured?

It is trained on real pairs: two conversations of one person, and two of different people. For each
of D2 (style and mechanics), D4 (interaction) and D5 (pacing) a logistic regression on the
differences of the features says how likely it is the same person; a likelihood of one half or more
is a match. D1 and D3 (mood, knowledge) cannot be measured this way and stay without a verdict.

Ours, not the paper's. Its worth is its AUC on pairs of people it has not seen (``evaluate``).
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from realusersim_nb import stats
from realusersim_nb.corpus.splits import assign_others, group_by_user
from realusersim_nb.errors import InputError
from realusersim_nb.profiles import style
from realusersim_nb.records import Conversation

FIRST = 5  # user messages of each side, as many as a roll-out has
FOLDS = 5
MIN_USERS = 100  # with two conversations each; fewer teach nothing that holds
FEATURES_BY_DIMENSION = {
    "D2": [
        "starts_lower",
        "lower_i",
        "ends_stop",
        "unmarked_question",
        "please",
        "thanks",
        "shorthand",
        "hedges",
    ],
    "D4": ["opens_with_filler", "repeats", "follows_up", "is_question", "asks_again"],
    "D5": ["words", "opening_words", "growth"],
}
"""The features by which each dimension is judged; those of D5 are logarithms of word counts."""
FEATURES = sorted({name for features in FEATURES_BY_DIMENSION.values() for name in features})


@dataclass
class AuthorshipJudge:
    """A trained judge: the pairs of conversations it has learnt from, and for each dimension a regression on differences."""

    pairs: tuple[pd.DataFrame, pd.DataFrame]
    population: pd.DataFrame
    models: dict[str, Pipeline]

    def __call__(self, originals: list[list[str]], candidates: list[list[str]]) -> pd.DataFrame:
        """How likely (0..1) the messages of each pair are one person's: one row a pair, one column a dimension."""
        return self.compare(sketch_all(originals), sketch_all(candidates)).round(6)

    def compare(self, one: pd.DataFrame, other: pd.DataFrame) -> pd.DataFrame:
        """The same of sketches."""
        apart = measure_differences(one, other, self.population)
        return pd.DataFrame(
            {
                d: model.predict_proba(apart[FEATURES_BY_DIMENSION[d]])[:, 1]
                for d, model in self.models.items()
            }
        )


def sketch_all(texts: list[list[str]]) -> pd.DataFrame:
    """The figures of each list of messages: one row a list."""
    return pd.DataFrame([sketch(own) for own in texts])[FEATURES]


def sketch(texts: list[str]) -> dict[str, float]:
    """The figures of one side: means of the style features, and the pace in logarithms of words."""
    rows = pd.DataFrame(style.measure_texts(texts[:FIRST]), columns=list(style.BY_NAME))
    words = np.log1p(rows["words"].to_numpy())
    growth = words[1:].mean() - words[0] if len(words) > 1 else float("nan")
    return rows.mean().to_dict() | {"words": np.median(words), "opening_words": words[0], "growth": growth}


def measure_differences(one: pd.DataFrame, other: pd.DataFrame, population: pd.DataFrame) -> pd.DataFrame:
    """Differences of two tables of sketches, row by row, as shares of the population between them (0..1).

    What neither side shows is no difference, what only one shows is not known (NaN).
    """
    one, other = one.reset_index(drop=True), other.reset_index(drop=True)
    apart = (style.compute_percentiles(one, population) - style.compute_percentiles(other, population)).abs()
    return apart.mask(one.isna() & other.isna(), 0.0)


# --- training ----------------------------------------------------------------------------------


def learn_authorship(people: list[Conversation], *, seed: int) -> AuthorshipJudge:
    """A judge from the conversations of people whom it will not judge. ValueError if too few have two."""
    return train_judge(*draw_training_pairs(people, seed=seed), seed=seed)


def draw_training_pairs(people: list[Conversation], *, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Sketches of two conversations of everybody who has two, one table each, index user id.

    ValueError for fewer people than can teach anything that holds.
    """
    own = {user: talks for user, talks in group_by_user(people).items() if len(talks) > 1}
    if len(own) < MIN_USERS:
        raise InputError(
            f"measured judge: {len(own)} users have two conversations, {MIN_USERS} are needed; give a larger corpus."
        )
    rng = np.random.default_rng(seed)
    pairs = [
        [talks[i].user_messages for i in rng.choice(len(talks), 2, replace=False)] for talks in own.values()
    ]
    one, other = (sketch_all([pair[side] for pair in pairs]).set_axis(own) for side in (0, 1))
    return one, other


def train_judge(one: pd.DataFrame, other: pd.DataFrame, *, seed: int) -> AuthorshipJudge:
    """A judge from pairs: row by row the same person, swapped different people."""
    population = pd.concat([one, other])
    same = measure_differences(one, other, population)
    different = measure_differences(one, swap_people(other, seed=seed), population)
    apart, is_same = pd.concat([same, different]), np.repeat([1, 0], len(one))
    regression = make_pipeline(
        SimpleImputer(strategy="median", keep_empty_features=True), StandardScaler(), LogisticRegression()
    )
    return AuthorshipJudge(
        (one, other),
        population,
        {d: clone(regression).fit(apart[facet], is_same) for d, facet in FEATURES_BY_DIMENSION.items()},
    )


def swap_people(sides: pd.DataFrame, *, seed: int) -> pd.DataFrame:
    """The rows in another order, so that each stands beside somebody else's."""
    return sides.loc[list(map(assign_others(list(sides.index), seed=seed).get, sides.index))]


def evaluate_authorship(judge: AuthorshipJudge, *, seed: int) -> pd.DataFrame:
    """How well such a judge tells one person from two, on users it was not trained on.

    The users of its pairs are cut into 5 folds; each is judged by a judge trained on the others, strangers drawn
    within the fold. One row a dimension: ``auc`` (0.5 chance, 1 perfect) with its 95 % interval by
    user, ``same_user`` and ``other_user`` (share judged to match: what a perfect simulator and a
    stranger would score), ``n_users``.
    """
    one, other = judge.pairs
    folds = np.random.default_rng(seed).permutation(len(one)) % FOLDS
    found = {"other": [], "same": []}
    for fold in range(FOLDS):
        inside = folds == fold
        fresh = train_judge(one[~inside], other[~inside], seed=seed)
        found["same"].append(fresh.compare(one[inside], other[inside]))
        found["other"].append(fresh.compare(one[inside], swap_people(other[inside], seed=seed)))
    strangers, selves = (pd.concat(found[kind]) for kind in ("other", "same"))
    rows = [
        {
            "dimension": d,
            **stats.measure_auc(strangers[d].to_numpy(), selves[d].to_numpy(), seed=seed),
            "same_user": (selves[d] >= 0.5).mean(),
            "other_user": (strangers[d] >= 0.5).mean(),
            "n_users": len(one),
        }
        for d in FEATURES_BY_DIMENSION
    ]
    return pd.DataFrame(rows).set_index("dimension")
