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
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from realusersim_nb import style
from realusersim_nb.corpus import group_by_user
from realusersim_nb.records import Conversation

NAME = "measured"
FIRST = 5  # user messages of each side, as many as a roll-out has
FOLDS = 5
MIN_USERS = 100  # with two conversations each; fewer teach nothing that holds
FACETS = {
    "D2": ["starts_lower", "lower_i", "ends_stop", "unmarked_question", "please", "thanks", "shorthand", "hedges"],
    "D4": ["opens_with_filler", "repeats", "follows_up", "is_question", "asks_again"],
    "D5": ["words", "opening_words", "growth"],
}
"""The features by which each dimension is judged; those of D5 are logarithms of word counts."""


@dataclass
class MeasuredJudge:
    """A trained judge: for each dimension the regression on differences, and the population's figures."""

    population: dict[str, np.ndarray]
    models: dict[str, Pipeline]

    def compare(self, reference: list[str], candidate: list[str]) -> dict[str, float]:
        """How likely (0..1) both lists of messages are one person's, by dimension."""
        sides = pd.DataFrame([sketch(reference), sketch(candidate)])
        apart = measure_differences(sides.iloc[[0]], sides.iloc[[1]], self.population)
        return {d: round(float(model.predict_proba(apart[FACETS[d]])[0, 1]), 6) for d, model in self.models.items()}


def sketch(texts: list[str]) -> dict[str, float]:
    """The figures of one side: means of the style features, and the pace in logarithms of words."""
    rows = np.array(style.measure_texts(texts[:FIRST]))
    figures = {name: mean_of(rows[:, i]) for i, name in enumerate(style.BY_NAME)}
    words = np.log1p(rows[:, list(style.BY_NAME).index("words")])
    growth = words[1:].mean() - words[0] if len(words) > 1 else float("nan")
    return figures | {"words": float(np.median(words)), "opening_words": float(words[0]), "growth": float(growth)}


def mean_of(values: np.ndarray) -> float:
    """The mean of what is there; NaN of nothing."""
    return float(np.nanmean(values)) if not np.isnan(values).all() else float("nan")


def measure_differences(one: pd.DataFrame, other: pd.DataFrame, population: dict[str, np.ndarray]) -> pd.DataFrame:
    """Differences of two tables of sketches, row by row, as shares of the population between them (0..1).

    What neither side shows is no difference, what only one shows is not known (NaN).
    """
    apart = {}
    for name, values in population.items():
        places = [
            np.searchsorted(values, side[name], side="left") + np.searchsorted(values, side[name], side="right")
            for side in (one, other)
        ]
        missing = np.array([side[name].isna() for side in (one, other)])
        difference = np.abs(places[0] - places[1]) / 2 / max(len(values), 1)
        apart[name] = np.where(missing.all(axis=0), 0.0, np.where(missing.any(axis=0), np.nan, difference))
    return pd.DataFrame(apart)


# --- training ----------------------------------------------------------------------------------


def draw_pairs(conversations: list[Conversation], *, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Sketches of two conversations of every user who has two, one table each, index user id."""
    own = {user: talks for user, talks in group_by_user(conversations).items() if len(talks) > 1}
    rng = np.random.default_rng(seed)
    chosen = {user: rng.choice(len(talks), 2, replace=False) for user, talks in own.items()}
    sides = [{user: sketch(own[user][pair[side]].user_messages) for user, pair in chosen.items()} for side in (0, 1)]
    return pd.DataFrame.from_dict(sides[0], orient="index"), pd.DataFrame.from_dict(sides[1], orient="index")


def train(one: pd.DataFrame, other: pd.DataFrame, *, seed: int) -> MeasuredJudge:
    """A judge from pairs: row by row the same person, shifted by chance different people.

    ValueError for fewer users than can teach anything that holds.
    """
    if len(one) < MIN_USERS * (1 - 1 / FOLDS):
        raise ValueError(
            f"measured judge: {len(one)} users have two conversations, {MIN_USERS} are needed; give a larger corpus."
        )
    names = sorted({name for facet in FACETS.values() for name in facet})
    population = {name: np.sort(pd.concat([one[name], other[name]]).dropna().to_numpy()) for name in names}
    same = measure_differences(one, other, population)
    different = measure_differences(one, shift(other, seed=seed), population)
    apart, is_same = pd.concat([same, different]), np.repeat([1, 0], len(one))
    models = {
        d: make_pipeline(SimpleImputer(strategy="median", keep_empty_features=True), StandardScaler(), LogisticRegression()).fit(apart[facet], is_same)
        for d, facet in FACETS.items()
    }  # fmt: skip
    return MeasuredJudge(population, models)


def shift(sides: pd.DataFrame, *, seed: int) -> pd.DataFrame:
    """The rows in a cyclic order of chance, so that each stands beside somebody else's."""
    order = np.random.default_rng(seed).permutation(len(sides))
    partner = np.empty(len(sides), int)
    partner[order] = np.roll(order, 1)
    return sides.iloc[partner]


def evaluate(one: pd.DataFrame, other: pd.DataFrame, *, seed: int, draws: int = 500) -> pd.DataFrame:
    """How well the judge tells one person from two, on users it was not trained on.

    Users are cut into 5 folds; each is judged by a judge trained on the others, strangers drawn
    within the fold. One row a dimension: ``auc`` (0.5 chance, 1 perfect) with its 95 % interval by
    user, ``same_user`` and ``other_user`` (share judged to match: what a perfect simulator and a
    stranger would score), ``n_users``.
    """
    folds = np.random.default_rng(seed).permutation(len(one)) % FOLDS
    found = []
    for fold in range(FOLDS):
        inside = folds == fold
        judge = train(one[~inside], other[~inside], seed=seed)
        for is_same, second in ((1, other[inside]), (0, shift(other[inside], seed=seed))):
            apart = measure_differences(one[inside], second, judge.population)
            likely = {d: model.predict_proba(apart[FACETS[d]])[:, 1] for d, model in judge.models.items()}
            found.append(pd.DataFrame(likely).assign(user=one.index[inside], is_same=is_same))
    table = pd.concat(found, ignore_index=True)
    return pd.DataFrame([{"dimension": d, **describe(table, d, seed=seed, draws=draws)} for d in FACETS]).set_index(
        "dimension"
    )


def describe(table: pd.DataFrame, dimension: str, *, seed: int, draws: int) -> dict[str, float]:
    """One row of ``evaluate``."""
    wide = table.pivot(index="user", columns="is_same", values=dimension).to_numpy()  # columns: other, same
    rng = np.random.default_rng(seed)
    resampled = [measure_auc(wide[rng.integers(0, len(wide), len(wide))]) for _ in range(draws)]
    low, high = np.quantile(resampled, [0.025, 0.975])
    matches = (wide >= 0.5).mean(axis=0)
    return {"auc": measure_auc(wide), "ci_low": low, "ci_high": high, "same_user": matches[1], "other_user": matches[0], "n_users": len(wide)}  # fmt: skip


def measure_auc(likely: np.ndarray) -> float:
    """Area under the ROC curve; columns: likelihoods of different and of same people."""
    return float(roc_auc_score(np.repeat([0, 1], len(likely)), likely.T.ravel()))
