"""Columns of files in no known layout: a transcript CSV, a support-chat export, JSON with other names.

A row is a message (``role`` and ``content``), an exchange (``content`` and ``reply``), or a conversation with
a list of either in the field ``turns``. Where no column identifies conversations, a file is one. Common names
are recognised; ``describe_corpus`` saves others in ``mine.csv.columns.yaml`` (a folder's: ``columns.yaml``).
Messages are put in order of time where all dates of the file can be read in one way.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from realusersim_nb.corpus.cleaning import mask_pii
from realusersim_nb.corpus.layouts.rows import BOT, NOTES, SILENT, pick_name
from realusersim_nb.corpus.layouts.times import read_times, sort_by_time
from realusersim_nb.errors import InputError
from realusersim_nb.files import replace_whole
from realusersim_nb.text import read_yaml, show_name

NAMES = {  # by which columns are recognised, the surest first
    "turns": """turns messages original utterances dialogue dialog chat history transcript thread conversation
        comments""",
    "role": "role sender speaker author from who author_role sender_type author_type participant direction",
    "content": "content contents text message body utterance value msg prompt question query human input",
    "reply": "reply response answer completion assistant output bot",
    "conversation_id": """conversation_id conversation chat_id chat ticket_id ticket thread_id thread
        session_id session dialogue_id dialog_id convo_id case_id id""",
    "user_id": """user_id user customer_id customer client_id client requester_id requester visitor_id
        hashed_ip""",
    "time": "timestamp time created_at sent_at datetime date turn turn_id position index",
}
USERS = """user human customer client visitor end_user enduser requester guest caller member patient
    inbound incoming""".split()  # in a column of speakers
Speakers = Annotated[list[str], BeforeValidator(lambda given: [given] if isinstance(given, str) else given)]


QUESTIONS = {"prompt", "question", "query", "human"}  # names of columns that hold what users write, alone
NAMED = 12  # names in a sentence
EVERYBODY = "*"  # as a speaker: all of them


class ColumnsError(InputError):
    """A column that is not there or not recognised; or it is open which of ``speakers`` are users.

    They come with the number of their messages, and with the ``programs`` among them.
    """

    def __init__(self, sentence: str, speakers: Counter | None = None, programs: Iterable[str] = ()):
        super().__init__(sentence)
        self.speakers, self.programs = speakers or Counter(), [*programs]


class Columns(BaseModel):
    """Which column holds what; ``users`` are the speakers who are users, ``assistants`` those who are not.

    ``silent`` speakers are neither, and what they write is left out.
    """

    model_config = ConfigDict(extra="forbid")
    turns: str | None = None
    role: str | None = None
    content: str | None = None
    reply: str | None = None
    conversation_id: str | None = None
    user_id: str | None = None
    time: str | None = None
    users: Speakers = []
    assistants: Speakers = []
    silent: Speakers = sorted(SILENT)

    def name_role(self, speaker: str) -> str:
        """The role of a speaker: user, assistant, or that of the silent one."""
        is_named = speaker in self.users or speaker in self.assistants
        name = normalise_name(speaker)
        if not is_named and (name in self.silent or speaker in self.silent):
            return name if name in SILENT else "system"
        return "user" if self.is_user(speaker) else "assistant"

    def is_user(self, speaker: str) -> bool:
        """Whether a speaker is the user."""
        if self.users or self.assistants:
            listed = speaker in self.users or EVERYBODY in self.users
            return listed if self.users else speaker not in self.assistants
        return normalise_name(speaker) in USERS


def normalise_name(name: object) -> str:
    """A name as it is compared: lower case, words joined by ``_``."""
    return re.sub(r"[\W_]+", "_", str(name).strip().lower()).strip("_")


def complete_columns(given: Columns, rows: list[dict]) -> Columns:
    """All columns of these rows: the given ones, and the rest by their names.

    ColumnsError: a given one is missing, a required one not recognised, or none or all speakers are users.
    """
    columns = given.model_copy()
    fields = [field for row in rows for field in row.items()]
    lists = [name for name, value in fields if is_list_of_turns(value)]
    columns.turns = given.turns or pick_column("turns", lists)
    outer = list(dict.fromkeys(name for row in rows for name in row if name != columns.turns))
    inner = list(dict.fromkeys(name for turn in list_turns(rows, columns) for name in turn))
    repeated = [n for n in outer if columns.turns or len({str(row.get(n)) for row in rows}) < len(rows)]
    choices = {"conversation_id": repeated, "user_id": outer}
    for kind, names in (choices | dict.fromkeys(("role", "content", "reply", "time"), inner)).items():
        name = getattr(given, kind)
        if name is not None and name not in {*names, *outer}:
            problem = f"there is no column {name!r} for {kind}"
            raise ColumnsError(f"{problem}; the columns are {quote_names(names)}.")
        setattr(columns, kind, name or pick_column(kind, names))
    if columns.role:
        columns.reply = None
        speakers = {str(turn.get(columns.role)) for turn in list_turns(rows, columns)}
        if "assistant" not in map(columns.name_role, speakers):
            columns.silent = []  # the assistant is called a system
    check_columns(columns, inner, rows)
    return columns


def is_list_of_turns(value: object) -> bool:
    """Whether a field holds turns: objects, or pairs ``[speaker, text]``."""
    if not (isinstance(value, list) and value):
        return False
    first = value[0]
    return isinstance(first, dict) or (isinstance(first, list) and list(map(type, first)) == [str, str])


def pick_column(kind: str, names: list) -> str | None:
    """The column whose name is the surest for this kind, or none."""
    known = {normalise_name(name): name for name in reversed(names)}
    return next((known[name] for name in NAMES[kind].split() if name in known), None)


def list_turns(rows: list[dict], columns: Columns) -> list[dict]:
    """The messages or exchanges in these rows."""
    if columns.turns is None:
        return rows
    turns = [turn for row in rows for turn in row.get(columns.turns) or []]
    pairs = {
        i: dict(zip(("speaker", "text"), t, strict=False)) for i, t in enumerate(turns) if isinstance(t, list)
    }
    return [turn for i, each in enumerate(turns) if isinstance(turn := pairs.get(i, each), dict)]


def quote_names(names: Iterable) -> str:
    """Up to 12 names for a sentence, masked: a file without a first line of names has its first row there."""
    names = [*names]
    quoted = [repr(mask_pii(show_name(name))) for name in islice(names, NAMED)]
    return ", ".join(quoted) + (f" and {len(names) - NAMED:,} more" if len(names) > NAMED else "")


def check_columns(columns: Columns, names: list, rows: list[dict]) -> None:
    """ColumnsError for what is missing."""
    todo = "in `columns` of describe_corpus, or with `-c {} NAME` of the command look"
    for kind, content in {"role": "the speaker", "content": "the text"}.items():
        if getattr(columns, kind) is None and not (
            kind == "role" and (columns.reply or is_monologue(columns))
        ):
            question = f"which column holds {content}? The columns are {quote_names(names)}"
            raise ColumnsError(f"{question}; name it as {kind!r} {todo.format(kind)}.")
    if columns.role:
        speakers = Counter(str(turn.get(columns.role)) for turn in list_turns(rows, columns))
        if not {columns.name_role(speaker) for speaker in speakers} >= {"user", "assistant"}:
            who = quote_names(speaker for speaker, _ in speakers.most_common(6))
            question = f"column {columns.role!r} holds {who}: which of them are the user?"
            answer = f"Name them as 'users' (or others as 'assistants') {todo.format('users')}."
            raise ColumnsError(f"{question} {answer}")


def is_monologue(columns: Columns) -> bool:
    """Whether all texts are the users'."""
    is_alone = columns.role is None and columns.reply is None
    return is_alone and (EVERYBODY in columns.users or normalise_name(columns.content) in QUESTIONS)


