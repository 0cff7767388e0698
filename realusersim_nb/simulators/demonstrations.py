"""Demonstrations: messages of the person's own, each after a neutral sentence on what it asks for.

A model that sees them as turns of a chat continues in the person's manner, which no description of it
reaches. They are of the messages that profiles are made from, so never of the conversation of a case.
"""

from collections.abc import Iterable

import numpy as np

from realusersim_nb.corpus.conversations import count_messages, number_users
from realusersim_nb.corpus.splits import Talks, group_by_user
from realusersim_nb.errors import InputError
from realusersim_nb.llm.models import Models
from realusersim_nb.records import Conversation, Demonstration, Profile
from realusersim_nb.simulators.sentences import state_requests
from realusersim_nb.style import typed_text
from realusersim_nb.text import cut_at_word

MOST_CHARS = 300  # of one demonstration (ours)


def draw_messages(texts: Iterable[str], n: int, *, seed: int) -> list[str]:
    """A seeded draw of n different messages in the order they were written, without code, long ones cut."""
    typed = dict.fromkeys(cut_at_word(typed_text(text), MOST_CHARS) for text in texts)
    usable = [text for text in typed if text]
    chosen = np.random.default_rng(seed).permutation(len(usable))[:n]
    return [usable[i] for i in sorted(chosen)]


def keep_demonstrable(held_out: Talks, profiled: Talks, *, n: int) -> list[Conversation]:
    """The held-out conversations of users with at least ``n`` messages in what profiles are made from.

    InputError if there are held-out conversations, but none of such a user.
    """
    users, counts = number_users(profiled)[1], count_messages(profiled)
    totals = np.bincount(number_users(profiled)[0], weights=counts, minlength=len(users))
    enough = {user for user, total in zip(users, totals, strict=True) if total >= n}
    kept = [c for c in held_out if c.user_id in enough]
    if len(held_out) and not kept:
        problem = f"no user with a held-out conversation has {n} messages in others"
        raise InputError(f"{problem}; lower n_demonstrations or give a larger corpus.")
    return kept


async def add_demonstrations(
    models: Models, model: str, profiles: dict[str, Profile], conversations: Talks, *, n: int, seed: int
) -> dict[str, Profile]:
    """The profiles with up to ``n`` demonstrations each; ``model`` writes their neutral sentences.

    ``conversations`` are those that the profiles were made from. A message on which no sentence could be
    written is left out.
    """
    talks = group_by_user(conversations)
    texts = {user: [t for c in talks.get(user, ()) for t in c.user_messages] for user in profiles}
    drawn = [(u, text) for u, typed in texts.items() for text in draw_messages(typed, n, seed=seed)]
    outcomes = await state_requests(models, model, [text for _, text in drawn], seed=seed)
    shown: dict[str, list[Demonstration]] = {user: [] for user in profiles}
    for (user, text), outcome in zip(drawn, outcomes, strict=True):
        if outcome.result:
            shown[user].append(Demonstration(wanted=outcome.result[0], typed=text))
    return {u: p.model_copy(update={"demonstrations": shown[u]}) for u, p in profiles.items()}
