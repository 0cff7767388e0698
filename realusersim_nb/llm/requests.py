"""Requests in OpenAI's form: made, held to a schema, repaired after a bad reply, and their cache keys."""

import hashlib
import json
from functools import lru_cache

from pydantic import BaseModel

from realusersim_nb.llm.endpoints import Endpoint, EndpointError, ReplyForm
from realusersim_nb.llm.errors import CallFailed
from realusersim_nb.llm.replies import Reply
from realusersim_nb.prompts.fill import fill_prompt

NO_REASONING = {"chat_template_kwargs": {"enable_thinking": False}, "reasoning_effort": "none"}
"""What turns reasoning off: in vLLM, SGLang and llama.cpp, and in OpenAI's form. An endpoint that refuses a
field of it gets the request without."""


def make_request(
    endpoint: Endpoint,
    messages: list[dict],
    *,
    temperature: float = 0.7,
    max_tokens: int = 400,
    seed: int = 0,
) -> dict:
    """The body of a request, with what this endpoint needs and without what it refuses."""
    request = {"model": endpoint.model, "messages": messages, "temperature": temperature, "seed": seed}
    request[endpoint.max_tokens_name] = max_tokens + endpoint.reasoning_tokens
    return {name: value for name, value in request.items() if name not in endpoint.omit} | endpoint.options


def make_scoring_request(endpoint: Endpoint, text: str) -> dict:
    """The body of a request for the log-probabilities of a text's tokens, in the form that vLLM takes."""
    request = {"model": endpoint.model, "prompt": text, "echo": True, "logprobs": 1, "max_tokens": 0}
    return request | endpoint.options


@lru_cache(maxsize=64)
def describe_schema(schema: type[BaseModel]) -> dict:
    """The JSON schema of a form; cached, since pydantic makes it anew each time."""
    return schema.model_json_schema()


def add_schema(request: dict, schema: type[BaseModel], form: ReplyForm) -> dict:
    """The request with the schema that its reply must fit: as a field, or (JSON mode, text) in the prompt."""
    described = describe_schema(schema)
    if form == "json_schema":
        json_schema = {"name": schema.__name__, "schema": described}
        return request | {"response_format": {"type": form, "json_schema": json_schema}}
    request = request | {"messages": name_schema(request["messages"], described)}
    return request | {"response_format": {"type": form}} if form == "json_object" else request


def name_schema(messages: list[dict], described: dict) -> list[dict]:
    """The messages with a JSON schema in words at the end of the last one."""
    *before, last = messages
    words = fill_prompt("json_form", schema=json.dumps(described))
    return [*before, last | {"content": f"{last['content']}\n\n{words}"}]


def repair_request(
    request: dict, reply: Reply, failure: CallFailed, schema: type[BaseModel] | None
) -> dict | None:
    """The request to make after an unusable reply; None where another would not help.

    After a reply that was cut off, twice the tokens; after one that is only reasoning, once more with
    reasoning off (``NO_REASONING``); after one that does not fit ``schema`` (if given), the reply and what is
    wrong with it; after an empty one or an unreadable tool call, another seed. A refusal is final.
    """
    if failure.kind == "reasoning":
        return None if NO_REASONING.items() <= request.items() else request | NO_REASONING
    if failure.kind == "truncated":
        name = "max_tokens" if "max_tokens" in request else "max_completion_tokens"
        return request | {name: 2 * request[name]}
    if failure.kind == "empty" or (failure.kind == "invalid" and "tools" in request):
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
    """About how many tokens a request has: a third of the characters of its texts."""
    return len(join_texts(request)) // 3 + 1


def count_most_tokens(request: dict) -> int:
    """The most tokens a request can have: the bytes of its texts, names and marks between them included.

    Each token of a tokenizer over bytes (all common ones) stands for one byte at least.
    """
    return len(join_texts(request).encode("utf-8", "replace"))


def join_texts(request: dict) -> str:
    """All texts of a request as JSON."""
    texts = request.get("messages", []) + request.get("tools", []) + request.get("input", [])
    return json.dumps(texts or request.get("prompt"), ensure_ascii=False)


def explain_missing(request: dict, key: str) -> EndpointError:
    """The error of a replay without a recorded reply to this request."""
    text = request.get("prompt") or (request.get("input") or [request["messages"][-1]["content"]])[-1]
    return EndpointError(
        f"replay: no recorded reply of model {request['model']!r} to the prompt that ends {text[-80:]!r} "
        f"(call {key[:12]}); run once with llm_mode live or record."
    )
