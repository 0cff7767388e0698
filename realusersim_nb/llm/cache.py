"""Every reply of every model, saved before it is used: the study's only checkpoint."""

import hashlib
import os
import re
import sqlite3
import time
import weakref
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, fields
from pathlib import Path

import pandas as pd
import sqlalchemy as sql

from realusersim_nb.errors import InputError
from realusersim_nb.files import outputs_folder
from realusersim_nb.llm.replies import CacheError, Reply, read_replies
from realusersim_nb.parallel.batches import Batcher
from realusersim_nb.parallel.claims import Claims
from realusersim_nb.text import encode_json, hide_credentials

OPEN_SECONDS = 5.0  # to open a cache that other processes are creating
METADATA = sql.MetaData()
COUNTS = ["prompt_tokens", "completion_tokens"]
REPLIES = sql.Table(
    "replies",
    METADATA,
    sql.Column("key", sql.String(64), primary_key=True),
    *(
        sql.Column(f.name, {str: sql.Text, int: sql.Integer}[f.type], nullable=False)
        for f in fields(Reply)[1:]
    ),
    sql.Column("created", sql.BigInteger, nullable=False),  # seconds since 1970; not in recordings
)
CHECKS = sql.Table(
    "checks",
    METADATA,
    sql.Column("key", sql.String(64), primary_key=True),
    sql.Column("digest", sql.String(64), nullable=False),  # of the reply as it was saved
)
ASKED = sql.Table(
    "asked",
    METADATA,
    sql.Column("key", sql.String(64), primary_key=True),
    sql.Column("owner", sql.Text, nullable=False),
    sql.Column("until", sql.Float, nullable=False),  # seconds since 1970
)
"""Requests that a process is asking at this moment (``claims``)."""
JOINED = REPLIES.outerjoin(CHECKS, REPLIES.c.key == CHECKS.c.key)
SHOWN = [column for column in REPLIES.columns if column.name != "created"]
SELECT = sql.select(*SHOWN, CHECKS.c.digest).select_from(JOINED)


