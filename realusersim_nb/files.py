"""Files that are whole or absent, and records in them, one JSON object a line."""

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import fsspec
from pydantic import BaseModel
from pydantic_core import to_json

from realusersim_nb.errors import InputError, StudyError

# DOC """Outputs at any address that fsspec knows (``REALUSERSIM_OUTPUTS=s3://bucket/study``), for machines that share no disk.
# DOC
# DOC Work is done in the folder ``outputs/`` here; what is whole is put there, and what another machine made is fetched.
# DOC Without that variable nothing here does anything. Credentials are those that fsspec's own drivers read.
# DOC """

R = TypeVar("R", bound=BaseModel)


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


@contextmanager
def replace_whole(path: Path) -> Iterator[Path]:
    """A temporary name beside ``path`` to write to; it gets that name when the block ends, and is removed if it fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, content: dict) -> None:
    """Write JSON, indented; NaN becomes null, so that any reader can parse it."""
    text = to_json(
        content, indent=2, inf_nan_mode="null", fallback=lambda x: x.item() if hasattr(x, "item") else str(x)
    )
    with replace_whole(path) as temporary:
        temporary.write_bytes(text + b"\n")


def write_lines(path: str | Path, rows: Iterable[BaseModel | dict]) -> Path:
    """Write one record or JSON object a line; returns the path."""
    with replace_whole(Path(path)) as temporary, temporary.open("w", encoding="utf-8") as file:
        for row in rows:
            text = (
                row.model_dump_json() if isinstance(row, BaseModel) else json.dumps(row, ensure_ascii=False)
            )
            file.write(text + "\n")
    return Path(path)


def read_lines(path: str | Path) -> Iterator[tuple[str, dict]]:
    """Each line's place and its JSON object; ValueError names a line that is none."""
    with Path(path).open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            try:
                yield f"{path}, line {number}", json.loads(line)
            except ValueError as error:
                raise InputError(
                    f"{path}, line {number}: not JSON ({error}); remove the line or the file and run again."
                ) from error


def read_records(path: str | Path, record: type[R]) -> Iterator[R]:
    """Yield the records of a file; a line that does not fit raises ValueError with its number."""
    for place, row in read_lines(path):
        try:
            yield record.model_validate(row)
        except ValueError as error:
            raise InputError(
                f"{place}: expected a {record.__name__}, but {error.errors()[0]['msg']}; "
                "remove the line or the file and run again."
            ) from error


OUTPUTS_URL = "REALUSERSIM_OUTPUTS"
UPLOADED_LAST = ("manifest.json",)  # what says that the rest is there


class StoreError(StudyError):
    """A store that cannot be read or written; its text says what to do."""


def upload(path: Path) -> None:
    """Put a file or folder under outputs/ into the store, with what says that it is whole at the end."""
    if os.environ.get(OUTPUTS_URL):
        system, root = open_store()
        files = [file for file in sorted([path, *path.rglob("*")]) if file.is_file()]
        try:
            for file in sorted(files, key=lambda file: file.name in UPLOADED_LAST):
                target = f"{root}/{file.absolute().relative_to(outputs_folder()).as_posix()}"
                system.makedirs(target.rpartition("/")[0], exist_ok=True)
                system.put_file(str(file), target)
        except OSError as error:
            raise explain_store_error(error) from error


def download(path: Path) -> None:
    """Bring what the store has at a path under outputs/, in place of what is there; nothing if it has nothing."""
    if not os.environ.get(OUTPUTS_URL):
        return
    system, root = open_store()
    try:
        found = system.find(f"{root}/{path.absolute().relative_to(outputs_folder()).as_posix()}")
        for place in sorted(found, key=lambda place: place.endswith(UPLOADED_LAST)):
            with replace_whole(outputs_folder() / place[len(root) + 1 :]) as temporary:
                system.get_file(place, str(temporary))
    except OSError as error:
        raise explain_store_error(error) from error


def open_store() -> tuple[fsspec.AbstractFileSystem, str]:
    """The file system of the store, and the place in it; StoreError if its driver is missing or refuses."""
    try:
        system, root = fsspec.url_to_fs(os.environ[OUTPUTS_URL])
    except (ImportError, ValueError, OSError) as error:
        raise explain_store_error(error) from error
    return system, root.rstrip("/")


def explain_store_error(error: Exception) -> StoreError:
    """What stopped it, and what can be done."""
    told = " ".join(str(error).split()) or type(error).__name__
    return StoreError(
        f"{OUTPUTS_URL}={os.environ[OUTPUTS_URL]}: {told}; check the address and its credentials, or install the driver that it names."
    )
