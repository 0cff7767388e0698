"""What a model's endpoint can do: each thing tried once, with what a study then does or needs to be told."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import httpx
import openai
import yaml
from pydantic import BaseModel

from realusersim_nb.llm.answers import read_completion, tells_usage
from realusersim_nb.llm.client import Connection, watch_replies
from realusersim_nb.llm.endpoints import EMBEDDED, FILE, Endpoint, EndpointError, find_endpoint
from realusersim_nb.llm.errors import CallFailed, read_fault
from realusersim_nb.llm.forms import FORMS, Form, read_form
from realusersim_nb.llm.replies import (
    Reply,
    drop_reasoning,
    has_reasoning_marks,
    parse_json,
    parse_text,
    parse_tool_calls,
)
from realusersim_nb.llm.requests import add_schema, make_request, make_scoring_request

PROBE_SECONDS, ALL_SECONDS = 30.0, 120.0  # of one attempt, and of all together
THINKING = 2000  # tokens of room for a model that thinks before it replies
QUESTION = "What is a tent? Answer in five words."
TOOL = {
    "name": "find_weather",
    "description": "The weather of a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
EMBEDDING = {"input": ["a tent", "a house"], "encoding_format": "float"}
LABELS = {"json_schema": "JSON by schema", "json_object": "JSON mode", "text": "JSON in words"}


class TentAnswer(BaseModel):
    """A form that no model writes unless it is held to it or shown it."""

    lighter_than_a_house: Literal["yes", "no"]
    sleeps: Literal["one", "two", "many"]  # of a number some models write digits without end


class Row(NamedTuple):
    """One thing that was tried: ``ok``, ``other`` (it works in another way), ``no`` or ``-``; more on it."""

    what: str
    result: Literal["ok", "no", "other", "-"]
    more: str = ""


@dataclass(frozen=True)
class Checked:
    """What a model's endpoint can do, and the fields of ``endpoints.yaml`` that it needs."""

    model: str
    rows: list[Row]
    settings: dict[str, Any]

    @property
    def usable(self) -> bool:
        """Whether a study can run: a model that replies and keeps to a form, or an embedder."""
        works = {row.what for row in self.rows if row.result in ("ok", "other")}
        return "embeddings" in works or ("chat" in works and bool(works & set(LABELS.values())))

    def __str__(self) -> str:
        lines = [f"{row.what:<24} {row.result:<6} {row.more}".rstrip() for row in self.rows]
        written = yaml.safe_dump({self.model: self.settings}, sort_keys=False).rstrip()
        advice = [f"\nWhat it needs, for {FILE} (--write adds it):", written] if self.settings else []
        verdict = "A study can run." if self.usable else "No study can run."
        return "\n".join([f"{self.model}:", *lines, *advice, verdict])


async def check_model(name: str) -> Checked:
    """Try everything that studies ask of a model or embedder: some ten short calls, none cached."""
    endpoint = find_endpoint(name)
    trial = Trial(endpoint)
    try:
        rows = await trial.try_all()
    finally:
        if trial.connection.client:
            await trial.connection.client.close()
    changes = read_form(endpoint).list_changes(trial.connection.form)
    changes |= {"reasoning_tokens": THINKING} if trial.thinking > endpoint.reasoning_tokens else {}
    return Checked(name, rows, {} if endpoint is EMBEDDED else changes)


