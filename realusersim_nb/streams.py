"""Replies shown while they come: ``with watch_replies(show): await models.ask(...)``.

A reply that is watched is kept under the same key as one that is not, since it is the same reply.
"""

import json
from collections.abc import AsyncIterable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from pydantic_core import from_json

Watcher = Callable[[str], None]
WATCHER: ContextVar[Watcher | None] = ContextVar("watcher", default=None)


@contextmanager
def watch_replies(show: Watcher) -> Iterator[None]:
    """Within this, ``show`` is called with what has come so far of every live reply that this task waits for."""
    token = WATCHER.set(show)
    try:
        yield
    finally:
        WATCHER.reset(token)


def ask_for_stream(request: dict) -> dict:
    """The same request, with the reply in parts and its tokens counted at the end."""
    return request | {"stream": True, "stream_options": {"include_usage": True}}


async def join_parts(lines: AsyncIterable[bytes], show: Watcher) -> str:
    """An endpoint's whole answer, as it would have come in one piece, from the lines of a stream of server-sent events.

    An answer that breaks off has no choices, and is no completion then.
    """
    message, whole = {"content": ""}, {}
    async for line in lines:
        if not line.startswith(b"data:") or (told := line[5:].strip()) == b"[DONE]":
            continue
        part = json.loads(told)
        if "error" in part:
            return told.decode()
        whole |= {"usage": part["usage"]} if part.get("usage") else {}
        for choice in part.get("choices", [])[:1]:
            said = {name: text for name, text in (choice.get("delta") or {}).items() if isinstance(text, str)}
            message |= {name: message.get(name, "") + text for name, text in said.items() if name != "role"}
            if choice.get("finish_reason"):
                whole["choices"] = [{"message": message, "finish_reason": choice["finish_reason"]}]
            if said.get("content"):
                show(message["content"])
    return json.dumps(whole)


def read_fields(text: str) -> dict[str, str]:
    """The text fields of a JSON reply that is still coming, the last one cut off where it is; none yet, none."""
    try:
        found = from_json(text, allow_partial="trailing-strings")
    except ValueError:
        return {}
    return {name: value for name, value in found.items() if isinstance(value, str)} if isinstance(found, dict) else {}
