"""Columns of files in no known layout: a transcript CSV, a support-chat export, JSON with other names.

A row is a message (``role`` and ``content``), an exchange (``content`` and ``reply``), or a conversation with
a list of either in the field ``turns``. Where no column identifies conversations, a file is one. Common names
are recognised; ``describe_corpus`` saves others in ``mine.csv.columns.yaml`` (a folder's: ``columns.yaml``).
Messages are put in order of time where all dates of the file can be read in one way.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from realusersim_nb.corpus.formats import NOTES, SILENT, pick_name
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
SLASHED = re.compile(r"\s*(\d{1,2})([/.-])(\d{1,2})\2\d{2,4}\b")  # a date that begins with day or month
Speakers = Annotated[list[str], BeforeValidator(lambda given: [given] if isinstance(given, str) else given)]


class ColumnsError(InputError):
    """A column that is not there, or one that could not be recognised."""


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
        speakers = {str(turn.get(columns.role)) for turn in list_turns(rows, columns)}
        if "assistant" not in map(columns.name_role, speakers):
            columns.silent = []  # the assistant is called a system
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
        if not {columns.name_role(speaker) for speaker in speakers} >= {"user", "assistant"}:
            who = quote_names(speaker for speaker, _ in speakers.most_common(6))
            question = f"column {columns.role!r} holds {who}: which of them are the user?"
            answer = f"Name them as 'users' (or others as 'assistants') {todo.format('users')}."
            raise ColumnsError(f"{question} {answer}")


def group_rows(rows: Iterable[dict | str], columns: Columns) -> Iterator[dict | str]:
    """A row of the layout ``messages`` a conversation; of a stray row a reason."""
    groups: dict[str, list[int]] = {}
    listed: list[dict] = []
    for row in rows:
        name = pick_name(row, columns.conversation_id) if isinstance(row, dict) else None
        if isinstance(row, str):
            yield row
        elif columns.turns:
            turns = list_turns([row], columns)
            yield make_chat_row(turns, columns, times=read_times(turns, columns.time), outer=row)
        elif columns.conversation_id and name is None:
            yield f"no value in column {columns.conversation_id!r}"
        else:
            groups.setdefault(name, []).append(len(listed))
            listed.append(row)
    times = read_times(listed, columns.time)
    for numbers in groups.values():
        group, in_group = [listed[i] for i in numbers], times and [t[numbers] for t in times]
        yield make_chat_row(group, columns, times=in_group, outer=group[0])


def make_chat_row(turns: list[dict], columns: Columns, *, times: list | None, outer: dict) -> dict:
    """A conversation as a row of the layout ``messages``; its user is the one named first by a user's."""
    messages, users, notes = [], [], []
    if (ordered := sort_by_time(turns, times)) is None:
        ordered, notes = turns, [f"the times in {columns.time!r} give no clear order: that of the file kept"]
    for turn in ordered:
        role = columns.name_role(str(turn.get(columns.role))) if columns.role else "user"
        messages.append({"role": role, "content": turn.get(columns.content)})
        if columns.role is None:
            messages.append({"role": "assistant", "content": turn.get(columns.reply)})
        if role == "user":
            users.append(pick_name(turn, columns.user_id))
    user_id = pick_name(outer, columns.user_id) if columns.turns else next(filter(None, users), None)
    name = pick_name(outer, columns.conversation_id)
    return {"id": name, "user_id": user_id, "messages": messages, NOTES: notes}


def read_times(turns: list[dict], time: str | None) -> list[np.ndarray] | None:
    """The times of all turns, in seconds, in each way that they can be read; NaN for one that cannot.

    Of 03/02/2024 there are two, unless another date of them has a day above 12. Numbers are seconds, or the
    thousandth to billionth part of one, each by its size.
    """
    if time is None:
        return None
    values = pd.Series([str(turn.get(time)).strip() for turn in turns])
    numbers = pd.to_numeric(values, errors="coerce").astype(float)
    sizes = np.digitize(numbers.abs(), [1e11, 1e14, 1e17])  # the year 5138 in seconds, 1973 in thousandths
    texts = values[numbers.isna()]
    readings = []
    for day_first in list_day_orders(texts) if len(texts) else [False]:
        dates = pd.to_datetime(texts, errors="coerce", format="mixed", utc=True, dayfirst=day_first)
        seconds = (dates - pd.Timestamp(0, tz="UTC")).dt.total_seconds()
        readings.append((numbers / 1000.0**sizes).fillna(seconds).to_numpy())
    return readings


def list_day_orders(texts: Iterable[str]) -> list[bool]:
    """Whether the day may come first in such dates: one answer, two if it stays open, none if they differ."""
    dates = [match.groups() for match in map(SLASHED.match, texts) if match]
    day_first = any(int(first) > 12 or mark == "." for first, mark, _ in dates)
    month_first = any(int(second) > 12 for _, _, second in dates)
    if day_first or month_first:
        return [day_first] * (day_first != month_first)
    return [False, True] if dates else [False]


def sort_by_time(turns: list[dict], times: list[np.ndarray] | None) -> list[dict] | None:
    """The turns in the order on which all readings of their times agree; None if there is no such order."""
    if times is None or len(turns) < 2:
        return turns
    orders = {tuple(reading.argsort(kind="stable")) for reading in times}
    is_clear = len(orders) == 1 and not any(np.isnan(reading).any() for reading in times)
    return [turns[i] for i in orders.pop()] if is_clear else None


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