class Trial:
    """The attempts at one endpoint. What one teaches on the form of requests, the next ones use."""

    def __init__(self, endpoint: Endpoint):
        self.endpoint = endpoint
        self.connection = Connection(endpoint, 4, lambda words: None)
        self.thinking = endpoint.reasoning_tokens
        self.until = time.monotonic() + ALL_SECONDS

    async def try_all(self) -> list[Row]:
        """One row for each thing, in the order in which they matter."""
        first = await self.try_chat()
        [vectors] = await self.try_each({"embeddings": self.embed})
        if not any(row.what == "chat" and row.result == "ok" for row in first):
            if vectors.result == "ok":  # an embedder
                first = [*self.list_reached(), Row("chat", "no", "it only embeds")]
            return [*first, vectors]
        [system] = await self.try_each({"system role": self.take_system})
        [roles] = await self.try_each({"roles": self.take_roles})
        forms = await asyncio.gather(*(self.try_form(form) for form in FORMS))
        usual = self.connection.form
        kept = [FORMS.index(form) for form, row in zip(FORMS, forms, strict=True) if row.result != "no"]
        if kept:
            loosest = max(kept[0], FORMS.index(read_form(self.endpoint).structured))
            self.connection.form = replace(usual, structured=FORMS[loosest])
        others = {"streaming": self.stream, "tools": self.call_tool, "prompt log-probabilities": self.score}
        return [*first, system, roles, *forms, *await self.try_each(others), vectors]

    async def try_each(self, probes: dict[str, Callable[[], Awaitable[Row]]]) -> list[Row]:
        """A row for each probe; what fails says why."""

        async def attempt(what: str, probe: Callable[[], Awaitable[Row]]) -> Row:
            try:
                async with asyncio.timeout(seconds):
                    return await probe()
            except (CallFailed, EndpointError) as error:
                return Row(what, "no", self.endpoint.hide_key(str(error))[:300])
            except TimeoutError:
                return Row(what, "-", f"no answer within {seconds:.0f} s")

        seconds = max(5.0, min(PROBE_SECONDS, self.until - time.monotonic()))

        return list(await asyncio.gather(*(attempt(*probe) for probe in probes.items())))

    def ask(self, *messages: dict | str, **sampling: float) -> dict:
        """A request with these messages; a text is the user's."""
        listed = [{"role": "user", "content": m} if isinstance(m, str) else m for m in messages]
        sampling = {"max_tokens": 40, **sampling}
        sampling["max_tokens"] += self.thinking - self.endpoint.reasoning_tokens
        return make_request(self.endpoint, listed, **sampling)

    async def send(self, request: dict) -> Reply:
        """The reply to a request, put in the form that the endpoint takes."""
        return await self.connection.call(request, "")

    async def try_chat(self) -> list[Row]:
        """The rows of the first call: address, key and chat, and what its reply shows."""
        try:
            async with asyncio.timeout(60):  # the embedded model may have to be started
                reply = await self.send(self.ask(QUESTION))
                if not drop_reasoning(reply.text) and reply.finish_reason == "length":
                    self.thinking = max(self.thinking, THINKING)
                    reply = await self.send(self.ask(QUESTION))
            text = parse_text(reply)
        except (CallFailed, EndpointError, TimeoutError) as error:
            return self.explain(error)
        omitted = "temperature" in self.connection.form.omit
        temperature = (
            Row("temperature", "other", "by its default only") if omitted else Row("temperature", "ok")
        )
        chat = Row("chat", "ok", repr(text[:60]))
        return [
            *self.list_reached(),
            chat,
            temperature,
            self.find_reasoning(reply),
            *await self.measure(reply),
        ]

    def list_reached(self) -> list[Row]:
        """The rows of an address that answers and takes the key."""
        key = "none is needed" if self.endpoint is EMBEDDED else f"that of {self.endpoint.api_key_env}"
        return [Row("address", "ok", self.endpoint.shown), Row("key", "ok", key)]

    def explain(self, error: Exception) -> list[Row]:
        """Which of the first things it is that fails."""
        concern = getattr(error, "concern", "")
        order = ["address", "key", "chat"]
        faulty = concern if concern in order else "address" if isinstance(error, TimeoutError) else "chat"
        why = str(error) or "no answer within a minute"
        before = [Row(what, "ok") for what in order[: order.index(faulty)]]
        after = [Row(what, "-", "not tried") for what in order[order.index(faulty) + 1 :]]
        return [*before, Row(faulty, "no", why), *after]

    def find_reasoning(self, reply: Reply) -> Row:
        """Whether the model thinks before it replies, and whether all of that is left out."""
        rest = drop_reasoning(reply.text)
        if has_reasoning_marks(rest):
            return Row("reasoning", "no", f"marks of it stay in the reply: {rest[:60]!r}")
        room = f"; needs room: reasoning_tokens {self.thinking}" if self.thinking else ""
        where = "in a field" if reply.reasoning else "in marks" if rest != reply.text.strip() else ""
        return Row("reasoning", "ok", f"{where}, left out{room}" if where else f"none shown{room}")

    async def measure(self, first: Reply) -> list[Row]:
        """The first call once more, timed: seed, usage, price and pace."""
        request, started = self.ask(QUESTION), time.monotonic()
        try:
            answer = await self.post("chat/completions", self.connection.form.apply(request))
            reply = read_completion(answer, {"key": "", "model": self.endpoint.model})
        except (CallFailed, EndpointError) as error:
            return [Row("usage", "no", str(error)[:300])]
        seconds, prices = time.monotonic() - started, self.endpoint.prices
        tells = tells_usage(answer)
        more = "" if tells else "counts are estimated from the texts"
        known = "{:g} and {:g} USD per million tokens".format(*prices) if prices else ""
        return [
            self.compare(first, reply),
            Row("usage", "ok" if tells else "other", more),
            Row("price", "ok" if prices else "-", known or "set input_price and output_price for a budget"),
            Row("seconds a call", "ok", f"{seconds:.2f}"),
            Row("tokens a second", "ok", f"{reply.completion_tokens / seconds:.0f}"),
        ]

    async def post(self, path: str, request: dict) -> str:
        """The answer to a request as it came; CallFailed without one."""
        try:
            return await self.connection.post(path, request)
        except (openai.APIError, httpx.HTTPError) as error:
            raise read_fault(error) from error

    async def take_system(self) -> Row:
        """Whether there is a system role."""
        parse_text(await self.send(self.ask({"role": "system", "content": "You are brief."}, QUESTION)))
        if self.connection.form.system_role:
            return Row("system role", "ok")
        return Row("system role", "other", "its text goes before the first user message (system_role: false)")

    async def take_roles(self) -> Row:
        """Whether the assistant may begin, and one side may write twice."""
        greeting = {"role": "assistant", "content": "Hello, how can I help?"}
        parse_text(await self.send(self.ask(greeting, "I have a question.", QUESTION)))
        if not self.connection.form.alternate:
            return Row("roles", "ok", "any order")
        return Row("roles", "other", "user and assistant in turn (alternate: true)")

    async def try_form(self, structured: str) -> Row:
        """Whether replies keep to a schema when it is sent in one form; two attempts."""
        probe = {LABELS[structured]: lambda: self.keep_form(structured)}
        [row] = await self.try_each(probe)
        return row if row.result == "ok" else (await self.try_each(probe))[0]

    async def keep_form(self, structured: str) -> Row:
        form: Form = replace(self.connection.form, structured=structured)
        request = self.ask("Is a tent lighter than a house?", temperature=0.001, max_tokens=100)
        asked = form.apply(add_schema(request, TentAnswer, "json_schema"))
        parse_json(await self.connection.attempt(asked, ""), TentAnswer)
        return Row(LABELS[structured], "ok")

    def compare(self, first: Reply, again: Reply) -> Row:
        """Whether the same seed gives the same reply."""
        if "seed" in self.connection.form.omit:
            return Row("seed repeats", "other", "no seed is taken; the cache repeats replies")
        return (
            Row("seed repeats", "ok")
            if first.text == again.text
            else Row("seed repeats", "other", "the cache does")
        )

    async def stream(self) -> Row:
        """Whether a reply can be watched while it comes."""
        pieces: list[str] = []
        with watch_replies(pieces.append):
            await self.send(self.ask(QUESTION))
        if len(pieces) > 1:
            return Row("streaming", "ok")
        return Row("streaming", "other", "a reply is shown when it is whole")

    async def call_tool(self) -> Row:
        """Whether the model calls a tool."""
        request = self.ask("What is the weather in Rome? Call the tool.", temperature=0.001)
        reply = await self.send(request | {"tools": [{"type": "function", "function": TOOL}]})
        if parse_tool_calls(reply).calls:
            return Row("tools", "ok")
        return Row("tools", "no", "no call came; agent_format constrained needs none")

    async def score(self) -> Row:
        """Whether a prompt's tokens have log-probabilities."""
        try:
            await self.send(make_scoring_request(self.endpoint, "A tent is light."))
        except (CallFailed, EndpointError):
            return Row("prompt log-probabilities", "no", "only predictive fit needs them")
        return Row("prompt log-probabilities", "ok")

    async def embed(self) -> Row:
        """Whether the endpoint embeds texts, and in how many numbers."""
        try:
            await self.send({"model": self.endpoint.model, **EMBEDDING} | self.endpoint.options)
        except EndpointError as error:
            why = "only an embedder has them" if error.concern in ("address", "model", "") else str(error)
            return Row("embeddings", "no", why)
        return Row("embeddings", "ok", f"{self.connection.width} numbers a text")
