"""The one way to call a model: every reply is in the cache before it is used.

::

    models = Models(max_concurrency=2)
    turn = await models.ask("embedded", prompt, UserTurn, seed=1)   # a UserTurn
    text = await models.ask("gpt-4o", messages)                     # a str
    done = await models.run_all([roll_out(case) for case in cases], "roll-outs")
"""

import asyncio
import base64
import sys
import time
from collections.abc import Callable, Coroutine, Iterable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypedDict, TypeVar, Unpack, get_args

import numpy as np
from pydantic import BaseModel
from tqdm import tqdm

from realusersim_nb.errors import InputError, StudyError
from realusersim_nb.llm.cache import Cache
from realusersim_nb.llm.client import Line
from realusersim_nb.llm.endpoints import Endpoint, EndpointError, find_endpoint
from realusersim_nb.llm.errors import CallFailed
from realusersim_nb.llm.replies import Reply, ToolReply, parse_reply, parse_tool_calls
from realusersim_nb.llm.requests import (
    bind_reply,
    count_tokens,
    find_cost,
    find_last_text,
    make_request,
    mend_request,
    name_limit,
    request_key,
)
from realusersim_nb.parallel.bars import show_bar

S = TypeVar("S", bound=BaseModel)
R, T = TypeVar("R"), TypeVar("T")
Prompt = str | list[dict]  # a text, or messages in OpenAI's form
LLMMode = Literal["live", "replay", "record"]
EMBEDDED_AT_ONCE = 64  # texts of one request for embeddings


class BudgetReached(StudyError):
    """``budget_usd`` is spent; every reply so far is cached, so a rerun goes on from here."""


@dataclass
class Usage:
    """Calls and what they cost; tokens and cost are those of live calls.

    ``cached`` replies came from the cache or from another task's call, ``failed`` questions have
    no usable reply after all tries, ``retried`` calls were not answered and made again.
    """

    live: int = 0
    cached: int = 0
    failed: int = 0
    retried: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: float = 0.0


@dataclass(frozen=True)
class Outcome(Generic[T]):
    """What became of a task: its ``result``, or the ``failure`` that ended it."""

    result: T | None = None
    failure: CallFailed | None = None

    def __str__(self) -> str:
        return str(self.failure or self.result)


def list_results(outcomes: Iterable[Outcome[T]]) -> list[T]:
    """The results of tasks that are expected not to fail; raises the first failure."""
    outcomes = list(outcomes)
    for outcome in outcomes:
        if outcome.failure:
            raise outcome.failure
    return [outcome.result for outcome in outcomes]


class Sampling(TypedDict, total=False):
    """How a reply is drawn: ``temperature`` 0.7, at most 400 ``max_tokens``, ``seed`` 0, ``sample`` 0."""

    temperature: float
    max_tokens: int
    seed: int
    sample: int


EXCHANGE: ContextVar[tuple[str, str]] = ContextVar("exchange", default=("", ""))


