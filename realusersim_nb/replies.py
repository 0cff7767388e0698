"""What an endpoint said, and files of it: recorded replies travel as ``.jsonl.gz``."""

import gzip
import hashlib
import json
import os
import tempfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

from realusersim_nb import StudyStopped


class CacheError(StudyStopped):
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


class Said(NamedTuple):
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
