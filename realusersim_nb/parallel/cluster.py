"""Work on other machines by a Dask scheduler that is given; what a dead worker had is done by another.

A scheduler runs the code of whoever reaches it. None is started here.
"""

import hashlib
import importlib.metadata
import logging
import platform
import uuid
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from distributed import CancelledError, Client, Future, wait
from distributed.scheduler import KilledWorker

from realusersim_nb import files
from realusersim_nb.errors import StudyError

PROBE = ".seen"  # a file in outputs/ that a worker reads, to show that it has the same outputs
_clients: dict[str, Client] = {}  # by address: the connection of this process, at most one


def get_client(scheduler: str) -> Client:
    """The connection of this process to a scheduler, opened and checked once; Dask closes it at exit.

    StudyError if it does not answer, has no workers, or one with other versions, notebooks or outputs.
    """
    if scheduler in _clients and _clients[scheduler].status == "running":
        return _clients[scheduler]
    disconnect()
    logging.getLogger("distributed").setLevel(logging.ERROR)
    try:
        client = Client(scheduler, timeout=10)  # seconds to answer
    except (OSError, TimeoutError, ValueError) as error:
        todo = "check the address, or leave --scheduler out"
        raise StudyError(f"scheduler {scheduler}: nobody answers there ({error}); {todo}.") from error
    try:
        check_workers(client)
    except Exception:
        client.close()
        raise
    if "dashboard" in client.scheduler_info()["services"]:
        logging.getLogger(__name__).warning("Dask dashboard: %s", client.dashboard_link)
    return _clients.setdefault(scheduler, client)


def disconnect() -> None:
    """Close the connection to a scheduler, if there is one."""
    while _clients:
        _clients.popitem()[1].close()


def check_workers(client: Client) -> None:
    """StudyError for the first worker that is not like this process."""
    probe, token = files.outputs_folder() / PROBE, uuid.uuid4().hex
    probe.parent.mkdir(exist_ok=True)
    probe.write_text(token, encoding="utf-8")
    files.upload(probe)
    workers, expected = client.run(describe_worker, token), describe_worker(token)
    probe.unlink()
    if not workers:
        todo = "start some (`dask worker ADDRESS`) in the project's folder"
        raise StudyError(f"the scheduler has no workers; {todo}.")
    todo = f"start it with the same installation, project's folder and outputs (or {files.OUTPUTS_URL})"
    for address, described in workers.items():
        for name, value in expected.items():
            if described[name] != value:
                raise StudyError(f"worker {address}: {name} is {described[name]}, here {value}; {todo}.")


def describe_worker(token: str) -> dict[str, str]:
    """What must be alike for a worker's results to be those of this process."""
    paths, probe = sorted(files.notebooks_folder().glob("[0-9][0-9]_*.ipynb")), files.outputs_folder() / PROBE
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()[:12]
    files.download(probe)
    is_shared = probe.exists() and probe.read_text(encoding="utf-8") == token
    return {
        "Python": ".".join(platform.python_version_tuple()[:2]),
        **{name: importlib.metadata.version(name) for name in ("realusersim_nb", "distributed", "papermill")},
        "the notebooks": digest if paths else f"missing in {Path.cwd()}",
        "the outputs folder": "shared" if is_shared else f"another one ({probe.parent})",
    }


def submit_all(client: Client, work: Callable, items: Iterable, *, each: float = 1.0) -> Iterator[list]:
    """``work(item)`` on the workers: lists of (item, result or exception) as they end.

    A list, perhaps empty, comes at least every ``each`` seconds, so that a caller can show progress.
    """
    pending = {client.submit(work, item, pure=False, retries=0): item for item in items}
    try:
        while pending:
            try:
                done = wait(list(pending), timeout=each, return_when="FIRST_COMPLETED").done
            except TimeoutError:
                done = ()
            yield [(pending.pop(future), read_result(future)) for future in done]
    finally:
        client.cancel(list(pending))


def read_result(future: Future) -> object:
    """The result, or the exception in place of it."""
    try:
        return future.result()
    except KilledWorker:
        return RuntimeError("4 workers died over it")  # as many as Dask lets die by default
    except (Exception, CancelledError) as error:
        return error
