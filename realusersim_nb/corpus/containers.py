"""Files as they come: plain, compressed (gzip, zstd) or in a zip archive; in UTF-8, UTF-16 or Latin-1.

Nothing is unpacked to disk, and what an archive calls its entries is never used as a path.
"""

import codecs
import gzip
import io
import struct
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, NamedTuple
from zipfile import BadZipFile, ZipFile

import pyarrow as pa

from realusersim_nb.errors import InputError, MissingFileError
from realusersim_nb.text import check_file, parse_json

KINDS = {".json": "json", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet", ".csv": "csv"}
KINDS |= {".tsv": "csv", ".txt": "text"}
PACKED = {
    ".gz": b"\x1f\x8b",
    ".zst": b"\x28\xb5\x2f\xfd",
    ".zstd": b"\x28\xb5\x2f\xfd",
    ".zip": b"PK\x03\x04",
}
MARKS = {codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32"}
MARKS |= {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
LOG = ".eval"  # a log of inspect_ai: an archive with a file a sample, and an index
ZIP_ZSTD = 93  # the method of such archives, which zipfile knows from Python 3.14 on
UTF8 = "utf-8-sig"  # with a mark or without
HEAD = 65_536  # bytes by which content is recognised
EXPANSION = 6  # text is about so many times as long as it is compressed


class Entry(NamedTuple):
    """A file of a corpus: on disk, or ``inner``, the name of an entry of the archive at ``path``."""

    path: Path
    inner: str = ""

    @property
    def name(self) -> str:
        """How it is called, in its folder or its archive."""
        return self.inner or self.path.name


def replace_latin(error: UnicodeError) -> tuple[str, int]:
    """What bytes that are no UTF-8 mean in Windows-1252, which is Latin-1 with more signs."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return error.object[error.start : error.end].decode("cp1252", "replace"), error.end


codecs.register_error("latin", replace_latin)


def list_entries(path: Path) -> list[Entry]:
    """The files at a path, sorted: itself, all in a folder, all in an archive; else MissingFileError."""
    check_file(path)
    if not path.exists():
        todo = "give a path, 'sharegpt', 'wildchat' or a hub id"
        raise MissingFileError(f"corpus {str(path)!r}: no such file or folder; {todo}.")
    if path.name == "results.json" and (simulations := path.with_name("simulations")).is_dir():
        path = simulations  # tau2-bench's index of them
    paths = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    return [entry for each in paths for entry in expand_archive(each)]


def expand_archive(path: Path) -> list[Entry]:
    """The entries of an archive, without what systems add; of another file itself."""
    if path.suffix.lower() not in (".zip", LOG):
        return [Entry(path)]
    try:
        names = sorted({info.filename for info in open_archive(path).infolist() if not info.is_dir()})
    except BadZipFile as error:
        raise InputError(
            f"{path}: the archive is damaged ({error}); download or pack it once more."
        ) from error
    if path.suffix.lower() == LOG:
        names = [name for name in names if name.startswith("samples/")]
    return [Entry(path, n) for n in names if not n.startswith("__MACOSX/") and Path(n).name[:1] != "."]


def open_archive(path: Path) -> ZipFile:
    """An archive, whose list of entries is read once as long as it stays the same."""
    return read_archive(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=2)
def read_archive(path: Path, stamp: int) -> ZipFile:
    """An open archive; ``stamp`` changes with it."""
    return ZipFile(path)


def find_kind(entry: Entry) -> str | None:
    """How an entry is read: json, jsonl, parquet, csv or text; None if it holds none of them.

    Of JSON the content decides: an array or object, or an object a line.
    """
    suffixes = [suffix.lower() for suffix in Path(entry.name).suffixes if suffix.lower() not in PACKED]
    kind = KINDS.get(suffixes[-1]) if suffixes else "json"
    if kind not in ("json", "jsonl", "text") or (kind == "json" and not suffixes and is_binary(entry)):
        return kind if suffixes else None
    head = read_head(entry).lstrip()
    if not head.startswith(("{", "[")) or (
        kind == "text" and head[1:2].isdigit()
    ):  # [31/12/2023, 21:41] Ann: hi
        return kind if suffixes else None
    first, _, rest = head.partition("\n")
    with suppress(ValueError):
        is_line = isinstance(parse_json(first), dict)
        return "jsonl" if is_line and (kind == "jsonl" or rest.lstrip().startswith("{")) else "json"
    return "jsonl" if kind == "jsonl" and head.startswith("{") else "json"


def is_binary(entry: Entry) -> bool:
    """Whether a file without a suffix is none of text."""
    with open_bytes(entry) as stream:
        return b"\0" in stream.read(1024)


def read_head(entry: Entry) -> str:
    """The beginning of a text."""
    try:
        with open_text(entry) as stream:
            return stream.read(HEAD)
    except (OSError, EOFError, RuntimeError, BadZipFile):  # told when it is read
        return ""


def is_plain(entry: Entry) -> bool:
    """Whether the bytes of a file are its text in UTF-8, so that it can be read from any byte on."""
    if entry.inner:
        return False
    with entry.path.open("rb") as stream:
        head = stream.read(4)
    return not head.startswith(tuple(PACKED.values())) and find_encoding(head) == UTF8


def measure_size(entry: Entry) -> int:
    """Bytes of the text in an entry; of a compressed file about."""
    if entry.inner:
        return open_archive(entry.path).getinfo(entry.inner).file_size
    packed = entry.path.suffix.lower() in PACKED
    return entry.path.stat().st_size * (EXPANSION if packed else 1)


def open_member(entry: Entry) -> BinaryIO:
    """The bytes of an entry of an archive; packed by zstd as they are, for ``open_bytes`` knows that."""
    info = open_archive(entry.path).getinfo(entry.inner)
    if info.compress_type != ZIP_ZSTD:
        return open_archive(entry.path).open(entry.inner)
    with entry.path.open("rb") as file:
        file.seek(info.header_offset + 26)  # where the lengths of the name and of the extra field are
        file.seek(sum(struct.unpack("<HH", file.read(4))), io.SEEK_CUR)
        return io.BytesIO(file.read(info.compress_size))


def open_bytes(entry: Entry) -> BinaryIO:
    """The bytes of an entry, decompressed while they are read."""
    raw = open_member(entry) if entry.inner else entry.path.open("rb")
    stream = io.BufferedReader(raw)
    head = stream.peek(4)[:4]
    if head.startswith(PACKED[".gz"]):
        return gzip.GzipFile(fileobj=stream)
    if head.startswith(PACKED[".zst"]):
        return io.BufferedReader(pa.input_stream(stream, compression="zstd"), HEAD)
    return stream


def find_encoding(head: bytes) -> str:
    """The encoding of a text by its first bytes: by its mark, or by zeros where UTF-16 has them."""
    if mark := next((mark for mark in MARKS if head.startswith(mark)), None):
        return MARKS[mark]
    zeros = [head[i : i + 1] == b"\0" for i in range(4)]
    known = {(False, True, False, True): "utf-16-le", (True, False, True, False): "utf-16-be"}
    return known.get(tuple(zeros), UTF8)


def open_text(entry: Entry) -> io.TextIOWrapper:
    """The text of an entry; what is no UTF-8 is read as Latin-1."""
    stream = io.BufferedReader(open_bytes(entry))
    return io.TextIOWrapper(stream, find_encoding(stream.peek(4)[:4]), "latin", newline="")


def describe_container(entry: Entry) -> str:
    """How an entry is packed and encoded, where that is not plain UTF-8; else nothing."""
    packed = (
        "in a zip archive" if entry.inner else next((s[1:] for s in PACKED if entry.name.endswith(s)), "")
    )
    with open_bytes(entry) as stream:
        head = stream.read(1_000_000)
    encoding = find_encoding(head[:4])
    if encoding == UTF8:
        try:
            codecs.getincrementaldecoder("utf-8")().decode(head)  # which takes half a character at the end
            encoding = ""
        except UnicodeDecodeError:
            encoding = "not UTF-8, so read as Latin-1"
    return ", ".join(filter(None, [packed, encoding]))
