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

from jupyter_client.manager import AsyncKernelManager
from jupyter_core.utils import run_sync

STARTED = threading.local()  # ``.next``: the kernel that this thread's next notebook will get
IDLE: set["Kernel"] = set()  # of all threads, to be stopped when the process ends


class Kernel(AsyncKernelManager):
    """A running Python kernel, reached through files that only this user can open where the system has them.

    It knows that nobody watches (text bars, static widgets) and that this process holds the local server.
    """

    def __init__(self) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="kernel-")
        sockets = {} if sys.platform == "win32" else {"transport": "ipc", "ip": f"{self.folder.name}/socket"}
        super().__init__(kernel_name="python3", **sockets)
        self.environment = read_environment()
        run_sync(self.start_kernel)(
            extra_arguments=["--HistoryManager.hist_file=:memory:"], env=self.environment[1]
        )

    def client(self, **options):
        """As its parent's, and kept, so that ``stop`` can close it."""
        self.connection = super().client(**options)
        return self.connection

    def stop(self) -> None:
        """End it at once; what a notebook has saved stays."""
        if hasattr(self, "connection"):
            self.connection.stop_channels()
        run_sync(self.shutdown_kernel)(now=True)
        self.folder.cleanup()


def read_environment() -> tuple[str, dict[str, str]]:
    """The working folder and the variables that a kernel started now gets; neither can be changed later."""
    headless = {"REALUSERSIM_HEADLESS": "1", "REALUSERSIM_SERVER_OWNER": str(os.getpid())}
    return str(Path.cwd()), {**os.environ, **headless}


@contextmanager
def take_kernel() -> Iterator[Kernel]:
    """A kernel for one notebook, for the length of a ``with``; meanwhile the next one starts."""
    kernel = getattr(STARTED, "next", None)
    IDLE.discard(kernel)
    if kernel and (kernel.environment != read_environment() or not run_sync(kernel.is_alive)()):
        kernel.stop()
        kernel = None
    kernel = kernel or Kernel()
    STARTED.next = Kernel()
    IDLE.add(STARTED.next)
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
        IDLE.pop().stop()
