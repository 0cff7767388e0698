"""Every reply of every model, kept before it is used: the study's only checkpoint.

A SQLite file by default; any database by URL when several machines share it
(``postgresql+psycopg://host/name``).
"""

import asyncio
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path

import pandas as pd
import sqlalchemy as sql

from realusersim_nb.errors import InputError
from realusersim_nb.llm.replies import CacheError, Reply, find_rescued, read_replies, rescue

PATIENCE = 5.0  # seconds, to open a cache that other processes are making
SCHEMA = 3  # 1 had no table "about", and of a reply only its text and tokens; 2 no tool calls
METADATA = sql.MetaData()
ABOUT = sql.Table(
    "about", METADATA, sql.Column("name", sql.String(32), primary_key=True), sql.Column("value", sql.Text)
)


def column(name: str, kind: type = sql.Text) -> sql.Column:
    """A column that rows of an older schema can be given."""
    return sql.Column(name, kind, nullable=False, server_default="0" if kind is not sql.Text else "")


REPLIES = sql.Table(
    "replies",
    METADATA,
    sql.Column("key", sql.String(64), primary_key=True),
    column("model"),
    column("service"),
    column("text"),
    column("reasoning"),
    column("refusal"),
    column("tool_calls"),
    column("finish_reason"),
    column("prompt_tokens", sql.Integer),
    column("completion_tokens", sql.Integer),
    column("created", sql.BigInteger),  # seconds since 1970; of no reply's meaning, so in no recording
)


class Cache:
    """Replies by request key, in ``place``: a file, or a database URL.

    Without one, in ``REALUSERSIM_CACHE``, else ``outputs/replies.sqlite``. Several processes may
    use one cache at once. A cache of schema 1 is migrated when it is opened; CacheError for one
    made by a newer version, and for whatever the database complains of.
    """

    def __init__(self, place: str | Path | None = None):
        place = str(place or os.environ.get("REALUSERSIM_CACHE") or "outputs/replies.sqlite")
        self.url = sql.make_url(place if "://" in place else f"sqlite:///{place}")
        with self._explain():
            self.engine = open_database(self.url)
            prepare(self.engine)
        for path in find_rescued(str(self.url)):  # by an earlier run that had no room
            self.load(path)
            path.unlink()
        self._finds, self._keeps = Batch(self.get), Batch(self.put)

    # Replies come one by one from many tasks; the database is asked once for all that wait.

    async def find(self, key: str) -> Reply | None:
        """The reply kept under a key, if any."""
        return await self._finds.ask(key)

    async def keep(self, reply: Reply) -> Reply:
        """Keep a reply and return the one that is kept: the first that came to this key.

        It is committed when this returns.
        """
        return await self._keeps.ask(reply)

    def get(self, keys: list[str]) -> list[Reply | None]:
        """The replies kept under keys, None for each that has none."""
        found = {}
        with self._explain(), self.engine.connect() as connection:
            for start in range(0, len(keys), 500):  # databases bound the length of a list
                rows = connection.execute(SELECT.where(REPLIES.c.key.in_(keys[start : start + 500])))
                found |= {row.key: Reply(**row._mapping) for row in rows}
        return [found.get(key) for key in keys]

    def put(self, replies: list[Reply]) -> list[Reply]:
        """Keep replies in one transaction; returns those that are kept, the first of each key.

        When the database cannot take them (a full disk), they are written to a file in the
        temporary folder, from where the next Cache of this place takes them in: they are paid for.
        """
        rows = [{**asdict(reply), "created": int(time.time())} for reply in replies]
        try:
            with self._explain():
                try:
                    with self.engine.begin() as connection:
                        connection.execute(REPLIES.insert(), rows)
                    return replies
                except sql.exc.IntegrityError:  # another process kept some of them first: one by one
                    for row in rows:
                        with suppress(sql.exc.IntegrityError), self.engine.begin() as connection:
                            connection.execute(REPLIES.insert(), row)
        except CacheError as error:
            raise CacheError(f"{error} {rescue(replies, str(self.url))}") from error
        return self.get([reply.key for reply in replies])

    def replies(self, *, model: str | None = None) -> Iterator[Reply]:
        """All replies in the order of their keys, or those of one model."""
        wanted = SELECT.order_by(REPLIES.c.key)
        with self._explain(), self.engine.connect() as connection:
            rows = connection.execution_options(yield_per=1000).execute(
                wanted.where(REPLIES.c.model == model) if model else wanted
            )
            for row in rows:
                yield Reply(**row._mapping)

    def stats(self) -> pd.DataFrame:
        """One row a service and model: replies, prompt and completion tokens, first and last day."""
        c, count = REPLIES.c, sql.func
        query = (
            sql.select(
                c.service,
                c.model,
                count.count().label("replies"),
                count.sum(c.prompt_tokens).label("prompt_tokens"),
                count.sum(c.completion_tokens).label("completion_tokens"),
                count.min(c.created).label("first"),
                count.max(c.created).label("last"),
            )
            .group_by(c.service, c.model)
            .order_by(c.service, c.model)
        )
        with self._explain(), self.engine.connect() as connection:
            table = pd.DataFrame(
                connection.execute(query).mappings().all(),
                columns=[col.name for col in query.selected_columns],
            )
        for name in ("first", "last"):
            table[name] = pd.to_datetime(table[name], unit="s").dt.date
        return table

    def prune(
        self, *, model: str | None = None, older_than_days: float | None = None, dry_run: bool = True
    ) -> int:
        """Remove replies of a model, or older than so many days, or both; returns how many.

        ``dry_run`` only counts. ValueError if neither is given: nobody empties a cache by accident.
        """
        if model is None and older_than_days is None:
            raise InputError("prune: say what, a model or an age in days.")
        chosen = sql.true()
        if model is not None:
            chosen &= REPLIES.c.model == model
        if older_than_days is not None:
            chosen &= REPLIES.c.created < time.time() - 86_400 * older_than_days
        with self._explain(), self.engine.begin() as connection:
            n = connection.scalar(sql.select(sql.func.count()).select_from(REPLIES).where(chosen))
            if not dry_run:
                connection.execute(REPLIES.delete().where(chosen))
        return n

    def load(self, path: Path) -> int:
        """Take in recorded replies (``.jsonl.gz``); returns how many there are. Known keys stay as they are."""
        found = read_replies(path)
        for start in range(0, len(found), 1000):
            self.put(found[start : start + 1000])
        return len(found)

    @contextmanager
    def _explain(self) -> Iterator[None]:
        try:
            yield
        except sql.exc.IntegrityError:
            raise
        except (sql.exc.SQLAlchemyError, OSError, ImportError) as error:
            place = self.url.database if self.url.drivername == "sqlite" else self.url.render_as_string()
            problem = " ".join(str(getattr(error, "orig", None) or error).split())
            raise CacheError(f"reply cache {place}: {problem}. {advise(problem)}") from error


