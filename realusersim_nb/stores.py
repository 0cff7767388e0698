"""Outputs at any address that fsspec knows (``REALUSERSIM_OUTPUTS=s3://bucket/study``), for machines that share no disk.

Work is done in the folder ``outputs/`` here; what is whole is put there, and what another machine made is fetched.
Without that variable nothing here does anything. Credentials are those that fsspec's own drivers read.
"""

import os
from pathlib import Path

import fsspec

from realusersim_nb import StudyStopped
from realusersim_nb.files import OUTPUTS, replace_whole

STORE = "REALUSERSIM_OUTPUTS"
LAST = ("manifest.json",)  # what says that the rest is there


class StoreError(StudyStopped):
    """A store that cannot be read or written; its text says what to do."""


def put(path: Path) -> None:
    """Put a file or folder under outputs/ into the store, with what says that it is whole at the end."""
    if os.environ.get(STORE):
        system, root = open_store()
        files = [file for file in sorted([path, *path.rglob("*")]) if file.is_file()]
        try:
            for file in sorted(files, key=lambda file: file.name in LAST):
                target = f"{root}/{file.relative_to(OUTPUTS).as_posix()}"
                system.makedirs(target.rpartition("/")[0], exist_ok=True)
                system.put_file(str(file), target)
        except OSError as error:
            raise explain(error) from error


def fetch(path: Path) -> None:
    """Bring what the store has at a path under outputs/, in place of what is there; nothing if it has nothing."""
    if not os.environ.get(STORE):
        return
    system, root = open_store()
    try:
        found = system.find(f"{root}/{path.relative_to(OUTPUTS).as_posix()}")
        for place in sorted(found, key=lambda place: place.endswith(LAST)):
            with replace_whole(OUTPUTS / place[len(root) + 1 :]) as temporary:
                system.get_file(place, str(temporary))
    except OSError as error:
        raise explain(error) from error


def open_store() -> tuple[fsspec.AbstractFileSystem, str]:
    """The file system of the store, and the place in it; StoreError if its driver is missing or refuses."""
    try:
        system, root = fsspec.url_to_fs(os.environ[STORE])
    except (ImportError, ValueError, OSError) as error:
        raise explain(error) from error
    return system, root.rstrip("/")


def explain(error: Exception) -> StoreError:
    """What stopped it, and what can be done."""
    told = " ".join(str(error).split()) or type(error).__name__
    return StoreError(f"{STORE}={os.environ[STORE]}: {told}; check the address and its credentials, or install the driver that it names.")  # fmt: skip
