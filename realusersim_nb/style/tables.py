"""Tables of what messages show: of one conversation, of a corpus, of users."""

from collections.abc import Iterable, Sequence
from functools import partial

import numpy as np
import pandas as pd

from realusersim_nb.corpus.conversations import count_messages, number_users
from realusersim_nb.corpus.splits import find_continued
from realusersim_nb.parallel.batches import run_batches
from realusersim_nb.records import Conversation
from realusersim_nb.style.features import BY_NAME, FEATURES, typed_text

PRECISION = {feature.name: np.float32 if feature.is_count else np.float16 for feature in FEATURES}
"""Of the table of many messages: 16 bits hold 0, 1 and NaN exactly, 32 bits the number of words."""


def measure_texts(texts: Iterable[str], *, continues: bool = False) -> list[list[float]]:
    """The features of one conversation's user messages, one list a message, in the order of FEATURES.

    ``continues``: the first of them does not open the conversation, and what came before is not known.
    """
    texts = list(texts)
    typed = [typed_text(text) for text in texts]
    before = ["" if continues else None, *typed]
    return [
        [feature.measure(text if feature.raw else written, previous) for feature in FEATURES]
        for text, written, previous in zip(texts, typed, before, strict=False)
    ]


def measure_messages(messages: Iterable[str]) -> pd.DataFrame:
    """Features of one conversation's user messages: one row a message, one column a feature.

    Only what was typed is measured (``typed_text``). A feature is 1, 0 or NaN, or a number of words.
    """
    return pd.DataFrame(measure_texts(messages), columns=list(BY_NAME))


def measure_conversations(conversations: Sequence[Conversation], *, first: int | None = None) -> pd.DataFrame:
    """Features of every user message, one row a message, without its text.

    Columns ``user_id``, ``conversation`` (its position among these), ``turn`` (among its user messages),
    ``is_opening`` (it is the first of a whole conversation) and the features. ``first`` measures only so many
    user messages of each conversation, so that real and simulated conversations of different length can be
    compared.
    """
    n, (numbers, users) = count_messages(conversations), number_users(conversations)
    n = n if first is None else np.minimum(n, first)
    conversation, ends = np.repeat(np.arange(len(n), dtype=np.int32), n), np.cumsum(n)
    turn = np.arange(len(conversation), dtype=np.int32) - (ends - n).astype(np.int32)[conversation]
    columns, row = {name: np.empty(len(turn), PRECISION[name]) for name in BY_NAME}, 0
    for measured in run_batches(partial(measure_batch, first=first), conversations, "measuring"):
        for name, values in zip(BY_NAME, measured.T, strict=True):
            columns[name][row : row + len(values)] = values
        row += len(measured)
    keys = {"user_id": users[numbers][conversation], "conversation": conversation, "turn": turn}
    keys["is_opening"] = (turn == 0) & ~find_continued(conversations)[conversation]
    return pd.DataFrame(keys | columns, copy=False)


def measure_batch(conversations: Sequence[Conversation], *, first: int | None) -> np.ndarray:
    """The features of all messages of some conversations, a row a message."""
    rows = [
        row
        for conversation in conversations
        for row in measure_texts(conversation.user_messages[:first], continues=conversation.continues)
    ]
    return np.array(rows, dtype=float).reshape(-1, len(FEATURES))


def summarise_users(
    messages: pd.DataFrame, by: str = "user_id", *, rows: np.ndarray | slice = slice(None)
) -> pd.DataFrame:
    """One row a user (or conversation): mean of the shares, median of the word counts.

    ``rows`` of the messages are summarised (all, if not given), one feature after the other, since the
    table of a large corpus is too large to be copied.
    """
    numbers, names = pd.factorize(messages[by].to_numpy()[rows])
    numbers = numbers.astype(np.int32)
    figures = {
        f.name: average_groups(messages[f.name].to_numpy()[rows], numbers, len(names), median=f.is_count)
        for f in FEATURES
    }
    return pd.DataFrame(figures, index=pd.Index(names, name=by))


def average_groups(values: np.ndarray, numbers: np.ndarray, n: int, *, median: bool) -> np.ndarray:
    """Mean or median of the known values of each of n groups, by their group's number; NaN without one."""
    groups = pd.Categorical.from_codes(numbers, categories=range(n))
    grouped = pd.Series(values, dtype=float).groupby(groups, observed=False)
    return (grouped.median() if median else grouped.mean()).to_numpy()


def shuffle_by_user(users: pd.Series, *, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows in random order, but user by user; where each user begins in it, and how many rows each has."""
    numbers = pd.factorize(users)[0].astype(np.int32)
    order = np.random.default_rng(seed).permutation(len(users)).astype(np.int32)
    by_user = np.argsort(numbers[order], kind="stable")
    counts = np.bincount(numbers)
    starts = np.cumsum(counts) - counts
    as_met = np.argsort(by_user[starts])
    return order[by_user], starts[as_met], counts[as_met]


def compute_percentiles(users: pd.DataFrame, population: pd.DataFrame) -> pd.DataFrame:
    """Percentile (0..1, ties share the middle) of every user's features in a population; NaN stays NaN."""

    def rank_feature(values: pd.Series) -> pd.Series:
        known = np.sort(population[values.name].dropna())
        below, not_above = (np.searchsorted(known, values, side=side) for side in ("left", "right"))
        return pd.Series((below + not_above) / 2 / max(len(known), 1), values.index).where(values.notna())

    return users.apply(rank_feature)
