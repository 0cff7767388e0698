"""Stopping a cell: said at once, what is paid is waited for and kept, and one sentence at the end.

JupyterLab's stop button interrupts the kernel, which cancels the cell's task. Calls in flight are paid, so
they are completed; a second press drops them.
"""

import asyncio
import os
import signal
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from IPython import get_ipython
from tqdm import tqdm

from realusersim_nb.errors import StudyError

SECONDS = 60  # that calls in flight are waited for
AWAKE = 0.2  # seconds


class Stopped(StudyError):
    """A person stopped the cell; what was done is kept."""


def is_watched() -> bool:
    """Whether a person sits before this kernel."""
    return get_ipython() is not None and not os.environ.get("REALUSERSIM_HEADLESS")


async def stay_awake() -> None:
    """Wake the event loop now and then: it sleeps on if another thread is given the interrupt."""
    while True:
        await asyncio.sleep(AWAKE)


def explain_stop(cancelled: asyncio.CancelledError, n_done: int, n: int) -> BaseException:
    """The error to raise for a cancelled task: a sentence where a person stopped it, else itself."""
    if not is_watched():
        return cancelled
    return Stopped(f"Stopped: {n_done} of {n} done, and kept. Run the cell again to go on from there.")


async def finish_paid(calls: Collection[asyncio.Task], n: int) -> None:
    """Wait for calls, of which ``n`` are made, a minute at most, or until the person presses stop again."""
    pressed = asyncio.Event()
    with watch_interrupts(pressed):
        if n and is_watched():
            them = f"{n} calls already paid are" if n > 1 else "1 call already paid is"
            rest = f"waited for (press again to drop {'them' if n > 1 else 'it'})"
            tqdm.write(f"stopping: {them} {rest}")  # above the bar
        again = asyncio.ensure_future(pressed.wait())
        done = asyncio.ensure_future(asyncio.wait(calls))
        await asyncio.wait([done, again], timeout=SECONDS, return_when=asyncio.FIRST_COMPLETED)
        again.cancel()
        done.cancel()
    for call in calls if pressed.is_set() else ():
        call.cancel()


@contextmanager
def watch_interrupts(pressed: asyncio.Event) -> Iterator[None]:
    """Set ``pressed`` at an interrupt of this process, which then raises nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    before = signal.signal(signal.SIGINT, lambda *_: loop.call_soon_threadsafe(pressed.set))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
