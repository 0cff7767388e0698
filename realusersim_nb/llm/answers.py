"""An endpoint's answer read as a reply, as embeddings, or as the failure that it is."""

import base64
import json
from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from realusersim_nb.llm.errors import CallFailed, read_inner_error
from realusersim_nb.llm.replies import Reply, clean, is_thought, read_text, read_word

MOST_TOKENS = 10_000_000  # of one call; a count above it is not true


def read_body(answer: str) -> dict:
    """An endpoint's answer as one object, also from events; CallFailed for an error or a page in its place.

    Some gateways answer 200 with a page, with half a body, or with an error in place of a reply.
    """
    text = answer.lstrip("\ufeff \t\r\n")
    if is_stream(text):
        return Events(text.splitlines()).join()
    try:
        body = json.loads(text)
    except (ValueError, RecursionError) as error:
        page = "address" if text.startswith("<") else ""
        raise CallFailed("disconnected", f"no reply in the answer {text[:2000]!r}", concern=page) from error
    body = body[0] if isinstance(body, list) and body else body
    if not isinstance(body, dict):
        raise CallFailed("disconnected", f"no reply in the answer {text[:2000]!r}")
    failed = body.get("error") or body.get("object") == "error" or body.get("detail")
    if failed and not (body.get("choices") or body.get("data")):
        raise read_inner_error(body)
    return body


def is_stream(answer: str) -> bool:
    """Whether an answer came as events."""
    return answer.lstrip().startswith(("data:", "event:", ":"))


def read_completion(answer: str, about: dict[str, str], prompt_tokens: int = 0) -> Reply:
    """The reply in an endpoint's answer (``about``: key, model, service); CallFailed if there is none.

    Whatever an endpoint sends becomes text, numbers and a word. Where it does not say how many tokens there
    were, they are estimated, with ``prompt_tokens`` for the prompt.
    """
    body = read_body(answer)
    try:
        choice = body["choices"][0]
        message = choice.get("message") or {}
        content, thoughts = message.get("content"), message.get("reasoning_content")
        reply = Reply(
            **about,
            text=read_text(content),
            reasoning=read_text(thoughts or message.get("reasoning") or pick_thoughts(content)),
            refusal=read_text(message.get("refusal")),
            tool_calls=json.dumps(clean(message["tool_calls"])) if message.get("tool_calls") else "",
            finish_reason=read_word(choice.get("finish_reason")),
        )
    except (LookupError, TypeError, AttributeError, RecursionError) as error:
        raise CallFailed("disconnected", f"no reply in the answer {answer[:2000]!r}") from error
    if choice.get("error") or reply.finish_reason == "error":
        raise read_inner_error(choice.get("error") or "the model ended with an error")
    counts = [read_count(body, name) for name in ("prompt_tokens", "completion_tokens")]
    written = len(reply.text + reply.reasoning + reply.tool_calls) // 3 + 1
    return replace(reply, prompt_tokens=counts[0] or prompt_tokens, completion_tokens=counts[1] or written)


def tells_usage(answer: str) -> bool:
    """Whether an answer says how many tokens there were."""
    body = read_body(answer)
    return bool(read_count(body, "prompt_tokens") and read_count(body, "completion_tokens"))


def read_count(body: dict, name: str) -> int | None:
    """So many tokens by an answer's ``usage``; None where it has no number that can be true."""
    usage = body.get("usage")
    count = usage.get(name) if isinstance(usage, dict) else None
    try:
        number = int(float(count))
    except (TypeError, ValueError, OverflowError):
        return None
    return number if 0 <= number <= MOST_TOKENS else None


def pick_thoughts(content: object) -> str:
    """The parts of a reply that are reasoning, as JSON; "" where there are none."""
    thoughts = [piece for piece in content if is_thought(piece)] if isinstance(content, list) else []
    return json.dumps(thoughts) if thoughts else ""


