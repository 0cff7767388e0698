"""The connection to one endpoint: the openai client, and the rate limiter and retries of all its calls."""

import asyncio
import ipaddress
import json
import random
import threading
import time
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar

import httpx
import openai
from aiolimiter import AsyncLimiter
from anyio import CapacityLimiter
from openai import AsyncOpenAI, AsyncStream, DefaultAioHttpClient
from pydantic_core import from_json

from realusersim_nb.llm import local_server
from realusersim_nb.llm.endpoints import EMBEDDED, Endpoint, EndpointError, ReplyForm, find_key
from realusersim_nb.llm.errors import GARBLED, WORTH_RETRYING, CallFailed, read_fault
from realusersim_nb.llm.replies import Reply, parse_embeddings, read_completion, read_embeddings, read_scores
from realusersim_nb.llm.requests import count_tokens

Watcher = Callable[[str], None]
WATCHER: ContextVar[Watcher | None] = ContextVar("watcher", default=None)
STOPPED: ContextVar[threading.Event | None] = ContextVar("stopped", default=None)
LONGEST_WAIT = 900  # seconds; an endpoint that asks for more stops the run, which can go on later
IDLE_SECONDS = 4  # that an unused connection is kept; many servers close it after 5


class RateLimiter:
    """Calls in flight, and requests and tokens a minute, of one endpoint.

    After a 429 half as many calls may be in flight, and none begins before the time that the endpoint
    asked for; then calls begin one by one, and one more may be in flight after every round of replies
    (additive increase, multiplicative decrease). The limits are those of one process: machines that
    share a quota must divide it.
    """

    def __init__(self, endpoint: Endpoint, max_concurrency: int):
        self.ceiling = min(max_concurrency, endpoint.max_concurrency or max_concurrency)
        self.slots: CapacityLimiter | None = None
        self.requests, self.tokens = map(
            make_limiter, [endpoint.requests_per_minute, endpoint.tokens_per_minute]
        )
        self.paused_until = 0.0
        self.answered = 0  # replies so far
        self._answered_since_change = 0

    @asynccontextmanager
    async def enter(self, tokens: int) -> AsyncIterator[None]:
        """Wait until a call of about so many tokens may be made, and count it as in flight."""
        if self.slots is None:  # belongs to the running loop, so not made before there is one
            self.slots = CapacityLimiter(self.ceiling)
        async with self.slots:
            while (pause := self.paused_until - time.monotonic()) > 0:
                await rest(pause + random.uniform(0, 1))  # lest all begin at once
            if self.requests:
                await self.requests.acquire()
            while self.tokens and tokens > 0:  # a call may need more than the bucket holds at once
                await self.tokens.acquire(min(tokens, self.tokens.max_rate))
                tokens -= self.tokens.max_rate
            yield

    def note_throttled(self, wait: float) -> None:
        """The endpoint answered 429 and asks to wait so many seconds."""
        now = time.monotonic()
        if now >= self.paused_until:  # the first of a burst
            self.slots.total_tokens = max(1, int(self.slots.total_tokens) // 2)
            self._answered_since_change = 0
        self.paused_until = max(self.paused_until, now + wait)

    def note_reply(self) -> None:
        """The endpoint answered a call."""
        self.answered += 1
        self._answered_since_change += 1
        if self.slots.total_tokens < self.ceiling and self._answered_since_change >= self.slots.total_tokens:
            self.slots.total_tokens += 1
            self._answered_since_change = 0


def make_limiter(per_minute: float | None) -> AsyncLimiter | None:
    """A leaky bucket of one second's worth (at least one), so that no minute holds a double share."""
    if per_minute is None:
        return None
    seconds = max(1.0, 60 / per_minute)
    return AsyncLimiter(per_minute * seconds / 60, seconds)


class Connection:
    """The calls to one endpoint, through one rate limiter.

    The client's retries are off: it repeats each call by itself, while a 429 concerns all calls of an
    endpoint. ``note_retry`` gets a few words on every retry.
    """

    def __init__(self, endpoint: Endpoint, max_concurrency: int, note_retry: Callable[[str], None]):
        self.endpoint, self.note_retry = endpoint, note_retry
        self.limiter = RateLimiter(endpoint, max_concurrency)
        self.client: AsyncOpenAI | None = None  # opened by the first call, which needs the key or the server
        self.form: ReplyForm | None = None  # known after the first reply to a schema
        self.width: int | None = None  # of embeddings; the same of all texts

    async def call(self, request: dict, key: str) -> Reply:
        """The reply to a request; CallFailed or EndpointError after the last retry.

        The waits between retries double, up to half a minute, with a random share taken off.
        """
        self.client = self.client or open_client(self.endpoint, self.limiter.ceiling)
        tries = 0
        while True:
            try:
                async with self.limiter.enter(count_tokens(request)):
                    leave_if_stopped()
                    reply = await self._send(request, key)
                self.limiter.note_reply()
                return reply
            except (openai.APIError, httpx.HTTPError, *GARBLED) as error:
                failure = read_fault(error)
            except CallFailed as error:
                failure = error
            backoff = min(30, 2**tries) * random.uniform(0.5, 1)
            wait = backoff if failure.retry_after is None else failure.retry_after
            if wait > LONGEST_WAIT or tries >= self._count_retries(failure):
                raise explain_failure(self.endpoint, failure, request)
            leave_if_stopped()
            self.note_retry(f"waiting {wait:.0f} s ({failure.kind})")
            if failure.kind == "throttled":
                self.limiter.note_throttled(wait)  # and all calls wait
            else:
                await rest(wait)
            tries += 1

    async def _send(self, request: dict, key: str) -> Reply:
        about = {"key": key, "model": self.endpoint.model, "service": self.endpoint.service}
        if "input" in request:
            n = len(request["input"])
            reply = read_embeddings(await self._post("embeddings", request), about, n)
            self.width = parse_embeddings(reply, n, self.width).shape[1]
            return reply
        if "prompt" in request:
            return read_scores(await self._post("completions", request), about)
        show = None if "tools" in request else WATCHER.get()
        answer = await self._stream(request, show) if show else None
        if answer is None:
            answer = await self._post("chat/completions", request)
        return read_completion(answer, about)

    async def _post(self, path: str, request: dict) -> str:
        """The answer as it came, without the key should the endpoint repeat it."""
        body = json.dumps(request).encode()
        response = await self.client.post(path, content=body, cast_to=httpx.Response)
        return self.endpoint.hide_key(response.text)

    async def _stream(self, request: dict, show: Watcher) -> str | None:
        """The same, shown while it comes, if it comes as a stream; None where one is refused."""
        body = json.dumps(request | {"stream": True, "stream_options": {"include_usage": True}}).encode()
        options = {"cast_to": object, "stream": True, "stream_cls": AsyncStream[object]}
        try:
            stream = await self.client.post("chat/completions", content=body, **options)
        except openai.APIStatusError:
            return None
        async with stream:
            if "text/event-stream" not in stream.response.headers.get("Content-Type", ""):
                await stream.response.aread()  # the whole answer: it is paid, so it is used
                if not stream.response.text.lstrip().startswith(("data:", "event:", ":")):
                    return self.endpoint.hide_key(stream.response.text)
            answer = await join_events(stream, lambda text: show(self.endpoint.hide_key(text)))
        return self.endpoint.hide_key(json.dumps(answer))

    def _count_retries(self, failure: CallFailed) -> int:
        if failure.kind == "unreachable" and not self.limiter.answered:
            return min(2, self.endpoint.max_retries)  # most likely a wrong address
        return self.endpoint.max_retries if failure.kind in WORTH_RETRYING else 0


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


def explain_failure(endpoint: Endpoint, failure: CallFailed, request: dict) -> CallFailed | EndpointError:
    """The exception after the last retry: of this call alone, or of every further one too."""
    detail = endpoint.hide_key(failure.detail)
    if endpoint is EMBEDDED and failure.kind in ("unreachable", "disconnected"):
        log = local_server.read_log_end()
        return EndpointError(f"no answer from model {endpoint.model!r}; the end of its server's log:\n{log}")
    sentences = {
        "rejected": f"refused ({detail}); check the name of the model, the environment variable "
        f"{endpoint.api_key_env}, and `omit` and `options` in endpoints.yaml if a field is named.",
        "unreachable": f"nobody answers there ({detail}); check the address, then run again to go on.",
        "throttled": f"asks to wait ({detail}); lower max_concurrency or set requests_per_minute in "
        "endpoints.yaml, and run again to go on.",
    }
    if failure.kind == "rejected" and "prompt" in request:
        sentences["rejected"] = (
            f"gives no log-probabilities of a prompt ({detail}); vLLM does, and 'embedded'."
        )
    if sentence := sentences.get(failure.kind):
        about = f"{endpoint.address}, model {endpoint.model!r}"
        return EndpointError(f"{about}: {sentence}", status=failure.status)
    return CallFailed(failure.kind, detail)


def leave_if_stopped() -> None:
    """Raise CancelledError if the ``run_all`` that this task or thread works for was stopped: what is in
    flight then ends, and no other call begins.
    """
    if (stopped := STOPPED.get()) and stopped.is_set():
        raise asyncio.CancelledError


async def rest(seconds: float) -> None:
    """Wait, but no longer than the study goes on."""
    while seconds > 0:
        await asyncio.sleep(min(seconds, 1.0))
        leave_if_stopped()
        seconds -= 1


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
        try:
            choice = (event.get("choices") or [{}])[0]
            delta = dict(choice.get("delta") or {})
            if choice.get("finish_reason"):
                completion["choices"] = [{"message": message, "finish_reason": choice["finish_reason"]}]
            completion |= {"usage": event["usage"]} if event.get("usage") else {}
        except (TypeError, ValueError, AttributeError, KeyError) as error:
            raise CallFailed("disconnected", f"no completion in a stream ({error})") from error
        for name, text in delta.items():
            if isinstance(text, str) and name != "role":
                message[name] = message.get(name, "") + text
        if delta.get("content"):
            show(message["content"])
    return completion


def read_fields(text: str) -> dict[str, str]:
    """The text fields of a JSON reply that is still coming, the last one as far as it has come."""
    try:
        fields = from_json(text, allow_partial="trailing-strings")
    except ValueError:
        return {}
    return {k: v for k, v in fields.items() if isinstance(v, str)} if isinstance(fields, dict) else {}
