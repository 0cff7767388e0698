"""Rows of a file of any kind, as a stream: JSON, JSON lines, parquet, CSV, WhatsApp's text, Slack's exports.

A row that cannot be read becomes a reason (str), never an exception.
"""

import csv
import re
import zipfile
import zlib
from collections.abc import Iterator
from itertools import product

import ijson
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from realusersim_nb.corpus.containers import HEAD, Entry, is_plain, list_entries, open_bytes, open_text
from realusersim_nb.corpus.layouts.harnesses import is_trace, join_traces
from realusersim_nb.corpus.layouts.messengers import DAY, list_chats, read_slack, read_whatsapp
from realusersim_nb.corpus.layouts.rows import LAYOUTS, find_layout
from realusersim_nb.text import parse_json

MORE = "\0more"  # the key of CSV fields without a name
LISTS = """simulations conversations list train dev valid validation test data rows dialogues dialogs samples
    traces conversationalTestCases""".split()
INSIDE = {"list": "chats.", "conversationalTestCases": "testRunData."}  # where lists may be in another object
LIST = re.compile(rf'"({"|".join(LISTS)})"\s*:\s*\[')
SIZE = 1 << 22  # characters that are searched at once
DAMAGE = (EOFError, zlib.error, zipfile.BadZipFile, RuntimeError, csv.Error, pa.ArrowException)
"""Errors of a file; RuntimeError: it is encrypted."""
MOST_FIELDS = 2000
TOO_WIDE = f"the row has more than {MOST_FIELDS:,} fields"
DEEPEST = 200  # brackets in brackets; ijson needs the square of it in memory
QUOTE = ord('"')
STEPS = np.zeros(256, np.int8)
STEPS[list(b"[{")], STEPS[list(b"]}")] = 1, -1
OTHERS = bytes({*range(256)} - {*b'[]{}"'})


def read_rows_of(entry: Entry, kind: str, start: int = 0, stop: int | None = None) -> Iterator[dict | str]:
    """The rows of an entry, or of a piece of it; a chat between people as its messages, a row each.

    A file that is damaged gives its whole rows and one reason.
    """
    try:
        for row in join_traces(READERS[kind](entry, start, stop)):
            if isinstance(row, dict) and len(row) > MOST_FIELDS:
                row = TOO_WIDE
            yield from list_chats(row, entry.name) if isinstance(row, dict) else [row]
    except (*DAMAGE, OSError) as error:
        if isinstance(error, OSError) and error.errno:
            raise
        yield f"the file is damaged or encrypted from here on ({type(error).__name__})"


class Bytes:
    """What ijson reads: a text as UTF-8; ValueError where it is nested too deep for it.

    ``depth`` and ``inside`` (a string, after a backslash) are those at the end of what has been read.
    """

    def __init__(self, text):
        self.text, self.depth, self.inside, self.escaped = text, 0, False, False

    def read(self, n: int = -1) -> bytes:
        """The next n characters."""
        block = self.text.read(n).encode("utf-8", "replace")
        if block:
            self.measure(block)
        return block

    def measure(self, block: bytes) -> None:
        """Follow the brackets outside of strings, whose escaped characters are taken out before."""
        block, self.escaped = block[self.escaped :], False
        plain = block.replace(b"\\\\", b"").replace(b'\\"', b"")
        self.escaped = plain.endswith(b"\\")
        marks = np.frombuffer(plain.translate(None, OTHERS), np.uint8)  # quotes and brackets
        inside = (np.cumsum(marks == QUOTE) + self.inside) % 2 == 1
        steps = np.where(inside, 0, STEPS[marks])
        depths = self.depth + np.cumsum(steps)
        if len(marks):
            self.depth, self.inside = int(depths[-1]), bool(inside[-1])
        if len(marks) and depths.max() > DEEPEST:
            raise ValueError("nested too deep")


def read_json(entry: Entry, start: int, stop: int | None) -> Iterator[dict | str]:
    """Stream a JSON array, or the lists of rows in an object (``LISTS``); another object is one row.

    A file that is cut off gives its whole records and one reason.
    """
    with open_text(entry) as text:
        is_object = text.read(HEAD).lstrip().startswith("{")
    n = 0
    try:
        for prefix in find_lists(entry) if is_object else ["item"]:
            with open_text(entry) as text:
                for row in ijson.items(Bytes(text), prefix, use_float=True):
                    n += 1
                    yield wrap_row(row)
        if is_object and n == 0:
            with open_text(entry) as text:
                n = 1
                yield wrap_row(parse_json(text.read()))
    except (ijson.JSONError, ValueError):
        yield "the file ends inside a record or is not JSON; export it once more, or correct it there"
        return
    if n == 0:
        yield "the file is not a JSON array of conversations, nor an object"