def group_rows(rows: Iterable[dict | str], columns: Columns) -> Iterator[dict | str]:
    """A row of the layout ``messages`` a conversation; of a stray row a reason."""
    groups: dict[object, list[int]] = {}
    listed: list[dict] = []
    for row in rows:
        name = pick_name(row, columns.conversation_id) if isinstance(row, dict) else None
        if isinstance(row, str):
            yield row
        elif columns.turns:
            turns = list_turns([row], columns)
            yield from make_chat_rows(turns, columns, times=read_times(turns, columns.time), outer=row)
        elif columns.conversation_id and name is None:
            yield f"no value in column {columns.conversation_id!r}"
        else:  # of questions alone, each row is a conversation where no column says otherwise
            alone = columns.conversation_id is None and is_monologue(columns)
            groups.setdefault(len(listed) if alone else name, []).append(len(listed))
            listed.append(row)
    times = read_times(listed, columns.time)
    for numbers in groups.values():
        group, in_group = [listed[i] for i in numbers], times and [t[numbers] for t in times]
        yield from make_chat_rows(group, columns, times=in_group, outer=group[0])


def make_chat_rows(
    turns: list[dict], columns: Columns, *, times: list | None, outer: dict
) -> Iterator[dict | str]:
    """A conversation as a row of the layout ``messages``; one of several users once for each of them.

    There the others are the other side.
    """
    notes = [note for turn in turns for note in turn.get(NOTES, ())]
    if (ordered := sort_by_time(turns, times)) is None:
        ordered = turns
        notes += [f"the times in {columns.time!r} give no clear order: that of the file kept"]
    name, users = pick_name(outer, columns.conversation_id), list_users(turns, columns, outer)
    if not users and any(BOT in turn for turn in turns):
        yield "none of the users writes in this conversation"
        return
    for user in users or [None]:
        messages = [
            message for turn in ordered for message in make_messages(turn, columns, user, len(users) > 1)
        ]
        several = len(users) > 1 and name is not None
        yield {
            "id": f"{name}/{user}" if several else name,
            "user_id": user,
            "messages": messages,
            NOTES: notes,
        }
        notes = ["a conversation of several users, once for each"]


