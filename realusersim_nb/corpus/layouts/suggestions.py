"""What is in rows of no known layout, which known layout is nearest, and what their columns might be."""

import difflib
import json
import shlex
from collections import Counter
from itertools import pairwise

import pandas as pd

from realusersim_nb.corpus.cleaning import mask_pii
from realusersim_nb.corpus.layouts.columns import (
    Columns,
    ColumnsError,
    complete_columns,
    is_list_of_turns,
    list_turns,
    pick_column,
)
from realusersim_nb.corpus.layouts.rows import BOT, LAYOUTS, NOTES, PLACE
from realusersim_nb.text import cut_at_word, show_plainly

MANY = 12  # speakers, of whom more are no column of speakers


def suggest_columns(rows: list[dict], given: Columns) -> dict[str, str | list[str]]:
    """Columns by what they hold, where their names do not say it; empty if that is not clear either.

    Texts are the longest values; speakers are few and change from row to row; ids of conversations return;
    the user is who begins most conversations.
    """
    columns = given.model_copy()
    fields = [field for row in rows for field in row.items()]
    lists = [name for name, value in fields if is_list_of_turns(value)]
    columns.turns = given.turns or pick_column("turns", lists) or next(iter(lists), None)
    turns = list_turns(rows, columns)
    table = (
        pd.DataFrame(turns).dropna(axis=1, how="all").map(lambda value: "" if value is None else str(value))
    )
    names = [name for name in table.columns if name not in (NOTES, PLACE)]
    columns.content = given.content or pick_column("content", names) or pick_longest(table[names])
    others = [name for name in names if name != columns.content]
    columns.role = given.role or pick_column("role", others) or pick_changing(table[others])
    others = [name for name in others if name != columns.role]
    columns.time = given.time or pick_column("time", others) or pick_time(table[others])
    others = [name for name in others if name != columns.time]
    if columns.turns is None:
        steady = pick_column("conversation_id", others) or pick_steady(table[others])
        columns.conversation_id = given.conversation_id or steady
    if not (columns.content and columns.role):
        return {}
    if not (given.users or given.assistants):
        columns.users = suggest_users(rows, table, columns)
    try:
        complete_columns(columns, rows)
    except ColumnsError:
        return {}
    return columns.model_dump(exclude_defaults=True)


def suggest_users(rows: list[dict], table: pd.DataFrame, columns: Columns) -> list[str]:
    """Who begins most conversations; nobody if the names of the speakers say it."""
    speakers = set(table[columns.role])
    if {columns.name_role(speaker) for speaker in speakers} >= {"user", "assistant"}:
        return []
    if columns.turns:
        first = [list_turns([row], columns)[:1] for row in rows]
        begins = Counter(str(turn.get(columns.role)) for turns in first for turn in turns)
    elif columns.conversation_id:
        begins = Counter(table.groupby(columns.conversation_id, sort=False)[columns.role].first())
    else:
        begins = Counter(table[columns.role].head(1))
    return [begins.most_common(1)[0][0]]


def pick_longest(table: pd.DataFrame) -> str | None:
    """The column with the most words a value, at least two."""
    words = {name: table[name].str.split().str.len().mean() for name in table.columns}
    best = max(words, key=words.get, default=None)
    return best if best is not None and words[best] >= 2 else None


def pick_changing(table: pd.DataFrame) -> str | None:
    """The column of few values that changes most often from row to row, names before numbers."""
    few = [n for n in table.columns if 2 <= table[n].nunique() <= min(MANY, max(2, len(table) // 2))]
    changes = {n: (not has_digits(table[n]), sum(a != b for a, b in pairwise(table[n]))) for n in few}
    return max(changes, key=changes.get, default=None)


def has_digits(values: pd.Series) -> bool:
    """Whether most values have a digit, as ids do."""
    return values.str.contains(r"\d").mean() > 0.5


def pick_time(table: pd.DataFrame) -> str | None:
    """The column that holds dates."""
    texts = [name for name in table.columns if pd.to_numeric(table[name], errors="coerce").isna().all()]
    times = {n: pd.to_datetime(table[n], errors="coerce", format="mixed", utc=True) for n in texts}
    return next((name for name, values in times.items() if values.notna().all()), None)


def pick_steady(table: pd.DataFrame) -> str | None:
    """The column of the most values that return, one of numbers before one of names."""
    returning = [n for n in table.columns if 1 < table[n].nunique() <= 0.8 * len(table)]
    return max(returning, key=lambda n: (has_digits(table[n]), table[n].nunique()), default=None)


def format_command(corpus: str, columns: dict[str, str | list[str]]) -> str:
    """The command that looks at a corpus with these columns."""
    words = ["python", "-m", "realusersim_nb", "look", corpus]
    for name, value in columns.items():
        text = value if isinstance(value, str) else value[0] if len(value) == 1 else json.dumps(value)
        words += ["-c", name, text]
    return shlex.join(words)


def describe_rows(rows: list[dict]) -> list[str]:
    """The fields of some rows with their kinds, a sample, and the nearest known layout, a line each."""
    kinds: dict[str, Counter] = {}
    for row in rows:
        for name, value in row.items():
            if not name.startswith("\0"):
                kinds.setdefault(name, Counter())[name_kind(value)] += 1
    fields = ", ".join(f"{name!r} ({' or '.join(kind)})" for name, kind in list(kinds.items())[:20])
    fields = mask_pii(fields)
    sample = {name: value for name, value in rows[0].items() if not name.startswith("\0")}
    lines = [f"It has {len(kinds)} fields: {fields}."]
    text = show_plainly(json.dumps(sample, ensure_ascii=False, default=str))
    lines.append(f"Its first row: {cut_at_word(mask_pii(text), 300)}")
    return lines if any(BOT in row for row in rows) else [*lines, *find_nearest(list(kinds))]


def name_kind(value: object) -> str:
    """What a value is, in a word or a few."""
    if isinstance(value, list):
        return f"list of {name_kind(value[0])}" if value else "empty list"
    if isinstance(value, dict):
        return "object of " + ", ".join(list(value)[:6])
    names = {str: "text", bool: "yes or no", int: "number", float: "number", type(None): "nothing"}
    return names.get(type(value), type(value).__name__)


def find_nearest(names: list[str]) -> list[str]:
    """The layout whose fields have names most like these, and which of its fields are missing."""
    near = [
        (difflib.SequenceMatcher(None, field.lower(), name.lower()).ratio(), one, name)
        for one in LAYOUTS
        for field in one.fields
        for name in names
    ]
    ratio, one, name = max(near, key=lambda each: each[0], default=(0, None, ""))
    if ratio < 0.6:
        return []
    missing = [repr(field) for field in one.fields if field not in names]
    lacks = f"which has {' and '.join(missing)} where this has {name!r}" if missing else "but not of its form"
    return [f"The nearest known layout is {one.title}, {lacks}."]
