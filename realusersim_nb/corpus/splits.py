"""Conversations grouped by user, users drawn, and conversations held out for the benchmark."""

from collections.abc import Iterable, Iterator

import numpy as np
import pandas as pd

from realusersim_nb.corpus.curation import replace_messages, split_turns
from realusersim_nb.errors import InputError
from realusersim_nb.records import Conversation

Split = tuple[list[Conversation], list[Conversation]]


def group_by_user(conversations: Iterable[Conversation]) -> dict[str, list[Conversation]]:
    """Conversations of each user, in corpus order."""
    groups = {}
    for conversation in conversations:
        groups.setdefault(conversation.user_id, []).append(conversation)
    return groups


def draw_users(conversations: list[Conversation], n_users: int | None, *, seed: int) -> list[Conversation]:
    """The conversations of a seeded draw of users; all of them if ``n_users`` is None."""
    if n_users is None:
        return conversations
    users = pd.Series(list(group_by_user(conversations)))
    drawn = set(users.sample(min(n_users, len(users)), random_state=seed))
    return [c for c in conversations if c.user_id in drawn]


def hold_out(conversations: Iterable[Conversation], *, seed: int, most: int | None = None) -> Split:
    """Split into (for profiles, held out for cases): one conversation of each user who has more.

    Profiles never see a held-out conversation, so no example can leak into a case. A user's only one is
    for the profile, and none that continues an earlier one is held out, since a case begins where one begins.
    Profiles get only the first ``most`` messages of each user (None: all).
    """
    rng = np.random.default_rng(seed)
    profiled, held_out = [], []
    for group in group_by_user(conversations).values():
        openings = [i for i, c in enumerate(group) if not c.continues] if len(group) > 1 else []
        chosen = rng.choice(openings) if openings else None
        profiled += cut_to_messages((c for i, c in enumerate(group) if i != chosen), most)
        held_out += [c for i, c in enumerate(group) if i == chosen]
    return profiled, held_out


def cut_to_messages(conversations: Iterable[Conversation], most: int | None) -> Iterator[Conversation]:
    """The conversations up to the user's first ``most`` messages in all (None: whole)."""
    left = most
    for conversation in conversations:
        if left is None:
            yield conversation
        elif left > 0:
            turns = split_turns(conversation.messages)[:left]
            yield replace_messages(conversation, [message for turn in turns for message in turn])
            left -= len(turns)


def split_users(conversations: Iterable[Conversation], *, share: float = 0.5, seed: int) -> Split:
    """Two sets of conversations that have no user in common, the first with this share of the users."""
    groups = group_by_user(conversations)
    order = np.random.default_rng(seed).permutation(list(groups))
    first = set(order[: round(share * len(order))])
    sides = ([user for user in groups if (user in first) == side] for side in (True, False))
    return tuple([c for user in users for c in groups[user]] for users in sides)


def assign_others(users: list[str], *, seed: int) -> dict[str, str]:
    """Give every user another one, each once (a random cycle); InputError for fewer than two users."""
    users = list(dict.fromkeys(users))
    if len(users) < 2:
        raise InputError("each user is paired with another one, and there is only one; raise n_cases.")
    order = [users[i] for i in np.random.default_rng(seed).permutation(len(users))]
    return dict(zip(order, order[1:] + order[:1], strict=True))
