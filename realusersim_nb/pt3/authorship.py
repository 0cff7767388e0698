"""The authorship-verification judge, which calls no model: how alike are two people's messages?

It is trained on real pairs: two conversations of one person, and two of different people, half of these the
nearest in topic, so that it learns manner and not subject. For each of D2 (style and mechanics), D4
(interaction) and D5 (pacing) a logistic regression on the differences of style features, for D2 also on the
likeness of masked n-grams, marks, and ends of messages (``pt3.manner``), gives the likelihood that it is the
same person; one half or more is a match. D1 and D3 (mood, knowledge) cannot be measured this way and stay
without a verdict.

Ours, not the paper's. It is worth its AUC on pairs of people it has not seen (``evaluate_authorship``).
"""

from collections.abc import Sequence
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

from realusersim_nb import stats
from realusersim_nb.corpus.splits import assign_others, group_by_user
from realusersim_nb.errors import InputError
from realusersim_nb.pt3.manner import (
    ALL,
    FEATURES_BY_DIMENSION,
    Population,
    measure_differences,
    name_columns,
    sketch_all,
)
from realusersim_nb.records import Conversation
from realusersim_nb.style.ngrams import COMMON, compare_ngrams, mark_copies

FIRST = 5  # user messages of each side: as many as a rollout has
FOLDS = 5
POWER_USERS = 200  # of whom the power is measured: more take minutes
MIN_USERS = 100  # with two conversations each; what fewer teach does not hold for others
STRANGERS = 3  # drawn for each person in training, and as many nearest in topic
COUNTS = (1, 2, 3, 5, 8)  # messages a side of ``measure_power``
IMPUTER = SimpleImputer(strategy="median", keep_empty_features=True)
REGRESSION = make_pipeline(
    IMPUTER, StandardScaler(), LogisticRegression(C=0.01, class_weight="balanced", max_iter=500)
)


@dataclass
class AuthorshipJudge:
    """A trained judge: the sketches it has learnt from, by side and all, and one regression a dimension."""

    pairs: tuple[pd.DataFrame, pd.DataFrame]  # two conversations of each user, index user id
    population: Population
    models: dict[str, Pipeline]

    def __call__(self, originals: list[list[str]], candidates: list[list[str]]) -> pd.DataFrame:
        """How likely (0..1) each pair is of one person: a row a pair, a column a dimension."""
        sides = ([texts[:FIRST] for texts in side] for side in (originals, candidates))
        return self.compare(*map(sketch_all, sides)).drop(columns=ALL).round(6)

    def compare(self, one: pd.DataFrame, other: pd.DataFrame) -> pd.DataFrame:
        """The same of sketches."""
        gaps = measure_differences(*map(self.population.place, (one, other)))
        return pd.DataFrame({d: m.predict_proba(gaps[name_columns(d)])[:, 1] for d, m in self.models.items()})


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
        pairs.append([talks[i].user_messages[:FIRST] for i in (order[0], rng.choice(order[1:]))])
    one, other = (sketch_all(side).set_axis(users) for side in zip(*pairs, strict=True))
    return train_judge(one, other, seed=seed)


def train_judge(one: pd.DataFrame, other: pd.DataFrame, *, seed: int) -> AuthorshipJudge:
    """A judge from pairs: row by row the same person; strangers are drawn, by chance and nearest in topic."""
    population = Population(pd.concat([one, other]), seed=seed)
    mine, theirs = map(population.place, (one, other))
    drawn = [draw_strangers(other.index, seed=[seed, n]) for n in range(STRANGERS)]
    rows = [np.arange(len(one)), *drawn, *find_nearest(one, other, n=STRANGERS)]
    gaps = pd.concat([measure_differences(mine, theirs.take(others)) for others in rows])
    is_same = np.repeat([1, 0], [len(one), len(gaps) - len(one)])
    models = {d: clone(REGRESSION).fit(gaps[name_columns(d)], is_same) for d in (*FEATURES_BY_DIMENSION, ALL)}
    return AuthorshipJudge((one, other), population, models)


def draw_strangers(users: pd.Index, *, seed: int | list[int]) -> np.ndarray:
    """For each user the row of another, each row once."""
    others = assign_others(list(users), seed=seed)
    return users.get_indexer([others[user] for user in users])


