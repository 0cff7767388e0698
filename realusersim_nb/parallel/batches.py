"""Work on many records in batches, here or by the workers of the Dask scheduler in REALUSERSIM_SCHEDULER."""

import os
from collections.abc import Callable
from concurrent.futures import Executor
from typing import TypeVar

from realusersim_nb.parallel import cluster
from realusersim_nb.parallel.bars import show_bar

Item, Result = TypeVar("Item"), TypeVar("Result")
SCHEDULER = "REALUSERSIM_SCHEDULER"
BATCH = 500  # records; a second's work or two


def open_pool() -> Executor | None:
    """The workers of the named scheduler as an executor (connected once a process); None if none is named."""
    address = os.environ.get(SCHEDULER)
    return cluster.get_client(address).get_executor() if address else None


def map_batches(work: Callable[[list[Item]], list[Result]], items: list[Item], name: str) -> list[Result]:
    """The results of ``work`` on all items, in order; with a bar if there are several batches."""
    batches = [items[start : start + BATCH] for start in range(0, len(items), BATCH)]
    if len(batches) < 2:
        return work(items) if items else []
    pool = open_pool()
    results = pool.map(work, batches) if pool else map(work, batches)
    return [result for batch in show_bar(results, name, len(batches), leave=False) for result in batch]
