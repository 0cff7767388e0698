"""The one way to call a model: every reply is in the cache before it is used.

::

    models = Models(max_concurrency=2)
    text = await models.ask("gpt-4o", messages)                          # a str
    turn = await models.ask_json("embedded", prompt, UserTurn, seed=1)   # a UserTurn
    outcomes = await models.run_all([roll_out(case) for case in cases], "roll-outs")
"""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterable
from contextvars import ContextVar
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

import numpy as np
from pydantic import BaseModel
from tqdm import tqdm

from realusersim_nb.errors import InputError
from realusersim_nb.llm.cache import Cache
from realusersim_nb.llm.client import Connection
from realusersim_nb.llm.endpoints import Endpoint, EndpointError, find_endpoint
from realusersim_nb.llm.errors import CallFailed, Outcome, complete
from realusersim_nb.llm.replies import (
    Reply,
    ToolReply,
    parse_embeddings,
    parse_json,
    parse_scores,
    parse_text,
    parse_tool_calls,
)
from realusersim_nb.llm.requests import (
    add_schema,
    explain_missing,
    make_request,
    make_scoring_request,
    repair_request,
    request_key,
)
from realusersim_nb.llm.usage import CALLS_FILE, Budget, Usage, note_call
from realusersim_nb.parallel.bars import show_bar
from realusersim_nb.parallel.limits import STOPPED
from realusersim_nb.parallel.stopping import explain_stop, finish_paid, stay_awake

S = TypeVar("S", bound=BaseModel)
R, T = TypeVar("R"), TypeVar("T")
Prompt = str | list[dict]  # a text, or messages in OpenAI's form
LLMMode = Literal["live", "replay", "record"]
EXCHANGE: ContextVar[tuple[str, str]] = ContextVar("exchange", default=("", ""))


