"""The authorship-verification judge, which calls no model: how alike are two people's messages?

It is trained on real pairs: two conversations of one person, and two of different people. For each of D2
(style and mechanics), D4 (interaction) and D5 (pacing) a logistic regression on the differences of style
features, for D2 also on the likeness of masked n-grams (``style.ngrams``), gives the likelihood that it is
the same person; one half or more is a match. D1 and D3 (mood, knowledge) cannot be measured this way and stay
without a verdict.

Ours, not the paper's. It is worth its AUC on pairs of people it has not seen (``evaluate_authorship``).
"""

from dataclasses import dataclass
from functools import reduce
from operator import sub

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from realusersim_nb import stats, style
from realusersim_nb.corpus.splits import assign_others, group_by_user
from realusersim_nb.errors import InputError
from realusersim_nb.records import Conversation
from realusersim_nb.style.ngrams import COMMON, compare_ngrams, learn_weights, mark_copies

FIRST = 5  # user messages of each side: as many as a rollout has
FOLDS = 5
MIN_USERS = 100  # with two conversations each; what fewer teach does not hold for others
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
ALL = "all"  # dimensions together: is it one person?
LIKENESS = "likeness"  # of masked n-grams, cosine
IMPUTER = SimpleImputer(strategy="median", keep_empty_features=True)
REGRESSION = make_pipeline(IMPUTER, StandardScaler(), LogisticRegression())


@dataclass
class AuthorshipJudge:
    """A trained judge: the sketches it has learnt from, by side and all, and one regression a dimension."""

    pairs: tuple[pd.DataFrame, pd.DataFrame]  # two conversations of each user, index user id
    population: pd.DataFrame
    weights: TfidfVectorizer
    models: dict[str, Pipeline]

    def __call__(self, originals: list[list[str]], candidates: list[list[str]]) -> pd.DataFrame:
        """How likely (0..1) each pair is of one person: a row a pair, a column a dimension."""
        chances = self.compare(sketch_all(originals), sketch_all(candidates))
        return chances.drop(columns=ALL).round(6)

    def compare(self, one: pd.DataFrame, other: pd.DataFrame) -> pd.DataFrame:
        """The same of sketches."""
        gaps = measure_differences(one, other, self.population, self.weights)
        return pd.DataFrame({d: m.predict_proba(gaps[name_columns(d)])[:, 1] for d, m in self.models.items()})


def name_columns(dimension: str) -> list[str]:
    """The columns of ``measure_differences`` that a dimension is judged by; ``all``: all of them."""
    if dimension == ALL:
        return [*FEATURES, LIKENESS]
    return FEATURES_BY_DIMENSION[dimension] + [LIKENESS] * (dimension == "D2")


def sketch_all(texts: list[list[str]]) -> pd.DataFrame:
    """The figures of the first messages of each list, and their ``texts``: one row a list."""
    shown = [side[:FIRST] for side in texts]
    return pd.DataFrame(map(sketch, shown))[FEATURES].assign(texts=shown)


def sketch(texts: list[str]) -> dict[str, float]:
    """The figures of one side: means of the style features, and the pace in logarithms of words."""
    rows = style.measure_messages(texts)
    words = np.log1p(rows["words"].to_numpy())
    growth = words[1:].mean() - words[0] if len(words) > 1 else np.nan
    return rows.mean().to_dict() | {"words": np.median(words), "opening_words": words[0], "growth": growth}


def measure_differences(
    one: pd.DataFrame, other: pd.DataFrame, population: pd.DataFrame, weights: TfidfVectorizer
) -> pd.DataFrame:
    """Differences of two tables of sketches, row by row, as shares of the population between them (0..1), and
    their ``likeness`` (0..1).

    What neither side shows is no difference, what only one shows is not known (NaN).
    """
    one, other = one.reset_index(drop=True), other.reset_index(drop=True)
    places = (style.compute_percentiles(side[FEATURES], population[FEATURES]) for side in (one, other))
    gaps = reduce(sub, places).abs().mask(one[FEATURES].isna() & other[FEATURES].isna(), 0.0)
    left, right = (weights.transform(side["texts"]) for side in (one, other))
    return gaps.assign(**{LIKENESS: np.asarray(left.multiply(right).sum(axis=1)).ravel()})


def learn_authorship(people: list[Conversation], *, seed: int) -> AuthorshipJudge:
    """A judge from two conversations a person, of people it will not judge; InputError under MIN_USERS.

    One of the two begins where a conversation begins, as the original of a case does, if the person has such.
    """
    users = {user: group for user, group in group_by_user(people).items() if len(group) > 1}
    if len(users) < MIN_USERS:
        problem = f"{len(users)} users have two conversations, {MIN_USERS} are needed"
        raise InputError(f"measured judge: {problem}; give a larger corpus.")
    rng, pairs = np.random.default_rng(seed), []
    for talks in users.values():
        order = sorted(rng.permutation(len(talks)), key=lambda i: talks[i].continues)
        pairs.append([talks[order[0]].user_messages, talks[rng.choice(order[1:])].user_messages])
    one, other = (sketch_all(side).set_axis(users) for side in zip(*pairs, strict=True))
    return train_judge(one, other, seed=seed)


