"""Read real human-LLM conversations, curate them, group them by user, hold some out.

A corpus is named (``sharegpt``, ``wildchat``, a hub id such as ``allenai/WildChat-4.8M``) or is
a path to JSONL, JSON, parquet or CSV, or a folder of them, in a layout that ``sources`` knows or with
columns that ``columns`` does; ``look`` says what was understood of it.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path

import pandas as pd

from realusersim_nb.corpus.columns import Columns, ColumnsError, complete_columns, parse_columns, write_note
from realusersim_nb.corpus.curation import curate_rows
from realusersim_nb.corpus.formats import parse_row
from realusersim_nb.corpus.pii import mask_pii
from realusersim_nb.corpus.shards import SMALL, curate_shards
from realusersim_nb.corpus.sources import (
    find_columns,
    find_files,
    find_shards,
    read_first_rows,
    read_rows,
    read_shard,
)
from realusersim_nb.errors import InputError
from realusersim_nb.parallel.bars import show_bar
from realusersim_nb.records import Conversation
from realusersim_nb.text import cut_at_word

FIRST_ROWS = 2000  # rows of a corpus that ``look`` reads
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


def load_corpus(
    corpus: str = "sharegpt",
    *,
    max_conversations: int | None = None,
    skip_steps: Iterable[str] = DEFAULT_SKIPPED,
    workers: int | None = None,
) -> Corpus:
    """Read and curate a corpus, by the steps of ``curation`` that are not in ``skip_steps``.

    ``max_conversations`` stops reading once that many are left (None: all). A large corpus is
    curated by ``workers`` processes (None: one a core) or by other machines (``batches``), once: what is left of it
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
        raise InputError(f"corpus {corpus!r}: no conversation could be read: {why}")
    if not kept:
        empty = table.loc[table["conversations"].eq(0), "step"].head(1).item()
        raise InputError(
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
        raise InputError(
            f"{path}: no transcript could be read ({dict(Counter(p for p in parsed if isinstance(p, str))) or 'no rows'})."
        )
    return found


def read_systems(paths: dict[str, str], *, beside: Iterable[str] = ()) -> dict[str, list[Conversation]]:
    """The transcripts of several simulators by name, none of which may be one of ``beside``.

    ValueError for such a name, and where two systems of the paired layout (``real_messages``, ``simulated_messages``) do not play the same
    conversations, since a gap between what was asked of them would be taken for one between them.
    """
    if taken := sorted({*paths} & {*beside}):
        raise InputError(f"systems: the name {taken[0]!r} is taken here; give those transcripts another.")
    found = {name: read_transcripts(path) for name, path in paths.items()}
    paired = {name: {c.conversation_id for c in found[name]} for name in paths if holds_pairs(paths[name])}
    for (one, ids), (other, others) in pairwise(paired.items()):
        if odd := sorted(ids ^ others):
            raise InputError(
                f"systems {one!r} and {other!r} do not play the same conversations: id {odd[0]!r} and {len(odd) - 1} "
                "others are in one file only; leave them out of both."
            )
    return found


def describe_corpus(corpus: str, *, columns: dict[str, str | list[str]] | None = None, n: int = 3) -> str:
    """What is understood of a corpus, in words: which column holds what, who is the user, its first conversations.

    ``columns`` (a name of ``columns.Columns`` each, and the column that has it in the file) is kept beside the corpus
    where every reader finds it. Of a large corpus only the first 2,000 rows are looked at. Raises FileNotFoundError or
    ValueError with a sentence that says what to do; nothing is kept then.
    """
    shards, told = find_shards(corpus), []
    if columns:
        kept = save_columns(Path(corpus), parse_columns(columns, f"columns of {corpus}"))
        told.append(f"Kept in {kept}.")
        shards = find_shards(corpus)
    found = [
        parse_row(row) for row in islice((row for shard in shards for row in read_shard(shard)), FIRST_ROWS)
    ]
    readable = [c for c in found if isinstance(c, Conversation)]
    problems = Counter(c for c in found if isinstance(c, str))
    for path in dict.fromkeys(shard.source for shard in shards if shard.stamp != "hub"):
        told += describe_columns(find_columns(Path(path)), path)
    enough = sum(len(c.user_messages) >= 3 for c in readable)
    told.append(
        f"{'First ' * (len(found) == FIRST_ROWS)}{len(readable):,} conversations of {len({c.user_id for c in readable}):,} users, {enough:,} of them with three messages of the user or more."
    )
    told += [f"Not read, {count:,} times: {reason}" for reason, count in problems.most_common(3)]
    return "\n".join([*told, *(preview_conversation(c) for c in readable[:n])])


def save_columns(path: Path, columns: Columns) -> Path:
    """Note which column of a file or folder holds what; ValueError if that is not so."""
    if not path.exists():
        raise InputError(f"columns are told of a file or folder, and {str(path)!r} is none.")
    for file in find_files(path):
        complete_columns(columns, read_first_rows(file))
    return write_note(path, columns)


def describe_columns(found: Columns | ColumnsError | None, path: str) -> list[str]:
    """In a line, by which columns a file is read; nothing if its layout is known."""
    if not isinstance(found, Columns):
        return []
    row = "a conversation" if found.turns else "an exchange" if found.reply else "a message"
    known = {name: column for name, column in found.model_dump().items() if column}
    told = ", ".join(f"{name} is {column!r}" for name, column in known.items())
    return [
        f"{path}: each row is {row}; {told}"
        + ("" if found.conversation_id or found.turns else "; the whole file is one conversation")
        + "."
    ]


def preview_conversation(conversation: Conversation, *, n: int = 4) -> str:
    """The beginning of a conversation as text, a message a line, private data masked."""
    lines = [
        f"  {m.role:<9}  {cut_at_word(mask_pii(' '.join(m.content.split())), 100)}"
        for m in conversation.messages[:n]
    ]
    left = len(conversation.messages) - n
    return "\n".join(
        [
            f"\n{conversation.conversation_id} (user {conversation.user_id})",
            *lines,
            *([f"  and {left} more"] if left > 0 else []),
        ]
    )


def holds_pairs(path: str) -> bool:
    """Whether the first row that can be read holds a real and a simulated conversation."""
    first = next((row for row in read_rows(path) if isinstance(row, dict)), {})
    return "simulated_messages" in first
