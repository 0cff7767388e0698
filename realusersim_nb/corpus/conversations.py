"""Conversations of a large corpus, which stay on disk and read like a list."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from realusersim_nb.corpus.curation import split_turns
from realusersim_nb.files import PLACE, Records
from realusersim_nb.records import Conversation

FIELDS = [*PLACE, ("user", np.int32), ("continues", bool), ("day", np.int32), ("n", np.int32)]
"""Of a conversation on disk: its place, the number of its user, its day (``number_day``), and how many user
messages are read of it."""


class Conversations(Records[Conversation]):
    """Conversations on disk; ``places`` has the fields of ``FIELDS``, ``users`` the ids by number."""

    def __init__(self, paths: list[Path], places: np.ndarray, users: np.ndarray):
        super().__init__(Conversation, paths, places)
        self.users = users

    def parse(self, line: bytes, place: np.void) -> Conversation:
        """The conversation in a line, with as many user messages as its place says."""
        return cut_to_messages(super().parse(line, place), int(place["n"]))


class UserGroups(Mapping[str, Conversations]):
    """The conversations of each user by id, in corpus order, without reading them."""

    def __init__(self, conversations: Conversations):
        numbers, users = number_users(conversations)
        self.conversations, self.users = conversations, pd.Index(users)
        self.order, self.ends = np.argsort(numbers, kind="stable"), np.cumsum(np.bincount(numbers))

    def __getitem__(self, user: str) -> Conversations:
        number = self.users.get_loc(user)
        return self.conversations.take(self.order[self.ends[number - 1] if number else 0 : self.ends[number]])

    def __iter__(self) -> Any:
        return iter(self.users)

    def __len__(self) -> int:
        return len(self.users)


def cut_to_messages(conversation: Conversation, n: int) -> Conversation:
    """A conversation up to the reply to its n-th user message; the same object if it has no more."""
    if len(conversation.user_messages) <= n:
        return conversation
    turns = split_turns(conversation.messages)
    kept = turns[: n + (turns[0][0].role != "user")]
    return conversation.model_copy(update={"messages": [message for turn in kept for message in turn]})


def number_users(conversations: Sequence[Conversation]) -> tuple[np.ndarray, np.ndarray]:
    """Of each conversation the number of its user, by first appearance; and the users' ids by number."""
    if isinstance(conversations, Conversations):
        numbers, present = pd.factorize(conversations.places["user"])
        return numbers, conversations.users[present]
    return pd.factorize(np.array([c.user_id for c in conversations], dtype=object))


def count_messages(conversations: Sequence[Conversation]) -> np.ndarray:
    """The number of user messages of each conversation."""
    if isinstance(conversations, Conversations):
        return conversations.places["n"]
    return np.array([len(c.user_messages) for c in conversations], dtype=np.int32)


def number_day(day: str) -> int:
    """Days from 1970 to a day such as ``2023-04-09``; 0 if it is not known."""
    number = pd.to_datetime(day, format="%Y-%m-%d", errors="coerce")
    return 0 if pd.isna(number) else (number - pd.Timestamp(0)).days


def find_days(conversations: Sequence[Conversation]) -> np.ndarray:
    """The day of each conversation (``number_day``)."""
    if isinstance(conversations, Conversations):
        return conversations.places["day"]
    return np.array([number_day(c.day) for c in conversations], dtype=np.int32)


def pick(
    conversations: Sequence[Conversation], rows: np.ndarray, limits: np.ndarray | None = None
) -> Sequence[Conversation]:
    """The conversations at some positions, each up to its limit of user messages (None: whole)."""
    if not isinstance(conversations, Conversations):
        picked = [conversations[i] for i in rows]
        return picked if limits is None else list(map(cut_to_messages, picked, limits))
    picked = conversations.take(rows)
    if limits is not None:
        picked.places["n"] = limits
    return picked