def train_judge(one: pd.DataFrame, other: pd.DataFrame, *, seed: int) -> AuthorshipJudge:
    """A judge from pairs: row by row the same person, shuffled different people."""
    population = pd.concat([one, other])
    weights = learn_weights(population["texts"].tolist())
    same = measure_differences(one, other, population, weights)
    different = measure_differences(one, shuffle_people(other, seed=seed), population, weights)
    gaps, is_same = pd.concat([same, different]), np.repeat([1, 0], len(one))
    models = {d: clone(REGRESSION).fit(gaps[name_columns(d)], is_same) for d in (*FEATURES_BY_DIMENSION, ALL)}
    return AuthorshipJudge((one, other), population, weights, models)


def shuffle_people(sides: pd.DataFrame, *, seed: int) -> pd.DataFrame:
    """The rows in another order, each of them in the place of another."""
    return sides.loc[list(map(assign_others(list(sides.index), seed=seed).get, sides.index))]


def find_nearest(one: pd.DataFrame, other: pd.DataFrame) -> pd.DataFrame:
    """For each row of ``one``, the row of somebody else in ``other`` whose words are nearest in topic."""
    known, unseen = (side["texts"].map("\n".join) for side in (other, one))
    words = TfidfVectorizer(stop_words="english", sublinear_tf=True).fit([*known, *unseen])
    alike = (words.transform(unseen) @ words.transform(known).T).toarray()
    np.fill_diagonal(alike, -1)
    return other.iloc[alike.argmax(axis=1)]


def measure_delta(one: pd.DataFrame, other: pd.DataFrame, population: pd.DataFrame) -> np.ndarray:
    """Burrows' delta of pairs, below 0: the mean difference of the z-scores of the 150 commonest words."""
    words = CountVectorizer(max_features=COMMON, token_pattern=r"\S+")
    counts = words.fit_transform(population["texts"].map("\n".join)).toarray()
    rates = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    spread, sides = rates.std(0), []
    for side in (one, other):
        counts = words.transform(side["texts"].map("\n".join)).toarray()
        sides.append(counts / np.maximum(counts.sum(1, keepdims=True), 1) / np.maximum(spread, 1e-9))
    return -np.abs(reduce(sub, sides)).mean(axis=1)


def evaluate_authorship(judge: AuthorshipJudge, *, seed: int) -> pd.DataFrame:
    """How well such a judge verifies authorship, on users it was not trained on: one row a dimension, one of
    ``all`` together, and one of Burrows' ``delta``, the standard baseline, which needs no training.

    The users of its pairs are cut into 5 folds; each is judged by a judge trained on the others, strangers
    drawn within the fold. ``auc`` (0.5 chance, 1 perfect) with its 95 % interval by user, ``auc_topic``
    against the stranger nearest in topic, ``same_user`` and ``other_user`` (share judged to match: the score
    of a perfect simulator and of a stranger), ``n_users``.
    """
    one, other = judge.pairs
    folds = np.random.default_rng(seed).permutation(len(one)) % FOLDS
    chances = {name: [] for name in ("same", "different", "near")}
    for fold in range(FOLDS):
        inside = folds == fold
        fresh = train_judge(one[~inside], other[~inside], seed=seed)
        mine, theirs = one[inside], other[inside]
        strangers = {"same": theirs, "different": shuffle_people(theirs, seed=seed)}
        for name, side in (strangers | {"near": find_nearest(mine, theirs)}).items():
            delta = measure_delta(mine, side, fresh.population)
            chances[name].append(fresh.compare(mine, side).assign(delta=delta))
    same, different, near = map(pd.concat, chances.values())
    aucs = {d: stats.measure_auc(different[d].to_numpy(), same[d].to_numpy(), seed=seed) for d in same}
    topic = {d: stats.measure_auc(near[d].to_numpy(), same[d].to_numpy(), seed=seed)["auc"] for d in same}
    sides = {"same_user": same, "other_user": different}
    rates = {name: (table.drop(columns="delta") >= 0.5).mean() for name, table in sides.items()}
    table = pd.DataFrame.from_dict(aucs, orient="index").assign(auc_topic=pd.Series(topic), **rates)
    return table.assign(n_users=len(one)).rename_axis("dimension")


def attribute_transcripts(
    systems: dict[str, list[Conversation]], known: list[Conversation], *, first: int | None = None
) -> pd.DataFrame:
    """To whom are messages given, among all people of these systems, by masked n-grams and without any model?

    ``known``: other conversations of the people. Messages with five words in a row in common with their
    person's known ones are left out, as is who has none left. One row a system and person: ``arm``,
    ``user_id``, ``first`` (1 if the person is the likeliest), ``place`` (0..1: share of others less likely).
    """
    users = {c.user_id for talks in systems.values() for c in talks}
    talks_of = group_by_user([c for c in known if c.user_id in users])
    texts = {user: [text for c in talks for text in c.user_messages] for user, talks in talks_of.items()}
    keys, unseen = [], []
    for name, talks in systems.items():
        for talk in talks:
            written, before = talk.user_messages[:first], texts.get(talk.user_id, [])
            kept = [t for t, copied in zip(written, mark_copies(written, before), strict=True) if not copied]
            if kept and before:
                keys, unseen = [*keys, (name, talk.user_id)], [*unseen, kept]
    table, columns = pd.DataFrame(keys, columns=["arm", "user_id"]), pd.Index(texts)
    alike = compare_ngrams(list(texts.values()), unseen) if unseen else np.zeros((0, len(texts)))
    true = alike[np.arange(len(alike)), columns.get_indexer(table["user_id"])][:, None]
    places = (alike < true).sum(1) / max(len(texts) - 1, 1)
    return table.assign(first=((alike >= true).sum(1) == 1).astype(float), place=places)