def list_users(turns: list[dict], columns: Columns, outer: dict) -> list[str]:
    """The users who write in a conversation; of turns in a row the one that the row names."""
    if columns.turns:
        return list(filter(None, [pick_name(outer, columns.user_id)]))
    names = {
        pick_name(t, columns.user_id): None
        for t in turns
        if name_side(t, columns) == "user" and has_text(t, columns)
    }
    return list(filter(None, names))


def has_text(turn: dict, columns: Columns) -> bool:
    """Whether a message, or what a user asks in an exchange, is more than empty."""
    return bool(str(turn.get(columns.content) or "").strip())


def name_side(turn: dict, columns: Columns) -> str:
    """The role in a message, that of the first side in an exchange."""
    return columns.name_role(str(turn.get(columns.role))) if columns.role else "user"


def make_messages(turn: dict, columns: Columns, user: str | None, is_one_of_several: bool) -> list[dict]:
    """The messages of a turn, one, or two of an exchange, as ``user`` sees them."""
    role = name_side(turn, columns)
    if role == "user" and is_one_of_several and pick_name(turn, columns.user_id) not in (user, None):
        role = "assistant"
    messages = [{"role": role, "content": turn.get(columns.content)}]
    if columns.reply:
        messages.append({"role": "assistant", "content": turn.get(columns.reply)})
    return messages


def find_note(path: Path) -> Path:
    """Where the columns of a file, or of a folder of files, are saved."""
    return path / "columns.yaml" if path.is_dir() else path.with_name(f"{path.name}.columns.yaml")


def read_note(path: Path) -> Columns | None:
    """The columns saved for a file, or for its folder; ColumnsError if they cannot be read."""
    note = next((note for note in (find_note(path), find_note(path.parent)) if note.exists()), None)
    if note is None:
        return None
    try:
        return parse_columns(read_yaml(note) or {}, note)
    except yaml.YAMLError as error:
        problem = " ".join(str(error).split())
        raise ColumnsError(f"{note}: not YAML ({problem}); correct or remove it.") from error


def parse_columns(given: dict, place: object) -> Columns:
    """Columns as a person gives them; ColumnsError names a kind that does not exist."""
    try:
        return Columns.model_validate(given)
    except ValidationError as error:
        expected = f"expected some of {', '.join(Columns.model_fields)}, each with a column's name"
        raise ColumnsError(f"{place}: {expected}, got {given!r}.") from error


def write_note(path: Path, columns: Columns) -> Path:
    """Save the columns of a file or folder; returns where."""
    with replace_whole(find_note(path)) as temporary:
        temporary.write_text(yaml.safe_dump(columns.model_dump(exclude_defaults=True)), encoding="utf-8")
    return find_note(path)
