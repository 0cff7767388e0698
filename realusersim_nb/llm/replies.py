"""An endpoint's reply: read from its answer, parsed as what was asked for, and recorded as ``.jsonl.gz``."""

import base64
import gzip
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from pydantic import BaseModel, ValidationError

from realusersim_nb.errors import StudyError
from realusersim_nb.llm.errors import CallFailed

S = TypeVar("S", bound=BaseModel)


class CacheError(StudyError):
    """Cached or recorded replies that cannot be read or written: which, why, and what to do."""


@dataclass(frozen=True, kw_only=True)
class Reply:
    """The reply to the request of this key; ``tool_calls`` is JSON as the endpoint sent it."""

    key: str
    model: str
    text: str
    service: str = ""
    reasoning: str = ""
    refusal: str = ""
    tool_calls: str = ""
    finish_reason: str = "stop"
    prompt_tokens: int = 0
    completion_tokens: int = 0


class ToolCall(NamedTuple):
    """One tool that a model calls."""

    id: str
    name: str
    arguments: dict


class ToolReply(NamedTuple):
    """A reply of a model that was offered tools: a text, calls, or both."""

    text: str
    calls: list[ToolCall]


def write_replies(path: Path, replies: Iterable[Reply]) -> int:
    """Write replies as gzipped JSON lines and return how many; the same replies give the same bytes."""
    rows = sorted(replies, key=lambda reply: reply.key)
    with path.open("wb") as raw, gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as file:
        for reply in rows:
            file.write((json.dumps(asdict(reply), ensure_ascii=False) + "\n").encode())
    return len(rows)


def read_replies(path: Path) -> list[Reply]:
    """Recorded replies; CacheError names the first line that is none."""
    replies = []
    try:
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            for line in lines:
                replies.append(Reply(**json.loads(line)))
    except (OSError, EOFError, ValueError, TypeError) as error:
        line = f"{path}, line {len(replies) + 1}"
        raise CacheError(
            f"{line}: not a recorded reply ({error}); expected a file of `cache export`."
        ) from error
    return replies


def read_completion(answer: str, about: dict[str, str]) -> Reply:
    """The reply in an endpoint's answer (``about``: key, model, service); CallFailed if there is none.

    Some gateways answer 200 with a page, with half a body, or with an error in place of choices.
    """
    try:
        body = json.loads(answer)
        choice, usage = body["choices"][0], body.get("usage") or {}
        message = choice.get("message") or {}
        return Reply(
            **about,
            text=message.get("content") or "",
            reasoning=message.get("reasoning_content") or message.get("reasoning") or "",
            refusal=message.get("refusal") or "",
            tool_calls=json.dumps(message["tool_calls"]) if message.get("tool_calls") else "",
            finish_reason=choice.get("finish_reason") or "",
            prompt_tokens=usage.get("prompt_tokens") or 0,
            completion_tokens=usage.get("completion_tokens") or 0,
        )
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise CallFailed("disconnected", f"no completion in the answer {answer[:200]!r}") from error


def read_embeddings(answer: str, about: dict[str, str], n: int) -> Reply:
    """The embeddings of ``n`` texts in an endpoint's answer, float32 as base64 text; CallFailed if there are
    none, more or fewer, or not all finite and of one width.
    """
    try:
        body = json.loads(answer)
        rows = sorted(enumerate(body["data"]), key=lambda row: int(row[1].get("index", row[0])))
        vectors = [read_vector(row["embedding"]) for _, row in rows]
        tokens = (body.get("usage") or {}).get("prompt_tokens") or 0
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CallFailed("disconnected", f"no embeddings in the answer {answer[:200]!r}") from error
    if len(vectors) != n:
        raise CallFailed("invalid", f"{len(vectors)} embeddings came for {n} texts")
    for number, vector in enumerate(vectors, 1):
        if vector.shape != (vectors[0].size,) or not vector.size or not np.isfinite(vector).all():
            raise CallFailed("invalid", f"embedding {number} of {n} is not {vectors[0].size} finite numbers")
    text = base64.b64encode(np.array(vectors).tobytes()).decode()
    return Reply(**about, text=text, prompt_tokens=tokens)


def read_vector(embedding: list[float] | str) -> np.ndarray:
    """One embedding as float32; some endpoints send base64 though numbers were asked for."""
    if isinstance(embedding, str):
        return np.frombuffer(base64.b64decode(embedding), "<f4")
    with np.errstate(over="ignore"):  # what is too large becomes infinite, which is refused
        return np.array(embedding, dtype="<f4")


