"""Columns of files in no known layout: a transcript CSV, a support-chat export, JSON with other names.

A row is a message (``role`` and ``content``), an exchange (``content`` and ``reply``), or a conversation with
a list of either in the field ``turns``. Where no column identifies conversations, a file is one. Common names
are recognised; ``describe_corpus`` saves others in ``mine.csv.columns.yaml`` (a folder's: ``columns.yaml``).
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

import pandas as pd
import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from realusersim_nb.errors import InputError
from realusersim_nb.files import replace_whole

NAMES = {  # by which columns are recognised, the surest first
    "turns": "turns messages dialogue dialog chat history transcript thread conversation comments",
    "role": "role sender speaker author from who author_role sender_type author_type participant direction",
    "content": "content text message body utterance value msg prompt question query human input",
    "reply": "reply response answer completion assistant output bot",
    "conversation_id": """conversation_id conversation chat_id chat ticket_id ticket thread_id thread
        session_id session dialogue_id dialog_id case_id id""",
    "user_id": """user_id user customer_id customer client_id client requester_id requester visitor_id
        hashed_ip""",
    "time": "timestamp time created_at sent_at datetime date turn turn_id position index",
}
USERS = """user human customer client visitor end_user enduser requester guest caller member patient
    inbound incoming""".split()  # in a column of speakers
Speakers = Annotated[list[str], BeforeValidator(lambda given: [given] if isinstance(given, str) else given)]


class ColumnsError(InputError):
    """A column that is not there, or one that could not be recognised."""


class Columns(BaseModel):
    """Which column holds what; ``users`` are the speakers who are users, ``assistants`` those who are not."""

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

    def is_user(self, speaker: str) -> bool:
        """Whether a speaker is the user."""
        if self.users or self.assistants:
            return speaker in self.users if self.users else speaker not in self.assistants
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
    lists = [name for name, v in fields if v and isinstance(v, list) and isinstance(v[0], dict)]
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
    check_columns(columns, inner, rows)
    return columns


def pick_column(kind: str, names: list) -> str | None:
    """The column whose name is the surest for this kind, or none."""
    known = {normalise_name(name): name for name in reversed(names)}
    return next((known[name] for name in NAMES[kind].split() if name in known), None)


def list_turns(rows: list[dict], columns: Columns) -> list[dict]:
    """The messages or exchanges in these rows."""
    if columns.turns is None:
        return rows
    return [turn for row in rows for turn in row.get(columns.turns) or [] if isinstance(turn, dict)]


def quote_names(names: Iterable) -> str:
    """Up to 12 names for a sentence."""
    quoted = [repr(str(name)) for name in names]
    return ", ".join(quoted[:12]) + (f" and {len(quoted) - 12} more" if len(quoted) > 12 else "")


def check_columns(columns: Columns, names: list, rows: list[dict]) -> None:
    """ColumnsError for what is missing."""
    todo = "in `columns` of describe_corpus, or with `-c {} NAME` of the command look"
    for kind, content in {"role": "the speaker", "content": "the text"}.items():
        if getattr(columns, kind) is None and not (kind == "role" and columns.reply):
            question = f"which column holds {content}? The columns are {quote_names(names)}"
            raise ColumnsError(f"{question}; name it as {kind!r} {todo.format(kind)}.")
    if columns.role:
        speakers = Counter(str(turn.get(columns.role)) for turn in list_turns(rows, columns))
        if len({columns.is_user(speaker) for speaker in speakers}) < 2:
            who = quote_names(speaker for speaker, _ in speakers.most_common(6))
            question = f"column {columns.role!r} holds {who}: which of them are the user?"
            answer = f"Name them as 'users' (or others as 'assistants') {todo.format('users')}."
            raise ColumnsError(f"{question} {answer}")


def group_rows(rows: Iterable[dict | str], columns: Columns, *, file: str) -> Iterator[dict | str]:
    """A row of the layout ``messages`` a conversation, nameless ones by ``file``; of a stray row a reason."""
    groups: dict[str, list[dict]] = {}
    for number, row in enumerate(rows):
        name = row.get(columns.conversation_id) if isinstance(row, dict) and columns.conversation_id else None
        if isinstance(row, str):
            yield row
        elif columns.turns:
            yield make_chat_row([row], columns, name=str(name or f"{file}/{number}"))
        elif columns.conversation_id and name in (None, ""):
            yield f"no value in column {columns.conversation_id!r}"
        else:
            groups.setdefault(str(name or file), []).append(row)
    for name, group in groups.items():
        yield make_chat_row(group, columns, name=name)


def make_chat_row(rows: list[dict], columns: Columns, *, name: str) -> dict:
    """A conversation as a row of the layout ``messages``; if its rows name no user, it is one of its own."""
    user = next((row[columns.user_id] for row in rows if columns.user_id and row.get(columns.user_id)), name)
    messages = []
    for turn in list_turns(sort_by_time(rows, columns.time), columns):
        is_user = columns.role is None or columns.is_user(str(turn.get(columns.role)))
        texts = [("user" if is_user else "assistant", turn.get(columns.content))]
        if columns.role is None:
            texts.append(("assistant", turn.get(columns.reply)))
        messages += [{"role": role, "content": str(text)} for role, text in texts if text]
    return {"id": name, "user_id": str(user), "messages": messages}


def sort_by_time(rows: list[dict], time: str | None) -> list[dict]:
    """By time, if every row has one that can be parsed; else as they are."""
    if time is None or len(rows) < 2:
        return rows
    times = pd.Series([row.get(time) for row in rows])
    order = pd.to_numeric(times, errors="coerce")
    if order.isna().any():
        order = pd.to_datetime(times, errors="coerce", format="mixed", utc=True)
    return rows if order.isna().any() else [rows[i] for i in order.argsort(kind="stable")]


def find_note(path: Path) -> Path:
    """Where the columns of a file, or of a folder of files, are saved."""
    return path / "columns.yaml" if path.is_dir() else path.with_name(f"{path.name}.columns.yaml")


def read_note(path: Path) -> Columns | None:
    """The columns saved for a file, or for its folder; ColumnsError if they cannot be read."""
    note = next((note for note in (find_note(path), find_note(path.parent)) if note.exists()), None)
    if note is None:
        return None
    try:
        return parse_columns(yaml.safe_load(note.read_text(encoding="utf-8")) or {}, note)
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