class Events:
    """A streamed completion, line by line; lines that say nothing, or nothing readable, are left out."""

    def __init__(self, lines: Iterable[str] = ()):
        self.message: dict[str, str] = {"content": ""}
        self.finish_reason = self.usage = self.error = None
        self.ended = False
        for line in lines:
            self.take(line)

    def take(self, line: str) -> bool:
        """Read one line; returns whether it brought text of the reply."""
        name, _, value = (text.strip() for text in line.partition(":"))
        if name == "event" and value == "error":
            self.error = "the stream says that there is an error"
        if name != "data" or not value:
            return False
        self.ended = self.ended or value == "[DONE]"
        try:
            event = json.loads(value)
        except (ValueError, RecursionError):
            self.error = value if self.error else None
            return False
        return self._take(event) if isinstance(event, dict) else False

    def _take(self, event: dict) -> bool:
        if self.error or event.get("error"):
            self.error = event
        self.usage = event.get("usage") or self.usage
        choices = event.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices else {}
        choice = choice if isinstance(choice, dict) else {}
        self.error = self.error or choice.get("error")
        self.finish_reason = choice.get("finish_reason") or self.finish_reason
        delta = choice.get("delta")
        texts = {name: read_text(v) for name, v in delta.items()} if isinstance(delta, dict) else {}
        for name, text in texts.items():
            if name not in ("role", "tool_calls"):
                self.message[name] = self.message.get(name, "") + text
        return bool(texts.get("content"))

    def join(self) -> dict:
        """The completion as if it had come in one piece; CallFailed if it broke off or holds an error."""
        if self.error:
            raise read_inner_error(self.error)
        if not self.ended and not self.finish_reason:
            raise CallFailed("disconnected", "no reply: the stream broke off")
        choice = {"message": self.message, "finish_reason": self.finish_reason or "stop"}
        return {"choices": [choice], "usage": self.usage}


def read_embeddings(answer: str, about: dict[str, str], n: int, prompt_tokens: int = 0) -> Reply:
    """The embeddings of ``n`` texts in an endpoint's answer, float32 as base64 text; CallFailed if there are
    none, more or fewer, or not all finite and of one width.
    """
    body = read_body(answer)
    try:
        rows = sorted(enumerate(body["data"]), key=lambda row: find_place(*row))
        vectors = [read_vector(row["embedding"]) for _, row in rows]
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError) as error:
        raise CallFailed("disconnected", f"no embeddings in the answer {answer[:2000]!r}") from error
    if len(vectors) != n:
        raise CallFailed("invalid", f"{len(vectors)} embeddings came for {n} texts")
    for number, vector in enumerate(vectors, 1):
        if vector.shape != (vectors[0].size,) or not vector.size or not np.isfinite(vector).all():
            raise CallFailed("invalid", f"embedding {number} of {n} is not {vectors[0].size} finite numbers")
    text = base64.b64encode(np.array(vectors).tobytes()).decode()
    return Reply(**about, text=text, prompt_tokens=read_count(body, "prompt_tokens") or prompt_tokens)


def find_place(place: int, row: dict) -> int:
    """The place of an embedding: its index, as text or as a number, else that in the list."""
    return place if row.get("index") is None else int(row["index"])


def read_vector(embedding: list[float] | str) -> np.ndarray:
    """One embedding as float32; some endpoints send base64 though numbers were asked for."""
    if isinstance(embedding, str):
        return np.frombuffer(base64.b64decode(embedding), "<f4")
    with np.errstate(over="ignore"):  # what is too large becomes infinite, which is refused
        return np.array(embedding, dtype="<f4")


def read_scores(answer: str, about: dict[str, str]) -> Reply:
    """The log-probabilities in an endpoint's answer, and where each token begins, as JSON text; CallFailed
    if it has none of the prompt.
    """
    body = read_body(answer)
    try:
        [choice] = body["choices"]
        tokens, places, scores = (choice["logprobs"][n] for n in ("tokens", "text_offset", "token_logprobs"))
        n = read_count(body, "prompt_tokens")
        if len(scores) < n or not all(isinstance(score, float | int) for score in scores[1:n]):
            raise ValueError("fewer than the prompt has tokens")
        shift = len(tokens[0]) if choice["text"][: len(tokens[0])] != tokens[0] else 0
        text = json.dumps({"places": [place - shift for place in places[1:n]], "scores": scores[1:n]})
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise CallFailed("rejected", f"none in the answer {answer[:200]!r}", status=200) from error
    return Reply(**about, text=text, prompt_tokens=n, completion_tokens=len(scores) - n)
