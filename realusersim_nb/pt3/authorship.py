"""The authorship-verification judge, which calls no model: how alike are two people's messages?

It is trained on real pairs: two conversations of one person, and two of different people. For each of D2
(style and mechanics), D4 (interaction) and D5 (pacing) a logistic regression on the differences of style
features gives the likelihood that it is the same person; one half or more is a match. D1 and D3 (mood,
knowledge) cannot be measured this way and stay without a verdict.

Ours, not the paper's. It is worth its AUC on pairs of people it has not seen (``evaluate_authorship``).
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from realusersim_nb import stats, style
from realusersim_nb.corpus.splits import assign_others, group_by_user
from realusersim_nb.errors import InputError
from realusersim_nb.records import Conversation

FIRST = 5  # user messages of each side, as many as a rollout has
FOLDS = 5
MIN_USERS = 100  # with two conversations each; what fewer teach does not hold for others
FEATURES_BY_DIMENSION = {
    "D2": "starts_lower lower_i ends_stop unmarked_question please thanks shorthand hedges".split(),
    "D4": "opens_with_filler repeats follows_up is_question asks_again".split(),
    "D5": "words opening_words growth".split(),
}
"""The features by which each dimension is judged; those of D5 are logarithms of word counts."""
FEATURES = sorted({name for features in FEATURES_BY_DIMENSION.values() for name in features})
IMPUTER = SimpleImputer(strategy="median", keep_empty_features=True)
REGRESSION = make_pipeline(IMPUTER, StandardScaler(), LogisticRegression())


@dataclass
class AuthorshipJudge:
    """A trained judge: the sketches it has learnt from, by side and all, and one regression a dimension."""

    pairs: tuple[pd.DataFrame, pd.DataFrame]  # two conversations of each user, index user id
    population: pd.DataFrame
    models: dict[str, Pipeline]

    def __call__(self, originals: list[list[str]], candidates: list[list[str]]) -> pd.DataFrame:
        """How likely (0..1) each pair is of one person: a row a pair, a column a dimension."""
        return self.compare(sketch_all(originals), sketch_all(candidates)).round(6)

    def compare(self, one: pd.DataFrame, other: pd.DataFrame) -> pd.DataFrame:
        """The same of sketches."""
        gaps = measure_differences(one, other, self.population)
        chances = {d: m.predict_proba(gaps[FEATURES_BY_DIMENSION[d]])[:, 1] for d, m in self.models.items()}
        return pd.DataFrame(chances)


def sketch_all(texts: list[list[str]]) -> pd.DataFrame:
    """The figures of each list of messages: one row a list."""
    return pd.DataFrame(map(sketch, texts))[FEATURES]


def sketch(texts: list[str]) -> dict[str, float]:
    """The figures of one side: means of the style features, and the pace in logarithms of words."""
    rows = style.measure_messages(texts[:FIRST])
    words = np.log1p(rows["words"].to_numpy())
    growth = words[1:].mean() - words[0] if len(words) > 1 else np.nan
    return rows.mean().to_dict() | {"words": np.median(words), "opening_words": words[0], "growth": growth}


def measure_differences(one: pd.DataFrame, other: pd.DataFrame, population: pd.DataFrame) -> pd.DataFrame:
    """Differences of two tables of sketches, row by row, as shares of the population between them (0..1).

    What neither side shows is no difference, what only one shows is not known (NaN).
    """
    one, other = one.reset_index(drop=True), other.reset_index(drop=True)
    gaps = (style.compute_percentiles(one, population) - style.compute_percentiles(other, population)).abs()
    return gaps.mask(one.isna() & other.isna(), 0.0)


def learn_authorship(people: list[Conversation], *, seed: int) -> AuthorshipJudge:
    """A judge from two conversations a person, of people it will not judge; InputError under MIN_USERS."""
    users = {user: group for user, group in group_by_user(people).items() if len(group) > 1}
    if len(users) < MIN_USERS:
        problem = f"{len(users)} users have two conversations, {MIN_USERS} are needed"
        raise InputError(f"measured judge: {problem}; give a larger corpus.")
    rng = np.random.default_rng(seed)
    pairs = [[c[i].user_messages for i in rng.choice(len(c), 2, replace=False)] for c in users.values()]
    one, other = (sketch_all(side).set_axis(users) for side in zip(*pairs, strict=True))
    return train_judge(one, other, seed=seed)


def train_judge(one: pd.DataFrame, other: pd.DataFrame, *, seed: int) -> AuthorshipJudge:
    """A judge from pairs: row by row the same person, shuffled different people."""
    population = pd.concat([one, other])
    same = measure_differences(one, other, population)
    different = measure_differences(one, shuffle_people(other, seed=seed), population)
    gaps, is_same = pd.concat([same, different]), np.repeat([1, 0], len(one))
    models = {d: clone(REGRESSION).fit(gaps[names], is_same) for d, names in FEATURES_BY_DIMENSION.items()}
    return AuthorshipJudge((one, other), population, models)


def shuffle_people(sides: pd.DataFrame, *, seed: int) -> pd.DataFrame:
    """The rows in another order, each of them in the place of another."""
    return sides.loc[list(map(assign_others(list(sides.index), seed=seed).get, sides.index))]


def evaluate_authorship(judge: AuthorshipJudge, *, seed: int) -> pd.DataFrame:
    """How well such a judge verifies authorship, on users it was not trained on: one row a dimension.

    The users of its pairs are cut into 5 folds; each is judged by a judge trained on the others, strangers
    drawn within the fold. ``auc`` (0.5 chance, 1 perfect) with its 95 % interval by user, ``same_user`` and
    ``other_user`` (share judged to match: the score of a perfect simulator and of a stranger), ``n_users``.
    """
    one, other = judge.pairs
    folds = np.random.default_rng(seed).permutation(len(one)) % FOLDS
    same, different = [], []
    for fold in range(FOLDS):
        inside = folds == fold
        fresh = train_judge(one[~inside], other[~inside], seed=seed)
        same.append(fresh.compare(one[inside], other[inside]))
        different.append(fresh.compare(one[inside], shuffle_people(other[inside], seed=seed)))
    same, different = pd.concat(same), pd.concat(different)
    aucs = {d: stats.measure_auc(different[d].to_numpy(), same[d].to_numpy(), seed=seed) for d in same}
    rates = {"same_user": (same >= 0.5).mean(), "other_user": (different >= 0.5).mean(), "n_users": len(one)}
    return pd.DataFrame.from_dict(aucs, orient="index").assign(**rates).rename_axis("dimension")
