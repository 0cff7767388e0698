"""A kernel for each notebook, started while the notebook before it is at work.

Starting one takes half a second on an idle machine and several seconds where all cores are busy; a sweep of
many short runs would wait for most of that again and again.
"""

import atexit
import logging
import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock
from jupyter_client.manager import AsyncKernelManager
from jupyter_core.utils import run_sync

LIFE = "REALUSERSIM_RUNNER_LIFE"  # the file that the runner of a kernel holds
IDLE: dict[int, "Kernel"] = {}  # by the thread whose next notebook gets it


class Kernel(AsyncKernelManager):
    """A running Python kernel, reached through sockets that only this user can open, where there are such."""

    def __init__(self) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="kernel-")
        self.life = FileLock(f"{self.folder.name}/life", thread_local=False)
        self.life.acquire()
        sockets = {} if sys.platform == "win32" else {"transport": "ipc", "ip": f"{self.folder.name}/socket"}
        super().__init__(kernel_name="python3", **sockets)
        self.environment = read_environment()
        variables = self.environment[1] | {LIFE: self.life.lock_file}
        options = {"extra_arguments": ["--HistoryManager.hist_file=:memory:"], "env": variables}
        run_sync(self.start_kernel)(**options)

    def client(self, **options):
        """As its parent's, and kept, so that ``stop`` can close it."""
        self.connection = super().client(**options)
        return self.connection

    def stop(self) -> None:
        """End it at once; what a notebook has saved stays."""
        if hasattr(self, "connection"):
            self.connection.stop_channels()
        run_sync(self.shutdown_kernel)(now=True)
        self.life.release()
        self.folder.cleanup()


def end_with_runner() -> None:
    """From now on this kernel, if a run started it, ends at once when the run has, however that did.

    Its calls would still be paid. The run holds a lock as long as it lives.
    """
    if path := os.environ.get(LIFE):
        threading.Thread(target=wait_for_end, args=(path,), daemon=True).start()


def wait_for_end(path: str) -> None:
    """End this process when the lock can be had."""
    FileLock(path).acquire(poll_interval=0.2)
    os._exit(1)


def read_environment() -> tuple[str, dict[str, str]]:
    """The working folder and the variables that a kernel started now gets: nobody watches it (text bars,
    static widgets), the memory of large arrays goes back to the system with them, and the local server
    lives as long as this process.
    """
    lean = {"MALLOC_MMAP_THRESHOLD_": "1000000", "ARROW_DEFAULT_MEMORY_POOL": "system"}
    headless = {"REALUSERSIM_HEADLESS": "1", "REALUSERSIM_SERVER_OWNER": str(os.getpid())}
    return str(Path.cwd()), {**lean, **os.environ, **headless}


@contextmanager
def take_kernel() -> Iterator[Kernel]:
    """A kernel for one notebook, for the length of a ``with``; meanwhile the next one starts."""
    kernel = IDLE.pop(threading.get_ident(), None)
    if kernel and (kernel.environment != read_environment() or not run_sync(kernel.is_alive)()):
        kernel.stop()
        kernel = None
    kernel, IDLE[threading.get_ident()] = kernel or Kernel(), Kernel()
    try:
        yield kernel
    except KeyboardInterrupt:  # the errors of requests that were under way in the kernel are of no interest
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)
        raise
    finally:
        kernel.stop()


@atexit.register
def stop_idle() -> None:
    """Stop the kernels that no notebook took (those of a process that was killed stop by themselves)."""
    while IDLE:
        IDLE.popitem()[1].stop()