class Models:
    """All models of a notebook, with one cache and one budget.

    ``max_concurrency`` limits the calls in flight at each endpoint. ``llm_mode="replay"`` answers from the
    cache only; ``record`` calls like ``live``. ``calls_file`` (``Run.open_models`` gives it) takes a line for
    each paid call, and the budget counts the files of that name in the run's other notebooks too. ``used``
    has all replies that were used by key, without their texts.
    """

    def __init__(
        self,
        *,
        max_concurrency: int = 2,
        budget_usd: float | None = None,
        llm_mode: LLMMode = "live",
        cache: Cache | str | None = None,
        calls_file: Path | None = None,
    ):
        if llm_mode not in get_args(LLMMode):
            raise InputError(f"llm_mode {llm_mode!r}: expected one of {', '.join(get_args(LLMMode))}.")
        self.cache = cache if isinstance(cache, Cache) else Cache(cache)
        self.max_concurrency, self.llm_mode, self.usage = max_concurrency, llm_mode, Usage()
        self.used: dict[str, Reply] = {}
        self.calls_file = calls_file
        self._connections: dict[str, Connection] = {}
        self._in_flight: dict[str, asyncio.Task] = {}
        run_files = [*calls_file.parent.parent.glob(f"*/{CALLS_FILE}")] if calls_file else []
        self._budget = Budget(budget_usd, self.usage, run_files)
        self._bar: tqdm | None = None

    async def __aenter__(self) -> "Models":
        return self

    async def __aexit__(self, *_) -> None:
        """Close the connections; notebooks leave that to the end of their kernel."""
        for connection in self._connections.values():
            if connection.client:
                await connection.client.close()

    @property
    def last_exchange(self) -> tuple[str, str]:
        """The newest prompt and raw reply of this task; after ``run_all``, of the task that ended last."""
        return EXCHANGE.get()

    async def ask(self, model: str, prompt: Prompt, **sampling: float) -> str:
        """The reply as text; ``sampling``: temperature (0.7), max_tokens (400), seed (0), and sample (0),
        which numbers draws of the same request.

        An unusable reply is asked for again where that helps (see ``repair_request``). CallFailed if there is
        no usable one in the end, EndpointError if no call can work, BudgetReached; so also of the other two.
        """
        return await self._ask(model, prompt, parse_text, **sampling)

    async def ask_json(self, model: str, prompt: Prompt, schema: type[S], **sampling: float) -> S:
        """The reply as ``schema``, to which the endpoint is made to hold it (``response_format``)."""
        return await self._ask(model, prompt, partial(parse_json, schema=schema), schema=schema, **sampling)

    async def ask_tools(
        self, model: str, messages: Prompt, tools: list[dict], **sampling: float
    ) -> ToolReply:
        """The reply of a model that may call ``tools`` (in OpenAI's form; there may be none) or not."""
        fields = {"tools": tools} if tools else {}
        return await self._ask(model, messages, parse_tool_calls, fields=fields, **sampling)

    async def pass_on(
        self, model: str, messages: Prompt, fields: dict, **sampling: float
    ) -> tuple[ToolReply, Reply]:
        """The reply, read and as it came, to somebody else's request: its other ``fields`` go along."""
        options = {"fields": fields, **sampling}
        return await self._ask(model, messages, lambda reply: (parse_tool_calls(reply), reply), **options)

    async def _ask(
        self,
        model: str,
        prompt: Prompt,
        parse: Callable[[Reply], R],
        *,
        schema: type[BaseModel] | None = None,
        fields: dict | None = None,
        sample: int = 0,
        **sampling: float,
    ) -> R:
        connection = self._connect(model)
        messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
        request = make_request(connection.endpoint, messages, **sampling) | (fields or {})
        try:
            for tries in range(connection.endpoint.second_tries + 1):
                asked = add_schema(request, schema, connection.endpoint.structured) if schema else request
                reply = await self._reply(connection, asked, sample + 1_000_000 * tries)
                EXCHANGE.set((messages[-1]["content"], reply.text or reply.tool_calls))
                try:
                    parsed = parse(reply)
                    if schema and tries == 0:
                        connection.note_fit(True)
                    return parsed
                except CallFailed as failure:
                    if schema and tries == 0 and failure.kind in ("prose", "invalid"):
                        connection.note_fit(False)
                    sent_back = len(request["messages"]) > len(messages)  # only once
                    request = repair_request(request, reply, failure, None if sent_back else schema)
                    if request is None or tries == connection.endpoint.second_tries:
                        raise
        except CallFailed:
            self.usage.failed += 1
            raise
        finally:
            self._show_usage()

    async def score(self, model: str, prompt: str, continuation: str) -> list[float]:
        """The log-probability of each token of ``continuation`` after ``prompt`` (texts as they are, without
        a chat template); the first token of all has none. EndpointError from an endpoint that gives none.
        """
        connection = self._connect(model)
        request = make_scoring_request(connection.endpoint, prompt + continuation)
        try:
            return parse_scores(await self._reply(connection, request, 0), len(prompt))
        finally:
            self._show_usage()

    async def embed(self, model: str, texts: list[str]) -> np.ndarray:
        """Embeddings of texts, float32, a row a text, cached like replies; EndpointError without them."""
        connection = self._connect(model)
        endpoint = connection.endpoint
        request = {"model": endpoint.model, "encoding_format": "float"} | endpoint.options
        size = endpoint.texts_per_call
        batches = [texts[start : start + size] for start in range(0, len(texts), size)]

        async def embed_batch(batch: list[str]) -> np.ndarray:
            reply = await self._reply(connection, request | {"input": batch}, 0)
            values = parse_embeddings(reply, len(batch), connection.width)
            connection.width = values.shape[1]  # those of an earlier run have it, too
            return values

        outcomes = await self.run_all(map(embed_batch, batches), f"embedding by {model}")
        for number, outcome in enumerate(outcomes):
            if outcome.failure:
                first, last = number * size + 1, min((number + 1) * size, len(texts))
                raise EndpointError(
                    f"{endpoint.shown}: no embeddings of texts {first} to {last} "
                    f"({outcome.failure}); those before are cached: run again to go on."
                )
        return np.array([row for outcome in outcomes for row in outcome.result])

    async def run_all(self, tasks: Iterable[Coroutine[Any, Any, T]], title: str) -> list[Outcome[T]]:
        """What became of the tasks, in order, under a progress bar with calls, tokens and cost.

        CallFailed is a task's ``failure``: one bad reply stops no study. Few more than ``max_concurrency``
        tasks run at once, so that a conversation ends before many others begin, while the endpoint has its
        prompt prefix cached. When an error or an interrupt stops the study, calls in flight are completed,
        since they are paid, and no other begins, also not from a thread of a task (``parallel.stopping``).
        """
        tasks = list(tasks)
        outcomes, waiting, newest = [Outcome()] * len(tasks), iter(enumerate(tasks)), [EXCHANGE.get()]
        self._bar, stopped, problem = show_bar(None, title, len(tasks), miniters=0), threading.Event(), None

        awake = asyncio.ensure_future(stay_awake())

        async def work() -> None:
            STOPPED.set(stopped)
            for number, task in waiting:
                outcomes[number] = await complete(task, stopped)
                newest[0] = EXCHANGE.get()
                self._bar.update()

        try:
            async with asyncio.TaskGroup() as group:
                # a few more than may call at once: while some wait for the cache, others call
                for _ in range(min(self.max_concurrency + min(self.max_concurrency // 4, 16), len(tasks))):
                    group.create_task(work())
        except ExceptionGroup as errors:
            problem = errors.exceptions[0]
        except asyncio.CancelledError as cancelled:
            problem = explain_stop(cancelled, self._bar.n, len(tasks))
        finally:
            if stopped.is_set() and self._in_flight:
                n_paid = sum(connection.limiter.n_in_flight for connection in self._connections.values())
                await finish_paid([*self._in_flight.values()], n_paid)
            awake.cancel()
            await asyncio.to_thread(self.cache.checkpoint)
            self._bar.close()
            EXCHANGE.set(newest[0])
            for _, task in waiting:  # those that an error kept from beginning
                task.close()
        if problem:  # raised here, so that its trace shows one error and no group
            raise problem
        return outcomes

    def _connect(self, model: str) -> Connection:
        if model not in self._connections:
            endpoint = find_endpoint(model)
            if self._budget.usd is not None and endpoint.prices is None:
                raise EndpointError(
                    f"budget_usd needs to know what model {endpoint.model!r} costs: set input_price and "
                    f"output_price (USD per million tokens, 0 if it is free) for {model!r} in endpoints.yaml."
                )
            self._connections[model] = Connection(endpoint, self.max_concurrency, self._note_retry)
        return self._connections[model]

    async def _reply(self, connection: Connection, request: dict, sample: int) -> Reply:
        """The reply to a request: of another task's call in flight, else cached, else live."""
        key = request_key(connection.endpoint, request, sample)
        if key in self._in_flight:
            self.usage.cached += 1
        else:
            self._in_flight[key] = task = asyncio.create_task(self._fetch(connection, request, key))
            task.add_done_callback(
                lambda ended: self._in_flight.pop(key) and (ended.cancelled() or ended.exception())
            )
        reply = await asyncio.shield(self._in_flight[key])  # a call once made is finished and cached
        self.used[key] = replace(reply, text="", reasoning="", tool_calls="")
        return reply

    async def _fetch(self, connection: Connection, request: dict, key: str) -> Reply:
        if reply := await self.cache.find(key):
            self.usage.cached += 1
            connection.answered += 1
            return reply
        if self.llm_mode == "replay":
            raise explain_missing(request, key)
        async with self.cache.claims.hold(key) as saved:  # of all processes that use the cache one asks
            if saved:
                self.usage.cached += 1
                return saved
            async with self._budget.reserve(connection.endpoint, request):
                reply = await connection.call(request, key)
                self._count(connection.endpoint, reply)
            return await self.cache.keep(reply)

    def _count(self, endpoint: Endpoint, reply: Reply) -> None:
        """Count a paid call, before anything else can go wrong with its reply."""
        cost = endpoint.find_cost(reply.prompt_tokens, reply.completion_tokens)
        self.usage.add(reply.prompt_tokens, reply.completion_tokens, cost)
        if self.calls_file:
            note_call(self.calls_file, endpoint, reply)

    def _note_retry(self, words: str) -> None:
        self.usage.retried += 1
        self._show_usage(words)

    def _show_usage(self, words: str = "") -> None:
        if self._bar is not None:
            self._bar.set_postfix_str(", ".join(filter(None, [str(self.usage), words])), refresh=False)
            self._bar.update(0)  # draws it twice a second at most
