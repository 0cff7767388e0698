"""Load a curated corpus, read transcripts as they are, and describe how a corpus is understood.

A corpus is a name (``sharegpt``, ``wildchat``, a hub id such as ``allenai/WildChat-4.8M``) or the path of
files, a folder or an archive, in one of the ``layouts`` or with columns that are recognised or named.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path

import pandas as pd

from realusersim_nb.corpus.cleaning import mask_pii
from realusersim_nb.corpus.containers import describe_container
from realusersim_nb.corpus.conversations import number_users
from realusersim_nb.corpus.curation import Funnel, curate_rows
from realusersim_nb.corpus.layouts.columns import (
    Columns,
    ColumnsError,
    is_monologue,
    parse_columns,
    write_note,
)
from realusersim_nb.corpus.layouts.rows import parse_row
from realusersim_nb.corpus.layouts.suggestions import MANY, describe_rows, format_command, suggest_columns
from realusersim_nb.corpus.shards import SMALL, curate_shards, digest_curation
from realusersim_nb.corpus.sources import OtherFile, Shard, find_shards, read_head_rows, read_rows, read_shard
from realusersim_nb.errors import InputError
from realusersim_nb.records import Conversation
from realusersim_nb.text import cut_at_word, show_name, show_plainly

FIRST_ROWS = 2000  # rows of a corpus that ``describe_corpus`` reads
ONE_SIDED = "both sides speak"  # the step that drops conversations without an assistant
DEFAULT_SKIPPED = ("assistant is GPT-4o",)  # most corpora that name the model have others


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
        raise InputError(f"corpus {corpus!r}: {explain_empty(funnel, skip_steps)}")
    digest += f"-{max_conversations}" * (max_conversations is not None)
    return Corpus(corpus, kept, funnel.tabulate(), funnel.unreadable, digest)


def explain_empty(funnel: Funnel, skip_steps: Collection[str]) -> str:
    """Why no conversation is left, and with which steps skipped some would be."""
    reasons = "; ".join(reason for reason, _ in funnel.unreadable.most_common(2))
    if not funnel.left["read"]:
        return f"no conversation could be read: {reasons or 'it is empty'}"
    step = next(name for name in funnel.names if not funnel.left[name])
    others = f" (others could not be read: {reasons})" if reasons else ""
    n, skipped = funnel.left["read"], [*skip_steps, step]
    return f"curation step {step!r} left none of them, of {n:,}{others}; leave it out: skip_steps {skipped}."


def read_transcripts(path: str) -> list[Conversation]:
    """Transcripts of simulated users at a path, uncurated; InputError with the reasons if there is none."""
    parsed = [parse_row(row, simulated=True) for row in read_rows(path)]
    transcripts = [c for c in parsed if isinstance(c, Conversation) and c.user_messages]
    if not transcripts:
        silent = "the user writes nothing"
        counts = Counter(row if isinstance(row, str) else silent for row in parsed).most_common(2)
        reasons = "; ".join(f"{reason} ({n:,} times)" for reason, n in counts) or "it has no rows"
        raise InputError(f"{path}: no transcript could be read: {reasons.replace('. (', ' (')}.")
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


def count_nouns(n: int, noun: str) -> str:
    """A number and what it counts: ``1 user``, ``1,200 users``."""
    return f"{n:,} {noun}{'s' * (n != 1)}"


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
    by_file = {(s.source, s.inner): s for s in shards if not s.on_hub}
    lines += list(filter(None, map(describe_file, by_file.values())))[:20]
    first, users = "First " * (len(parsed) == FIRST_ROWS), len({c.user_id for c in readable})
    enough = sum(len(c.user_messages) >= 3 for c in readable)
    counts = f"{first}{count_nouns(len(readable), 'conversation')} of {count_nouns(users, 'user')}"
    lines.append(f"{counts}, {enough:,} of them with three messages of the user or more.")
    if not parsed:
        lines.append("There is no row in it.")
    if any(shard.file for shard in shards):
        lines.append("A conversation is named with its file; a user named in two files is one person.")
    lines += [
        f"Not read, {count_nouns(count, 'time')}: {reason}" for reason, count in problems.most_common(5)
    ]
    lines += [f"Noted, {count_nouns(count, 'time')}: {what}" for what, count in notes.most_common() if count]
    if readable and not any(m.role == "assistant" for c in readable for m in c.messages):
        lines.append(
            f"No assistant writes: skip the step {ONE_SIDED!r} (skip_steps) for profiles and the gap."
        )
    if not readable:
        lines += explain_unknown(corpus, given or Columns(), [*by_file.values()])
    return "\n".join([*lines, *map(preview_conversation, readable[:n])])


def explain_unknown(corpus: str, given: Columns, shards: list[Shard]) -> list[str]:
    """Of files in no known layout: who speaks in all of them, or what the first has; and the next command."""
    unknown = [shard for shard in shards if type(shard.columns) is ColumnsError]
    speakers = sum((shard.columns.speakers for shard in unknown), Counter())
    if speakers and not (given.users or given.assistants):
        counts = ", ".join(f"{name!r} ({n:,})" for name, n in speakers.most_common(MANY))
        more = f" and {len(speakers) - MANY} more" * (len(speakers) > MANY)
        programs = sorted({name for shard in unknown for name in shard.columns.programs})
        guess = {"assistants": programs} if programs else {"users": [speakers.most_common(1)[0][0]]}
        return [
            f"These write, by messages: {counts}{more}.",
            f"Say who is the user, for instance: {format_command(corpus, guess)}",
        ]
    others = [shard for shard in unknown if not shard.columns.speakers]
    rows = read_head_rows(others[0].entry, others[0].kind) if others else []
    if not rows:
        return []
    guess = suggest_columns(rows, given)
    known = ", ".join(f"{name} is {value!r}" for name, value in guess.items())
    lines = [f"{others[0].entry.name} is in no known layout.", *describe_rows(rows)]
    if not guess:
        todo = "name its columns (-c role, content, turns, reply, conversation_id, user_id, users)"
        return [*lines, f"Next, {todo}: {format_command(corpus, {'role': 'NAME', 'content': 'NAME'})}"]
    return [*lines, f"By what it holds, {known}. If so, next: {format_command(corpus, guess)}"]


def save_columns(path: Path, given: Columns, shards: list) -> Path:
    """Save which column of a file or folder holds what; InputError if that does not fit."""
    if not path.exists():
        raise InputError(f"columns are those of a file or folder, and {str(path)!r} is neither.")
    problems = [s.columns for s in shards if isinstance(s.columns, ColumnsError)]
    others = [problem for problem in problems if not (isinstance(problem, OtherFile) or problem.speakers)]
    if others or len(problems) == len(shards):  # not everybody writes in every chat
        raise (others or problems)[0]
    return write_note(path, given)


def describe_file(shard: Shard) -> str:
    """How a file is packed and by which columns it is read, in a line; empty if neither needs a word."""
    about, columns = describe_container(shard.entry) if shard.kind != "slack" else "", shard.columns
    if isinstance(columns, Columns):
        return f"{shard.file or shard.source}: {about}{'; ' * bool(about)}{describe_columns(columns)}"
    return f"{shard.file or shard.source}: {about}." if about else ""


def describe_columns(columns: Columns) -> str:
    """By which columns a file is read."""
    row = "a conversation" if columns.turns else "an exchange" if columns.reply else "a message"
    given = columns.model_dump(exclude_defaults=True)
    known = ", ".join(f"{name} is {column!r}" for name, column in given.items())
    is_one = columns.conversation_id is None and columns.turns is None and not is_monologue(columns)
    return f"each row is {row}; {known}{'; the whole file is one conversation' * is_one}."


def preview_conversation(conversation: Conversation) -> str:
    """The beginning of a conversation as text, a message a line, private data masked."""
    messages = [(m.role, mask_pii(show_plainly(" ".join(m.content.split())))) for m in conversation.messages]
    lines = [f"  {role:<9}  {cut_at_word(text, 100)}" for role, text in messages[:4]]
    more = [f"  and {len(messages) - 4} more"] if len(messages) > 4 else []
    name, user = (mask_pii(show_name(n)) for n in (conversation.conversation_id, conversation.user_id))
    return "\n".join([f"\n{name} (user {user})", *lines, *more])