class Cache:
    """Replies by request key, in ``place``: a SQLite file, or the URL of a database that machines share
    (``postgresql+psycopg://host/name``); None: ``REALUSERSIM_CACHE``, else ``outputs/replies.sqlite``.

    Several processes may use one cache at once. CacheError for every error of the database.
    """

    def __init__(self, place: str | Path | None = None):
        place = str(place or os.environ.get("REALUSERSIM_CACHE") or outputs_folder() / "replies.sqlite")
        self.url = sql.make_url(place if "://" in place else f"sqlite:///{place}")
        self.place, is_file = place, self.url.drivername == "sqlite"
        self.name = self.url.database if is_file else hide_credentials(self.url.render_as_string(), place)
        with self._explain():
            if self.url.drivername == "sqlite":
                Path(self.name).parent.mkdir(parents=True, exist_ok=True)
                self.engine = sql.create_engine(self.url, connect_args={"timeout": 60})
                weakref.finalize(self, checkpoint, Path(self.name).absolute())  # when the process ends, too
            else:
                self.engine = sql.create_engine(self.url, pool_pre_ping=True)
            create_table(self.engine)
            columns = {column["name"] for column in sql.inspect(self.engine).get_columns("replies")}
        if columns != set(REPLIES.columns.keys()):
            raise CacheError(
                f"reply cache {self.name}: made by another version of realusersim_nb (its columns differ); "
                "move it away, or name another cache in REALUSERSIM_CACHE, and run again."
            )
        self._finds, self._keeps = Batcher(self.get), Batcher(self._put_and_release)
        self.claims = Claims(self.engine, ASKED, self._explain, self.get)

    def checkpoint(self) -> None:
        """Bring all that is saved into the SQLite file itself, which can then be copied alone."""
        if self.url.drivername == "sqlite":
            checkpoint(Path(self.name).absolute())

    async def find(self, key: str) -> Reply | None:
        """The reply saved under a key, if any."""
        return await self._finds.ask(key)

    async def keep(self, reply: Reply) -> Reply:
        """Save a reply; returns, once it is committed, the reply saved under its key: the first that came."""
        return await self._keeps.ask(reply)

    def _put_and_release(self, replies: list[Reply]) -> list[Reply]:
        kept = self.put(replies)
        self.claims.release([reply.key for reply in replies])
        return kept

    def get(self, keys: list[str]) -> list[Reply | None]:
        """The replies saved under keys, None for each that has none."""
        replies = {}
        with self._explain(), self.engine.connect() as connection:
            for start in range(0, len(keys), 500):  # databases limit the length of a list
                rows = connection.execute(SELECT.where(REPLIES.c.key.in_(keys[start : start + 500])))
                replies |= {row.key: self._check(dict(row._mapping)) for row in rows}
        return [replies.get(key) for key in keys]

    def put(self, replies: list[Reply]) -> list[Reply]:
        """Save replies in one transaction; returns those that are saved, the first of each key.

        Where the database takes some of them not, all others are saved before CacheError is raised.
        """
        rows, refused = [{**asdict(reply), "created": int(time.time())} for reply in replies], None
        checks = [{"key": reply.key, "digest": digest_reply(reply)} for reply in replies]
        with self._explain(f" The {len(rows)} replies that were arriving are lost."):
            try:
                with self.engine.begin() as connection:
                    connection.execute(REPLIES.insert(), rows)
                    connection.execute(CHECKS.insert(), checks)
                return replies
            except ONE_ROW:  # another process saved some of them first, or one cannot be saved: one by one
                for row, check in zip(rows, checks, strict=True):
                    try:
                        with self.engine.begin() as connection:
                            connection.execute(REPLIES.insert(), row)
                            connection.execute(CHECKS.insert(), check)
                    except sql.exc.IntegrityError:
                        continue
                    except ONE_ROW as error:
                        refused = error
        if refused:
            raise CacheError(f"reply cache {self.name}: a reply cannot be saved ({refused})."[:500])
        return self.get([reply.key for reply in replies])

    def replies(self, *, model: str | None = None) -> Iterator[Reply]:
        """All replies in the order of their keys, or those of one model."""
        query = SELECT.where(REPLIES.c.model == model) if model else SELECT
        with self._explain(), self.engine.connect() as connection:
            for row in connection.execution_options(yield_per=1000).execute(query.order_by(REPLIES.c.key)):
                yield self._check(dict(row._mapping))

    def stats(self) -> pd.DataFrame:
        """One row a service and model: replies, prompt and completion tokens, first and last day."""
        c, f = REPLIES.c, sql.func
        sums = [f.sum(c[name]).label(name) for name in COUNTS]
        dates = [f.min(c.created).label("first"), f.max(c.created).label("last")]
        query = sql.select(c.service, c.model, f.count().label("replies"), *sums, *dates)
        with self._explain(), self.engine.connect() as connection:
            table = pd.read_sql(query.group_by(c.service, c.model).order_by(c.service, c.model), connection)
        return table.assign(
            **{name: pd.to_datetime(table[name], unit="s").dt.date for name in ("first", "last")}
        )

    def prune(
        self, *, model: str | None = None, older_than_days: float | None = None, dry_run: bool = True
    ) -> int:
        """Remove replies of a model, or older than so many days, or both; returns how many.

        ``dry_run`` only counts. InputError if neither is given: nobody empties a cache by accident.
        """
        if model is None and older_than_days is None:
            raise InputError("prune: name a model or an age in days.")
        chosen = sql.true() if model is None else REPLIES.c.model == model
        if older_than_days is not None:
            chosen &= REPLIES.c.created < time.time() - 86_400 * older_than_days
        with self._explain(), self.engine.begin() as connection:
            n = connection.scalar(sql.select(sql.func.count()).select_from(REPLIES).where(chosen))
            if not dry_run:
                keys = sql.select(REPLIES.c.key).where(chosen)
                connection.execute(CHECKS.delete().where(CHECKS.c.key.in_(keys)))
                connection.execute(REPLIES.delete().where(chosen))
        return n

    def load(self, path: Path) -> int:
        """Take in the recorded replies of a file, except to keys that have one; returns how many it has."""
        recorded = read_replies(path)
        for start in range(0, len(recorded), 1000):
            self.put(recorded[start : start + 1000])
        return len(recorded)

    def _check(self, row: dict) -> Reply:
        """The reply in a row; CacheError if it is not as it was saved (rows of old caches have no digest)."""
        digest, reply = row.pop("digest"), Reply(**row)
        if digest and digest != digest_reply(reply):
            todo = f"remove those of model {reply.model!r} (`cache prune`) or move the cache away, run again"
            raise CacheError(f"reply cache {self.name}: reply {reply.key[:12]} was altered in it; {todo}.")
        return reply

    @contextmanager
    def _explain(self, consequence: str = "") -> Iterator[None]:
        try:
            yield
        except (sql.exc.SQLAlchemyError, OSError, ImportError) as error:
            problem = " ".join(str(getattr(error, "orig", None) or error).split())
            problem = hide_credentials(problem, self.place)
            advice = next(text for words, text in ADVICE.items() if re.search(words, problem))
            raise CacheError(f"reply cache {self.name}: {problem}. {advice}{consequence}") from error


