"""The connection to one endpoint: the openai client, and retries that all its calls share."""

import asyncio
import ipaddress
import json
import random
from collections.abc import AsyncIterable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import httpx
import openai
from openai import AsyncOpenAI, AsyncStream, DefaultAioHttpClient
from pydantic_core import from_json

from realusersim_nb.llm import local_server
from realusersim_nb.llm.endpoints import EMBEDDED, Endpoint, EndpointError, ReplyForm, find_key
from realusersim_nb.llm.errors import GARBLED, WORTH_RETRYING, CallFailed, Fault, read_fault
from realusersim_nb.llm.rate_limiter import RateLimiter
from realusersim_nb.llm.replies import Reply, read_completion, read_embeddings
from realusersim_nb.llm.requests import count_tokens

Watcher = Callable[[str], None]
WATCHER: ContextVar[Watcher | None] = ContextVar("watcher", default=None)
LONGEST_WAIT = 900  # seconds; an endpoint that asks for more stops the run, which can go on later
IDLE_SECONDS = 4  # that an unused connection is kept; many servers close it after 5


class Connection:
    """The calls to one endpoint, through one rate limiter.

    The client's retries are off: it repeats each call by itself, while a 429 concerns all calls of an
    endpoint. ``note_retry`` gets a few words on every retry; there are none while ``retries`` is False.
    """

    def __init__(self, endpoint: Endpoint, max_concurrency: int, note_retry: Callable[[str], None]):
        self.endpoint = endpoint
        self.limiter = RateLimiter(endpoint, max_concurrency)
        self.note_retry = note_retry
        self.client: AsyncOpenAI | None = None  # opened by the first call, which needs the key or the server
        self.form: ReplyForm | None = None  # known after the first reply to a schema
        self.retries = True

    async def close(self) -> None:
        """Close the client's connections."""
        if self.client:
            await self.client.close()

    async def call(self, request: dict, key: str) -> Reply:
        """The reply to a request; CallFailed or EndpointError after the last retry.

        The waits between retries double, up to half a minute, with a random share taken off.
        """
        self.client = self.client or open_client(self.endpoint, self.limiter.ceiling)
        tries = 0
        while True:
            try:
                async with self.limiter.enter(count_tokens(request)):
                    reply = await self._send(request, key)
                self.limiter.note_reply()
                return reply
            except (openai.APIError, httpx.HTTPError, *GARBLED) as error:
                fault = read_fault(error)
            except CallFailed as failure:
                fault = Fault(failure.kind, failure.detail)
            if not self._may_retry(fault, tries):
                raise explain_fault(self.endpoint, fault)
            backoff = min(30, 2**tries) * random.uniform(0.5, 1)
            wait = backoff if fault.retry_after is None else fault.retry_after
            self.note_retry(f"waiting {wait:.0f} s ({fault.kind})")
            if fault.kind == "throttled":
                self.limiter.note_throttled(wait)  # and all calls wait
            else:
                await asyncio.sleep(wait)
            tries += 1

    async def _send(self, request: dict, key: str) -> Reply:
        about = {"key": key, "model": self.endpoint.model, "service": self.endpoint.service}
        if "input" in request:
            return read_embeddings(await self._post("embeddings", request), **about)
        show = None if "tools" in request else WATCHER.get()
        answer = await self._stream(request, show) if show else None
        return read_completion(answer or await self._post("chat/completions", request), **about)

    async def _post(self, path: str, request: dict) -> str:
        """The answer as it came, without the key should the endpoint repeat it."""
        body = json.dumps(request).encode()
        response = await self.client.post(path, content=body, cast_to=httpx.Response)
        return self.endpoint.hide_key(response.text)

    async def _stream(self, request: dict, show: Watcher) -> str | None:
        """The same, shown while it comes; None from an endpoint that does not stream."""
        body = json.dumps(request | {"stream": True, "stream_options": {"include_usage": True}}).encode()
        try:
            stream = await self.client.post(
                "chat/completions", content=body, cast_to=object, stream=True, stream_cls=AsyncStream[object]
            )
        except openai.APIStatusError:
            return None
        async with stream:
            if "text/event-stream" not in stream.response.headers.get("Content-Type", ""):
                return None
            answer = await join_events(stream, lambda text: show(self.endpoint.hide_key(text)))
        return self.endpoint.hide_key(json.dumps(answer))

    def _may_retry(self, fault: Fault, tries: int) -> bool:
        if not self.retries or fault.kind not in WORTH_RETRYING or (fault.retry_after or 0) > LONGEST_WAIT:
            return False
        if fault.kind == "unreachable" and not self.limiter.answered:
            return tries < min(2, self.endpoint.max_retries)  # most likely a wrong address
        return tries < self.endpoint.max_retries


