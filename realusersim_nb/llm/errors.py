"""What goes wrong with a call, by name: faults of the connection, and replies that cannot be used."""

import json
import re
import threading
import time
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, Generic, Literal, TypeVar

import aiohttp
import httpx
import openai

T = TypeVar("T")
FailureKind = Literal[
    "empty",  # a reply without text
    "truncated",  # cut off at the limit of tokens
    "reasoning",  # only reasoning, no reply
    "prose",  # prose in place of JSON
    "invalid",  # JSON that does not fit the schema
    "refused",  # by the model or a content filter
    "too_long",  # the prompt does not fit
    "timeout",
    "unreachable",  # no connection
    "disconnected",  # the connection broke, or the answer holds no reply
    "throttled",  # 429
    "server",  # 5xx and the like
    "rejected",  # 400, 401, 403, 404: no call of this kind can work
]
WORTH_RETRYING = {"timeout", "unreachable", "disconnected", "throttled", "server"}


class CallFailed(Exception):
    """A call without a usable reply, ``kind: detail``; callers turn it into a row with this reason.

    ``retry_after`` is how many seconds the endpoint asks to wait, ``status`` that of HTTP if it decided.
    """

    def __init__(
        self, kind: FailureKind, detail: str, *, retry_after: float | None = None, status: int | None = None
    ):
        super().__init__(f"{kind}: {detail}")
        self.kind, self.detail, self.retry_after, self.status = kind, detail, retry_after, status


@dataclass(frozen=True)
class Outcome(Generic[T]):
    """What became of a task: its ``result``, or the ``failure`` that ended it."""

    result: T | None = None
    failure: CallFailed | None = None

    def __str__(self) -> str:
        return str(self.failure or self.result)


async def complete(task: Coroutine[Any, Any, T], stopped: threading.Event) -> Outcome[T]:
    """What became of a task; ``stopped`` is set by an error that is raised, or when the task is cancelled."""
    try:
        return Outcome(await task)
    except CallFailed as failure:
        return Outcome(failure=failure)
    except BaseException:
        stopped.set()
        raise


def list_results(outcomes: list[Outcome[T]]) -> list[T]:
    """The results of tasks that do not fail; raises the first failure if one does."""
    for outcome in outcomes:
        if outcome.failure:
            raise outcome.failure
    return [outcome.result for outcome in outcomes]


CAUSES: dict[FailureKind, tuple[type[Exception], ...]] = {
    "unreachable": (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError),
    "rejected": (httpx.UnsupportedProtocol, httpx.InvalidURL, ValueError),  # an address, of a proxy too
    "timeout": (TimeoutError,),
    "disconnected": (aiohttp.ClientError, httpx.HTTPError, OSError),
}
"""Exceptions of the transport by kind, the first that fits; httpx's adapter calls most of them a time-out."""
GARBLED = (json.JSONDecodeError, UnicodeDecodeError)  # from a stream that is no stream of JSON


def read_fault(error: Exception) -> CallFailed:
    """The failure behind an exception of the client, which wraps all others: that of a defect is raised."""
    if isinstance(error, openai.APIStatusError):
        return read_status(error)
    causes = [error]
    while causes[-1].__cause__:
        causes.append(causes[-1].__cause__)
    words = f"{type(causes[-1]).__name__}: {causes[-1]}"[:300]
    if not isinstance(error, GARBLED):
        for kind, types in CAUSES.items():
            if any(isinstance(cause, types) for cause in causes):
                return CallFailed(kind, words)
        if isinstance(error, openai.APIConnectionError):
            raise causes[-1]
    return CallFailed("disconnected", words)  # no JSON, or an error, inside a stream


SUBJECT = r"(input|prompt|request|message|text|content|token count|number of tokens|total tokens)"
TOO_LONG = [
    "context_length_exceeded|exceed_context_size|tokens_limit_reached",
    r"string_above_max_length (messages\[\d+\]\.content|input|prompt|None)",  # and not a name of a setting
    r"\bcontext (window|length|size|limit)|context .{0,5}overflow|max(imum)? (prompt|input|model) length",
    r"(prompt|inputs?|messages)( is| are)? too (long|large)|prompt exceeds|too many (input )?tokens",
    r"`?inputs`? (tokens \+ `max_new_tokens` must be <=|must have less than)|range of input length",
    SUBJECT
    + r"((?!max_|output|completion)[^.]){0,60}exceed((?!output|completion)[^.]){0,40} (tokens?|length)\b",
]
REFUSED = [
    "content.?filter|content.(management.)?policy|usage policy|content exists risk",
    "(input|prompt|content|message)s? (was|were|is|has been) flagged",
]
"""Words by which endpoints name a prompt that does not fit, or that they do not want, in the code, parameter
or message; sentences on a setting or a schema, which concern every call, share some of them."""


def read_status(error: openai.APIStatusError) -> CallFailed:
    """The failure behind an HTTP status other than 2xx, with the endpoint's reason if it gives one."""
    status, body = error.status_code, error.body if isinstance(error.body, dict) else {}
    words = " ".join(f"{status} {body.get('message') or error.response.text}".split())[:500]
    codes = f"{error.type} {error.code} {error.param}"
    retry_after = read_retry_after(error.response.headers.get("Retry-After"))
    if "insufficient_quota" in codes:
        return CallFailed("rejected", words)  # waiting does not fill an account
    if status == 413 or (status in (400, 422, 500) and has_any(TOO_LONG, f"{codes} {words}")):
        return CallFailed("too_long", words)
    if status == 429 and "request too large" in words.lower():  # for the tokens of a minute
        return CallFailed("too_long", words)
    if status in (400, 403) and has_any(REFUSED, f"{codes} {words}"):
        return CallFailed("refused", words)
    if status == 429 or (status == 503 and retry_after is not None):
        return CallFailed("throttled", words, retry_after=retry_after)
    if status in (408, 409, 425) or status >= 500:
        return CallFailed("server", words, retry_after=retry_after)
    return CallFailed("rejected", words, status=status)


def has_any(patterns: list[str], words: str) -> bool:
    """Whether one of these patterns is in the words."""
    return re.search("|".join(patterns), words, re.I) is not None


def read_retry_after(header: str | None) -> float | None:
    """Seconds to wait by a ``Retry-After`` header, a number or a date; None without a readable one."""
    with suppress(ValueError, TypeError):
        return max(0.0, float(header))
    with suppress(ValueError, TypeError, AttributeError):
        return max(0.0, parsedate_to_datetime(header).timestamp() - time.time())
    return None
