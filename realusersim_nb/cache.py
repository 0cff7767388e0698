"""Every reply of every model, kept before it is used: the study's only checkpoint."""

import os
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import sqlalchemy as sql

METADATA = sql.MetaData()
REPLIES = sql.Table(
    "replies",
    METADATA,
    sql.Column("key", sql.String(64), primary_key=True),
    sql.Column("model", sql.Text, nullable=False),
    sql.Column("text", sql.Text, nullable=False),
    sql.Column("finish_reason", sql.Text, nullable=False),
    sql.Column("prompt_tokens", sql.Integer, nullable=False),
    sql.Column("completion_tokens", sql.Integer, nullable=False),
)


@dataclass(frozen=True)
class Reply:
    """What an endpoint said, as it is kept in the cache."""

    key: str
    model: str
    text: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int


class Cache:
    """Replies by request key, in ``outputs/replies.sqlite`` unless ``REALUSERSIM_CACHE`` names another."""

    def __init__(self, path: str | Path | None = None):
        path = Path(path or os.environ.get("REALUSERSIM_CACHE") or "outputs/replies.sqlite")
        path.parent.mkdir(parents=True, exist_ok=True)
        self.engine = sql.create_engine(f"sqlite:///{path}", connect_args={"timeout": 60})
        with self.engine.begin() as connection:
            connection.execute(sql.text("PRAGMA journal_mode=WAL"))
        METADATA.create_all(self.engine)

    def get(self, key: str) -> Reply | None:
        """The reply kept under a key, if any."""
        with self.engine.connect() as connection:
            row = connection.execute(REPLIES.select().where(REPLIES.c.key == key)).one_or_none()
        return Reply(**row._mapping) if row else None

    def put(self, reply: Reply) -> None:
        """Keep a reply; it is committed when this returns. The first reply to a key stays."""
        with self.engine.begin() as connection, suppress(sql.exc.IntegrityError):
            connection.execute(REPLIES.insert().values(**asdict(reply)))
