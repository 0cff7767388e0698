"""Files that are whole or absent, records in them (one JSON object a line), and outputs that machines share.

``REALUSERSIM_OUTPUTS=s3://bucket/study`` (any address of fsspec) is for machines that share no disk: each
works in its ``outputs/``, uploads what is finished and downloads what others have finished.
"""

import copy
import hashlib
import json
import os
import platform
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import fsspec
import numpy as np
import pandas as pd
import psutil
from filelock import FileLock
from pydantic import BaseModel
from pydantic_core import to_json

from realusersim_nb.errors import InputError, StudyError
from realusersim_nb.text import check_file, check_name, hide_credentials, parse_json, place_inside

R = TypeVar("R", bound=BaseModel)
OUTPUTS_URL = "REALUSERSIM_OUTPUTS"
REPAIR = "remove the line or the file and run again"
BLOCK = 64  # records that are read at once
PLACE = [
    ("file", np.int32),
    ("start", np.int64),
]  # of a record: the number of its file, the byte it begins at
LAST = "manifest.json"  # transferred last: where it is, the rest is


def project_folder() -> Path:
    """The working directory, or its parent where that is ``notebooks/`` (JupyterLab starts kernels there)."""
    here = Path.cwd()
    return here.parent if here.name == "notebooks" else here


def notebooks_folder() -> Path:
    """Where the notebooks are."""
    return project_folder() / "notebooks"


def outputs_folder() -> Path:
    """Where runs and curated corpora are written."""
    return project_folder() / "outputs"


def find_run_folder(run_name: str) -> Path:
    """The folder of a run, ``RUN`` or ``SWEEP/RUN``, under outputs/; InputError for any other name."""
    pieces = [check_name(piece) for piece in (run_name.split("/", 1) if run_name else [run_name])]
    return outputs_folder().joinpath(*pieces)


@cache
def digest_code() -> str:
    """12 hex digits that change with the package's code and prompts: results of another digest may differ."""
    paths = sorted(path for kind in ("*.py", "*.md") for path in Path(__file__).parent.rglob(kind))
    return hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()[:12]


class DamagedFileError(StudyError):
    """A file of ours that was cut off or altered; it names the file and what makes it anew."""

    def __init__(self, path: Path):
        super().__init__(f"{path}: cut off or damaged; remove it and run again what made it.")


@contextmanager
def replace_whole(path: Path) -> Iterator[Path]:
    """A temporary path to write to; it becomes ``path`` when the block ends, and is removed if it fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


class RunTaken(StudyError):
    """Another process is at work on this run."""


@contextmanager
def hold_run(run_folder: Path) -> Iterator[None]:
    """A run for this process alone, for the length of a ``with``; RunTaken names who has it.

    ``running.json`` has the owner's process and host. That of a process which has ended counts no more.
    """
    path, here = run_folder / "running.json", describe_process(os.getpid())
    run_folder.mkdir(parents=True, exist_ok=True)
    with FileLock(outputs_folder() / ".lock"):
        try:
            owner = read_json(path)
        except (FileNotFoundError, DamagedFileError):
            owner = {}
        elsewhere = owner.get("host") not in (None, here["host"])
        if elsewhere or (owner and owner == describe_process(owner["pid"])):
            who = f"process {owner['pid']} on {owner['host']}"
            todo = f"wait for its end or choose another run name (if it has ended: remove {path})"
            raise RunTaken(f"{run_folder}: {who} is at work there; {todo}.")
        write_json(path, here)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def describe_process(pid: int) -> dict[str, Any]:
    """A process by its id, host and start, which no later one shares; empty if it has ended."""
    try:
        process = psutil.Process(pid)
        began = process.status() != psutil.STATUS_ZOMBIE and process.create_time()
    except psutil.Error:
        began = None
    return {"pid": pid, "host": platform.node(), "began": began} if began else {}


def write_json(path: Path, content: dict) -> None:
    """Write JSON, indented; NaN becomes null, so that any reader can parse it."""
    plain = {"fallback": lambda value: value.item() if hasattr(value, "item") else str(value)}
    with replace_whole(path) as temporary:
        temporary.write_bytes(to_json(content, indent=2, inf_nan_mode="null", **plain) + b"\n")


def read_json(path: Path) -> dict[str, Any]:
    """The object in a file; DamagedFileError names a file that holds none."""
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DamagedFileError(path) from error
    if not isinstance(content, dict):
        raise DamagedFileError(path)
    return content


def read_table(path: Path) -> pd.DataFrame:
    """The table in a parquet file; DamagedFileError names a file that holds none."""
    try:
        return pd.read_parquet(path)
    except (ValueError, OSError) as error:
        raise DamagedFileError(path) from error


def write_lines(path: str | Path, rows: Iterable[BaseModel | dict]) -> Path:
    """Write one record or JSON object a line; returns the path."""
    with replace_whole(Path(path)) as temporary, temporary.open("w", encoding="utf-8") as file:
        for row in rows:
            line = json.dumps(row, ensure_ascii=False) if isinstance(row, dict) else row.model_dump_json()
            file.write(line + "\n")
    return Path(path)


def read_lines(path: str | Path) -> Iterator[tuple[str, dict]]:
    """Each line's place and its JSON object; InputError names a line that is not JSON in UTF-8."""
    check_file(Path(path))
    with Path(path).open("rb") as file:
        for number, line in enumerate(file, 1):
            place = f"{path}, line {number}"
            try:
                row = parse_json(line.decode("utf-8-sig"))  # some editors put a mark before the first line
            except ValueError as error:
                raise InputError(f"{place}: not JSON ({error}); {REPAIR}.") from error
            yield place, row


