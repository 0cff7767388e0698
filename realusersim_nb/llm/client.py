"""The connection to one endpoint: the openai client, and the retries and form of all its calls."""

import asyncio
import ipaddress
import json
import logging
import random
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from functools import lru_cache

import httpx
import openai
from openai import AsyncOpenAI, AsyncStream, DefaultAioHttpClient

from realusersim_nb.llm import local_server
from realusersim_nb.llm.answers import Events, is_stream, read_completion, read_embeddings, read_scores
from realusersim_nb.llm.endpoints import EMBEDDED, Endpoint, EndpointError, find_key, hide_secrets
from realusersim_nb.llm.errors import GARBLED, REMEDIES, WORTH_RETRYING, CallFailed, Concern, read_fault
from realusersim_nb.llm.forms import FORMS, Form, names_field, propose, read_form
from realusersim_nb.llm.replies import Reply, drop_reasoning, parse_embeddings
from realusersim_nb.llm.requests import count_tokens
from realusersim_nb.parallel.limits import RateLimiter, leave_if_stopped, rest

Watcher = Callable[[str], None]
WATCHER: ContextVar[Watcher | None] = ContextVar("watcher", default=None)
LONGEST_WAIT = 900  # seconds; an endpoint that asks for more stops the run, which can go on later
MOST_BYTES = 2**26  # of an answer
SEVERAL = 5  # prompts that are refused in a row, which then is no fault of theirs
LOG = logging.getLogger(__name__)
IDLE_SECONDS = 4  # that an unused connection is kept; many servers close it after 5


