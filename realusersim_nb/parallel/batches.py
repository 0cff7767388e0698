"""Work on many records in batches, here or by the workers of the Dask scheduler in REALUSERSIM_SCHEDULER."""

import asyncio
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from typing import TypeVar

from realusersim_nb.parallel import cluster
from realusersim_nb.parallel.bars import show_bar

Item, Result = TypeVar("Item"), TypeVar("Result")
SCHEDULER = "REALUSERSIM_SCHEDULER"
BATCH = 500  # records; a second's work or two
AHEAD = 64  # batches that are given to other machines at a time, since they are in memory here


def open_pool() -> Executor | None:
    """The workers of the named scheduler as an executor (connected once a process); None if none is named."""
    address = os.environ.get(SCHEDULER)
    return cluster.get_client(address).get_executor() if address else None


def map_batches(work: Callable[[list[Item]], list[Result]], items: list[Item], name: str) -> list[Result]:
    """The results of ``work`` on all items, in order; with a bar if there are several batches."""
    return [result for results in run_batches(work, items, name) for result in results]


def run_batches(
    work: Callable[[Sequence[Item]], Result], items: Sequence[Item], name: str
) -> Iterator[Result]:
    """What ``work`` makes of each batch of the items, in order, one by one as it is taken."""
    batches = [items[start : start + BATCH] for start in range(0, len(items), BATCH)]
    pool = open_pool() if len(batches) > 1 else None
    results = send_batches(pool, work, batches) if pool else map(work, batches)
    yield from show_bar(results, name, len(batches), leave=False, disable=len(batches) < 2)


def send_batches(pool: Executor, work: Callable, batches: list[Sequence]) -> Iterator:
    """The results of a pool, some batches at a time; what lies on disk here is read and sent."""
    for start in range(0, len(batches), AHEAD):
        yield from pool.map(work, [list(batch) for batch in batches[start : start + AHEAD]])


class Batcher:
    """Single questions of many tasks to a database, asked together: one query, one commit.

    ``work`` takes a list and returns a result for each; while it runs in a thread, the next is collected.
    """

    def __init__(self, work: Callable[[list], list]):
        self.work = work
        self.items: list = []  # of the newest task
        self.collecting = self.newest = None  # the task whose work has not begun, and the last one

    async def ask(self, item: object):
        """The result for one item."""
        if self.collecting is None or self.collecting.done():
            self.items = []
            self.collecting = self.newest = asyncio.create_task(self._work(self.items, self.newest))
        self.items.append(item)
        place = len(self.items) - 1
        return (await asyncio.shield(self.collecting))[place]

    async def _work(self, items: list, before: asyncio.Task | None) -> list:
        if before and not before.done():
            await asyncio.wait([before])
        self.collecting = None
        return await asyncio.to_thread(self.work, items)