def open_client(endpoint: Endpoint, max_connections: int) -> AsyncOpenAI:
    """The openai client of an endpoint; the embedded model's server is started when it is the one.

    Proxies are those of the environment, and none for loopback addresses.
    """
    if endpoint is EMBEDDED:
        address, key = f"{local_server.find_or_start_server()}/v1", "none"
    else:
        address, key = endpoint.address, find_key(endpoint)
    limits = httpx.Limits(max_connections=max_connections, keepalive_expiry=IDLE_SECONDS)
    timeout = httpx.Timeout(endpoint.timeout_seconds, connect=10, pool=None)
    try:
        http_client = DefaultAioHttpClient(limits=limits, timeout=timeout, trust_env=not is_loopback(address))
        return AsyncOpenAI(api_key=key, base_url=address, max_retries=0, http_client=http_client)
    except (httpx.InvalidURL, ValueError) as error:  # of a proxy too
        raise EndpointError(f"{address}, model {endpoint.model!r}: {error}; correct the address.") from error


def is_loopback(address: str) -> bool:
    """Whether an address is of this machine: 127.0.0.0/8, ::1 or localhost."""
    host = httpx.URL(address).host
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def explain_fault(endpoint: Endpoint, fault: Fault) -> CallFailed | EndpointError:
    """The exception for a fault after the last retry: of this call alone, or of every further one too."""
    detail, about = endpoint.hide_key(fault.detail), f"{endpoint.address}, model {endpoint.model!r}"
    if fault.kind == "rejected":
        return EndpointError(
            f"{about}: refused ({detail}); check the name of the model, the environment variable "
            f"{endpoint.api_key_env}, and `omit` and `options` in endpoints.yaml if a field of the request is named.",
            status=fault.status,
        )
    if endpoint is EMBEDDED and fault.kind in ("unreachable", "disconnected"):
        return EndpointError(
            f"no answer from model {endpoint.model!r}; the end of its server's log:\n{local_server.read_log_end()}"
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


# --- replies shown while they come -------------------------------------------------------------


@contextmanager
def watch_replies(show: Watcher) -> Iterator[None]:
    """Within this, ``show`` gets the text so far of every live reply that this task waits for."""
    token = WATCHER.set(show)
    try:
        yield
    finally:
        WATCHER.reset(token)


async def join_events(events: AsyncIterable[dict], show: Watcher) -> dict:
    """A streamed completion as if it had come in one piece; one that breaks off has no choices."""
    message, completion = {"content": ""}, {}
    async for event in events:
        length = len(message["content"])
        try:
            add_event(event, message, completion)
        except (TypeError, AttributeError) as error:
            raise CallFailed("disconnected", f"no completion in a stream ({error})") from error
        if len(message["content"]) > length:
            show(message["content"])
    return completion


def add_event(event: dict, message: dict[str, str], completion: dict) -> None:
    """Add a piece of a stream to the message, and what it says of the whole to the completion."""
    completion |= {"usage": event["usage"]} if event.get("usage") else {}
    for choice in (event.get("choices") or [])[:1]:
        for name, text in (choice.get("delta") or {}).items():
            if isinstance(text, str) and name != "role":
                message[name] = message.get(name, "") + text
        if choice.get("finish_reason"):
            completion["choices"] = [{"message": message, "finish_reason": choice["finish_reason"]}]


def read_fields(text: str) -> dict[str, str]:
    """The text fields of a JSON reply that is still coming, the last one as far as it has come."""
    try:
        fields = from_json(text, allow_partial="trailing-strings")
    except ValueError:
        return {}
    return {k: v for k, v in fields.items() if isinstance(v, str)} if isinstance(fields, dict) else {}