ONE_ROW = (
    sql.exc.IntegrityError,
    sql.exc.DataError,
    sql.exc.InterfaceError,
    sql.exc.ProgrammingError,
    UnicodeError,
    OverflowError,
)
"""Errors of one row, where the database itself is well."""
ADVICE = {
    "malformed": "It is damaged: move it away (`sqlite3 FILE .recover` saves what is readable), run again.",
    "not a database": "Move that file away, or name another in REALUSERSIM_CACHE, and run again.",
    "full": "Make room and run again; everything saved so far stays.",
    "readonly|Read-only": "Make the file and its folder writable, or name another in REALUSERSIM_CACHE.",
    "unable to open|Errno": "Make its folder, writable, or name another file in REALUSERSIM_CACHE.",
    "connection": "Check the URL and that the server runs; everything saved so far stays.",
    "No module named": "Install that driver (`pip install 'realusersim_nb[postgres]'` for PostgreSQL).",
    "": "Everything saved so far stays; run again once that is corrected.",
}
"""What to do about a database's error, by a pattern in its text: the first that fits."""


def digest_reply(reply: Reply) -> str:
    """64 hex digits that change with anything in a reply."""
    return hashlib.sha256(encode_json(asdict(reply))).hexdigest()


def create_table(engine: sql.Engine) -> None:
    """Create the table if it is not there, while other processes may do the same.

    In SQLite's WAL mode readers and one writer do not wait for each other. Setting it does not wait for a
    lock, and SQLite's driver begins no transaction for a CREATE TABLE by itself.
    """
    until = time.monotonic() + OPEN_SECONDS
    while True:
        try:
            with engine.connect() as connection:
                if engine.dialect.name == "sqlite":
                    connection.exec_driver_sql("PRAGMA journal_mode=WAL")
                    connection.exec_driver_sql("BEGIN IMMEDIATE")
                METADATA.create_all(connection)
                connection.commit()
            return
        except (sql.exc.OperationalError, sql.exc.ProgrammingError, sql.exc.IntegrityError):
            if time.monotonic() > until:
                raise
            time.sleep(0.1)  # another process is creating it at this moment


def checkpoint(path: Path) -> None:
    """Move what SQLite's write-ahead log holds into the file, but for what other processes are busy with.

    They can wait for it a second at most. A file that is gone, or that is full, keeps its log.
    """
    with (
        suppress(sqlite3.Error),
        closing(sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True, timeout=1)) as connection,
    ):
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
