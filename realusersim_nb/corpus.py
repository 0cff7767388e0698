"""Read real human-LLM conversations, curate them, group them by user, hold some out.

A corpus is named (``sharegpt``, ``wildchat``, a hub id such as ``allenai/WildChat-4.8M``) or is
a path to JSONL, JSON, parquet or CSV, or a folder of them, in a layout that ``layouts`` knows or with
columns that ``columns`` does; ``look`` says what was understood of it.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path

import numpy as np
import pandas as pd

from realusersim_nb.bars import show_bar
from realusersim_nb.columns import Columns, ColumnsError, complete, read_told, write_note
from realusersim_nb.curation import SMALL, curate_rows, curate_shards, split_turns
from realusersim_nb.layouts import find_columns, find_files, find_shards, parse_row, peek, read_rows, read_shard
from realusersim_nb.privacy import mask
from realusersim_nb.records import Conversation
from realusersim_nb.texts import cut_at_word

LOOK = 2000  # rows of a corpus that ``look`` reads
DEFAULT_SKIPPED = ("assistant is GPT-4o",)  # few corpora but WildChat-4.8M would have anything left


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


def load(
    corpus: str = "sharegpt",
    *,
    max_conversations: int | None = None,
    skip_steps: Iterable[str] = DEFAULT_SKIPPED,
    workers: int | None = None,
) -> Corpus:
    """Read and curate a corpus, by the steps of ``curation`` that are not in ``skip_steps``.

    ``max_conversations`` stops reading once that many are left (None: all). A large corpus is
    curated by ``workers`` processes (None: one a core) or by other machines (``parts``), once: what is left of it
    lies in ``outputs/corpora``. Raises FileNotFoundError or ValueError with a sentence that says what to do.
    """
    shards = find_shards(corpus)
    if max_conversations is not None or sum(shard.n_bytes for shard in shards) < SMALL:
        rows = (row for shard in shards for row in read_shard(shard))
        kept, funnel = curate_rows(rows, skip_steps=skip_steps, limit=max_conversations)
    else:
        found, funnel = curate_shards(corpus, shards, skip_steps=skip_steps, workers=workers)
        kept = list(show_bar(found, "reading what is left", leave=False))
    table = funnel.tabulate()
    if not kept and not funnel.counts["read"][0]:
        why = "; ".join(reason for reason, _ in funnel.unreadable.most_common(2)) or "it is empty"
        raise ValueError(f"corpus {corpus!r}: no conversation could be read: {why}")
    if not kept:
        empty = table.loc[table["conversations"].eq(0), "step"].head(1).item()
        raise ValueError(
            f"corpus {corpus!r}: no conversation is left after curation; step {empty!r} left none of them (unreadable: "
            f"{dict(funnel.unreadable) or 'none'}); leave that step out with skip_steps, or check the layout "
            "against help(realusersim_nb.layouts)."
        )
    return Corpus(corpus, kept, table, funnel.unreadable)


def read_transcripts(path: str) -> list[Conversation]:
    """Conversations at a path as they are, without curation: transcripts of simulated users.

    Raises ValueError if none can be read, with the reasons.
    """
    parsed = [parse_row(row, simulated=True) for row in read_rows(path)]
    found = [c for c in parsed if isinstance(c, Conversation) and c.user_messages]
    if not found:
        raise ValueError(
            f"{path}: no transcript could be read ({dict(Counter(p for p in parsed if isinstance(p, str))) or 'no rows'})."
        )
    return found


def read_systems(paths: dict[str, str], *, beside: Iterable[str] = ()) -> dict[str, list[Conversation]]:
    """The transcripts of several simulators by name, none of which may be one of ``beside``.

    ValueError for such a name, and where two systems of the paired layout (``real_messages``, ``simulated_messages``) do not play the same
    conversations, since a gap between what was asked of them would be taken for one between them.
    """
    if taken := sorted({*paths} & {*beside}):
        raise ValueError(f"systems: the name {taken[0]!r} is taken here; give those transcripts another.")
    found = {name: read_transcripts(path) for name, path in paths.items()}
    paired = {name: {c.conversation_id for c in found[name]} for name in paths if is_paired(paths[name])}
    for (one, ids), (other, others) in pairwise(paired.items()):
        if odd := sorted(ids ^ others):
            raise ValueError(
                f"systems {one!r} and {other!r} do not play the same conversations: id {odd[0]!r} and {len(odd) - 1} "
                "others are in one file only; leave them out of both."
            )
    return found


def look(corpus: str, *, columns: dict[str, str | list[str]] | None = None, n: int = 3) -> str:
    """What is understood of a corpus, in words: which column holds what, who is the user, its first conversations.

    ``columns`` (a name of ``columns.Columns`` each, and the column that has it in the file) is kept beside the corpus
    where every reader finds it. Of a large corpus only the first 2,000 rows are looked at. Raises FileNotFoundError or
    ValueError with a sentence that says what to do; nothing is kept then.
    """
    shards, told = find_shards(corpus), []
    if columns:
        kept = keep_columns(Path(corpus), read_told(columns, f"columns of {corpus}"))
        told.append(f"Kept in {kept}.")
        shards = find_shards(corpus)
    found = [parse_row(row) for row in islice((row for shard in shards for row in read_shard(shard)), LOOK)]
    readable = [c for c in found if isinstance(c, Conversation)]
    problems = Counter(c for c in found if isinstance(c, str))
    for path in dict.fromkeys(shard.source for shard in shards if shard.stamp != "hub"):
        told += describe_columns(find_columns(Path(path)), path)
    enough = sum(len(c.user_messages) >= 3 for c in readable)
    told.append(f"{'First ' * (len(found) == LOOK)}{len(readable):,} conversations of {len({c.user_id for c in readable}):,} users, {enough:,} of them with three messages of the user or more.")  # fmt: skip
    told += [f"Not read, {count:,} times: {reason}" for reason, count in problems.most_common(3)]
    return "\n".join([*told, *(preview(c) for c in readable[:n])])


def keep_columns(path: Path, columns: Columns) -> Path:
    """Note which column of a file or folder holds what; ValueError if that is not so."""
    if not path.exists():
        raise ValueError(f"columns are told of a file or folder, and {str(path)!r} is none.")
    for file in find_files(path):
        complete(columns, peek(file))
    return write_note(path, columns)


def describe_columns(found: Columns | ColumnsError | None, path: str) -> list[str]:
    """In a line, by which columns a file is read; nothing if its layout is known."""
    if not isinstance(found, Columns):
        return []
    row = "a conversation" if found.turns else "an exchange" if found.reply else "a message"
    known = {name: column for name, column in found.model_dump().items() if column}
    told = ", ".join(f"{name} is {column!r}" for name, column in known.items())
    return [f"{path}: each row is {row}; {told}" + ("" if found.conversation_id or found.turns else "; the whole file is one conversation") + "."]  # fmt: skip


def preview(conversation: Conversation, *, n: int = 4) -> str:
    """The beginning of a conversation as text, a message a line, private data masked."""
    lines = [f"  {m.role:<9}  {cut_at_word(mask(' '.join(m.content.split())), 100)}" for m in conversation.messages[:n]]
    left = len(conversation.messages) - n
    return "\n".join([f"\n{conversation.conversation_id} (user {conversation.user_id})", *lines, *([f"  and {left} more"] if left > 0 else [])])  # fmt: skip


def is_paired(path: str) -> bool:
    """Whether the first row that can be read holds a real and a simulated conversation."""
    first = next((row for row in read_rows(path) if isinstance(row, dict)), {})
    return "simulated_messages" in first


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


def hold_out(
    conversations: Iterable[Conversation], *, seed: int, most: int | None = None
) -> tuple[list[Conversation], list[Conversation]]:
    """Split into (for profiles, held out for cases): one conversation of each user who has more.

    Profiles never see a held-out conversation, so no example can leak into a case. Users with a
    single conversation keep it for their profile and give no case; nor do users of whom only
    later parts of conversations are known, since a case begins where a conversation begins. Of what
    is left for a profile ``most`` keeps only each user's first so many messages (None: all).
    """
    rng = np.random.default_rng(seed)
    profiled, held_out = [], []
    for own in group_by_user(conversations).values():
        openings = [i for i, c in enumerate(own) if not c.continues] if len(own) > 1 else []
        chosen = rng.choice(openings) if openings else None
        profiled += keep_first((c for i, c in enumerate(own) if i != chosen), most)
        held_out += [c for i, c in enumerate(own) if i == chosen]
    return profiled, held_out


def keep_first(conversations: Iterable[Conversation], most: int | None) -> Iterator[Conversation]:
    """The conversations until the user has said ``most`` messages in all, the last one cut there (None: whole)."""
    left = most
    for conversation in conversations:
        if left is None:
            yield conversation
        elif left > 0:
            turns = split_turns(conversation.messages)[:left]
            yield conversation.model_copy(update={"messages": [message for turn in turns for message in turn]})
            left -= len(turns)


def split_users(
    conversations: Iterable[Conversation], *, share: float = 0.5, seed: int
) -> tuple[list[Conversation], list[Conversation]]:
    """Split into two parts that have no user in common, the first with this share of the users."""
    groups = group_by_user(conversations)
    order = np.random.default_rng(seed).permutation(list(groups))
    first = set(order[: round(share * len(order))])
    return [c for u in groups if u in first for c in groups[u]], [
        c for u in groups if u not in first for c in groups[u]
    ]


def assign_others(users: list[str], *, seed: int) -> dict[str, str]:
    """Give every user somebody else, each once: a random cyclic order (a derangement).

    Raises ValueError for fewer than two users.
    """
    users = list(dict.fromkeys(users))
    if len(users) < 2:
        raise ValueError("each user needs another one beside them, and there is only one; raise n_cases.")
    order = [users[i] for i in np.random.default_rng(seed).permutation(len(users))]
    return dict(zip(order, order[1:] + order[:1], strict=True))
