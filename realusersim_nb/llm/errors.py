"""What goes wrong with a call, by name: faults of the wire, and replies that cannot be used."""

import json
import re
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Literal

import aiohttp

FailureKind = Literal[
    "empty",  # nothing was said
    "truncated",  # cut off at the limit of tokens
    "reasoning",  # the model thought and never replied
    "prose",  # a form was asked for, prose came
    "invalid",  # JSON, but not of the form
    "refused",  # by the model or a content filter
    "too_long",  # the prompt does not fit
    "timeout",
    "unreachable",  # nobody listens there
    "disconnected",  # the connection broke, or what came was no reply
    "throttled",  # 429, after all patience
    "server",  # 5xx and the like, after all patience
    "rejected",  # 400, 401, 403, 404: no call of this kind can work
]


class CallFailed(Exception):
    """One call gave nothing usable; callers turn it into a row with this reason.

    ``kind`` names the fault, the text says more; what it reads is ``kind: detail``.
    """

    def __init__(self, kind: FailureKind, detail: str):
        super().__init__(f"{kind}: {detail}")
        self.kind, self.detail = kind, detail


# --- faults of the wire ------------------------------------------------------------------------

WORTH_RETRYING = {"timeout", "unreachable", "disconnected", "throttled", "server"}


@dataclass(frozen=True)
class Fault:
    """A call that was not answered: its kind, the endpoint's words, and how long it asks to wait."""

    kind: FailureKind
    detail: str
    retry_after: float | None = None
    status: int | None = None


def read_exception(error: Exception) -> Fault:
    """What an exception of the transport means."""
    words = f"{type(error).__name__}: {error}"[:300]
    if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError):
        return Fault("unreachable", words)
    if isinstance(error, aiohttp.InvalidURL):
        return Fault("rejected", words)
    return Fault("timeout" if isinstance(error, TimeoutError) else "disconnected", words)


def read_status(status: int, headers: Mapping[str, str], text: str) -> Fault:
    """What an HTTP status other than 200 means. Endpoints name the reason in ``error`` if they do."""
    words, code = f"{status} {text}", ""
    with suppress(ValueError, TypeError, KeyError, AttributeError):
        error = json.loads(text)["error"]
        words, code = f"{status} {error['message']}", f"{error.get('code')} {error.get('type')}"
    words, retry_after = " ".join(words.split())[:500], read_retry_after(headers.get("Retry-After"))
    if "insufficient_quota" in code:
        return Fault("rejected", words)  # waiting does not fill an account
    if status == 413 or (
        status in (400, 422) and re.search(r"context|too long|maximum.*length", words, re.I)
    ):
        return Fault("too_long", words)
    if status == 400 and re.search(r"content_filter|content.policy", f"{code} {words}", re.I):
        return Fault("refused", words)
    if status == 429 or (status == 503 and retry_after is not None):
        return Fault("throttled", words, retry_after)
    if status in (408, 409, 425) or status >= 500:
        return Fault("server", words, retry_after)
    return Fault("rejected", words, status=status)


def read_retry_after(asked: str | None) -> float | None:
    """Seconds that a ``Retry-After`` header asks to wait (a number or a date), if it says so."""
    if asked is None:
        return None
    try:
        return max(0.0, float(asked))
    except ValueError:
        try:
            return max(0.0, parsedate_to_datetime(asked).timestamp() - time.time())
        except ValueError:
            return None
