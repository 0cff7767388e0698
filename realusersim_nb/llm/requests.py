"""TODO."""

import hashlib
import json
from functools import lru_cache

from pydantic import BaseModel

from realusersim_nb.llm.endpoints import Endpoint, ReplyForm
from realusersim_nb.llm.errors import CallFailed
from realusersim_nb.llm.replies import Reply
from realusersim_nb.prompts.fill import fill_prompt

# --- requests ----------------------------------------------------------------------------------


def make_request(
    endpoint: Endpoint, messages: list[dict], *, temperature: float, max_tokens: int, seed: int
) -> dict:
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


def mend_request(
    request: dict, reply: Reply, failure: CallFailed, schema: type[BaseModel] | None
) -> dict | None:
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
