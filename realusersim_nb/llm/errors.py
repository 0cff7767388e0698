"""What goes wrong with a call, by name: faults of the connection, and replies that cannot be used."""

import json
import re
import ssl
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
    "refused",  # this prompt, by the model, a content filter or the endpoint
    "too_long",  # the prompt does not fit
    "timeout",
    "unreachable",  # no connection
    "disconnected",  # the connection broke, or the answer holds no reply
    "throttled",  # 429
    "server",  # 5xx and the like
    "rejected",  # no call of this kind can work
]
Concern = Literal[
    "", "key", "account", "address", "model", "tokens", "field", "proxy", "certificate", "scores"
]
WORTH_RETRYING = {"timeout", "unreachable", "disconnected", "throttled", "server"}


class CallFailed(Exception):
    """A call without a usable reply, ``kind: detail``; callers turn it into a row with this reason.

    ``retry_after`` is how many seconds the endpoint asks to wait, ``status`` that of HTTP if it decided,
    ``concern`` what is at fault where every further call would have the same fault.
    """

    def __init__(
        self,
        kind: FailureKind,
        detail: str,
        *,
        retry_after: float | None = None,
        status: int | None = None,
        concern: Concern = "",
    ):
        super().__init__(f"{kind}: {detail}")
        self.kind, self.detail, self.retry_after = kind, detail, retry_after
        self.status, self.concern = status, concern


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


CAUSES: list[tuple[FailureKind, Concern, tuple[type[Exception], ...]]] = [
    ("rejected", "proxy", (aiohttp.ClientProxyConnectionError, aiohttp.ClientHttpProxyError)),
    ("rejected", "certificate", (aiohttp.ClientSSLError, ssl.SSLError)),
    ("unreachable", "", (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)),
    ("rejected", "address", (httpx.UnsupportedProtocol, httpx.InvalidURL, ValueError)),  # of a proxy too
    ("timeout", "", (TimeoutError,)),
    ("disconnected", "", (aiohttp.ClientError, httpx.HTTPError, OSError)),
]
"""Exceptions of the transport by kind, the first that fits; httpx's adapter calls most of them a time-out."""
GARBLED = (json.JSONDecodeError, UnicodeDecodeError)  # from a stream that is no stream of JSON


def read_fault(error: Exception) -> CallFailed:
    """The failure behind an exception of the client, which wraps all others: that of a defect is raised."""
    if isinstance(error, openai.APIStatusError):
        response = error.response
        return read_status(response.status_code, response.text, dict(response.headers))
    causes = [error]
    while causes[-1].__cause__:
        causes.append(causes[-1].__cause__)
    if isinstance(causes[-1], CallFailed):
        return causes[-1]
    words = f"{type(causes[-1]).__name__}: {causes[-1]}"
    if not isinstance(error, GARBLED):
        for kind, concern, types in CAUSES:
            if any(isinstance(cause, types) for cause in causes):
                return CallFailed(kind, words, concern=concern)
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
    "content.?filter|content.(management.)?policy|usage policy|content exists risk|inappropriate content",
    "(input|prompt|content|message)s? (was|were|is|has been) flagged|data_inspection_failed",
]
"""Words by which endpoints name a prompt that does not fit, or that they do not want, in the code, parameter
or message; sentences on a setting or a schema, which concern every call, share some of them."""
REMEDIES: dict[Concern, str] = {
    "key": "check the key in the environment variable {env}.",
    "account": "the account's limit or credit is used up: raise it, or run again later to go on.",
    "address": "no model server answers so at that address: correct it (at most servers it ends in /v1).",
    "model": "check the name of the model.",
    "tokens": "lower max_tokens or reasoning_tokens, or set max_tokens_name in endpoints.yaml.",
    "field": "`omit`, `options`, `structured` and the like in endpoints.yaml decide which fields are sent.",
    "proxy": "the proxy that the environment names does not let calls through: correct http_proxy and "
    "https_proxy, or name the host in no_proxy.",
    "certificate": "there is no secure connection: name the file of its certificate's authority in "
    "SSL_CERT_FILE, or write http:// for a server without one.",
    "scores": "it gives no log-probabilities of a prompt; vLLM does, and 'embedded'.",
    "": "check the name of the model, the environment variable {env}, and `omit` and `options` in "
    "endpoints.yaml if a field is named.",
}
"""What to do about a rejected call, by what is at fault."""
MOST_WORDS = 5000  # characters of an error that are read
SOON = [r"per.?min|\b[rt]pm\b|(retry|try again) (in|after) \d"]
CONCERNS: dict[Concern, list[str]] = {
    "account": [
        "insufficient.{0,5}(quota|balance|credit|fund)|current quota|billing|out of credit|per.?(day|month)"
        "|daily|monthly|your account|more credits|subscription"
    ],
    "key": ["api.?key|authenticat|authoriz|authoris|credential|access.?token|permission|access denied"],
    "model": [
        r"\bmodel\b.{0,60}(not (found|exist|available|loaded|permitted|allowed|supported)|n't exist|unknown"
        r"|access|deprecated)|model.not.found|(unknown|invalid|no such|unsupported|not a valid) model"
    ],
    "tokens": ["max_(completion_|new_|output_)?tokens"],
}
"""Words that name what is at fault, when a prompt is not."""


