"""The one way to call a model: every reply is in the cache before it is used.

::

    models = Models(max_concurrency=2)
    turn = await models.ask("embedded", prompt, UserTurn, seed=1)   # a UserTurn
    text = await models.ask("gpt-4o", messages)                     # a str
    done = await models.run_all([roll_out(case) for case in cases], "roll-outs")
"""

import asyncio
import hashlib
import json
import os
from collections.abc import Coroutine, Iterable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from string import Template
from typing import Literal, TypeVar

import openai
from openai import AsyncOpenAI
from pydantic import BaseModel, ValidationError
from tqdm import tqdm as terminal_bar
from tqdm.auto import tqdm as notebook_bar

from realusersim_nb import embedded
from realusersim_nb.cache import Cache, Reply
from realusersim_nb.endpoints import EMBEDDED, Endpoint, EndpointError, connect, find_endpoint

S = TypeVar("S", bound=BaseModel)
LLMMode = Literal["live", "replay"]


class CallFailed(Exception):
    """One call gave nothing usable; callers turn it into a row with this reason."""


class BudgetReached(RuntimeError):
    """``budget_usd`` is spent; every reply so far is cached, so a rerun goes on from here."""


# --- calling -----------------------------------------------------------------------------------


@dataclass
class Usage:
    """Calls and what they cost; tokens and cost are those of live calls."""

    live: int = 0
    cached: int = 0
    failed: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: float = 0.0


class Models:
    """All models of a notebook behind one ``ask``, with one cache, one limit and one bill.

    ``max_concurrency`` bounds the calls in flight. ``llm_mode="replay"`` answers from the cache
    only. ``budget_usd`` stops before the call after which more would have been spent.
    """

    def __init__(
        self,
        *,
        max_concurrency: int = 2,
        budget_usd: float | None = None,
        llm_mode: LLMMode = "live",
        cache: Cache | None = None,
    ):
        self.cache = cache or Cache()
        self.max_concurrency = max_concurrency
        self.budget_usd = budget_usd
        self.llm_mode = llm_mode
        self.usage = Usage()
        self.last_exchange = ("", "")  # the newest prompt and its raw reply, to be looked at
        self._free = asyncio.Semaphore(max_concurrency)
        self._clients: dict[str, AsyncOpenAI] = {}
        self._bar: terminal_bar | None = None

    async def __aenter__(self) -> "Models":
        return self

    async def __aexit__(self, *_) -> None:
        """Close the connections; notebooks leave that to the end of their kernel."""
        for client in self._clients.values():
            await client.close()

    async def ask(
        self,
        model: str,
        prompt: str | list[dict],
        schema: type[S] | None = None,
        *,
        temperature: float = 0.7,
        max_tokens: int = 400,
        seed: int = 0,
        sample: int = 0,
    ) -> S | str:
        """The model's reply to a prompt, as ``schema`` if one is given, else as text.

        With a schema the endpoint is made to answer in that JSON form (``response_format``).
        ``sample`` tells draws of the same prompt apart. Raises CallFailed when this one reply
        is unusable, EndpointError when no call can work, BudgetReached when the money is spent.
        """
        endpoint = find_endpoint(model)
        messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
        request = {
            "model": endpoint.model,
            "messages": messages,
            "temperature": temperature,
            "max_tokens": max_tokens,
            "seed": seed,
        }
        if schema:
            json_schema = {"name": schema.__name__, "schema": schema.model_json_schema(), "strict": True}
            request["response_format"] = {"type": "json_schema", "json_schema": json_schema}
        try:
            reply = await self._reply(model, endpoint, request, request_key(endpoint, request, sample))
            self.last_exchange = (messages[-1]["content"], reply.text)
            return parse(reply, schema)
        except CallFailed:
            self.usage.failed += 1
            raise
        finally:
            self._show_usage()

    async def run_all(self, tasks: Iterable[Coroutine], title: str) -> list:
        """Results of the tasks, in order, under a progress bar with calls, tokens and cost.

        At most ``max_concurrency`` tasks are under way at once, so that a conversation that has
        begun is finished before many others begin (and its prompt prefix is still cached).
        """
        tasks, free = list(tasks), asyncio.Semaphore(self.max_concurrency)
        make_bar = terminal_bar if os.environ.get("REALUSERSIM_OWNER") else notebook_bar
        self._bar = make_bar(total=len(tasks), desc=title, mininterval=0.5)

        async def run(task: Coroutine):
            async with free:
                result = await task
            self._bar.update()
            return result

        problem = None
        try:
            async with asyncio.TaskGroup() as group:
                running = [group.create_task(run(task)) for task in tasks]
        except ExceptionGroup as errors:
            problem = errors.exceptions[0]
        finally:
            self._bar.close()
            for task in tasks:  # what was never begun, after an error
                task.close()
        if problem:  # raised here, free of its group: a person gets one error, not a tree
            raise problem
        return [task.result() for task in running]

    async def _reply(self, model: str, endpoint: Endpoint, request: dict, key: str) -> Reply:
        if reply := self.cache.get(key):
            self.usage.cached += 1
            return reply
        if self.llm_mode == "replay":
            raise EndpointError(
                f"replay: no recorded reply for {model!r} to the prompt that ends "
                f"{request['messages'][-1]['content'][-80:]!r}; record it with llm_mode live."
            )
        if self.budget_usd is not None and self.usage.cost_usd >= self.budget_usd:
            raise BudgetReached(f"budget_usd {self.budget_usd} is spent; raise it and run again to go on.")
        async with self._free:
            reply = await self._call(model, endpoint, request, key)
        self.cache.put(reply)
        self.usage.live += 1
        self.usage.prompt_tokens += reply.prompt_tokens
        self.usage.completion_tokens += reply.completion_tokens
        self.usage.cost_usd += (
            reply.prompt_tokens * endpoint.input_price + reply.completion_tokens * endpoint.output_price
        ) / 1e6
        return reply

    async def _call(self, model: str, endpoint: Endpoint, request: dict, key: str) -> Reply:
        if model not in self._clients:
            self._clients[model] = connect(endpoint)
        try:
            completion = await self._clients[model].chat.completions.create(**request)
        except (openai.AuthenticationError, openai.PermissionDeniedError, openai.NotFoundError) as error:
            raise EndpointError(
                f"{endpoint.identity} refused model {endpoint.model!r}: {error}; check the name "
                f"and the environment variable {endpoint.api_key_env}."
            ) from error
        except openai.APIConnectionError as error:
            log = (
                f"; its last lines:\n{embedded.last_lines()}"
                if endpoint is EMBEDDED
                else f"; check the address {endpoint.identity}."
            )
            raise EndpointError(f"no answer for model {endpoint.model!r}{log}") from error
        except openai.APIError as error:
            raise CallFailed(f"endpoint error: {error}") from error
        choice, usage = completion.choices[0], completion.usage
        return Reply(
            key=key,
            model=endpoint.model,
            text=choice.message.content or "",
            finish_reason=choice.finish_reason or "",
            prompt_tokens=usage.prompt_tokens if usage else 0,
            completion_tokens=usage.completion_tokens if usage else 0,
        )

    def _show_usage(self) -> None:
        if self._bar is not None:
            u = self.usage
            tokens = u.prompt_tokens + u.completion_tokens
            self._bar.set_postfix_str(f"{u.live} calls, {u.cached} cached, {tokens:,} tokens, ${u.cost_usd:.2f}")