SELECT = sql.select(*(c for c in REPLIES.columns if c.name != "created"))


def advise(problem: str) -> str:
    """What to do about a database's complaint."""
    for words, advice in {
        "malformed": "It is damaged: move it away (`sqlite3 FILE .recover` saves what can be read) and run again.",
        "not a database": "Move that file away, or name another in REALUSERSIM_CACHE, and run again.",
        "full": "Make room and run again; everything kept so far stays.",
        "readonly": "Make the file and its folder writable, or name another in REALUSERSIM_CACHE.",
        "Read-only": "Make the file and its folder writable, or name another in REALUSERSIM_CACHE.",
        "unable to open": "Make its folder, writable, or name another file in REALUSERSIM_CACHE.",
        "Errno": "Make its folder, writable, or name another file in REALUSERSIM_CACHE.",
        "connection": "Check the URL and that the server runs; everything kept so far stays.",
        "No module named": "Install that driver (`pip install 'realusersim_nb[postgres]'` for PostgreSQL).",
    }.items():
        if words in problem:
            return advice
    return "Everything kept so far stays; run again once that is mended."


# --- the database ------------------------------------------------------------------------------


def open_database(url: sql.URL) -> sql.Engine:
    """An engine for the URL."""
    if url.drivername != "sqlite":
        return sql.create_engine(url, pool_pre_ping=True)
    Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    return sql.create_engine(url, connect_args={"timeout": 60})


def prepare(engine: sql.Engine) -> None:
    """Create the tables, or bring those of an older schema up to date, while others may do the same.

    SQLite in WAL mode: readers and one writer do not wait for each other. To set it does not wait
    for a lock as all else does, and its driver commits each table by itself unless told to begin.
    """
    until = time.monotonic() + PATIENCE
    while True:
        try:
            with engine.connect() as connection:
                if engine.dialect.name == "sqlite":
                    connection.exec_driver_sql("PRAGMA journal_mode=WAL")
                    connection.exec_driver_sql("BEGIN IMMEDIATE")
                prepare_tables(connection)
                connection.commit()
            return
        except (sql.exc.OperationalError, sql.exc.ProgrammingError, sql.exc.IntegrityError):
            if time.monotonic() > until:
                raise
            time.sleep(0.1)  # another process is at it at this moment


def prepare_tables(connection: sql.Connection) -> None:
    """See ``prepare``. CacheError for a schema that this version does not know."""
    inspector = sql.inspect(connection)
    if inspector.has_table("about"):
        version = int(connection.scalar(sql.select(ABOUT.c.value).where(ABOUT.c.name == "schema")) or SCHEMA)
        if version > SCHEMA:
            raise CacheError(
                f"reply cache {connection.engine.url.database}: made by a newer version of realusersim_nb (schema {version}, "
                f"known here is {SCHEMA}); update the package, or name another cache in REALUSERSIM_CACHE."
            )
        if version == SCHEMA:
            return
    if inspector.has_table("replies"):
        there = {column["name"] for column in inspector.get_columns("replies")}
        for missing in (c for c in REPLIES.columns if c.name not in there):
            definition = sql.schema.CreateColumn(missing).compile(dialect=connection.dialect)
            connection.execute(sql.text(f"ALTER TABLE replies ADD COLUMN {definition}"))
    METADATA.create_all(connection)
    connection.execute(ABOUT.delete())
    connection.execute(ABOUT.insert().values(name="schema", value=str(SCHEMA)))


class Batch:
    """Many tasks' single questions to a database, asked together: one query, one commit.

    ``work`` takes a list and returns one result for each; it runs in a thread, and what comes in
    meanwhile is the next list.
    """

    def __init__(self, work: Callable[[list], list]):
        self.work = work
        self.waiting: list[tuple[object, asyncio.Future]] = []
        self.worker: asyncio.Task | None = None

    async def ask(self, item: object):
        """The result for one item."""
        answer = asyncio.get_running_loop().create_future()
        self.waiting.append((item, answer))
        if self.worker is None or self.worker.done():
            self.worker = asyncio.create_task(self._work())
        return await answer

    async def _work(self) -> None:
        while self.waiting:
            batch, self.waiting = self.waiting, []
            try:
                results = await asyncio.to_thread(self.work, [item for item, _ in batch])
            except Exception as error:
                for _, answer in batch:
                    if not answer.done():
                        answer.set_exception(error)
            else:
                for (_, answer), result in zip(batch, results, strict=True):
                    if not answer.done():
                        answer.set_result(result)
