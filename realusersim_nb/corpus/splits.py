"""Conversations grouped by user, users drawn, and conversations held out for the benchmark."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Literal

import numpy as np
import pandas as pd

from realusersim_nb.corpus.conversations import (
    Conversations,
    UserGroups,
    count_messages,
    find_days,
    number_users,
    pick,
)
from realusersim_nb.errors import InputError
from realusersim_nb.records import Conversation

Talks = Sequence[Conversation]  # a list, or conversations on disk that read like one
Split = tuple[Talks, Talks]


def group_by_user(conversations: Talks) -> Mapping[str, Talks]:
    """Conversations of each user, in corpus order."""
    if isinstance(conversations, Conversations):
        return UserGroups(conversations)
    groups = {}
    for conversation in conversations:
        groups.setdefault(conversation.user_id, []).append(conversation)
    return groups


def draw_users(conversations: Talks, n_users: int | None, *, seed: int) -> Talks:
    """The conversations of a seeded draw of users; all of them if ``n_users`` is None."""
    if n_users is None:
        return conversations
    numbers, users = number_users(conversations)
    drawn = pd.Series(np.arange(len(users))).sample(min(n_users, len(users)), random_state=seed)
    return pick(conversations, np.flatnonzero(np.isin(numbers, drawn)))


def hold_out(
    conversations: Talks,
    *,
    seed: int,
    most: int | None = None,
    anywhere: bool = False,
    session: Literal["any", "same", "cross"] = "any",
) -> Split:
    """Split into (for profiles, held out for cases): one conversation of each user who has more.

    Profiles never see a held-out conversation, so no example can leak into a case. A user's only one is for
    the profile, and none that continues an earlier one is held out, since a case begins where one begins.
    With ``anywhere`` that may be held out too, so that both sides have the same mix of positions. With
    ``session``, what is held out and what is for the profile are of the ``same`` day (unknown days are one),
    or of others (``cross``). Profiles get only the first ``most`` messages of each user (None: all). Both
    sides go user by user. InputError if no conversation says its day and other days are asked for.
    """
    rng, numbers = np.random.default_rng(seed), number_users(conversations)[0]
    order, is_held_out = np.argsort(numbers, kind="stable"), np.zeros(len(numbers), dtype=bool)
    is_opening, is_left_out, days = ~find_continued(conversations) | anywhere, is_held_out.copy(), None
    if session != "any":
        days = find_days(conversations)
        if session == "cross" and not days.any():
            expected = "expected a corpus that does, as wildchat"
            raise InputError(f"session 'cross': no conversation says its day; {expected}, or session 'same'.")
    for first, last in pairwise([0, *np.cumsum(np.bincount(numbers))]):
        rows = order[first:last]
        openings = rows[is_opening[rows]]
        if days is not None:
            is_same = days[openings][:, None] == days[rows]
            openings = openings[(is_same.sum(1) > 1) if session == "same" else ~is_same.all(1)]
        if last - first > 1 and len(openings):
            chosen = rng.choice(openings)
            is_held_out[chosen] = True
            if days is not None:
                is_left_out[rows] = (days[rows] == days[chosen]) != (session == "same")
    profiled, held_out = order[~(is_held_out | is_left_out)[order]], order[is_held_out[order]]
    limits = None
    if most is not None:
        n = pd.Series(count_messages(conversations)[profiled])
        before = n.groupby(numbers[profiled]).cumsum() - n
        limits = np.minimum(n, most - before).to_numpy()
        profiled, limits = profiled[limits > 0], limits[limits > 0]
    return pick(conversations, profiled, limits), pick(conversations, held_out)


def find_continued(conversations: Talks) -> np.ndarray:
    """Of each conversation whether it continues an earlier one."""
    if isinstance(conversations, Conversations):
        return conversations.places["continues"]
    return np.array([c.continues for c in conversations], dtype=bool)


def split_users(conversations: Talks, *, seed: int) -> Split:
    """Two sets of conversations that have no user in common, each with half of the users."""
    numbers, users = number_users(conversations)
    chosen = np.random.default_rng(seed).permutation(len(users))[: round(len(users) / 2)]
    is_first, order = np.isin(numbers, chosen), np.argsort(numbers, kind="stable")
    return tuple(pick(conversations, order[is_first[order] == side]) for side in (True, False))


def assign_others(users: list[str], *, seed: int) -> dict[str, str]:
    """Give every user another one, each once (a random cycle); InputError for fewer than two users."""
    users = list(dict.fromkeys(users))
    if len(users) < 2:
        raise InputError("each user is paired with another one, and there is only one; raise n_cases.")
    order = [users[i] for i in np.random.default_rng(seed).permutation(len(users))]
    return dict(zip(order, order[1:] + order[:1], strict=True))


def cut_conversation(conversation: Conversation, n: int) -> Conversation:
    """A conversation up to its n-th user message: a fair comparison needs two that could be as long."""
    ends = [i for i, m in enumerate(conversation.messages, 1) if m.role == "user"][n - 1 : n]
    return conversation.model_copy(update={"messages": conversation.messages[: ends[0] if ends else None]})
