"""What goes wrong with a call, by name: faults of the wire, and replies that cannot be used."""

import base64
import json
import re
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Literal, TypeVar

import aiohttp
import numpy as np
from pydantic import BaseModel, ValidationError

from realusersim_nb.replies import Reply, Said, ToolCall

S = TypeVar("S", bound=BaseModel)
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
    if status == 413 or (status in (400, 422) and re.search(r"context|too long|maximum.*length", words, re.I)):
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


def read_completion(answer: str, *, key: str, model: str, service: str) -> Reply:
    """The reply in an endpoint's answer; CallFailed (``disconnected``) if there is none in it.

    Some gateways answer 200 with a page, with half a body, or with an error in place of choices.
    """
    try:
        body = json.loads(answer)
        choice, usage = body["choices"][0], body.get("usage") or {}
        message = choice.get("message") or {}
        return Reply(
            key=key,
            model=model,
            service=service,
            text=message.get("content") or "",
            reasoning=message.get("reasoning_content") or message.get("reasoning") or "",
            refusal=message.get("refusal") or "",
            tool_calls=json.dumps(message["tool_calls"]) if message.get("tool_calls") else "",
            finish_reason=choice.get("finish_reason") or "",
            prompt_tokens=usage.get("prompt_tokens") or 0,
            completion_tokens=usage.get("completion_tokens") or 0,
        )
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise CallFailed("disconnected", f"no completion in the answer {answer[:200]!r}") from error


def read_points(answer: str, *, key: str, model: str, service: str) -> Reply:
    """The embeddings in an endpoint's answer, float32 as base64 text; CallFailed (``disconnected``) if there are none."""
    try:
        body = json.loads(answer)
        points = [row["embedding"] for row in sorted(body["data"], key=lambda row: row["index"])]
        text = base64.b64encode(np.array(points, dtype="<f4").tobytes()).decode()
        tokens = (body.get("usage") or {}).get("prompt_tokens") or 0
        return Reply(key=key, model=model, service=service, text=text, prompt_tokens=tokens)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CallFailed("disconnected", f"no embeddings in the answer {answer[:200]!r}") from error


# --- replies that cannot be used ---------------------------------------------------------------


def parse(reply: Reply, schema: type[S] | None) -> S | str:
    """The reply as text or as a ``schema``, without the model's thinking; CallFailed says why not.

    JSON may stand in a code fence or in a sentence: what lies between the first and the last
    brace counts.
    """
    text = drop_thinking(reply.text)
    cut = reply.finish_reason == "length"
    if reply.refusal or reply.finish_reason == "content_filter":
        raise CallFailed("refused", (reply.refusal or "content filter")[:300])
    if not text:
        if reply.text.strip() or reply.reasoning.strip():
            raise CallFailed("reasoning", f"only reasoning, no reply{' (cut off at the token limit)' if cut else ''}")
        raise CallFailed("truncated" if cut else "empty", "nothing was said")
    if schema is None:
        return text
    if "{" not in text:
        raise CallFailed("truncated" if cut else "prose", f"the reply is not a {schema.__name__}, but prose")
    try:
        return schema.model_validate_json(text[text.find("{") : text.rfind("}") + 1] or text)
    except ValidationError as error:
        problem = error.errors()[0]
        place = ".".join(str(part) for part in problem["loc"])
        raise CallFailed(
            "truncated" if cut else "invalid",
            f"the reply is not a {schema.__name__}: {f'{place}: ' if place else ''}{problem['msg']}",
        ) from error


def parse_calls(reply: Reply) -> Said:
    """The reply of a model that was offered tools; CallFailed (``invalid``) for a call that cannot be read."""
    if not reply.tool_calls:
        return Said(parse(reply, None), [])
    try:
        calls = [
            ToolCall(call["id"], call["function"]["name"], dict(json.loads(call["function"]["arguments"] or "{}")))
            for call in json.loads(reply.tool_calls)
        ]
    except (ValueError, TypeError, KeyError) as error:
        cut = "truncated" if reply.finish_reason == "length" else "invalid"
        raise CallFailed(cut, f"a tool call cannot be read ({error}): {reply.tool_calls[:200]}") from error
    return Said(drop_thinking(reply.text), calls)


def drop_thinking(text: str) -> str:
    """The text after a model's ``<think>`` part; an unclosed one leaves nothing."""
    after = text.rpartition("</think>")[2]
    return after.partition("<think>")[0].strip()
