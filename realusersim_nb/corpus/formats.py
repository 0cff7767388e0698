"""TODO."""

import re
from collections.abc import Callable

from pydantic import ValidationError

from realusersim_nb.records import Conversation, Message

ROLES = {"human": "user", "user": "user"}  # every other speaker of ShareGPT is an assistant


# --- conversations ------------------------------------------------------------------------------

Parse = Callable[[dict], tuple[dict, list]]
LAYOUTS: dict[str, Parse] = {}


def layout(field: str) -> Callable[[Parse], Parse]:
    """Rows with this field are parsed by the function below: it gives what they say of a conversation, and its turns."""

    def register(parse: Parse) -> Parse:
        LAYOUTS[field] = parse
        return parse

    return register


def parse_row(row: dict | str, *, simulated: bool = False) -> Conversation | str:
    """A Conversation from a row of any known layout, or the reason why it cannot be one.

    Of a row that holds a real and a simulated conversation it is the real one, unless ``simulated``.
    """
    if not isinstance(row, dict):
        return row if isinstance(row, str) else "the row is not an object"
    if simulated and "simulated_messages" in row:
        row = {**row, "real_messages": row["simulated_messages"]}
    parse = find_layout(row)
    if parse is None:
        return f"no field {' or '.join(map(repr, LAYOUTS))}"
    try:
        about, turns = parse(row)
        cleaned = ((role, clean_text(text)) for role, text in turns if text)
        messages = [Message(role=role, content=text) for role, text in cleaned if text.strip()]
        return Conversation(messages=messages, **about)
    except (KeyError, TypeError, AttributeError, ValidationError) as error:
        return f"a field is missing or of the wrong type ({type(error).__name__})"


def find_layout(row: dict) -> Parse | None:
    """What reads a row of a known layout."""
    return next((parse for field, parse in LAYOUTS.items() if field in row), None)


@layout("conversation")
def parse_wildchat(row: dict) -> tuple[dict, list]:
    """What a WildChat row says of the conversation, and its turns."""
    conversation_id = str(row.get("conversation_hash") or row["conversation_id"])
    about = {
        "conversation_id": conversation_id,
        "user_id": row.get("hashed_ip") or conversation_id,
        "model": row.get("model"),
        "toxic": bool(row.get("toxic")),
    }
    return about, [(turn["role"], turn["content"]) for turn in row["conversation"]]


@layout("conversations")
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


@layout("messages")
def parse_chat(row: dict) -> tuple[dict, list]:
    """The same for a chat: our transcripts, or anything with roles and contents."""
    conversation_id = (
        "/".join(str(row[name]) for name in ("case_id", "arm", "id") if name in row) or "transcript"
    )
    user_id = row.get("user_id", row.get("task_id", conversation_id))
    return {"conversation_id": conversation_id, "user_id": str(user_id)}, keep_spoken(row["messages"])


@layout("traj")
def parse_taubench(row: dict) -> tuple[dict, list]:
    """The same for a tau-bench trajectory; a task is the user."""
    about = {"conversation_id": f"{row['task_id']}/{row.get('trial', 0)}", "user_id": str(row["task_id"])}
    return about, keep_spoken(row["traj"])


@layout("real_messages")
def parse_pair(row: dict) -> tuple[dict, list]:
    """The same for a real conversation beside a simulated one; without ``user_id`` each is a user of its own."""
    conversation_id = str(row["id"])
    about = {"conversation_id": conversation_id, "user_id": str(row.get("user_id", conversation_id))}
    return about, keep_spoken(row["real_messages"])


END_MARKS = re.compile(r"###(?:STOP|TRANSFER|OUT-OF-SCOPE)###")


def keep_spoken(messages: list[dict]) -> list[tuple]:
    """What user and assistant said, without tool results and the marks by which a simulated user ends a run."""
    return [
        (m["role"], END_MARKS.sub("", m.get("content") or ""))
        for m in messages
        if m["role"] in ("user", "assistant")
    ]


def clean_text(text: str) -> str:
    """The text without NUL bytes and half characters, which no file and no endpoint takes."""
    return (
        text
        if text.isascii() and "\0" not in text
        else text.replace("\0", "").encode("utf-8", "replace").decode()
    )


@layout("original_messages")
def parse_release(row: dict) -> tuple[dict, list]:
    """The same for a case of the released test sets: its original conversation."""
    about = {
        "conversation_id": str(row.get("conversation_hash") or row["test_id"]),
        "user_id": row["user_ip"],
    }
    return about, [(turn["role"], turn["content"]) for turn in row["original_messages"]]