def parse_embeddings(reply: Reply, n: int, width: int | None) -> np.ndarray:
    """The embeddings of ``n`` texts, a row each; CallFailed if those of others are known to have another
    ``width``.
    """
    values = np.frombuffer(base64.b64decode(reply.text), "<f4")
    if values.size % n or width not in (None, values.size // n):
        raise CallFailed(
            "invalid",
            f"{values.size / n:g} numbers a text, where others have {width}; if these are of an earlier run, "
            f"`cache prune --model {reply.model}` removes them",
        )
    return values.reshape(n, -1)


def read_scores(answer: str, about: dict[str, str]) -> Reply:
    """The log-probabilities in an endpoint's answer, and where each token begins, as JSON text; CallFailed
    if it has none of the prompt.
    """
    try:
        body = json.loads(answer)
        described, n = body["choices"][0]["logprobs"], body["usage"]["prompt_tokens"]
        tokens, places, scores = (described[name] for name in ("tokens", "text_offset", "token_logprobs"))
        if len(scores) < n or not all(isinstance(score, float | int) for score in scores[1:n]):
            raise ValueError("fewer than the prompt has tokens")
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise CallFailed("rejected", f"none in the answer {answer[:200]!r}", status=200) from error
    shift = len(tokens[0]) if body["choices"][0]["text"][: len(tokens[0])] != tokens[0] else 0
    text = json.dumps({"places": [place - shift for place in places[1:n]], "scores": scores[1:n]})
    return Reply(**about, text=text, prompt_tokens=n, completion_tokens=len(scores) - n)


def parse_scores(reply: Reply, start: int) -> list[float]:
    """The log-probabilities of the tokens that begin at character ``start`` or later."""
    columns = json.loads(reply.text)
    return [s for place, s in zip(columns["places"], columns["scores"], strict=True) if place >= start]


def parse_text(reply: Reply) -> str:
    """The reply's text without the model's reasoning; CallFailed says why there is none."""
    if reply.refusal or reply.finish_reason == "content_filter":
        raise CallFailed("refused", (reply.refusal or "content filter")[:300])
    if text := drop_reasoning(reply.text):
        return text
    cut = reply.finish_reason == "length"
    if reply.text.strip() or reply.reasoning.strip():
        limit = " (cut off at the token limit)" if cut else ""
        raise CallFailed("reasoning", f"only reasoning, no reply{limit}")
    raise CallFailed("truncated" if cut else "empty", "the reply has no text")


def parse_json(reply: Reply, schema: type[S]) -> S:
    """The reply as ``schema``, also from a code fence or a sentence; CallFailed says why it is none."""
    text, cut = parse_text(reply), reply.finish_reason == "length"
    if "{" not in text:
        raise CallFailed("truncated" if cut else "prose", f"the reply is not a {schema.__name__}, but prose")
    try:
        return schema.model_validate_json(text[text.find("{") : text.rfind("}") + 1] or text)
    except ValidationError as error:
        problem = error.errors()[0]
        place = ".".join(map(str, problem["loc"]))
        detail = f"the reply is not a {schema.__name__}: {f'{place}: ' if place else ''}{problem['msg']}"
        raise CallFailed("truncated" if cut else "invalid", detail) from error


def parse_tool_calls(reply: Reply) -> ToolReply:
    """The reply of a model that was offered tools; CallFailed for a call that cannot be read."""
    if not reply.tool_calls:
        return ToolReply(parse_text(reply), [])
    try:
        calls = [
            ToolCall(call["id"], f["name"], dict(json.loads(f["arguments"] or "{}")))
            for call in json.loads(reply.tool_calls)
            for f in [call["function"]]
        ]
    except (ValueError, TypeError, KeyError) as error:
        kind = "truncated" if reply.finish_reason == "length" else "invalid"
        raise CallFailed(kind, f"a tool call cannot be read ({error}): {reply.tool_calls[:200]}") from error
    return ToolReply(drop_reasoning(reply.text), calls)


def drop_reasoning(text: str) -> str:
    """The text after a model's ``<think>`` section; an unclosed one leaves nothing."""
    return text.rpartition("</think>")[2].partition("<think>")[0].strip()
