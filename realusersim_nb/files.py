"""Files that are whole or absent, and records in them, one JSON object a line."""

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel
from pydantic_core import to_json

R = TypeVar("R", bound=BaseModel)
NOTEBOOKS, OUTPUTS = Path("notebooks"), Path("outputs")  # in the folder where a run is begun


def name_run(folder: Path) -> str:
    """The name of a run by its folder: what follows ``outputs``, ``RUN`` or ``SWEEP/RUN``."""
    above = [number for number, part in enumerate(folder.parts) if part == OUTPUTS.name]
    return "/".join(folder.parts[above[-1] + 1 :]) if above else folder.name


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
            text = row.model_dump_json() if isinstance(row, BaseModel) else json.dumps(row, ensure_ascii=False)
            file.write(text + "\n")
    return Path(path)


def read_lines(path: str | Path) -> Iterator[tuple[str, dict]]:
    """Each line's place and its JSON object; ValueError names a line that is none."""
    with Path(path).open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            try:
                yield f"{path}, line {number}", json.loads(line)
            except ValueError as error:
                raise ValueError(
                    f"{path}, line {number}: not JSON ({error}); remove the line or the file and run again."
                ) from error


def read_records(path: str | Path, record: type[R]) -> Iterator[R]:
    """Yield the records of a file; a line that does not fit raises ValueError with its number."""
    for place, row in read_lines(path):
        try:
            yield record.model_validate(row)
        except ValueError as error:
            raise ValueError(
                f"{place}: expected a {record.__name__}, but {error.errors()[0]['msg']}; "
                "remove the line or the file and run again."
            ) from error
