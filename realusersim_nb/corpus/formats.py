"""Known layouts of rows, each a function named for its source, and the conversation in a row.

A layout is recognised by the field that holds the turns, ``[{role, content, ...}]`` unless its function says
otherwise. A row that cannot be read becomes a reason (str), never an exception.
"""

import re
from collections.abc import Callable

from pydantic import ValidationError

from realusersim_nb.records import Conversation, Message

Parse = Callable[[dict], tuple[dict, list]]
LAYOUTS: dict[str, Parse] = {}
END_MARKS = re.compile(r"###(?:STOP|TRANSFER|OUT-OF-SCOPE)###")


def layout(field: str) -> Callable[[Parse], Parse]:
    """Register a parser of rows with this field, which gives (fields of ``Conversation``, [(role, text)])."""

    def register(parse: Parse) -> Parse:
        LAYOUTS[field] = parse
        return parse

    return register


def find_layout(row: dict) -> Parse | None:
    """What parses a row of a known layout."""
    return next((parse for field, parse in LAYOUTS.items() if field in row), None)


def parse_row(row: dict | str, *, simulated: bool = False) -> Conversation | str:
    """A Conversation from a row of any known layout, or the reason why it cannot be one.

    Of a row that holds a real and a simulated conversation it is the real one, unless ``simulated``.
    """
    if not isinstance(row, dict):
        return row if isinstance(row, str) else "the row is not an object"
    if simulated and "simulated_messages" in row:
        row = {**row, "real_messages": row["simulated_messages"]}
    if (parse := find_layout(row)) is None:
        return f"no field {' or '.join(map(repr, LAYOUTS))}"
    try:
        fields, turns = parse(row)
        cleaned = ((role, clean_text(text)) for role, text in turns if text)
        messages = [Message(role=role, content=text) for role, text in cleaned if text.strip()]
        return Conversation(messages=messages, **fields)
    except (KeyError, TypeError, AttributeError, ValidationError) as error:
        return f"a field is missing or of the wrong type ({type(error).__name__})"


def clean_text(text: str) -> str:
    """The text without NUL bytes and half characters, which no file and no endpoint takes."""
    is_clean = text.isascii() and "\0" not in text
    return text if is_clean else text.replace("\0", "").encode("utf-8", "replace").decode()


def list_turns(messages: list[dict]) -> list[tuple]:
    """(role, text) of both speakers, without tool results and the marks by which a simulated user ends."""
    spoken = [message for message in messages if message["role"] in ("user", "assistant")]
    return [(message["role"], END_MARKS.sub("", message.get("content") or "")) for message in spoken]


@layout("conversation")
def parse_wildchat(row: dict) -> tuple[dict, list]:
    """WildChat: ``conversation_hash`` or ``conversation_id``; perhaps ``hashed_ip``, ``model``, ``toxic``."""
    conversation_id = str(row.get("conversation_hash") or row["conversation_id"])
    user_id = row.get("hashed_ip") or conversation_id
    fields = {"conversation_id": conversation_id, "user_id": user_id, "model": row.get("model")}
    turns = [(turn["role"], turn["content"]) for turn in row["conversation"]]
    return fields | {"toxic": bool(row.get("toxic"))}, turns


@layout("conversations")
def parse_sharegpt(row: dict) -> tuple[dict, list]:
    """ShareGPT: ``[{from, value}]``; ``id: "<conversation>_<number>"``, where a conversation is a user."""
    conversation_id = str(row["id"])
    user_id, _, number = conversation_id.rpartition("_")
    fields = {"conversation_id": conversation_id, "user_id": user_id or conversation_id}
    roles = {"human": "user", "user": "user"}
    turns = [(roles.get(turn["from"], "assistant"), turn["value"]) for turn in row["conversations"]]
    return fields | {"continues": bool(user_id) and number != "0"}, turns


@layout("messages")
def parse_chat(row: dict) -> tuple[dict, list]:
    """A chat: our transcripts.jsonl, a run of tau2-bench, or anything with roles and contents."""
    names = [str(row[name]) for name in ("case_id", "arm", "id") if row.get(name) not in (None, "")]
    conversation_id = "/".join(names) or "transcript"
    user_id = str(row.get("user_id", row.get("task_id", conversation_id)))
    return {"conversation_id": conversation_id, "user_id": user_id}, list_turns(row["messages"])


@layout("traj")
def parse_taubench(row: dict) -> tuple[dict, list]:
    """A trajectory of tau-bench with ``task_id``; a task is the user."""
    conversation_id = f"{row['task_id']}/{row.get('trial', 0)}"
    return {"conversation_id": conversation_id, "user_id": str(row["task_id"])}, list_turns(row["traj"])


@layout("real_messages")
def parse_pair(row: dict) -> tuple[dict, list]:
    """A real conversation beside one in ``simulated_messages`` (released simulators of arXiv 2605.07847)."""
    user_id = str(row.get("user_id", row["id"]))
    return {"conversation_id": str(row["id"]), "user_id": user_id}, list_turns(row["real_messages"])


@layout("original_messages")
def parse_release(row: dict) -> tuple[dict, list]:
    """A case of RealUserSim's released test sets, with ``user_ip``: its original conversation."""
    conversation_id = str(row.get("conversation_hash") or row["test_id"])
    turns = [(turn["role"], turn["content"]) for turn in row["original_messages"]]
    return {"conversation_id": conversation_id, "user_id": row["user_ip"]}, turns