def wrap_row(row: object) -> dict | str:
    """An item of JSON as a row; a list of turns is one."""
    if isinstance(row, list):
        return {"turns": row}
    return row if isinstance(row, dict) else "the row is not an object"


def find_lists(entry: Entry) -> list[str]:
    """Where an object has lists of rows, as prefixes of ijson; none if it is a row itself."""
    names: dict[str, None] = {}
    with open_text(entry) as text:
        tail = ""
        while block := text.read(SIZE):
            names |= dict.fromkeys(LIST.findall(tail + block))
            tail = block[-100:]
    prefixes = [
        f"{outer}{name}.item" for name in names for outer in dict.fromkeys(["", INSIDE.get(name, "")])
    ]
    return [prefix for prefix in prefixes if is_list_of_rows(entry, prefix)]


def is_list_of_rows(entry: Entry, prefix: str) -> bool:
    """Whether the first item there is a row of a known layout, a trace, or a chat."""
    with open_text(entry) as text:
        try:
            item = next(ijson.items(Bytes(text), prefix, use_float=True), None)
        except (ijson.JSONError, ValueError):
            return False
    if not isinstance(item, dict) or "from" in item:
        return False
    is_known = is_trace(item) or find_layout(item) is not None
    return is_known or any(isinstance(value, list) for value in item.values())


def read_jsonl(entry: Entry, start: int, stop: int | None) -> Iterator[dict | str]:
    """Stream the JSON lines that begin between two bytes; a line that is not JSON becomes a reason."""
    for line in read_lines(entry, start, stop) if is_plain(entry) else open_text(entry):
        try:
            if line.strip():
                yield wrap_row(parse_json(line.lstrip("\ufeff")))
        except ValueError:
            yield "the line is not JSON, or nested too deep"


def read_lines(entry: Entry, start: int, stop: int | None) -> Iterator[str]:
    """The lines of a plain file that begin between two bytes."""
    with entry.path.open("rb") as file:
        if start:  # the line that holds the byte before belongs to the shard before
            file.seek(start - 1)
            file.readline()
        while (stop is None or file.tell() < stop) and (line := file.readline()):
            yield line.decode("utf-8", "latin")


def read_parquet(entry: Entry, start: int, stop: int | None) -> Iterator[dict | str]:
    """Stream the rows of some row groups of a parquet file; of turns in a known layout only role and text."""
    with open_bytes(entry) as stream:
        file = pq.ParquetFile(stream if entry.inner else entry.path)
        if file.metadata.num_columns > MOST_FIELDS:
            yield TOO_WIDE
            return
        names = [file.metadata.schema.column(i).path for i in range(file.metadata.num_columns)]
        fields = {name for one in LAYOUTS for name in one.fields}
        for field, used in product(fields, ({"role", "content"}, {"from", "value"})):
            inner = {name: {*name.split(".")[1:]} for name in names if name.startswith(f"{field}.")}
            if used <= set().union(*inner.values()):
                names = [name for name in names if name not in inner or used & inner[name]]
        groups = range(start, file.num_row_groups if stop is None else min(stop, file.num_row_groups))
        for batch in file.iter_batches(1000, row_groups=groups, columns=names):
            yield from batch.to_pylist()


def read_csv(entry: Entry, start: int, stop: int | None) -> Iterator[dict | str]:
    """Stream the rows of a CSV file; the separator (comma, semicolon, tab, bar) is that of its first line."""
    csv.field_size_limit(2**31 - 1)
    with open_text(entry) as head:
        first = head.readline()
        separator = max(",;\t|", key=first.count)
    if first.count(separator) >= MOST_FIELDS:
        yield TOO_WIDE
        return
    with open_text(entry) as file:
        for row in csv.DictReader(file, delimiter=separator, restkey=MORE):
            yield "the row has more fields than the first line" if MORE in row else row


def read_text(entry: Entry, start: int, stop: int | None) -> Iterator[dict | str]:
    """The messages of a chat that WhatsApp exported, a row each."""
    with open_text(entry) as file:
        yield from read_whatsapp(file)


def read_slack_export(entry: Entry, start: int, stop: int | None) -> Iterator[dict | str]:
    """The messages of an export of Slack, a folder or an archive, a row each, channel after channel."""
    entries = {
        each.inner or each.path.relative_to(entry.path).as_posix(): each for each in list_entries(entry.path)
    }
    users = next(each for name, each in entries.items() if name.rpartition("/")[2] == "users.json")
    days = {name: each for name, each in entries.items() if DAY.search(name)}
    yield from read_slack(
        read_json(users, 0, None), {name: read_json(each, 0, None) for name, each in days.items()}
    )


READERS = {
    "json": read_json,
    "jsonl": read_jsonl,
    "parquet": read_parquet,
    "csv": read_csv,
    "text": read_text,
    "slack": read_slack_export,
}
