"""A reply: its texts made fit to keep, parsed as what was asked for, and recorded as ``.jsonl.gz``."""

import base64
import gzip
import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from pydantic import BaseModel, ValidationError
from pydantic_core import from_json

from realusersim_nb.errors import StudyError
from realusersim_nb.llm.errors import CallFailed

S, T = TypeVar("S", bound=BaseModel), TypeVar("T")
UNKEPT = re.compile("[\0\ud800-\udfff]")
FINISHES = {
    "length": "max_tokens|max_output_tokens|max_length|model_length",
    "content_filter": "content.filter|safety|prohibited_content|sensitive|recitation|blocklist",
}
THINK = "(?:seed:)?(?:think|thinking|thought|reasoning)"
THOUGHT = re.compile(rf"<{THINK}>|\[THINK\]|◁think▷|<\|begin_of_thought\|>|<\|channel>", re.IGNORECASE)
CLOSED_THOUGHT = re.compile(
    rf"</{THINK}>|\[/THINK\]|◁/think▷|<\|end_of_thought\|>|<channel\|>", re.IGNORECASE
)
UNTAGGED = re.compile(
    r"\W{0,6}(?:here(?:'s| is) (?:a|my|the) )?(?:thinking|thought|reasoning) process\b"
    r"|\W{0,6}(?:thinking|reasoning|internal monologue)\W{0,4}:"
    r"|(?:okay|ok|alright|hmm|so)\b\W{1,5}(?:so\W{1,3})?the user\b",
    re.IGNORECASE,
)
"""How reasoning begins that no mark sets apart from the reply: nothing after it is known to be one."""
CHANNEL = re.compile(r"<\|channel\|>")
TURN_MARK = re.compile(r"<\|[a-z_]+\|>")
WRITTEN_CALL = re.compile(r"<tool_call>|<function=|\[TOOL_CALLS\]|<\|python_tag\|>|<\|tool_calls?")
DECODER = json.JSONDecoder()


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
                replies.append(Reply(**clean(json.loads(line))))
    except (OSError, EOFError, ValueError, TypeError) as error:
        line = f"{path}, line {len(replies) + 1}"
        raise CacheError(
            f"{line}: not a recorded reply ({error}); expected a file of `cache export`."
        ) from error
    return replies


def read_text(value: object) -> str:
    """What should be a text as one: parts are joined without thoughts, other values written as JSON."""
    if isinstance(value, list) and all(isinstance(piece, str | dict) for piece in value):
        return "".join(read_text(piece) for piece in value if not is_thought(piece))
    if isinstance(value, dict) and (inner := value.get("text") or value.get("content")):
        return read_text(inner)
    if isinstance(value, dict) and "text" in value:
        return ""
    text = value if isinstance(value, str) else "" if value is None else json.dumps(value)
    return clean(text)


def is_thought(piece: str | dict) -> bool:
    """Whether a part of a reply is reasoning."""
    return isinstance(piece, dict) and bool(re.search("think|thought|reason", str(piece.get("type"))))


def read_word(value: object) -> str:
    """Why a reply ended, in the words of OpenAI where others use their own."""
    word = clean(value).lower()[:40] if isinstance(value, str) else ""
    return next((usual for usual, pattern in FINISHES.items() if re.fullmatch(pattern, word)), word)


def clean(value: T) -> T:
    """Texts, also inside lists and objects, without NUL and halves of characters: no database keeps those."""
    if isinstance(value, list):
        return [clean(item) for item in value]
    if isinstance(value, dict):
        return {clean(name): clean(item) for name, item in value.items()}
    if isinstance(value, str) and UNKEPT.search(value):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace").replace("\0", "")
    return value


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
    limit = ", cut off at the token limit: set reasoning_tokens in endpoints.yaml" if cut else ""
    if reply.text.strip() or reply.reasoning.strip():
        raise CallFailed("reasoning", f"only reasoning, no reply{limit}")
    raise CallFailed("truncated" if cut else "empty", f"the reply has no text{limit}")


def parse_json(reply: Reply, schema: type[S]) -> S:
    """The reply as ``schema``, also from a code fence or a sentence; CallFailed says why it is none."""
    text, cut = parse_text(reply), reply.finish_reason == "length"
    if "{" not in text:
        raise CallFailed("truncated" if cut else "prose", f"the reply is not a {schema.__name__}, but prose")
    try:
        return schema.model_validate_json(find_object(text))
    except ValidationError as error:
        problem = error.errors()[0]
        place = ".".join(map(str, problem["loc"]))
        detail = f"the reply is not a {schema.__name__}: {f'{place}: ' if place else ''}{problem['msg']}"
        raise CallFailed("truncated" if cut else "invalid", detail) from error


def find_object(text: str) -> str:
    """The first whole JSON object in a text; without one, all from its first brace to its last."""
    for start in [brace.start() for brace in re.finditer("{", text)][:50]:
        try:
            return text[start : DECODER.raw_decode(text, start)[1]]
        except (ValueError, RecursionError):
            continue
    return text[text.find("{") : text.rfind("}") + 1] or text


def parse_tool_calls(reply: Reply) -> ToolReply:
    """The reply of a model that was offered tools; CallFailed for a call that cannot be read."""
    text = drop_reasoning(reply.text)
    written = reply.tool_calls or (text if WRITTEN_CALL.search(text) else "")
    if not written:
        return ToolReply(parse_text(reply), [])
    try:
        if reply.tool_calls:
            calls = [read_call(n, call, call["function"]) for n, call in enumerate(json.loads(written))]
        else:  # each between marks in the text
            objects = map(json.loads, re.findall("<tool_call>(.*?)</tool_call>", text, re.DOTALL))
            calls, text = [read_call(n, {}, call) for n, call in enumerate(objects)], ""
        if not calls:
            raise ValueError("none between marks")
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        kind = "truncated" if reply.finish_reason == "length" else "invalid"
        raise CallFailed(kind, f"a tool call cannot be read ({error}): {written[:200]}") from error
    return ToolReply(text, calls)


def read_call(number: int, call: dict, function: dict) -> ToolCall:
    """One tool call; its arguments are JSON, or an object already."""
    arguments = function["arguments"] or {}
    arguments = json.loads(arguments) if isinstance(arguments, str) else arguments
    return ToolCall(str(call.get("id") or f"call_{number}"), str(function["name"]), dict(arguments))


def drop_reasoning(text: str) -> str:
    """The text after a model's reasoning, by the marks around it; one that is not closed, or that begins
    without a mark ("Thinking Process:"), leaves nothing.
    """
    if CHANNEL.search(text):
        before, _, text = text.rpartition("<|message|>")
        if not before.rstrip().endswith("final"):
            return ""
        return re.split(r"<\|(?:end|return|start)\|>", text)[0].strip()
    text = THOUGHT.split(CLOSED_THOUGHT.split(text)[-1])[0].strip()
    return "" if UNTAGGED.match(text) else text


def has_reasoning_marks(text: str) -> bool:
    """Whether a text holds a mark that models set around their reasoning, or between turns."""
    return any(pattern.search(text) for pattern in (THOUGHT, CLOSED_THOUGHT, TURN_MARK))


def read_fields(text: str) -> dict[str, str]:
    """The text fields of a JSON reply that is still coming, the last one as far as it has come."""
    try:
        fields = from_json(text, allow_partial="trailing-strings")
    except (TypeError, ValueError):  # TypeError: it has half a character
        return {}
    return {k: v for k, v in fields.items() if isinstance(v, str)} if isinstance(fields, dict) else {}