def read_status(status: int, text: str, headers: dict[str, str]) -> CallFailed:
    """The failure behind an HTTP status other than 2xx, or behind an error that an answer holds."""
    message, codes = read_error(text)
    words, every = f"{status} {message}", f"{codes} {message}"
    retry_after = read_retry_after(headers.get("retry-after"))
    known = {"status": status, "retry_after": retry_after}
    if 300 <= status < 400:
        place = headers.get("location") or message
        return CallFailed("rejected", f"{status}, moved to {place}", status=status, concern="address")
    concern = find_concern(status, every)
    waits = retry_after is not None or status >= 500 or has_any(SOON, every)
    if concern == "account" and (status == 402 or not waits):
        return CallFailed("rejected", words, status=status, concern=concern)  # to wait does not help
    if status == 413 or (status in (400, 422, 500) and has_any(TOO_LONG, every)):
        return CallFailed("too_long", words, status=status)
    if status == 429 and "request too large" in message.lower():  # for the tokens of a minute
        return CallFailed("too_long", words, status=status)
    if status in (400, 403, 422) and has_any(REFUSED, every):
        return CallFailed("refused", words, status=status)
    if status == 429 or (status == 503 and retry_after is not None):
        return CallFailed("throttled", words, **known)
    if status in (408, 409, 425) or status >= 500:
        return CallFailed("server", words, **known)
    return CallFailed("rejected", words, status=status, concern=concern)


def find_concern(status: int, words: str) -> Concern:
    """What is at fault with every call, by the status or the words of an error; "" if neither says so."""
    by_status = {401: "key", 402: "account", 407: "proxy"}
    by_words = (concern for concern, patterns in CONCERNS.items() if has_any(patterns, words))
    return by_status.get(status) or next(by_words, "address" if status in (404, 405) else "")


def read_error(text: str) -> tuple[str, str]:
    """The message of an error, in whatever form servers send one, and its type, code and parameter."""
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        body = text
    while isinstance(body, list) and body:
        body = body[0]
    error = body.get("error") or body if isinstance(body, dict) else body
    if not isinstance(error, dict):
        return " ".join(str(error)[:MOST_WORDS].split()), ""
    message = error.get("message") or error.get("detail") or error.get("msg") or text
    codes = [error.get(name) for name in ("type", "code", "param", "status")]
    message = message if isinstance(message, str) else json.dumps(message)
    return " ".join(message[:MOST_WORDS].split()), " ".join(map(str, codes))[:MOST_WORDS]


def read_inner_error(error: object) -> CallFailed:
    """The failure behind an error in an answer with status 200: as with the status that it names."""
    text = json.dumps(error if isinstance(error, dict) and "error" in error else {"error": error})
    inner = error.get("error", error) if isinstance(error, dict) else {}
    code = inner.get("code") if isinstance(inner, dict) else None
    if re.fullmatch("[45][0-9][0-9]", str(code)):
        return read_status(int(str(code)), text, {})
    every = " ".join(read_error(text))
    if has_any(["rate.?limit|too many requests"], every):
        return read_status(429, text, {})
    known = has_any([*TOO_LONG, *REFUSED], every) or find_concern(0, every)
    return read_status(400 if known else 500, text, {})


def has_any(patterns: list[str], words: str) -> bool:
    """Whether one of these patterns is in the words."""
    return re.search("|".join(patterns), words, re.I) is not None


def read_retry_after(header: str | None) -> float | None:
    """Seconds to wait by a ``Retry-After`` header, a number or a date; None without a readable one."""
    with suppress(ValueError, TypeError):
        return max(0.0, float(header))
    with suppress(ValueError, TypeError, AttributeError, OverflowError):
        return max(0.0, parsedate_to_datetime(header).timestamp() - time.time())
    return None