class Models:
    """All models of a notebook behind one ``ask``, with one cache and one bill.

    ``max_concurrency`` bounds the calls in flight at each endpoint. ``budget_usd`` is never
    passed: a call is made only if the most it can cost is left. ``llm_mode="replay"`` answers
    from the cache only; ``record`` calls like ``live`` and notes in ``used`` which replies were.
    """

    def __init__(
        self,
        *,
        max_concurrency: int = 2,
        budget_usd: float | None = None,
        llm_mode: LLMMode = "live",
        cache: Cache | str | None = None,
    ):
        if llm_mode not in get_args(LLMMode):
            raise InputError(f"llm_mode {llm_mode!r}: expected one of {', '.join(get_args(LLMMode))}.")
        self.cache = cache if isinstance(cache, Cache) else Cache(cache)
        self.max_concurrency = max_concurrency
        self.budget_usd = budget_usd
        self.llm_mode = llm_mode
        self.usage = Usage()
        self.used: set[str] = set()
        self._lines: dict[str, Line] = {}
        self._in_flight: dict[str, asyncio.Task] = {}
        self._reserved = 0.0  # USD that the calls in flight may cost at most
        self._bar: tqdm | None = None
        self._shown = 0.0

    async def __aenter__(self) -> "Models":
        return self

    async def __aexit__(self, *_) -> None:
        """Close the connections; notebooks leave that to the end of their kernel."""
        for line in self._lines.values():
            await line.close()

    @property
    def last_exchange(self) -> tuple[str, str]:
        """The newest prompt and its raw reply: of this task, where many ask at once; after ``run_all``, of the last to end."""
        return EXCHANGE.get()

    # --- asking --------------------------------------------------------------------------------

    async def ask(self, model: str, prompt: Prompt, **settings: Unpack[Sampling]) -> str:
        """The model's reply as text.

        ``sample`` numbers draws of one prompt. A reply that cannot be used is asked for again where that
        helps (see ``mend_request``). Raises CallFailed when there is none in the end, EndpointError when
        no call can work, BudgetReached when the money is spent; ``ask_json`` and ``ask_tools`` too.
        """
        return await self._ask(model, prompt, lambda reply: parse_reply(reply, None), None, [], **settings)

    async def ask_json(self, model: str, prompt: Prompt, schema: type[S], **settings: Unpack[Sampling]) -> S:
        """The reply as ``schema``: the endpoint is made to answer in that JSON form (``response_format``)."""
        return await self._ask(model, prompt, lambda reply: parse_reply(reply, schema), schema, [], **settings)

    async def ask_tools(
        self, model: str, messages: list[dict], tools: list[dict], **settings: Unpack[Sampling]
    ) -> ToolReply:
        """The reply of a model that may call ``tools`` (in OpenAI's form; there may be none) or not."""
        return await self._ask(model, messages, parse_tool_calls, None, tools, **settings)

    async def _ask(
        self,
        model: str,
        prompt: Prompt,
        parse: Callable[[Reply], R],
        schema: type[BaseModel] | None,
        tools: list[dict],
        *,
        temperature: float = 0.7,
        max_tokens: int = 400,
        seed: int = 0,
        sample: int = 0,
    ) -> R:
        line = self._find_line(model)
        messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
        request = make_request(
            line.endpoint, messages, temperature=temperature, max_tokens=max_tokens, seed=seed
        )
        request |= {"tools": tools} if tools else {}
        try:
            for tries in range(line.endpoint.second_tries + 1):
                reply = await self._ask_in_form(line, request, schema, sample + 1_000_000 * tries)
                EXCHANGE.set((messages[-1]["content"], reply.text or reply.tool_calls))
                try:
                    return parse(reply)
                except CallFailed as failure:
                    repaired = len(request["messages"]) > len(messages)
                    mended = mend_request(request, reply, failure, schema if not repaired else None)
                    if mended is None or tries == line.endpoint.second_tries:
                        raise
                    request = mended
        except CallFailed:
            self.usage.failed += 1
            raise
        finally:
            self._show_usage()

    async def embed(self, model: str, texts: list[str]) -> np.ndarray:
        """Points of texts by an endpoint's embeddings, float32, a row a text.

        Asked for 64 at a time and kept like replies. EndpointError if some cannot be had.
        """
        line = self._find_line(model)
        request = {"model": line.endpoint.model, "encoding_format": "float"} | line.endpoint.options
        starts = range(0, len(texts), EMBEDDED_AT_ONCE)
        asked = [request | {"input": texts[start : start + EMBEDDED_AT_ONCE]} for start in starts]
        outcomes = await self.run_all([self._reply(line, one, 0) for one in asked], f"embedding by {model}")
        parts = []
        for start, one, outcome in zip(starts, asked, outcomes, strict=True):
            found = np.frombuffer(b"" if outcome.failure else base64.b64decode(outcome.result.text), "<f4")
            if found.size == 0 or found.size % len(one["input"]):
                raise EndpointError(
                    f"{line.endpoint.address}, model {model!r}: no embeddings of texts {start + 1} to "
                    f"{start + len(one['input'])} ({outcome.failure or 'too few came back'}); "
                    "those before are kept."
                )
            parts.append(found.reshape(len(one["input"]), -1))
        return np.concatenate(parts)

    async def run_all(self, tasks: Iterable[Coroutine[Any, Any, T]], title: str) -> list[Outcome[T]]:
        """What became of the tasks, in order, under a progress bar with calls, tokens and cost.

        A task that ends in CallFailed has that ``failure``: one bad reply stops no study.
        Few more than ``max_concurrency`` tasks are under way at once, so that a conversation that
        has begun is finished before many others begin (and its prompt prefix is still cached).
        When one stops the study, replies still on their way are waited for and kept: they are paid.
        """
        tasks = list(tasks)
        results, coming, newest = [None] * len(tasks), iter(enumerate(tasks)), [EXCHANGE.get()]
        self._bar = show_bar(None, title, len(tasks))

        async def work() -> None:
            for number, task in coming:
                try:
                    results[number] = Outcome(await task)
                except CallFailed as failure:
                    results[number] = Outcome(failure=failure)
                newest[:] = [EXCHANGE.get()]
                self._bar.update()

        problem = None
        try:
            async with asyncio.TaskGroup() as group:
                # A few more than may call at once: while some wait for the cache, others call.
                for _ in range(min(self.max_concurrency + min(self.max_concurrency // 4, 16), len(tasks))):
                    group.create_task(work())
        except ExceptionGroup as errors:
            problem = errors.exceptions[0]
        finally:
            await self._settle()
            self._bar.close()
            EXCHANGE.set(newest[0])
            for _, task in coming:  # what was never begun, after an error
                task.close()
        if problem:  # raised here, free of its group: a person gets one error, not a tree
            raise problem
        return results

    async def _settle(self) -> None:
        """Let calls in flight end and be kept, without another try."""
        for line in self._lines.values():
            line.patient = False
        if self._in_flight:
            await asyncio.wait(self._in_flight.values(), timeout=60)
        for line in self._lines.values():
            line.patient = True

    # --- one request ---------------------------------------------------------------------------

    def _find_line(self, model: str) -> Line:
        if model not in self._lines:
            endpoint = find_endpoint(model)
            if self.budget_usd is not None and endpoint.prices is None:
                raise EndpointError(
                    f"budget_usd needs to know what model {endpoint.model!r} costs: set input_price and output_price "
                    f"(USD per million tokens, 0 if it is free) for {model!r} in endpoints.yaml."
                )
            self._lines[model] = Line(endpoint, self.max_concurrency, self._note_wait)
        return self._lines[model]

    async def _ask_in_form(
        self, line: Line, request: dict, schema: type[BaseModel] | None, sample: int
    ) -> Reply:
        """The reply, bound to the schema in the way that the endpoint takes; found out once, said once."""
        if schema is None:
            return await self._reply(line, request, sample)
        form = line.form or line.endpoint.structured
        if form != "json_schema":
            return await self._reply(line, bind_reply(request, schema, form), sample)
        strict = bind_reply(request, schema, "json_schema")
        if line.form is None and await self._only_knows(
            line, bind_reply(request, schema, "json_object"), strict, sample
        ):
            return await self._reply(line, bind_reply(request, schema, "json_object"), sample)
        try:
            reply = await self._reply(line, strict, sample)
            line.form = "json_schema"
        except EndpointError as error:
            if error.status not in (400, 422):
                raise
            try:
                reply = await self._reply(line, bind_reply(request, schema, "json_object"), sample)
            except EndpointError:
                raise error from None  # the schema was not what it refused
            if line.form != "json_object":
                self._say(
                    f"{line.endpoint.address} takes no JSON schema: its replies are bound to JSON and checked."
                )
            line.form = "json_object"
        return reply

    async def _only_knows(self, line: Line, loose: dict, strict: dict, sample: int) -> bool:
        """Whether the cache holds the reply to the one request and not to the other."""
        replies = [await self.cache.find(request_key(line.endpoint, r, sample)) for r in (loose, strict)]
        return replies[0] is not None and replies[1] is None

    async def _reply(self, line: Line, request: dict, sample: int) -> Reply:
        """The reply to a request: another task's, which asks the same now, else cached, else live."""
        key = request_key(line.endpoint, request, sample)
        self.used.add(key)
        if key in self._in_flight:
            self.usage.cached += 1
        else:
            self._in_flight[key] = task = asyncio.create_task(self._fetch(line, request, key))
            task.add_done_callback(lambda task: self._forget(key, task))
        return await asyncio.shield(self._in_flight[key])  # a call once made is finished and kept

    def _forget(self, key: str, task: asyncio.Task) -> None:
        del self._in_flight[key]
        if not task.cancelled():
            task.exception()  # looked at, also when nobody waits for it any more

    async def _fetch(self, line: Line, request: dict, key: str) -> Reply:
        if reply := await self.cache.find(key):
            self.usage.cached += 1
            return reply
        if self.llm_mode == "replay":
            raise EndpointError(
                f"replay: no recorded reply of model {request['model']!r} to the prompt that ends "
                f"{find_last_text(request)[-80:]!r} (call {key[:12]}); run once with llm_mode live or record."
            )
        most = await self._reserve(line.endpoint, request)
        try:
            reply = await line.call(request, key)
            self.usage.live += 1
            self.usage.prompt_tokens += reply.prompt_tokens
            self.usage.completion_tokens += reply.completion_tokens
            self.usage.cost_usd += find_cost(line.endpoint, reply.prompt_tokens, reply.completion_tokens)
        finally:
            self._reserved -= most
        return await self.cache.keep(reply)

    async def _reserve(self, endpoint: Endpoint, request: dict) -> float:
        """Set aside the most that a call can cost, in USD; BudgetReached if that is not left."""
        most = find_cost(endpoint, count_tokens(request), request.get(name_limit(request), 0))
        while self.budget_usd is not None and self.usage.cost_usd + self._reserved + most > self.budget_usd:
            if self._reserved <= 1e-12:
                raise BudgetReached(
                    f"budget_usd {self.budget_usd}: ${self.usage.cost_usd:.4f} are spent, and the next call may cost "
                    f"${most:.4f}; raise it and run again to go on."
                )
            await asyncio.sleep(0.05)  # calls in flight may turn out cheaper
        self._reserved += most
        return most

    # --- telling -------------------------------------------------------------------------------

    def _note_wait(self, words: str) -> None:
        self.usage.retried += 1
        self._show_usage(words)

    def _show_usage(self, now: str = "") -> None:
        if self._bar is not None:
            u = self.usage
            parts = [
                f"{u.live} calls",
                f"{u.cached} cached",
                f"{u.prompt_tokens + u.completion_tokens:,} tokens",
            ]
            unknown = any(line.endpoint.prices is None for line in self._lines.values())
            parts += [f"${u.cost_usd:.2f}{' + unknown prices' if unknown else ''}"]
            parts += [f"{u.failed} failed"] * (u.failed > 0) + [now] * bool(now)
            self._bar.set_postfix_str(", ".join(parts), refresh=False)
            if time.monotonic() - self._shown > 0.5:
                self._bar.refresh()
                self._shown = time.monotonic()

    def _say(self, words: str) -> None:
        tqdm.write(words, file=sys.stderr)
