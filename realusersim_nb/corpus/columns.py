"""Rows of one's own: a transcript CSV, a support-chat export, JSON with other names. Which column holds what?

A row is a message (``role`` and ``content``), an exchange (``content`` and ``reply``), or a conversation with a list of
either in the field ``turns``. Where no column tells conversations apart, a file is one. Common names are known; others
are told once, by ``loading.describe_corpus``, and kept beside the file: ``mine.csv.columns.yaml``, or ``columns.yaml`` for a folder.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import pandas as pd
import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from realusersim_nb.errors import InputError
from realusersim_nb.files import replace_whole

NAMES = {
    "turns": [
        "turns",
        "messages",
        "dialogue",
        "dialog",
        "chat",
        "history",
        "transcript",
        "thread",
        "conversation",
        "comments",
    ],
    "role": [
        "role",
        "sender",
        "speaker",
        "author",
        "from",
        "who",
        "author_role",
        "sender_type",
        "author_type",
        "participant",
        "direction",
    ],
    "content": [
        "content",
        "text",
        "message",
        "body",
        "utterance",
        "value",
        "msg",
        "prompt",
        "question",
        "query",
        "human",
        "input",
    ],
    "reply": ["reply", "response", "answer", "completion", "assistant", "output", "bot"],
    "conversation_id": [
        "conversation_id",
        "conversation",
        "chat_id",
        "chat",
        "ticket_id",
        "ticket",
        "thread_id",
        "thread",
        "session_id",
        "session",
        "dialogue_id",
        "dialog_id",
        "case_id",
        "id",
    ],
    "user_id": [
        "user_id",
        "user",
        "customer_id",
        "customer",
        "client_id",
        "client",
        "requester_id",
        "requester",
        "visitor_id",
        "hashed_ip",
    ],
    "time": [
        "timestamp",
        "time",
        "created_at",
        "sent_at",
        "datetime",
        "date",
        "turn",
        "turn_id",
        "position",
        "index",
    ],
}
"""Names that columns are known by, the surest first."""
USERS = {
    "user",
    "human",
    "customer",
    "client",
    "visitor",
    "end_user",
    "enduser",
    "requester",
    "guest",
    "caller",
    "member",
    "patient",
    "inbound",
    "incoming",
}
"""What a user is called in a column of speakers."""
KINDS = {"role": "says who speaks", "content": "holds what is said"}


class ColumnsError(InputError):
    """A column that is not there, or one that could not be guessed; its text says what to do."""


class Columns(BaseModel):
    """Which column holds what. ``users`` are the speakers who are users or, told the other way, ``assistants`` those who are not."""

    model_config = ConfigDict(extra="forbid")

    turns: str | None = None
    role: str | None = None
    content: str | None = None
    reply: str | None = None
    conversation_id: str | None = None
    user_id: str | None = None
    time: str | None = None
    users: list[str] = []
    assistants: list[str] = []

    def is_user(self, speaker: str) -> bool:
        """Whether a speaker is the user."""
        if self.users or self.assistants:
            return speaker in self.users if self.users else speaker not in self.assistants
        return normalise_name(speaker) in USERS


def normalise_name(name: object) -> str:
    """A name as it is compared: small letters, words joined by ``_``."""
    return re.sub(r"[\W_]+", "_", str(name).strip().lower()).strip("_")


def complete_columns(told: Columns, rows: list[dict]) -> Columns:
    """All columns of these rows: what is told, and the rest by their names.

    ColumnsError for one that is told and not there, one that is needed and has none of the known names, and a column
    of speakers in which nobody is known to be the user.
    """
    found = told.model_copy()
    listed = [
        name
        for row in rows
        for name, value in row.items()
        if isinstance(value, list) and value and isinstance(value[0], dict)
    ]
    found.turns = told.turns or pick_column("turns", listed)
    outer = list(dict.fromkeys(name for row in rows for name in row if name != found.turns))
    inner = list(dict.fromkeys(name for turn in list_turns(rows, found) for name in turn))
    repeated = [
        name for name in outer if found.turns or len({str(row.get(name)) for row in rows}) < len(rows)
    ]
    places = {
        "conversation_id": repeated,
        "user_id": outer,
        **dict.fromkeys(("role", "content", "reply", "time"), inner),
    }
    for kind, among in places.items():
        name = getattr(told, kind)
        if name is not None and name not in {*among, *outer}:
            raise ColumnsError(
                f"there is no column {name!r} for {kind}; the columns are {quote_names(among)}."
            )
        setattr(found, kind, name or pick_column(kind, among))
    if found.role:
        found.reply = None
    check_columns(found, inner, rows)
    return found


def pick_column(kind: str, among: list) -> str | None:
    """The column whose name is the surest for this kind, or none."""
    known = {normalise_name(name): name for name in reversed(among)}
    return next((known[name] for name in NAMES[kind] if name in known), None)


def list_turns(rows: list[dict], columns: Columns) -> list[dict]:
    """What is said in these rows, one by one."""
    if columns.turns is None:
        return rows
    return [turn for row in rows for turn in row.get(columns.turns) or [] if isinstance(turn, dict)]


def quote_names(names: Iterable, *, most: int = 12) -> str:
    """Names for a sentence."""
    shown = [repr(str(name)) for name in names]
    return ", ".join(shown[:most]) + (f" and {len(shown) - most} more" if len(shown) > most else "")


def check_columns(found: Columns, names: list, rows: list[dict]) -> None:
    """ColumnsError for what is missing."""
    for kind, does in KINDS.items():
        if getattr(found, kind) is None and not (kind == "role" and found.reply):
            raise ColumnsError(
                f"which column {does}? They are {quote_names(names)}; say `{kind}=COLUMN` to corpus.look (or `-c {kind} COLUMN` to the command look)."
            )
    if found.role:
        speakers = Counter(str(turn.get(found.role)) for turn in list_turns(rows, found))
        if len({found.is_user(speaker) for speaker in speakers}) < 2:
            who = quote_names(speaker for speaker, _ in speakers.most_common(6))
            raise ColumnsError(
                f"column {found.role!r} holds {who}: which of them are the user? Say `users=[...]` or `assistants=[...]` to corpus.look (or `-c users NAME` to the command look)."
            )


def group_rows(rows: Iterable[dict | str], columns: Columns, *, file: str) -> Iterator[dict | str]:
    """The same as rows of the layout ``messages``, one a conversation; a row that has no place in one comes as a reason.

    ``file`` names the conversations that have no name of their own.
    """
    grouped: dict[str, list[dict]] = {}
    for number, row in enumerate(rows):
        name = row.get(columns.conversation_id) if isinstance(row, dict) and columns.conversation_id else None
        if isinstance(row, str):
            yield row
        elif columns.turns:
            yield make_chat_row(
                [row], list_turns([row], columns), columns, name=str(name or f"{file}/{number}")
            )
        elif columns.conversation_id and name in (None, ""):
            yield f"no value in column {columns.conversation_id!r}"
        else:
            grouped.setdefault(str(name or file), []).append(row)
    for name, own in grouped.items():
        yield make_chat_row(own, sort_by_time(own, columns.time), columns, name=name)


def make_chat_row(rows: list[dict], turns: list[dict], columns: Columns, *, name: str) -> dict:
    """One conversation as a row of the layout ``messages``; the user is the first that its rows name, else it is one."""
    user = next((row[columns.user_id] for row in rows if columns.user_id and row.get(columns.user_id)), None)
    messages = [message for turn in turns for message in read_turn(turn, columns)]
    return {"id": name, "user_id": str(user or name), "messages": messages}


def read_turn(turn: dict, columns: Columns) -> Iterator[dict]:
    """The message in a turn, or the two of an exchange."""
    if columns.role:
        said = [("user" if columns.is_user(str(turn.get(columns.role))) else "assistant", columns.content)]
    else:
        said = [("user", columns.content), ("assistant", columns.reply)]
    for role, column in said:
        if text := turn.get(column):
            yield {"role": role, "content": str(text)}


def sort_by_time(rows: list[dict], time: str | None) -> list[dict]:
    """By time, where every row has one that can be read; else as they stand."""
    if time is None:
        return rows
    told = pd.Series([row.get(time) for row in rows])
    order = pd.to_numeric(told, errors="coerce")
    if order.isna().any():
        order = pd.to_datetime(told, errors="coerce", format="mixed", utc=True)
    return rows if order.isna().any() else [rows[i] for i in order.argsort(kind="stable")]


# --- what was told, beside the file --------------------------------------------------------------


def find_note(path: Path) -> Path:
    """Where the columns of a file, or of a folder of files, are noted."""
    return path / "columns.yaml" if path.is_dir() else path.with_name(f"{path.name}.columns.yaml")


def read_note(path: Path) -> Columns | None:
    """What was told of a file, or of its folder; ColumnsError if the note cannot be read."""
    note = next((note for note in (find_note(path), find_note(path.parent)) if note.exists()), None)
    if note is None:
        return None
    try:
        return parse_columns(yaml.safe_load(note.read_text(encoding="utf-8")) or {}, note)
    except yaml.YAMLError as error:
        raise ColumnsError(
            f"{note}: not YAML ({' '.join(str(error).split())}); mend or remove it."
        ) from error


def parse_columns(told: dict, place: object) -> Columns:
    """Columns as a person tells them; ColumnsError names a kind that does not exist."""
    try:
        lists = {name: [told[name]] for name in ("users", "assistants") if isinstance(told.get(name), str)}
        return Columns(**told | lists)
    except (ValidationError, TypeError, AttributeError) as error:
        raise ColumnsError(
            f"{place}: expected some of {', '.join(Columns.model_fields)}, each with a column's name, got {told!r}."
        ) from error


def write_note(path: Path, columns: Columns) -> Path:
    """Keep what was told of a file or folder; returns where."""
    with replace_whole(find_note(path)) as temporary:
        temporary.write_text(yaml.safe_dump(columns.model_dump(exclude_defaults=True)), encoding="utf-8")
    return find_note(path)
