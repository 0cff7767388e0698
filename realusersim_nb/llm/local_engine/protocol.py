"""OpenAI's API as a server speaks it: fields of answers, streams of events, errors."""

import json
import time
import uuid
from collections.abc import Iterable

from aiohttp import web


def describe_answer(kind: str, model: str) -> dict:
    """The fields that every answer begins with."""
    return {"id": uuid.uuid4().hex, "object": kind, "created": int(time.time()), "model": model}


def count_usage(prompt: int, completion: int) -> dict:
    """The tokens of a call."""
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def answer_fault(message: str, status: int, *, kind: str = "invalid_request_error") -> web.Response:
    """An error as OpenAI answers it."""
    return web.json_response({"error": {"message": message, "type": kind, "code": status}}, status=status)


async def answer_health(_: web.Request) -> web.Response:
    """That the server is up."""
    return web.json_response({"status": "ok"})


async def open_stream(request: web.Request) -> web.StreamResponse:
    """An answer that goes out as server-sent events."""
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    return response


async def send_event(response: web.StreamResponse, event: dict | str) -> None:
    """Send one event of a stream."""
    await response.write(f"data: {event if isinstance(event, str) else json.dumps(event)}\n\n".encode())


async def stream_events(request: web.Request, events: Iterable[dict]) -> web.StreamResponse:
    """All events of an answer that is whole already, and the mark of the end."""
    response = await open_stream(request)
    for event in [*events, "[DONE]"]:
        await send_event(response, event)
    return response
