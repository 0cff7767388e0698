"""Work on many records, a part at a time: here, or by the workers of a Dask scheduler named by REALUSERSIM_SCHEDULER.

Curation, measurement and measured facets go this way (``python -m realusersim_nb run --scheduler tcp://host:8786``).
"""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from typing import TypeVar

from realusersim_nb.parallel import cluster
from realusersim_nb.parallel.bars import show_bar

Item, Result = TypeVar("Item"), TypeVar("Result")
SCHEDULER = "REALUSERSIM_SCHEDULER"
BATCH = 500  # records; a second's work or two


@contextmanager
def open_pool() -> Iterator[Executor | None]:
    """The workers of the named scheduler as an executor of Python's own kind; None if none is named."""
    if not os.environ.get(SCHEDULER):
        yield None
        return

    with cluster.connect(scheduler=os.environ[SCHEDULER]) as client, client.get_executor() as pool:
        yield pool


def map_batches(work: Callable[[list[Item]], list[Result]], items: list[Item], name: str) -> list[Result]:
    """``work`` on all items, in order, by parts; with a bar of this name if there is more than one part."""
    parts = [items[start : start + BATCH] for start in range(0, len(items), BATCH)]
    if len(parts) < 2:
        return [result for part in parts for result in work(part)]
    with open_pool() as pool:
        done = pool.map(work, parts) if pool else map(work, parts)
        return [result for part in show_bar(done, name, len(parts), leave=False) for result in part]