def find_nearest(one: pd.DataFrame, other: pd.DataFrame, *, n: int = 1) -> np.ndarray:
    """The rows of other people in ``other`` whose words are nearest in topic to each row of ``one``: the
    nearest ones first, then the second, up to the n-th.
    """
    known, unseen = (side["texts"].map("\n".join) for side in (other, one))
    words = TfidfVectorizer(stop_words="english", sublinear_tf=True).fit([*known, *unseen])
    alike = (words.transform(unseen) @ words.transform(known).T).toarray()
    np.fill_diagonal(alike, -1)
    return np.argsort(-alike, axis=1, kind="stable")[:, :n].T


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

    ``auc`` (0.5 chance, 1 perfect) with its 95% interval by user, ``auc_topic`` against the stranger nearest
    in topic with ``topic_low, topic_high``, ``same_user`` and ``other_user`` (share judged to match: the
    score of a perfect simulator and of a stranger), ``n_users``.
    """
    same, different, near = judge_unseen(*judge.pairs, seed=seed)
    rows = {}
    for d in same:
        auc = stats.measure_auc(different[d].to_numpy(), same[d].to_numpy(), seed=seed)
        topic = stats.measure_auc(near[d].to_numpy(), same[d].to_numpy(), seed=seed)
        rates = {"same_user": (same[d] >= 0.5).mean(), "other_user": (different[d] >= 0.5).mean()}
        topics = dict(zip(["auc_topic", "topic_low", "topic_high"], topic.values(), strict=True))
        rows[d] = auc | topics | (dict.fromkeys(rates, np.nan) if d == "delta" else rates)
    table = pd.DataFrame.from_dict(rows, orient="index").assign(n_users=len(same))
    return table.rename_axis("dimension")


def judge_unseen(one: pd.DataFrame, other: pd.DataFrame, *, seed: int) -> list[pd.DataFrame]:
    """Likelihoods of the same person, of a stranger by chance and of the one nearest in topic: a row a user.

    The users are cut into 5 folds; each is judged by a judge trained on the others, strangers drawn within
    the fold. Columns: the dimensions, ``all`` and ``delta``.
    """
    folds = np.random.default_rng(seed).permutation(len(one)) % FOLDS
    chances: list[list[pd.DataFrame]] = [[], [], []]
    for fold in range(FOLDS):
        inside = folds == fold
        fresh = train_judge(one[~inside], other[~inside], seed=seed)
        mine, theirs = one[inside], other[inside]
        rows = [np.arange(len(mine)), draw_strangers(theirs.index, seed=seed), *find_nearest(mine, theirs)]
        for name, others in enumerate(rows):
            side = theirs.iloc[others]
            delta = measure_delta(mine, side, fresh.population.sketches)
            chances[name].append(fresh.compare(mine, side).assign(delta=delta).set_axis(mine.index))
    return list(map(pd.concat, chances))


def measure_power(
    people: list[Conversation], *, counts: Sequence[int] = COUNTS, most: int = POWER_USERS, seed: int
) -> pd.DataFrame:
    """How the judge's AUC grows with the messages seen a side: one row a number of them and ``reader``.

    ``reader``: ``measured`` (all dimensions together) or ``delta``; ``n_messages``; ``auc, ci_low, ci_high``;
    ``auc_topic``; ``n_users``. All rows are of the same users: those whose conversations, dealt to two sides,
    give both the largest of ``counts`` that 100 users have (a seeded draw of at most ``most``); no row if
    none is. Each row is of judges trained on so many messages.
    """
    sides = [deal_sides(talks) for talks in group_by_user(people).values() if len(talks) > 1]
    sizes = np.array([min(map(len, pair)) for pair in sides], dtype=int)
    reached = [n for n in counts if (sizes >= n).sum() >= MIN_USERS]
    kept = [pair for pair, size in zip(sides, sizes, strict=True) if reached and size >= max(reached)]
    kept = [kept[i] for i in np.random.default_rng(seed).permutation(len(kept))[:most]]
    tables = []
    for n in reached:
        cut = [[texts[:n] for texts in side] for side in zip(*kept, strict=True)]
        table = evaluate_authorship(train_judge(*map(sketch_all, cut), seed=seed), seed=seed)
        rows = table.loc[[ALL, "delta"], POWER_COLUMNS[2:]]
        tables.append(rows.rename_axis("reader").rename({ALL: "measured"}).reset_index().assign(n_messages=n))
    return pd.concat(tables)[POWER_COLUMNS] if tables else pd.DataFrame(columns=POWER_COLUMNS)


POWER_COLUMNS = "reader n_messages auc ci_low ci_high auc_topic topic_low topic_high n_users".split()


def deal_sides(talks: Sequence[Conversation]) -> tuple[list[str], list[str]]:
    """The messages of a person's conversations, dealt to two sides by turns, those that open one first."""
    order = sorted(range(len(talks)), key=lambda i: talks[i].continues)
    one, other = ([text for i in order[k::2] for text in talks[i].user_messages] for k in (0, 1))
    return one, other


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
