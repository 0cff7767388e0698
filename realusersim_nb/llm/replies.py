"""What an endpoint said, and files of it: recorded replies travel as ``.jsonl.gz``."""

import base64
import gzip
import hashlib
import json
import os
import tempfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from pydantic import BaseModel, ValidationError

from realusersim_nb.errors import StudyError
from realusersim_nb.llm.errors import CallFailed


class CacheError(StudyError):
    """Kept replies cannot be read or written; the message says which, why and what to do."""


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What an endpoint said to the request of this key; ``tool_calls`` is a JSON list of id, name and arguments."""

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
    """One tool that a model wants called."""

    id: str
    name: str
    arguments: dict


class ToolReply(NamedTuple):
    """A reply of a model that was offered tools: a text, calls, or both."""

    text: str
    calls: list[ToolCall]


def write_replies(path: Path, replies: Iterable[Reply]) -> int:
    """Write replies as gzipped JSON lines and return how many; the same replies give the same bytes.

    ``git config diff.replies.textconv 'gzip -dc'`` makes git show them as text.
    """
    n = 0
    with path.open("wb") as raw, gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as file:
        for reply in sorted(replies, key=lambda reply: reply.key):
            file.write((json.dumps(asdict(reply), ensure_ascii=False) + "\n").encode())
            n += 1
    return n


def read_replies(path: Path) -> list[Reply]:
    """Recorded replies; CacheError naming the first line that is none."""
    found = []
    try:
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            for line in lines:
                found.append(Reply(**json.loads(line)))
    except (OSError, EOFError, ValueError, TypeError) as error:
        raise CacheError(
            f"{path}, line {len(found) + 1}: not a recorded reply ({error}); expected a file of `cache export`."
        ) from error
    return found


def rescue(replies: list[Reply], place: str) -> str:
    """Write replies that a cache did not take to the temporary folder; says where, or why not."""
    try:
        handle, name = tempfile.mkstemp(prefix=name_rescued(place), suffix=".jsonl.gz")
        os.close(handle)
        write_replies(Path(name), replies)
    except OSError as error:
        return f"The {len(replies)} replies that were arriving are lost: {error}."
    return f"The {len(replies)} replies that were arriving are in {name}, from where the next run takes them."


def find_rescued(place: str) -> list[Path]:
    """Files of replies that a cache at this place did not take."""
    return sorted(Path(tempfile.gettempdir()).glob(f"{name_rescued(place)}*.jsonl.gz"))


def name_rescued(place: str) -> str:
    """How the names of such files begin; other caches have other names."""
    full = (
        place
        if "://" in place and not place.startswith("sqlite")
        else str(Path(place.removeprefix("sqlite:///")).absolute())
    )
    return f"realusersim-replies-{hashlib.sha256(full.encode()).hexdigest()[:12]}-"


S = TypeVar("S", bound=BaseModel)


def read_completion(answer: str, *, key: str, model: str, service: str) -> Reply:
    """The reply in an endpoint's answer; CallFailed (``disconnected``) if there is none in it.

    Some gateways answer 200 with a page, with half a body, or with an error in place of choices.
    """
    try:
        body = json.loads(answer)
        choice, usage = body["choices"][0], body.get("usage") or {}
        message = choice.get("message") or {}
        return Reply(
            key=key,
            model=model,
            service=service,
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


def read_embeddings(answer: str, *, key: str, model: str, service: str) -> Reply:
    """The embeddings in an endpoint's answer, float32 as base64 text; CallFailed (``disconnected``) if there are none."""
    try:
        body = json.loads(answer)
        points = [row["embedding"] for row in sorted(body["data"], key=lambda row: row["index"])]
        text = base64.b64encode(np.array(points, dtype="<f4").tobytes()).decode()
        tokens = (body.get("usage") or {}).get("prompt_tokens") or 0
        return Reply(key=key, model=model, service=service, text=text, prompt_tokens=tokens)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CallFailed("disconnected", f"no embeddings in the answer {answer[:200]!r}") from error


# --- replies that cannot be used ---------------------------------------------------------------


def parse_reply(reply: Reply, schema: type[S] | None) -> S | str:
    """The reply as text or as a ``schema``, without the model's thinking; CallFailed says why not.

    JSON may stand in a code fence or in a sentence: what lies between the first and the last
    brace counts.
    """
    text = drop_thinking(reply.text)
    cut = reply.finish_reason == "length"
    if reply.refusal or reply.finish_reason == "content_filter":
        raise CallFailed("refused", (reply.refusal or "content filter")[:300])
    if not text:
        if reply.text.strip() or reply.reasoning.strip():
            raise CallFailed(
                "reasoning", f"only reasoning, no reply{' (cut off at the token limit)' if cut else ''}"
            )
        raise CallFailed("truncated" if cut else "empty", "nothing was said")
    if schema is None:
        return text
    if "{" not in text:
        raise CallFailed("truncated" if cut else "prose", f"the reply is not a {schema.__name__}, but prose")
    try:
        return schema.model_validate_json(text[text.find("{") : text.rfind("}") + 1] or text)
    except ValidationError as error:
        problem = error.errors()[0]
        place = ".".join(str(part) for part in problem["loc"])
        raise CallFailed(
            "truncated" if cut else "invalid",
            f"the reply is not a {schema.__name__}: {f'{place}: ' if place else ''}{problem['msg']}",
        ) from error


def parse_tool_calls(reply: Reply) -> ToolReply:
    """The reply of a model that was offered tools; CallFailed (``invalid``) for a call that cannot be read."""
    if not reply.tool_calls:
        return ToolReply(parse_reply(reply, None), [])
    try:
        calls = [
            ToolCall(
                call["id"], call["function"]["name"], dict(json.loads(call["function"]["arguments"] or "{}"))
            )
            for call in json.loads(reply.tool_calls)
        ]
    except (ValueError, TypeError, KeyError) as error:
        cut = "truncated" if reply.finish_reason == "length" else "invalid"
        raise CallFailed(cut, f"a tool call cannot be read ({error}): {reply.tool_calls[:200]}") from error
    return ToolReply(drop_thinking(reply.text), calls)


def drop_thinking(text: str) -> str:
    """The text after a model's ``<think>`` part; an unclosed one leaves nothing."""
    after = text.rpartition("</think>")[2]
    return after.partition("<think>")[0].strip()
