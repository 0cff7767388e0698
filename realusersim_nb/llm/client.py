"""One call of one endpoint: the request, patience with faults, and what to ask after a bad reply."""

import asyncio
import json
import random
from collections.abc import AsyncIterable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import aiohttp
from aiohttp import ClientSession, ClientTimeout, DummyCookieJar, TCPConnector
from pydantic_core import from_json

from realusersim_nb.llm import local_server
from realusersim_nb.llm.endpoints import EMBEDDED, Endpoint, EndpointError, ReplyForm, find_key
from realusersim_nb.llm.errors import WORTH_RETRYING, CallFailed, Fault, read_exception, read_status
from realusersim_nb.llm.rate_limiter import RateLimiter
from realusersim_nb.llm.replies import Reply, read_completion, read_embeddings
from realusersim_nb.llm.requests import count_tokens

Watcher = Callable[[str], None]
WATCHER: ContextVar[Watcher | None] = ContextVar("watcher", default=None)
LONGEST_WAIT = 900  # seconds; an endpoint that asks for more stops the run, which can go on later


class Line:
    """The line to one model: its endpoint, the gate that its calls pass, and how it takes a schema.

    ``note_wait`` is told in words whenever a call has to be made again. While ``patient`` is
    False, none is.
    """

    def __init__(self, endpoint: Endpoint, max_concurrency: int, note_wait: Callable[[str], None]):
        self.endpoint = endpoint
        self.gate = RateLimiter(endpoint, max_concurrency)
        self.note_wait = note_wait
        self.session: aiohttp.ClientSession | None = None
        self.form: ReplyForm | None = None  # known after the first reply to a schema
        self.patient = True

    async def close(self) -> None:
        """Close the connections."""
        if self.session:
            await self.session.close()

    async def call(self, request: dict, key: str) -> Reply:
        """Call until there is an answer; CallFailed or EndpointError when patience ends.

        The waits between tries double, up to half a minute, and differ by chance.
        """
        self.session = self.session or connect(self.endpoint)
        path, read = (
            ("embeddings", read_embeddings) if "input" in request else ("chat/completions", read_completion)
        )
        body, tries = json.dumps(request).encode(), 0
        while True:
            try:
                async with self.gate.enter(count_tokens(request)):
                    show = WATCHER.get() if path != "embeddings" and "tools" not in request else None
                    answer = await (self._stream(request, show) if show else self._post(path, body))
                if not isinstance(answer, Fault):
                    reply = read(answer, key=key, model=self.endpoint.model, service=self.endpoint.service)
                    self.gate.note_reply()
                    return reply
                fault = answer
            except (aiohttp.ClientError, OSError) as error:  # a time-out is an OSError
                fault = read_exception(error)
            except CallFailed as failure:
                fault = Fault(failure.kind, failure.detail)
            if not self._has_patience(fault, tries):
                raise give_up(self.endpoint, fault)
            wait = (
                fault.retry_after
                if fault.retry_after is not None
                else min(30, 2**tries) * random.uniform(0.5, 1)
            )
            self.note_wait(f"waiting {wait:.0f} s ({fault.kind})")
            if fault.kind == "throttled":
                self.gate.note_complaint(wait)  # and the gate makes all calls wait
            else:
                await asyncio.sleep(wait)
            tries += 1

    async def _post(self, path: str, body: bytes) -> str | Fault:
        """What the endpoint answers, without the key should it echo it."""
        async with self.session.post(path, data=body) as response:
            text = self.endpoint.hide_key(await response.text(errors="replace"))
            return text if response.status == 200 else read_status(response.status, response.headers, text)

    async def _stream(self, request: dict, show: Watcher) -> str | Fault:
        """The same, shown while it comes; an endpoint that does not stream is asked again without."""
        body = json.dumps(ask_for_stream(request)).encode()
        async with self.session.post("chat/completions", data=body) as response:
            if response.status == 200 and response.content_type == "text/event-stream":
                return self.endpoint.hide_key(
                    await join_parts(response.content, lambda text: show(self.endpoint.hide_key(text)))
                )
        return await self._post("chat/completions", json.dumps(request).encode())

    def _has_patience(self, fault: Fault, tries: int) -> bool:
        if fault.kind not in WORTH_RETRYING or not self.patient or (fault.retry_after or 0) > LONGEST_WAIT:
            return False
        if fault.kind == "unreachable" and not self.gate.answered:
            return tries < min(2, self.endpoint.max_retries)  # most likely a wrong address
        return tries < self.endpoint.max_retries


# --- giving up ---------------------------------------------------------------------------------


def give_up(endpoint: Endpoint, fault: Fault) -> CallFailed | EndpointError:
    """The exception for a fault after all patience: of this call alone, or of every further one too."""
    detail = endpoint.hide_key(fault.detail)
    about = f"{endpoint.address}, model {endpoint.model!r}"
    if fault.kind == "rejected":
        return EndpointError(
            f"{about}: refused ({detail}); check the name of the model, the environment variable "
            f"{endpoint.api_key_env}, and `omit` and `options` in endpoints.yaml if a field of the request is named.",
            status=fault.status,
        )
    if endpoint is EMBEDDED and fault.kind in ("unreachable", "disconnected"):
        return EndpointError(
            f"no answer for model {endpoint.model!r}; its last lines:\n{local_server.last_lines()}"
        )
    if fault.kind == "unreachable":
        return EndpointError(
            f"{about}: nobody answers there ({detail}); check the address, then run again to go on."
        )
    if fault.kind == "throttled":
        return EndpointError(
            f"{about}: asks to wait ({detail}); lower max_concurrency or set requests_per_minute in endpoints.yaml, "
            "and run again to go on."
        )
    return CallFailed(fault.kind, detail)


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
    return (
        {name: value for name, value in found.items() if isinstance(value, str)}
        if isinstance(found, dict)
        else {}
    )


def connect(endpoint: Endpoint) -> ClientSession:
    """A session whose requests go to an endpoint; the embedded server is started when it is the one.

    The wire format is OpenAI's, the transport plain aiohttp: the OpenAI client keeps four times the
    objects for a call in flight and makes a third fewer calls a second (`make bench`), and what it
    adds, retries one by one, is done in ``client`` for all calls of an endpoint together.
    """
    if endpoint is EMBEDDED:
        try:
            address, key = f"{local_server.find_or_start_server()}/v1", "none"
        except local_server.LocalServerError as error:
            raise EndpointError(str(error)) from error
    else:
        address, key = endpoint.address, find_key(endpoint)
    return ClientSession(
        base_url=f"{address.rstrip('/')}/",
        headers={"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
        timeout=ClientTimeout(total=None, sock_connect=10, sock_read=endpoint.timeout_seconds),
        connector=TCPConnector(
            limit=0, keepalive_timeout=4
        ),  # the gate limits; many servers hang up after 5 s
        cookie_jar=DummyCookieJar(),
        trust_env=True,  # proxies
    )
