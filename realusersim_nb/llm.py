"""The one way to call a model: every reply is in the cache before it is used.

A model is a name: ``embedded`` is the local one; another name is looked up in ``endpoints.yaml``
in the working folder, else it goes to ``OPENAI_BASE_URL`` with ``OPENAI_API_KEY``::

    models = Models(max_concurrency=2)
    turn = await models.ask("embedded", prompt, UserTurn, seed=1)   # a UserTurn
    text = await models.ask("gpt-4o", messages)                     # a str
    done = await models.run_all([roll_out(case) for case in cases], "roll-outs")
"""

import asyncio
import hashlib
import json
import os
from collections.abc import Awaitable, Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Literal, TypeVar

import openai
import sqlalchemy as sql
import yaml
from openai import AsyncOpenAI, DefaultAioHttpClient
from pydantic import BaseModel, ConfigDict, ValidationError
from tqdm import tqdm as terminal_bar
from tqdm.auto import tqdm as notebook_bar

from realusersim_nb import embedded

S = TypeVar("S", bound=BaseModel)
LLMMode = Literal["live", "replay"]


class CallFailed(Exception):
    """One call gave nothing usable; callers turn it into a row with this reason."""


class EndpointError(RuntimeError):
    """No call to this endpoint can work (wrong key, model or address); stops the notebook."""


class BudgetReached(RuntimeError):
    """``budget_usd`` is spent; every reply so far is cached, so a rerun goes on from here."""


# --- endpoints ---------------------------------------------------------------------------------


class Endpoint(BaseModel):
    """Where a model name leads. Prices are USD per million tokens."""

    model_config = ConfigDict(extra="forbid")
    model: str
    base_url: str | None = None
    api_key_env: str = "OPENAI_API_KEY"
    input_price: float = 0.0
    output_price: float = 0.0

    @property
    def identity(self) -> str:
        """What decides a reply besides the request: the service, not the port it has today."""
        return self.base_url or os.environ.get("OPENAI_BASE_URL") or "openai"


EMBEDDED = Endpoint(model=embedded.MODEL, base_url=f"sha256:{embedded.SHA256}")


def find_endpoint(name: str) -> Endpoint:
    """The endpoint behind a model name; ValueError says what is wrong in ``endpoints.yaml``."""
    if name == "embedded":
        return EMBEDDED
    path = Path("endpoints.yaml")
    known = (yaml.safe_load(path.read_text()) or {}) if path.exists() else {}
    try:
        return Endpoint(**{"model": name, **known.get(name, {})})
    except (ValidationError, TypeError) as error:
        raise ValueError(f"endpoints.yaml, {name!r}: {error}") from error


def connect(endpoint: Endpoint) -> AsyncOpenAI:
    """A client for an endpoint; the embedded server is started when it is the one."""
    if endpoint is EMBEDDED:
        # The key is a dummy: an OpenAI client insists on one, the local server asks for none.
        return AsyncOpenAI(base_url=f"{embedded.serve()}/v1", api_key="none", http_client=DefaultAioHttpClient())
    key = os.environ.get(endpoint.api_key_env)
    if not key:
        raise EndpointError(
            f"model {endpoint.model!r} needs the environment variable {endpoint.api_key_env}: set it "
            "(any text will do for a server that asks for no key) and run again."
        )
    return AsyncOpenAI(base_url=endpoint.base_url, api_key=key, http_client=DefaultAioHttpClient())


# --- the cache ---------------------------------------------------------------------------------

METADATA = sql.MetaData()
REPLIES = sql.Table(
    "replies",
    METADATA,
    sql.Column("key", sql.String(64), primary_key=True),
    sql.Column("model", sql.Text, nullable=False),
    sql.Column("text", sql.Text, nullable=False),
    sql.Column("finish_reason", sql.Text, nullable=False),
    sql.Column("prompt_tokens", sql.Integer, nullable=False),
    sql.Column("completion_tokens", sql.Integer, nullable=False),
)


@dataclass(frozen=True)
class Reply:
    """What an endpoint said, as it is kept in the cache."""

    key: str
    model: str
    text: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int


class Cache:
    """Replies by request key, in ``outputs/replies.sqlite`` unless ``REALUSERSIM_CACHE`` names another."""

    def __init__(self, path: str | Path | None = None):
        path = Path(path or os.environ.get("REALUSERSIM_CACHE") or "outputs/replies.sqlite")
        path.parent.mkdir(parents=True, exist_ok=True)
        self.engine = sql.create_engine(f"sqlite:///{path}", connect_args={"timeout": 60})
        with self.engine.begin() as connection:
            connection.execute(sql.text("PRAGMA journal_mode=WAL"))
        METADATA.create_all(self.engine)

    def get(self, key: str) -> Reply | None:
        """The reply kept under a key, if any."""
        with self.engine.connect() as connection:
            row = connection.execute(REPLIES.select().where(REPLIES.c.key == key)).one_or_none()
        return Reply(**row._mapping) if row else None

    def put(self, reply: Reply) -> None:
        """Keep a reply; it is committed when this returns. The first reply to a key stays."""
        with self.engine.begin() as connection, suppress(sql.exc.IntegrityError):
            connection.execute(REPLIES.insert().values(**asdict(reply)))


def request_key(endpoint: Endpoint, request: dict, sample: int) -> str:
    """sha256 over everything that decides a reply."""
    decisive = {"endpoint": endpoint.identity, "sample": sample, **request}
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()


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

    async def run_all(self, tasks: Iterable[Awaitable], title: str) -> list:
        """Results of the tasks, in order, under a progress bar with calls, tokens and cost.

        At most ``max_concurrency`` tasks are under way at once, so that a conversation that has
        begun is finished before many others begin (and its prompt prefix is still cached).
        """
        tasks, free = list(tasks), asyncio.Semaphore(self.max_concurrency)
        make_bar = terminal_bar if os.environ.get("REALUSERSIM_OWNER") else notebook_bar
        self._bar = make_bar(total=len(tasks), desc=title, mininterval=0.5)

        async def run(task: Awaitable):
            async with free:
                result = await task
            self._bar.update()
            return result

        try:
            async with asyncio.TaskGroup() as group:
                running = [group.create_task(run(task)) for task in tasks]
        except* (EndpointError, BudgetReached) as errors:
            raise errors.exceptions[0] from None
        finally:
            self._bar.close()
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
            log = f"; its last lines:\n{embedded.last_lines()}" if endpoint is EMBEDDED else "; check the address."
            raise EndpointError(f"no answer from {endpoint.identity} for model {endpoint.model!r}{log}") from error
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