def read_records(path: str | Path, record: type[R]) -> Iterator[R]:
    """Yield the records of a file; InputError names a line that does not fit."""
    for place, row in read_lines(path):
        try:
            yield record.model_validate(row)
        except ValueError as error:
            problem = f"expected a {record.__name__}, but {error.errors()[0]['msg']}"
            raise InputError(f"{place}: {problem}; {REPAIR}.") from error


def find_lines(path: Path) -> np.ndarray:
    """The byte at which each line of a file begins."""
    with path.open("rb") as file:
        lengths = np.fromiter(map(len, file), np.int64)
    return np.cumsum(lengths) - lengths


class Records(Sequence[R]):
    """Records in files, one a line, that read like a list: each is in memory only while it is looked at.

    ``places``: an array with the fields of ``PLACE``, one entry a record. A line that does not fit is an
    InputError when it is read.
    """

    def __init__(self, record: type[R], paths: list[Path], places: np.ndarray):
        self.record, self.paths, self.places = record, paths, places

    @classmethod
    def from_file(cls, path: str | Path, record: type[R]) -> "Records[R]":
        """All records of one file."""
        starts = find_lines(Path(path))
        places = np.zeros(len(starts), PLACE)
        places["start"] = starts
        return cls(record, [Path(path)], places)

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int | slice) -> "R | Records[R]":
        if isinstance(index, slice):
            return self.take(index)
        return next(iter(self.take([index])))

    def __iter__(self) -> Iterator[R]:
        for first in range(0, len(self), BLOCK):
            places = self.places[first : first + BLOCK]
            yield from map(self.parse, self.read_lines(places), places)

    def take(self, rows: np.ndarray | slice) -> "Records[R]":
        """Those of these positions, in their order."""
        taken = copy.copy(self)
        taken.places = self.places[rows]
        return taken

    def read_lines(self, places: np.ndarray) -> list[bytes]:
        """The lines at some places, each file opened once and read onwards."""
        lines = [b""] * len(places)
        for number in np.unique(places["file"]):
            inside = np.flatnonzero(places["file"] == number)
            with self.paths[number].open("rb") as file:
                for i in inside[np.argsort(places["start"][inside])]:
                    file.seek(places["start"][i])
                    lines[i] = file.readline()
        return lines

    def parse(self, line: bytes, place: np.void) -> R:
        """The record in a line."""
        try:
            return self.record.model_validate_json(line)
        except ValueError as error:
            problem = f"expected a {self.record.__name__}, but {error.errors()[0]['msg']}"
            path = self.paths[place["file"]]
            number = path.read_bytes()[: place["start"]].count(b"\n") + 1
            raise InputError(f"{path}, line {number}: {problem}; {REPAIR}.") from error


def upload(path: Path) -> None:
    """Copy a file or folder under outputs/ to the shared outputs, if there are any; the manifest last."""
    if os.environ.get(OUTPUTS_URL):
        paths = [p for p in [path, *path.rglob("*")] if p.is_file()]
        with open_remote() as (system, root):
            for file in sorted(paths, key=lambda p: (p.name == LAST, p)):
                target = f"{root}/{file.relative_to(outputs_folder()).as_posix()}"
                system.makedirs(target.rpartition("/")[0], exist_ok=True)
                system.put_file(str(file), target)


def download(path: Path) -> None:
    """Copy a file or folder under outputs/ from the shared outputs, if it is there; the manifest last."""
    if os.environ.get(OUTPUTS_URL):
        with open_remote() as (system, root):
            paths = system.find(f"{root}/{path.relative_to(outputs_folder()).as_posix()}")
            for remote in sorted(paths, key=lambda p: p.endswith(LAST)):
                target = place_inside(outputs_folder(), remote[len(root) + 1 :])
                with replace_whole(target) as temporary:
                    system.get_file(remote, str(temporary))


@contextmanager
def open_remote() -> Iterator[tuple[fsspec.AbstractFileSystem, str]]:
    """The file system of the shared outputs and their root in it; StudyError if it fails."""
    url = os.environ[OUTPUTS_URL]
    try:
        system, root = fsspec.url_to_fs(url)
        yield system, root.rstrip("/")
    except StudyError:
        raise
    except (ImportError, ValueError, OSError) as error:
        problem = " ".join(str(error).split()) or type(error).__name__
        todo = "check the address and its credentials, or install the driver that it names"
        problem = hide_credentials(f"{OUTPUTS_URL}={url}: {problem}", url)
        raise StudyError(f"{problem}; {todo}.") from None  # the error itself may name the password
