"""A kernel for each notebook, started while the notebook before is at work.

Starting one takes half a second where nothing else runs, several where all cores are busy; a sweep of many short
runs would wait for most of that again and again.
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

from jupyter_client.manager import AsyncKernelManager
from jupyter_core.utils import run_sync

STARTED = threading.local()  # ``.next``: the kernel that this thread's next notebook will get
IDLE: set["Kernel"] = set()  # of all threads, to be stopped when the process ends


class Kernel(AsyncKernelManager):
    """A Python kernel, spoken to through files that only this user can open where the system has such things."""

    def __init__(self) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="kernel-")
        sockets = {} if sys.platform == "win32" else {"transport": "ipc", "ip": f"{self.folder.name}/socket"}
        super().__init__(kernel_name="python3", **sockets)
        self.surroundings = read_environment()
        run_sync(self.start_kernel)(extra_arguments=["--HistoryManager.hist_file=:memory:"])

    def client(self, **options):
        """As its parent's, and remembered, so that ``stop`` can close it."""
        self.speaker = super().client(**options)
        return self.speaker

    def stop(self) -> None:
        """End it at once; what a notebook has saved, it has saved."""
        if hasattr(self, "speaker"):
            self.speaker.stop_channels()
        run_sync(self.shutdown_kernel)(now=True)
        self.folder.cleanup()


def read_environment() -> tuple[str, dict[str, str]]:
    """What a kernel takes over when it starts and cannot be told later: the folder and the environment."""
    return str(Path.cwd()), dict(os.environ)


@contextmanager
def take_kernel() -> Iterator[Kernel]:
    """A kernel for one notebook, for the length of a ``with``; meanwhile the next one starts."""
    kernel = getattr(STARTED, "next", None)
    IDLE.discard(kernel)
    if kernel and (kernel.surroundings != read_environment() or not run_sync(kernel.is_alive)()):
        kernel.stop()
        kernel = None
    kernel = kernel or Kernel()
    STARTED.next = Kernel()
    IDLE.add(STARTED.next)
    try:
        yield kernel
    except KeyboardInterrupt:
        logging.getLogger("asyncio").setLevel(
            logging.CRITICAL
        )  # what was under way in the kernel is of no interest
        raise
    finally:
        kernel.stop()


@atexit.register
def stop_idle() -> None:
    """Stop what was started and not wanted (kernels whose process was killed stop by themselves)."""
    while IDLE:
        IDLE.pop().stop()
