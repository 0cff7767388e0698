"""Runs on several processes or machines, by dask.distributed; a worker that dies is made up for by another."""

import hashlib
import importlib.metadata
import logging
import platform
import sys
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import dask
from distributed import CancelledError, Client, LocalCluster, wait
from distributed.scheduler import KilledWorker

from realusersim_nb import files
from realusersim_nb.errors import StudyError
from realusersim_nb.files import notebooks_folder, outputs_folder

PATIENCE = 10  # seconds for a scheduler to answer
SEEN = ".seen"  # what a worker reads, to show that it has the same outputs
TRIES = 4  # workers that may die over a run before it counts as failed


class ClusterError(StudyError):
    """Workers that cannot be reached or are not like this process; nothing was run."""


@contextmanager
def connect(*, workers: int = 1, scheduler: str | None = None) -> Iterator[Client]:
    """A client of so many processes here, or of the workers of a scheduler elsewhere.

    ClusterError if the scheduler does not answer or has no workers, or if a worker has other versions, other notebooks
    or another ``outputs`` folder than this process.
    """
    logging.getLogger("distributed").setLevel(logging.ERROR)
    dask.config.set(
        {"distributed.scheduler.allowed-failures": TRIES - 1, "distributed.admin.tick.limit": "1h"}
    )
    if scheduler is None:
        settings = {
            "n_workers": workers,
            "threads_per_worker": 1,
            "dashboard_address": ":0",
            "memory_limit": 0,
        }
        with LocalCluster(**settings) as cluster, Client(cluster) as client:
            yield client
        return
    try:
        client = Client(scheduler, timeout=PATIENCE)
    except (OSError, TimeoutError, ValueError) as error:
        raise ClusterError(
            f"scheduler {scheduler}: nobody answers there ({error}); check the address, or leave --scheduler out."
        ) from error
    with client:
        check_workers(client)
        if "dashboard" in client.scheduler_info()["services"]:
            tell_dashboard(client.dashboard_link)
        yield client


@cache
def tell_dashboard(link: str) -> None:
    """Say once where the scheduler shows what it does."""
    print(f"Dask dashboard: {link}", file=sys.stderr)


def check_workers(client: Client) -> None:
    """ClusterError for the first worker that is not like this process."""
    seen = outputs_folder() / SEEN
    seen.parent.mkdir(exist_ok=True)
    token = uuid.uuid4().hex
    seen.write_text(token)
    files.upload(seen)
    found, own = client.run(describe_worker, token), describe_worker(token)
    seen.unlink()
    if not found:
        raise ClusterError(
            "the scheduler has no workers; start some (`dask worker ADDRESS`) in the project's folder."
        )
    for address, described in found.items():
        for what, value in described.items():
            if value != own[what]:
                raise ClusterError(
                    f"worker {address}: {what} is {value}, here {own[what]}; start it with the same installation, in the project's folder, on the same outputs (or the same {files.OUTPUTS_URL})."
                )


def describe_worker(token: str) -> dict[str, str]:
    """What must be alike for a worker's results to be those of this process."""
    content = b"".join(path.read_bytes() for path in sorted(notebooks_folder().glob("[0-9][0-9]_*.ipynb")))
    seen = outputs_folder() / SEEN
    files.download(seen)
    is_shared = seen.exists() and seen.read_text() == token
    versions = {
        name: importlib.metadata.version(name) for name in ("realusersim_nb", "distributed", "papermill")
    }
    return {
        "Python": ".".join(platform.python_version_tuple()[:2]),
        **versions,
        "the notebooks": hashlib.sha256(content).hexdigest()[:12] if content else f"missing in {Path.cwd()}",
        "the outputs folder": "shared" if is_shared else f"another one ({outputs_folder()})",
    }


def submit_all(client: Client, work: Callable, items: Iterable, *, each: float = 1.0) -> Iterator[list]:
    """Do ``work(item)`` on the workers; yields lists of (item, result or exception) as they end, empty ones meanwhile.

    A list comes at least every ``each`` seconds, so that a caller can show what is going on.
    """
    left = {client.submit(work, item, pure=False, retries=0): item for item in items}
    try:
        while left:
            done = wait_for_some(left, each=each)
            yield [(left.pop(future), read_result(future)) for future in done]
    finally:
        client.cancel(list(left))


def wait_for_some(left: dict, *, each: float) -> list:
    """The futures that have ended; waits until one has, or so many seconds."""
    try:
        return list(wait(list(left), timeout=each, return_when="FIRST_COMPLETED").done)
    except TimeoutError:
        return []


def read_result(future) -> object:
    """What came of it; an exception is a value too."""
    try:
        return future.result()
    except KilledWorker:
        return RuntimeError(f"{TRIES} workers died over it")
    except (Exception, CancelledError) as error:
        return error
