"""One call of one endpoint: the request, patience with faults, and what to ask after a bad reply."""

import asyncio
import hashlib
import json
import random
from collections.abc import Callable
from functools import lru_cache

import aiohttp
from pydantic import BaseModel

from realusersim_nb import embedded
from realusersim_nb.endpoints import EMBEDDED, Endpoint, EndpointError, ReplyForm, connect
from realusersim_nb.faults import (
    WORTH_RETRYING,
    CallFailed,
    Fault,
    read_completion,
    read_exception,
    read_points,
    read_status,
)
from realusersim_nb.limits import Gate
from realusersim_nb.replies import Reply
from realusersim_nb.streams import WATCHER, Watcher, ask_for_stream, join_parts
from realusersim_nb.templates import fill_prompt

LONGEST_WAIT = 900  # seconds; an endpoint that asks for more stops the run, which can go on later


class Line:
    """The line to one model: its endpoint, the gate that its calls pass, and how it takes a schema.

    ``note_wait`` is told in words whenever a call has to be made again. While ``patient`` is
    False, none is.
    """

    def __init__(self, endpoint: Endpoint, max_concurrency: int, note_wait: Callable[[str], None]):
        self.endpoint = endpoint
        self.gate = Gate(endpoint, max_concurrency)
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
        path, read = ("embeddings", read_points) if "input" in request else ("chat/completions", read_completion)
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
            wait = fault.retry_after if fault.retry_after is not None else min(30, 2**tries) * random.uniform(0.5, 1)
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


# --- requests ----------------------------------------------------------------------------------


def make_request(endpoint: Endpoint, messages: list[dict], *, temperature: float, max_tokens: int, seed: int) -> dict:
    """The body of a request, with what this endpoint needs and without what it refuses."""
    request = {"model": endpoint.model, "messages": messages, "temperature": temperature, "seed": seed}
    request[endpoint.max_tokens_name] = max_tokens + endpoint.reasoning_tokens
    return {name: value for name, value in request.items() if name not in endpoint.omit} | endpoint.options


@lru_cache(maxsize=64)
def describe_schema(schema: type[BaseModel]) -> dict:
    """The JSON schema of a form; kept, since pydantic makes it anew each time."""
    return schema.model_json_schema()


def bind_reply(request: dict, schema: type[BaseModel], form: ReplyForm) -> dict:
    """The request, bound to a schema: by the endpoint, or by words and a check (JSON mode, text)."""
    described = describe_schema(schema)
    if form == "json_schema":
        return request | {
            "response_format": {"type": form, "json_schema": {"name": schema.__name__, "schema": described}}
        }
    *before, last = request["messages"]
    words = fill_prompt("json_form", schema=json.dumps(described))
    bound = request | {"messages": [*before, last | {"content": f"{last['content']}\n\n{words}"}]}
    return bound | {"response_format": {"type": form}} if form == "json_object" else bound


def mend_request(request: dict, reply: Reply, failure: CallFailed, schema: type[BaseModel] | None) -> dict | None:
    """What to ask after a reply that cannot be used; None where another try would not help.

    A reply that was cut off gets twice the room, one of the wrong form is sent back with what is
    wrong about it (if ``schema`` is given), after silence or a tool call that cannot be read another
    seed is tried. A refusal stands.
    """
    if failure.kind == "truncated" or (failure.kind == "reasoning" and reply.finish_reason == "length"):
        name = name_limit(request)
        return request | {name: 2 * request[name]}
    if failure.kind in ("empty", "reasoning") or (failure.kind == "invalid" and reply.tool_calls):
        return request | ({"seed": request["seed"] + 1_000_000} if "seed" in request else {})
    if failure.kind in ("invalid", "prose") and schema:
        words = fill_prompt("repair", problem=failure.detail, schema=json.dumps(describe_schema(schema)))
        answer = [{"role": "assistant", "content": reply.text}, {"role": "user", "content": words}]
        return request | {"messages": [*request["messages"], *answer]}
    return None


def request_key(endpoint: Endpoint, request: dict, sample: int) -> str:
    """sha256 over everything that decides a reply."""
    decisive = {"endpoint": endpoint.service, "sample": sample, **request}
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()


def count_tokens(request: dict) -> int:
    """About how many tokens a request has: a third of its characters, more than most tokenizers make of them."""
    said = request.get("messages", []) + request.get("tools", []) + request.get("input", [])
    return len(json.dumps(said, ensure_ascii=False)) // 3 + 1


def find_last_text(request: dict) -> str:
    """The text that a request ends with: of a chat its last message, for embeddings the last of them."""
    return request["input"][-1] if "input" in request else request["messages"][-1]["content"]


def name_limit(request: dict) -> str:
    """The field of a request that bounds its reply, in tokens."""
    return "max_tokens" if "max_tokens" in request else "max_completion_tokens"


def find_cost(endpoint: Endpoint, prompt_tokens: int, completion_tokens: int) -> float:
    """USD; 0 where no price is known."""
    per_prompt, per_reply = endpoint.prices or (0, 0)
    return (prompt_tokens * per_prompt + completion_tokens * per_reply) / 1e6


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
        return EndpointError(f"no answer for model {endpoint.model!r}; its last lines:\n{embedded.last_lines()}")
    if fault.kind == "unreachable":
        return EndpointError(f"{about}: nobody answers there ({detail}); check the address, then run again to go on.")
    if fault.kind == "throttled":
        return EndpointError(
            f"{about}: asks to wait ({detail}); lower max_concurrency or set requests_per_minute in endpoints.yaml, "
            "and run again to go on."
        )
    return CallFailed(fault.kind, detail)