class Connection:
    """The calls to one endpoint, through one rate limiter, in the form that it takes.

    The client's retries are off: it repeats each call by itself, while a 429 concerns all calls of an
    endpoint. ``note_retry`` gets a few words on every retry.
    """

    def __init__(self, endpoint: Endpoint, max_concurrency: int, note_retry: Callable[[str], None]):
        self.endpoint, self.note_retry = endpoint, note_retry
        ceiling = min(max_concurrency, endpoint.max_concurrency or max_concurrency)
        per_minute = endpoint.model_dump(include={"requests_per_minute", "tokens_per_minute"})
        self.limiter = RateLimiter(ceiling, **per_minute)
        self.client: AsyncOpenAI | None = None  # opened by the first call, which needs the key or the server
        self.about = {"model": endpoint.model, "service": endpoint.service}  # of every reply
        self.form = read_form(endpoint)
        self.answered = 0  # replies so far, also of earlier runs
        self.width: int | None = None  # of embeddings; the same of all texts
        self._proven = False  # a reply came in the newest form of a schema
        self._misfits: int | None = 0  # replies that did not fit a schema before any did; None: one did
        self._refused: set[str] = set()  # prompts since the last reply, without a word on anything else

    async def call(self, request: dict, key: str) -> Reply:
        """The reply to a request; CallFailed or EndpointError after the last retry.

        The waits between retries double, up to half a minute, with a random share taken off.
        """
        self.client = self.client or open_client(self.endpoint, self.limiter.ceiling)
        form, tries, first = self.form, 0, None
        while True:
            try:
                reply = await self.attempt(form.apply(request), key)
                self._note_reply(request, form)
                return reply
            except CallFailed as caught:
                failure = caught
            proven = (
                self._proven and form.structured == self.form.structured
            )  # a late refusal of an older form
            if other := propose(form, request, failure, proven=proven, tries=tries):
                form, tries, first = other, 0, first or failure
                continue
            wait = find_wait(failure, tries)
            if wait > LONGEST_WAIT or tries >= self._count_retries(failure):
                raise self._judge(first or failure, request)
            leave_if_stopped()
            self.note_retry(f"waiting {wait:.0f} s ({failure.kind})")
            if failure.kind == "throttled":
                self.limiter.note_throttled(wait)  # and all calls wait
            else:
                await rest(wait)
            tries += 1

    async def attempt(self, request: dict, key: str) -> Reply:
        """The reply to one attempt, within the time that it may take; CallFailed."""
        try:
            async with self.limiter.enter(count_tokens(request)):
                leave_if_stopped()
                async with asyncio.timeout(self.endpoint.timeout_seconds):
                    return await self._send(request, key)
        except TimeoutError as error:
            seconds = f"{self.endpoint.timeout_seconds:g}"
            raise CallFailed("timeout", f"no whole answer within timeout_seconds ({seconds})") from error
        except (openai.APIError, httpx.HTTPError, *GARBLED) as error:
            raise read_fault(error) from error

    async def _send(self, request: dict, key: str) -> Reply:
        about = {"key": key, **self.about}
        if "input" in request:
            n = len(request["input"])
            answer = await self.post("embeddings", request)
            reply = read_embeddings(answer, about, n, count_tokens(request))
            self.width = parse_embeddings(reply, n, self.width).shape[1]
            return reply
        if "prompt" in request:
            return read_scores(await self.post("completions", request), about)
        show = None if "tools" in request else WATCHER.get()
        answer = await self._stream(request, show) if show else None
        if answer is None:
            answer = await self.post("chat/completions", request)
        return read_completion(answer, about, count_tokens(request))

    async def post(self, path: str, request: dict) -> str:
        """The answer as it came; the client's exceptions."""
        body = json.dumps(request).encode()
        response = await self.client.post(path, content=body, cast_to=httpx.Response)
        return response.text

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
                if not is_stream(stream.response.text):
                    return stream.response.text
            events = Events()
            async for line in stream.response.aiter_lines():
                if events.take(line):
                    show(drop_reasoning(events.message["content"]))
        return json.dumps(events.join())

    def _note_reply(self, request: dict, form: Form) -> None:
        """What a reply shows: that the endpoint answers, and that it takes requests in this form."""
        self.limiter.note_reply()
        self.answered += 1
        self._refused.clear()
        if "response_format" in request:
            if self._proven and form is not self.form:  # another form for this prompt is none for all
                form = replace(form, structured=self.form.structured)
            self._proven = True
        if form is not self.form:
            self._adopt(form)

    def _adopt(self, form: Form) -> None:
        form = self.form.join(form)
        for name, value in self.form.list_changes(form).items():
            LOG.warning("%s: requests are sent as with %s: %s from now on.", self.endpoint.shown, name, value)
        self.form = form

    def note_fit(self, fits: bool) -> None:
        """Whether a reply fits its schema. An endpoint that takes one but does not keep to it, from the first
        reply on, gets it in words.
        """
        if fits or self._misfits is None:
            self._misfits = None
        elif (place := FORMS.index(self.form.structured) + 1) < len(FORMS):
            self._misfits += 1
            if self._misfits >= 2:
                self._adopt(replace(self.form, structured=FORMS[place]))
                self._proven, self._misfits = False, 0

    def _judge(self, failure: CallFailed, request: dict) -> CallFailed | EndpointError:
        """The exception after the last retry: of this call alone, or of every further one too.

        Once an endpoint has answered, a refusal that names nothing but the prompt is that call's own, unless
        several prompts in a row are refused.
        """
        named = names_field(self.form.apply(request), failure.detail)
        unclear = failure.kind == "rejected" and not failure.concern and not named
        if unclear and self.answered and failure.status in (400, 403, 413, 422):
            self._refused.add(json.dumps(request.get("messages") or request.get("input")))
            if len(self._refused) < max(SEVERAL, self.answered // 10):
                return CallFailed("refused", self.endpoint.hide_key(failure.detail)[:500])
        concern = "field" if named and failure.concern != "tokens" else failure.concern
        if "prompt" in request and concern not in ("key", "account"):
            concern = "scores"
        return explain_failure(self.endpoint, failure, concern)

    def _count_retries(self, failure: CallFailed) -> int:
        if failure.kind not in WORTH_RETRYING:
            return 0
        wrong = failure.kind == "unreachable" or failure.concern == "address"  # most likely the address is
        return min(2, self.endpoint.max_retries) if wrong and not self.answered else self.endpoint.max_retries


def find_wait(failure: CallFailed, tries: int) -> float:
    """Seconds until the next try: what the endpoint asks for, but if it asks again and again, longer."""
    backoff = min(30, 2**tries) * random.uniform(0.5, 1)
    if failure.retry_after is None:
        return backoff
    return failure.retry_after if tries < 2 else max(failure.retry_after, backoff)


class Limited(httpx.AsyncByteStream):
    """The bytes of an answer, as long as they are not more than any reply has."""

    def __init__(self, stream: httpx.AsyncByteStream):
        self.stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for chunk in self.stream:
            size += len(chunk)
            if size > MOST_BYTES:
                raise CallFailed("invalid", f"the answer has more than {MOST_BYTES:,} bytes")
            yield chunk

    async def aclose(self) -> None:
        await self.stream.aclose()


async def limit_size(response: httpx.Response) -> None:
    """Let an answer end where it is longer than any reply."""
    response.stream = Limited(response.stream)


def open_client(endpoint: Endpoint, max_connections: int) -> AsyncOpenAI:
    """The openai client of an endpoint; the embedded model's server is started when it is the one.

    Proxies are those of the environment, and none for loopback addresses.
    """
    if endpoint is EMBEDDED:
        address, key = f"{local_server.find_or_start_server()}/v1", "none"
    else:
        address, key = endpoint.address, find_key(endpoint)
    url = httpx.URL(address)
    azure = {"api-key": key} if "api-version" in url.params else {}
    to_url = {
        "base_url": url.copy_with(query=None),
        "default_query": dict(url.params),
        "default_headers": azure,
    }
    transport = {
        "limits": httpx.Limits(max_connections=max_connections, keepalive_expiry=IDLE_SECONDS),
        "timeout": httpx.Timeout(endpoint.timeout_seconds, connect=10, pool=None),
        "trust_env": not is_loopback(address),
        "follow_redirects": False,  # prompts go to no other host
        "event_hooks": {"response": [limit_size]},
    }
    try:
        http_client = DefaultAioHttpClient(**transport)
        return AsyncOpenAI(api_key=key, max_retries=0, http_client=http_client, **to_url)
    except (httpx.InvalidURL, ValueError, ImportError, OSError) as error:  # of a proxy, or of certificates
        raise EndpointError(
            f"{endpoint.shown}: {error}; correct the address, or the proxy and the certificates that the "
            "environment names."
        ) from error


@lru_cache(maxsize=256)  # `serve` asks at every request
def is_loopback(address: str) -> bool:
    """Whether an address is of this machine: 127.0.0.0/8, ::1 or localhost."""
    host = httpx.URL(address).host
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def explain_failure(
    endpoint: Endpoint, failure: CallFailed, concern: Concern = ""
) -> CallFailed | EndpointError:
    """The exception after the last retry: of this call alone, or of every further one too."""
    detail = endpoint.hide_key(hide_secrets(failure.detail))[:500]
    if endpoint is EMBEDDED and failure.kind in ("unreachable", "disconnected"):
        log = local_server.read_log_end()
        return EndpointError(f"no answer from model {endpoint.model!r}; the end of its server's log:\n{log}")
    remedy = REMEDIES[concern].format(env=endpoint.api_key_env)
    sentences = {
        "rejected": f"refused ({detail}); {remedy}",
        "unreachable": f"nobody answers there ({detail}); check the address, then run again to go on.",
        "throttled": f"asks to wait ({detail}); lower max_concurrency or set requests_per_minute in "
        "endpoints.yaml, and run again to go on.",
    }
    kind = "rejected" if concern == "address" and failure.kind == "disconnected" else failure.kind
    if sentence := sentences.get(kind):
        where = "address" if failure.kind == "unreachable" else concern
        return EndpointError(f"{endpoint.shown}: {sentence}", concern=where)
    return CallFailed(failure.kind, detail)


@contextmanager
def watch_replies(show: Watcher) -> Iterator[None]:
    """Within this, ``show`` gets the text so far of every live reply that this task waits for."""
    token = WATCHER.set(show)
    try:
        yield
    finally:
        WATCHER.reset(token)
