"""Who asks first is known to all: processes that share a database pay for the same request once.

A row says that a process is asking. It counts for a minute, unless its owner says again that it asks, and no
longer than that process lives, where it is of this machine.
"""

import asyncio
import os
import platform
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager
from typing import Any

import psutil
import sqlalchemy as sql
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from realusersim_nb.parallel.batches import Batcher
from realusersim_nb.parallel.limits import rest

SECONDS = 60  # that a row counts
PAUSE = 0.3  # seconds between two looks at what another process is asking
INSERT = {"sqlite": sqlite_insert, "postgresql": postgresql_insert}


def name_process(pid: int, mark: str = "") -> str:
    """A name that no other process ever has: host, id, start, and a mark of its own.

    psutil.NoSuchProcess if it has ended.
    """
    process = psutil.Process(pid)
    if process.status() == psutil.STATUS_ZOMBIE:
        raise psutil.NoSuchProcess(pid)
    began = process.create_time()
    return f"{platform.node()} {pid} {began} {mark or uuid.uuid4().hex[:8]}"


def has_ended(owner: str) -> bool:
    """Whether the process of a name was one of this machine and has ended."""
    host, pid, _, mark = owner.rsplit(" ", 3)
    try:
        return host == platform.node() and name_process(int(pid), mark) != owner
    except psutil.NoSuchProcess:
        return True


class Claims:
    """The keys that this process, and others, are asking for. ``explain`` is around every query; ``look``
    gives what is saved under keys, which another process may just have asked for.
    """

    def __init__(
        self,
        engine: sql.Engine,
        table: sql.Table,
        explain: Callable[[], AbstractContextManager],
        look: Callable[[list[str]], list],
    ):
        self.engine, self.explain, self.owner = engine, explain, name_process(os.getpid())
        self.table, self.look = table, look
        self.held: set[str] = set()
        self.staying: asyncio.Task | None = None
        self._takes, self._ends = Batcher(self._take_and_look), Batcher(self.end)

    @asynccontextmanager
    async def hold(self, key: str) -> AsyncIterator[Any]:
        """Wait until no other process asks for a key; none does for the length of the ``async with``, or
        until ``release``. Gives what is saved under the key by then.
        """
        while not (answer := await self._takes.ask(key))[0]:
            await rest(PAUSE)
        self.held.add(key)
        if self.staying is None or self.staying.done():
            self.staying = asyncio.create_task(self._stay())
        try:
            yield answer[1]
        finally:
            if key in self.held:
                self.held.discard(key)
                await asyncio.shield(self._ends.ask(key))

    def release(self, keys: list[str]) -> None:
        """What ``hold`` does at its end, for keys whose replies were saved just now, in the same thread."""
        self.end(keys)
        self.held.difference_update(keys)

    def _take_and_look(self, keys: list[str]) -> list[tuple[bool, Any]]:
        return list(zip(self.take(keys), self.look(keys), strict=True))

    def take(self, keys: list[str]) -> list[bool]:
        """Of each key whether this process may ask for it, which then is known."""
        c, now = self.table.c, time.time()
        rows = [{"key": key, "owner": self.owner, "until": now + SECONDS} for key in keys]
        insert = INSERT[self.engine.dialect.name](self.table).on_conflict_do_nothing()
        with self.explain(), self.engine.begin() as connection:
            connection.execute(self.table.delete().where(c.until < now))
            connection.execute(insert, rows)
            owners = connection.execute(sql.select(c.owner).distinct()).scalars()
            if ended := [owner for owner in owners if has_ended(owner)]:
                connection.execute(self.table.delete().where(c.owner.in_(ended)))
                connection.execute(insert, rows)
            taken = set(connection.execute(sql.select(c.key).where(c.owner == self.owner)).scalars())
        return [key in taken for key in keys]

    def end(self, keys: list[str]) -> list[None]:
        """Others may ask for these keys, if they have not come."""
        c = self.table.c
        with self.explain(), self.engine.begin() as connection:
            connection.execute(self.table.delete().where(c.key.in_(keys) & (c.owner == self.owner)))
        return [None] * len(keys)

    def extend(self) -> None:
        """Say again that this process asks."""
        with self.explain(), self.engine.begin() as connection:
            mine = self.table.update().where(self.table.c.owner == self.owner)
            connection.execute(mine.values(until=time.time() + SECONDS))

    async def _stay(self) -> None:
        while self.held:
            await asyncio.sleep(SECONDS / 3)
            await asyncio.to_thread(self.extend)