def request_key(endpoint: Endpoint, request: dict, sample: int) -> str:
    """sha256 over everything that decides a reply."""
    decisive = {"endpoint": endpoint.identity, "sample": sample, **request}
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()


def parse(reply: Reply, schema: type[S] | None) -> S | str:
    """The reply as text or as a ``schema``; CallFailed says why it is neither."""
    if not reply.text.strip():
        raise CallFailed("empty reply")
    if schema is None:
        return reply.text.strip()
    try:
        return schema.model_validate_json(reply.text)
    except ValidationError as error:
        cut = " (cut off at max_tokens)" if reply.finish_reason == "length" else ""
        raise CallFailed(f"the reply is not a {schema.__name__}{cut}: {error.errors()[0]['msg']}") from error


# --- prompts -----------------------------------------------------------------------------------


@cache
def read_prompt(name: str) -> Template:
    """The prompt ``prompts/<name>.md``; variables are written ``$variable``."""
    return Template((files("realusersim_nb") / "prompts" / f"{name}.md").read_text(encoding="utf-8").strip())


def fill_prompt(name: str, **variables: str) -> str:
    """Fill a prompt. A variable that is missing or not used raises ValueError.

    Values are inserted as they are and never read as part of the template, so a corpus text
    that holds ``$goal`` stays just that.
    """
    template = read_prompt(name)
    wanted, given = set(template.get_identifiers()), set(variables)
    if wanted != given:
        raise ValueError(f"prompt {name!r}: missing {sorted(wanted - given)}, not used {sorted(given - wanted)}.")
    return template.substitute(variables)


def hash_prompts() -> dict[str, str]:
    """sha256 of every prompt file, for the manifest."""
    folder = files("realusersim_nb") / "prompts"
    found = sorted(file.name for file in folder.iterdir() if file.name.endswith(".md"))
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in found}
