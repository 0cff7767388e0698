"""Load a curated corpus, read transcripts as they are, and describe how a corpus is understood.

A corpus is a name (``sharegpt``, ``wildchat``, a hub id such as ``allenai/WildChat-4.8M``) or the path of
JSONL, JSON, parquet or CSV (file or folder), in a layout of ``formats`` or with columns as of ``columns``.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path

import pandas as pd

from realusersim_nb.corpus.cleaning import mask_pii
from realusersim_nb.corpus.columns import Columns, ColumnsError, parse_columns, write_note
from realusersim_nb.corpus.conversations import number_users
from realusersim_nb.corpus.curation import Funnel, curate_rows
from realusersim_nb.corpus.formats import parse_row
from realusersim_nb.corpus.shards import SMALL, curate_shards, digest_curation
from realusersim_nb.corpus.sources import find_shards, read_rows, read_shard
from realusersim_nb.errors import InputError
from realusersim_nb.records import Conversation
from realusersim_nb.text import cut_at_word

FIRST_ROWS = 2000  # rows of a corpus that ``describe_corpus`` reads
DEFAULT_SKIPPED = ("assistant is GPT-4o",)  # few corpora but WildChat-4.8M would have anything left


@dataclass
class Corpus:
    """Curated conversations (of a large corpus on disk, read like a list) and what became of the rest.

    ``funnel``: a row a step, what it left. ``unreadable``: rows that could not be read, counted by reason.
    ``digest`` changes with all that decides what is left: source, steps, their code, ``max_conversations``.
    """

    name: str
    conversations: Sequence[Conversation]
    funnel: pd.DataFrame
    unreadable: Counter
    digest: str

    def describe(self) -> dict[str, str | int]:
        """The headline of every notebook that reads this corpus."""
        counts = {"conversations": len(self.conversations), "users": self.n_users}
        return {"name": self.name, **counts, "digest": self.digest}

    @property
    def n_users(self) -> int:
        """Number of different users left."""
        return len(number_users(self.conversations)[1])


def load_corpus(
    corpus: str = "sharegpt",
    *,
    max_conversations: int | None = None,
    skip_steps: Collection[str] = DEFAULT_SKIPPED,
    workers: int | None = None,
) -> Corpus:
    """Read and curate a corpus, by the steps of ``curation`` that are not in ``skip_steps``.

    ``max_conversations`` stops reading once that many are left (None: all). A large corpus is curated once,
    by ``workers`` processes (None: one a core) or other machines (``batches``), into ``outputs/corpora``.
    MissingFileError or InputError if there is no such corpus, or nothing is left of it.
    """
    shards = find_shards(corpus)
    digest = digest_curation(shards, skip_steps)
    if max_conversations is not None or sum(shard.n_bytes for shard in shards) < SMALL:
        rows = (row for shard in shards for row in read_shard(shard))
        kept, funnel = curate_rows(rows, skip_steps=skip_steps, limit=max_conversations)
    else:
        kept, funnel = curate_shards(corpus, shards, skip_steps=skip_steps, workers=workers)
    if not len(kept):
        raise InputError(f"corpus {corpus!r}: {explain_empty(funnel)}")
    digest += f"-{max_conversations}" * (max_conversations is not None)
    return Corpus(corpus, kept, funnel.tabulate(), funnel.unreadable, digest)


def explain_empty(funnel: Funnel) -> str:
    """Why no conversation is left."""
    if not funnel.left["read"]:
        reasons = "; ".join(reason for reason, _ in funnel.unreadable.most_common(2)) or "it is empty"
        return f"no conversation could be read: {reasons}"
    step = next(name for name in funnel.names if not funnel.left[name])
    layouts = "help(realusersim_nb.corpus.formats)"
    todo = f"leave that step out with skip_steps, or check the layout against {layouts}"
    unreadable = dict(funnel.unreadable) or "none"
    return f"curation step {step!r} left none of them (unreadable: {unreadable}); {todo}."


def read_transcripts(path: str) -> list[Conversation]:
    """Transcripts of simulated users at a path, uncurated; InputError with the reasons if there is none."""
    parsed = [parse_row(row, simulated=True) for row in read_rows(path)]
    transcripts = [c for c in parsed if isinstance(c, Conversation) and c.user_messages]
    if not transcripts:
        reasons = dict(Counter(reason for reason in parsed if isinstance(reason, str)))
        raise InputError(f"{path}: no transcript could be read ({reasons or 'no rows'}).")
    return transcripts


def read_systems(paths: dict[str, str], *, beside: Iterable[str] = ()) -> dict[str, list[Conversation]]:
    """The transcripts of several simulators by name, none of which may be one of ``beside``.

    InputError for such a name, and where two systems of the paired layout (``real_messages``,
    ``simulated_messages``) play different conversations: a gap between those would be taken for theirs.
    """
    if taken := sorted({*paths} & {*beside}):
        raise InputError(f"systems: the name {taken[0]!r} is taken here; give those transcripts another.")
    systems = {name: read_transcripts(path) for name, path in paths.items()}
    first_rows = {n: next((r for r in read_rows(p) if isinstance(r, dict)), {}) for n, p in paths.items()}
    paired = [name for name, row in first_rows.items() if "simulated_messages" in row]
    for one, other in pairwise(paired):
        ids, others = ({c.conversation_id for c in systems[name]} for name in (one, other))
        if odd := sorted(ids ^ others):
            problem = f"id {odd[0]!r} and {len(odd) - 1} others are in one file only; leave them out of both"
            raise InputError(f"systems {one!r} and {other!r} do not play the same conversations: {problem}.")
    return systems


def describe_corpus(corpus: str, *, columns: dict[str, str | list[str]] | None = None, n: int = 3) -> str:
    """How a corpus is understood: which column holds what, who is the user, its first conversations, as text.

    ``columns`` (by field of ``Columns``) are saved beside the corpus for readers. Only the first 2,000 rows
    are read. MissingFileError or InputError (nothing is saved) if there is no such corpus or columns misfit.
    """
    given = parse_columns(columns, f"columns of {corpus}") if columns else None
    shards = find_shards(corpus, given)
    lines = [f"Saved in {save_columns(Path(corpus), given, shards)}."] if given else []
    rows = (row for shard in shards for row in read_shard(shard))
    notes: Counter = Counter()
    parsed = [parse_row(row, notes=notes) for row in islice(rows, FIRST_ROWS)]
    readable = [c for c in parsed if isinstance(c, Conversation)]
    problems = Counter(c for c in parsed if isinstance(c, str))
    by_file = {shard.source: shard.columns for shard in shards if isinstance(shard.columns, Columns)}
    lines += [describe_columns(in_file, path) for path, in_file in by_file.items()]
    first, users = "First " * (len(parsed) == FIRST_ROWS), len({c.user_id for c in readable})
    enough = sum(len(c.user_messages) >= 3 for c in readable)
    counts = f"{first}{len(readable):,} conversations of {users:,} users"
    lines.append(f"{counts}, {enough:,} of them with three messages of the user or more.")
    if any(shard.file for shard in shards):
        lines.append("A conversation is named with its file; a user named in two files is one person.")
    lines += [f"Not read, {count:,} times: {reason}" for reason, count in problems.most_common(3)]
    lines += [f"Noted, {count:,} times: {what}" for what, count in notes.most_common() if count]
    return "\n".join([*lines, *map(preview_conversation, readable[:n])])


def save_columns(path: Path, given: Columns, shards: list) -> Path:
    """Save which column of a file or folder holds what; InputError if that does not fit."""
    if not path.exists():
        raise InputError(f"columns are those of a file or folder, and {str(path)!r} is neither.")
    if problem := next((s.columns for s in shards if isinstance(s.columns, ColumnsError)), None):
        raise problem
    return write_note(path, given)


def describe_columns(columns: Columns, path: str) -> str:
    """By which columns a file is read, in a line."""
    row = "a conversation" if columns.turns else "an exchange" if columns.reply else "a message"
    given = columns.model_dump(exclude_defaults=True)
    known = ", ".join(f"{name} is {column!r}" for name, column in given.items())
    is_one = "" if columns.conversation_id or columns.turns else "; the whole file is one conversation"
    return f"{path}: each row is {row}; {known}{is_one}."


def preview_conversation(conversation: Conversation, *, n: int = 4) -> str:
    """The beginning of a conversation as text, a message a line, private data masked."""
    messages = [(m.role, mask_pii(" ".join(m.content.split()))) for m in conversation.messages]
    lines = [f"  {role:<9}  {cut_at_word(text, 100)}" for role, text in messages[:n]]
    more = [f"  and {len(messages) - n} more"] if len(messages) > n else []
    return "\n".join([f"\n{conversation.conversation_id} (user {conversation.user_id})", *lines, *more])
