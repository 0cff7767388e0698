"""Work on processes of this machine, which listen on nothing: what a dead one had is done by another."""

import os
import pickle
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from multiprocessing import connection, get_context, parent_process
from typing import TypeVar

Item = TypeVar("Item")
DEATHS = 4  # of processes over one item, before it counts as their cause
SPAWN = get_context("spawn")


def run_here(work: Callable, items: Iterable[Item], *, workers: int, each: float = 1.0) -> Iterator[list]:
    """``work(item)`` in so many processes: lists of (item, result or exception) as they end.

    A list, perhaps empty, comes at least every ``each`` seconds, so that a caller can show progress.
    """
    waiting, team = deque((item, 0) for item in items), []
    team += [Worker(work) for _ in range(min(workers, len(waiting)))]
    try:
        while waiting or any(worker.task for worker in team):
            for worker in team:
                if waiting and not worker.task:
                    worker.take(waiting.popleft())
            ready = connection.wait([worker.pipe for worker in team if worker.task], timeout=each)
            ended = []
            for worker in [worker for worker in team if worker.pipe in ready]:
                (item, deaths), result = worker.task, worker.read()
                if isinstance(result, Death) and deaths + 1 < DEATHS:
                    waiting.appendleft((item, deaths + 1))
                else:
                    ended.append((item, result))
                if isinstance(result, Death):
                    worker.process.kill()
                    worker.process.join()  # until then the system lists it as if it were alive
                    team[team.index(worker)] = Worker(work)
            yield ended
    finally:
        for worker in team:
            worker.process.kill()
            worker.process.join()


class Death(RuntimeError):
    """A process ended over an item."""


class Worker:
    """A process with a pipe to it; ``task`` is what it is at work on."""

    def __init__(self, work: Callable):
        self.pipe, end = SPAWN.Pipe()
        self.task: tuple | None = None
        self.process = SPAWN.Process(target=serve, args=(end, work), daemon=False)
        self.process.start()
        end.close()  # so that the pipe ends with the process

    def take(self, task: tuple) -> None:
        """Give it an item, unless it has ended meanwhile, which ``read`` will say."""
        self.task = task
        try:
            self.pipe.send(task[0])
        except OSError:
            self.pipe.close()
            self.pipe, other = SPAWN.Pipe()
            other.close()

    def read(self) -> object:
        """What has come of its task: a result, an exception, or a Death."""
        self.task = None
        try:
            return self.pipe.recv()
        except (EOFError, OSError):
            return Death(f"{DEATHS} workers died over it")


def end_with_parent() -> None:
    """End this process, whatever it is at, once its parent has ended: nobody would read what it pays for."""
    connection.wait([parent_process().sentinel])
    os._exit(1)


def watch_parent() -> None:
    """From now on this process ends with its parent."""
    threading.Thread(target=end_with_parent, daemon=True).start()


def serve(pipe: connection.Connection, work: Callable) -> None:
    """Work until the process at the other end has ended, and no longer; Ctrl-C is for that process alone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    watch_parent()
    while True:
        try:
            item = pipe.recv()
        except EOFError:
            return
        try:
            result = work(item)
        except Exception as error:
            result = error
        try:
            pipe.send(make_sendable(result))
        except OSError:
            return


def make_sendable(result: object) -> object:
    """The result, or a RuntimeError with it as text where the other process could not read it as it is."""
    try:
        pickle.loads(pickle.dumps(result))
    except Exception:
        return RuntimeError(repr(result))
    return result
