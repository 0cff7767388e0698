"""How users leave: served or not, when, and after which reply; simulated users beside people.

A conversation ends **unserved** if the user's last message objects, or asks again for what the reply before
did not give. Who leaves without a word is not seen, in people as little as in simulated users.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pandas as pd

from realusersim_nb import stats, style
from realusersim_nb.gap.facets import ACTS
from realusersim_nb.gap.meter.traits import CLOSING, is_unserved
from realusersim_nb.records import Conversation, Message
from realusersim_nb.text import split_words

REFUSES = style.has(
    r"sorry|apologi[sz]e|cannot|can(?:['’])?t|unable|not able|not allowed|as an ai|transferr(?:ed|ing)"
)
ALIKE = 0.8  # share of words in common from which a reply is the one before over again
KINDS = ("refusal", "repetition", "question", "answer")  # of replies; the first that fits
COLUMNS = "n n_users unserved ci_low ci_high closes messages objects asks_again disclosed".split()


def keep_ended(conversations: Sequence[Conversation]) -> list[Conversation]:
    """Those whose last message is the user's last: without pieces that a source continues elsewhere."""
    last = {c.user_id: c.conversation_id for c in conversations}
    cut = {c.user_id for c in conversations if c.continues}
    return [c for c in conversations if c.user_id not in cut or last[c.user_id] == c.conversation_id]


def tabulate_endings(population: dict[str, Sequence[Conversation]], *, seed: int = 0) -> pd.DataFrame:
    """How the conversations of each system end: one row each, of those with two user messages or more.

    ``unserved`` (0..1) with its 95% interval by user, ``closes`` (thanks or a goodbye in the last message),
    ``messages`` of the user at the end (median); over messages after the first, ``objects`` and
    ``asks_again`` (0..1); ``disclosed``, the share of the words of the first two messages that stand in the
    first; and
    ``after_refusal, after_repetition, after_question, after_answer``: what those who left unserved had just
    been replied (shares, NaN without any).
    """
    rows = [
        {"system": name, "user_id": c.user_id, "conversation_id": c.conversation_id} | describe_ending(c)
        for name, conversations in population.items()
        for c in conversations
        if len(c.user_messages) > 1
    ]
    if not rows:
        return pd.DataFrame(columns=COLUMNS)
    table = pd.DataFrame(rows)
    by = {"by": "system", "unit": "user_id", "item": ["user_id", "conversation_id"], "seed": seed}
    rates = stats.tabulate_rates(table, "unserved", **by).rename(columns={"rate": "unserved"})
    grouped, left = table.groupby("system", sort=False), table[table["unserved"] == 1]
    means = grouped[["closes", "objects", "asks_again", "disclosed"]].mean()
    counts = grouped.agg(n_users=("user_id", "nunique"), messages=("messages", "median"))
    after = pd.crosstab(left["system"], left["after"], normalize="index").reindex(columns=KINDS, fill_value=0)
    return rates.join([means, counts])[COLUMNS].join(after.add_prefix("after_"))


def describe_ending(conversation: Conversation) -> dict[str, float | str]:
    """The figures of one conversation with two user messages or more."""
    texts = conversation.user_messages
    pairs = list(pairwise(texts))
    objects = [ACTS["reject"](text, before) for before, text in pairs]
    again = [style.asks_again(text, before) for before, text in pairs]
    first, second = (len(style.typed_text(text).split()) for text in texts[:2])
    return {
        "unserved": is_unserved(texts[-1], texts[-2]),
        "closes": CLOSING(texts[-1], texts[-2]),
        "messages": len(texts),
        "objects": float(np.mean(objects)),
        "asks_again": float(np.mean(np.nan_to_num(again))),
        "disclosed": first / (first + second) if first + second else np.nan,
        "after": name_reply(conversation.messages),
    }


def name_reply(messages: Sequence[Message]) -> str:
    """What kind of reply the user's last message follows, of KINDS."""
    last = max(i for i, message in enumerate(messages) if message.role == "user")
    replies = [message.content for message in messages[:last] if message.role == "assistant"]
    if not replies:
        return "answer"
    words, earlier = set(split_words(replies[-1])), [set(split_words(text)) for text in replies[:-1]]
    if REFUSES(replies[-1][:300], None):
        return "refusal"
    if any(len(words & others) >= ALIKE * len(words | others) for others in earlier):
        return "repetition"
    return "question" if replies[-1].rstrip().endswith("?") else "answer"
