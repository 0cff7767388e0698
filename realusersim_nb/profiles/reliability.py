"""Can a measured profile be trusted: is it more than chance, does it hold in conversations that were not
seen, and does it identify its user among others?
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.special import betaln
from sklearn.feature_extraction.text import TfidfVectorizer

from realusersim_nb import stats, style
from realusersim_nb.corpus.splits import draw_users, group_by_user, hold_out
from realusersim_nb.errors import InputError
from realusersim_nb.profiles.commands import COMMANDED, choose_habits
from realusersim_nb.profiles.rates import SURENESS, count_users, fit_population, update_prior
from realusersim_nb.records import Conversation
from realusersim_nb.style.ngrams import compare_ngrams, mark_copies

SIZES = (1, 2, 3, 5, 8, 12, 20)
MIN_USERS = 30  # for a correlation
TOP_K = (1, 5)
N_NEAREST = 5  # strangers nearest in topic
MAX_COMPARED = 2000  # users, since each is compared with each; more are drawn from
MOST_USERS = 20_000  # among whom those are drawn
ATTRIBUTION_COLUMNS = "rate ci_low ci_high chance n_users".split()
KNOWN = {"2 or 3": 3, "4 or 5": 5, "6 to 10": 10, "11 to 20": 20, "more than 20": np.inf}
"""Messages that a command rests on (those that can show its feature), by name and the most of each class."""


def measure_split_half(
    messages: pd.DataFrame, *, sizes: tuple[int, ...] = SIZES, seed: int = 0
) -> pd.DataFrame:
    """How well one half of a user's messages predicts the other half, by feature and size of the half.

    ``messages`` of ``style.measure_conversations``. For each size m, every user with at least 2 m messages
    gives two random halves of m; ``r`` is Spearman's correlation of the two halves' figures over users (1: a
    stable trait; 0: chance). Columns ``feature, n_messages, n_users, r``; a row needs at least 30 users.
    """
    drawn, starts, counts = style.shuffle_by_user(messages["user_id"], seed=seed)
    rows = []
    for m in sizes:
        enough = starts[counts >= 2 * m]
        groups = np.repeat(np.arange(len(enough), dtype=np.int32), m)
        halves = [drawn[(enough[:, None] + range(k, k + m)).ravel()] for k in (0, m)]
        for feature in style.FEATURES:
            values, how = messages[feature.name].to_numpy(), {"median": feature.is_count}
            sides = [style.average_groups(values[half], groups, len(enough), **how) for half in halves]
            pair = pd.DataFrame(dict(enumerate(sides))).dropna()
            if len(pair) >= MIN_USERS and (pair.nunique() > 1).all():
                rows.append((feature.name, m, len(pair), pair.corr("spearman").iloc[0, 1]))
    return pd.DataFrame(rows, columns=["feature", "n_messages", "n_users", "r"])


def shuffle_users(messages: pd.DataFrame, *, seed: int = 0) -> pd.DataFrame:
    """The same messages assigned to users at random, to each as many: users without habits."""
    dealt = messages.copy(deep=False)  # all other columns are the same memory
    dealt["user_id"] = np.random.default_rng(seed).permutation(messages["user_id"])
    return dealt


def name_known(n: pd.Series) -> pd.Series:
    """The class of ``KNOWN`` of each number of messages, as ordered categories."""
    return pd.cut(n, [0, *KNOWN.values()], labels=list(KNOWN))


def measure_false_discovery(
    messages: pd.DataFrame, *, sureness: float = SURENESS, seed: int = 0
) -> pd.DataFrame:
    """Commands of users, and of the same messages dealt out at random by the same priors, which are chance.

    One row a class of ``KNOWN`` (index ``known``; the last row, ``all``): ``commands``, ``dealt``, and
    ``rate`` = dealt / commands, the false discovery rate.
    """
    population = fit_population(messages)
    samples = {"commands": messages, "dealt": shuffle_users(messages, seed=seed)}
    habits = {name: choose_habits(table, population, sureness=sureness) for name, table in samples.items()}
    table = pd.DataFrame(
        {name: name_known(rows["n"]).value_counts(sort=False) for name, rows in habits.items()}
    )
    table.loc["all"] = table.sum()
    return table.assign(rate=table["dealt"] / table["commands"]).rename_axis("known")


def measure_holding(
    messages: pd.DataFrame, unseen: pd.DataFrame, *, sureness: float = SURENESS
) -> pd.DataFrame:
    """Whether each command holds in messages that no profile has seen: is their user again in that fifth?

    One row a command whose user has unseen messages that can show it: the columns of ``rates.find_habits``,
    ``user_id``, ``holds`` (the rate of the unseen messages lies in the same fifth of the population's true
    rates) and ``stranger`` (0..1, the share of all users' unseen messages of which that would be so).
    """
    population, names = fit_population(messages), pd.factorize(messages["user_id"])[1]
    habits = choose_habits(messages, population, sureness=sureness)
    habits["user_id"] = names[habits["user"]]
    users, unseen_names = pd.factorize(unseen["user_id"])
    place, tables = pd.Series(range(len(unseen_names)), unseen_names), []
    for (feature, is_high), rows in habits[habits["user_id"].isin(place.index)].groupby(
        ["feature", "is_high"]
    ):
        prior = population[feature]
        counts = count_users(unseen[feature].to_numpy(), users, len(place), is_count=prior.within > 0)
        with np.errstate(invalid="ignore"):
            figures = counts[0] / counts[1]
        is_there = figures >= prior.high if is_high else figures <= prior.low
        known, mine = np.isfinite(figures), place[rows["user_id"]].to_numpy()
        rows = rows.assign(holds=is_there[mine].astype(float), stranger=is_there[known].mean())
        tables.append(rows[known[mine]])
    none = habits.iloc[:0].assign(holds=0.0, stranger=0.0)
    return pd.concat(tables, ignore_index=True) if tables else none


def tabulate_holding(holding: pd.DataFrame, by: str = "known", *, seed: int = 0) -> pd.DataFrame:
    """The share of commands that hold (``measure_holding``), by class of ``KNOWN`` or by ``feature``.

    One row a class, and one for ``all``: ``rate`` with its 95% interval by user, ``stranger``,
    ``n_commands``.
    """
    groups = holding.assign(known=name_known(holding["n"])).groupby(by, observed=True)
    table = {
        name: stats.estimate_rate(rows["holds"], rows["user_id"], seed=seed)
        | {"stranger": rows["stranger"].mean(), "n_commands": len(rows)}
        for name, rows in [*groups, ("all", holding)]
    }
    columns = ["rate", "ci_low", "ci_high", "stranger", "n_commands"]
    return pd.DataFrame.from_dict(table, orient="index")[columns].rename_axis(by)


def measure_sides(
    conversations: Sequence[Conversation], *, seed: int, matched: bool = True, **split: int | str | None
) -> tuple[pd.DataFrame, pd.DataFrame, np.ndarray]:
    """The messages that are known of users and those held out, as measured (``style.measure_conversations``).

    ``matched``: any part of a conversation may be held out, and messages that open one are left out on both
    sides; else as the benchmark holds out, openings only. ``split``: ``most, session`` of
    ``splits.hold_out``. Third, of each unseen message whether it repeats known ones (``find_copies``).
    """
    sides = hold_out(conversations, seed=seed, anywhere=matched, **split)
    known, unseen = map(style.measure_conversations, sides)
    kept = (~(table["is_opening"].to_numpy() & matched) for table in (known, unseen))
    is_known, is_unseen = kept
    return known[is_known], unseen[is_unseen], find_copies(*sides)[is_unseen]


def identify_users(
    conversations: Sequence[Conversation], *, n_candidates: int = 50, seed: int = 0, **split: int | str | None
) -> pd.DataFrame:
    """Do habits tell users apart: authorship attribution by features and by masked n-grams, copies left out.

    Rows of ``attribute_authorship`` by ``split`` (openings held out, matched positions), ``by`` (features
    that commands can say, masked n-grams) and ``strangers`` (drawn by chance, the five nearest in topic).
    Of a large corpus 20,000 users are drawn: more would take memory, and no interval needs them.
    """
    tables, conversations = {}, draw_users(conversations, MOST_USERS, seed=seed)
    for name, matched in (("openings held out", False), ("matched positions", True)):
        known, unseen, copied = measure_sides(conversations, seed=seed, matched=matched, **split)
        likely = compare_features(known, unseen[~copied], seed=seed)
        sides = hold_out(conversations, seed=seed, anywhere=matched, **split)
        alike, topics = compare_texts(*sides, likely.index, later=matched)
        for by, table in (("features", likely.loc[alike.index, alike.index]), ("masked n-grams", alike)):
            for strangers, near in (("drawn by chance", None), ("nearest in topic", topics)):
                settings = {"n_candidates": min(n_candidates, len(alike)), "seed": seed}
                tables[name, by, strangers] = attribute_authorship(table, near, **settings)
    return pd.concat(tables, names=["split", "by", "strangers"])


def compare_features(messages: pd.DataFrame, unseen: pd.DataFrame, *, seed: int = 0) -> pd.DataFrame:
    """How likely each user's unseen messages are for each user's habits: a row a user, a column a candidate.

    The logarithm of the posterior predictive probability, summed over the features that commands can say (up
    to a constant of the row). Of the users in both tables (``style.measure_conversations``), at most 2,000.
    """
    population = fit_population(messages)
    users = draw_compared(messages["user_id"], unseen["user_id"], seed=seed)
    likely = np.zeros((len(users), len(users)))
    for feature in (f for f in COMMANDED if f.name in population):
        prior, counts = population[feature.name], []
        for table in (messages, unseen):
            numbers, known = users.get_indexer(table["user_id"]), table["user_id"].isin(users).to_numpy()
            values = table[feature.name].to_numpy()[known]
            counts += [count_users(values, numbers[known], len(users), is_count=feature.is_count)]
        posterior = update_prior(prior, *counts[0])
        total, n = counts[1][:, :, None]
        if prior.within:
            spread = posterior[1] ** 2 + prior.within**2 / np.maximum(n, 1)
            likely -= (
                0.5 * (np.log(spread) + (total / np.maximum(n, 1) - posterior[0]) ** 2 / spread) * (n > 0)
            )
        else:
            likely += betaln(total + posterior[0], n - total + posterior[1]) - betaln(*posterior)
    return pd.DataFrame(likely, users, users)


def draw_compared(known: pd.Series, unseen: pd.Series, *, seed: int) -> pd.Index:
    """The users in both columns, at most 2,000 of them, drawn by chance."""
    users = pd.Index(unseen.unique()).intersection(pd.Index(known.unique()), sort=False)
    order = np.random.default_rng(seed).permutation(len(users))[:MAX_COMPARED]
    return users[np.sort(order)]


def find_copies(profiled: Sequence[Conversation], held_out: Sequence[Conversation]) -> np.ndarray:
    """Of each message held out (a row of their ``style.measure_conversations``) whether it repeats its user's
    known ones: five words in a row, as in a template. Such a message shows again what was pasted, not a
    habit.
    """
    talks = group_by_user(profiled)
    marks = [
        mark_copies(
            conversation.user_messages,
            [m for talk in talks.get(conversation.user_id, ()) for m in talk.user_messages],
        )
        for conversation in held_out
    ]
    return np.array([mark for marks_of_one in marks for mark in marks_of_one], dtype=bool)


def collect_typed(conversations: Sequence[Conversation], *, later: bool) -> list[str]:
    """What was typed in some conversations, message by message; with ``later``, without the opening ones."""
    return [
        typed
        for conversation in conversations
        for text in conversation.user_messages[int(later and not conversation.continues) :]
        if (typed := style.typed_text(text).strip())
    ]


def compare_texts(
    profiled: Sequence[Conversation],
    held_out: Sequence[Conversation],
    users: pd.Index,
    *,
    later: bool = False,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """How alike users' unseen messages are to each user's known ones (cosine, 0..1), and the users' topics.

    Both with a row a user and a column a candidate: masked n-grams (``style.ngrams``), without unseen
    messages that repeat their user's known ones; and the words of the known messages, with their topic.
    ``later``: without messages that open a conversation. Users who have no message left are in neither.
    """
    known, unseen, kept = [], [], []
    talks, unseen_talks = group_by_user(profiled), group_by_user(held_out)
    for user in users:
        before, after = (collect_typed(group[user], later=later) for group in (talks, unseen_talks))
        after = [text for text, copied in zip(after, mark_copies(after, before), strict=True) if not copied]
        if before and after:
            known, unseen, kept = [*known, before], [*unseen, after], [*kept, user]
    if len(kept) < 2:
        return pd.DataFrame(), pd.DataFrame()
    words = TfidfVectorizer(stop_words="english", sublinear_tf=True).fit_transform(map("\n".join, known))
    tables = compare_ngrams(known, unseen), (words @ words.T).toarray()
    return tuple(pd.DataFrame(table, kept, kept) for table in tables)


def attribute_authorship(
    likeness: pd.DataFrame, topics: pd.DataFrame | None = None, *, n_candidates: int = 50, seed: int = 0
) -> pd.DataFrame:
    """Top-k accuracy of authorship attribution: is the true author the likeliest of unseen messages?

    ``likeness`` of ``compare_features`` or ``compare_texts``: a row a user's unseen messages, a column a
    candidate. Users are drawn into disjoint groups of ``n_candidates``; with ``topics``, each stands beside
    the five strangers nearest in topic. Ties are drawn. Index ``top`` (1, 5); columns ``rate`` (0..1) with
    its 95% interval over users, ``chance``, ``n_users``. InputError with fewer users than candidates.
    """
    n_candidates = n_candidates if topics is None else min(N_NEAREST + 1, len(likeness))
    if n_candidates < 2:
        return pd.DataFrame(columns=ATTRIBUTION_COLUMNS).rename_axis("top")
    if len(likeness) < n_candidates:
        expected = f"{n_candidates} are needed; raise n_users"
        raise InputError(f"{len(likeness)} users have held-out messages, {expected}.")
    rng, values = np.random.default_rng(seed), likeness.to_numpy()
    users, candidates = (
        draw_groups(len(values), n_candidates, rng) if topics is None else find_nearest(topics)
    )
    ranks = rank_true_author(values[users[:, None], candidates], np.diag(values)[users], rng)
    rows = {}
    for top in TOP_K if topics is None else TOP_K[:1]:
        is_right, user = pd.Series(ranks < top, dtype=float), pd.Series(users)
        accuracy = stats.estimate_rate(is_right, user, seed=seed)
        rows[top] = {**accuracy, "chance": min(1, top / n_candidates), "n_users": len(ranks)}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("top")[ATTRIBUTION_COLUMNS]


def draw_groups(n: int, size: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Users in disjoint groups of a size, and of each the candidates: all of the group."""
    groups = rng.permutation(n)[: n // size * size].reshape(-1, size)
    return groups.ravel(), np.repeat(groups, size, axis=0)


def find_nearest(topics: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """All users, and of each the candidates: they themselves and the five nearest in topic."""
    likeness = topics.to_numpy(copy=True)
    np.fill_diagonal(likeness, np.inf)
    return np.arange(len(likeness)), np.argsort(-likeness, axis=1)[:, : N_NEAREST + 1]


def rank_true_author(values: np.ndarray, true: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """For each row, how many candidates are likelier than the ``true`` one, equals in random order."""
    true = true[:, None]
    return (values > true).sum(1) + rng.integers(0, (values == true).sum(1))
