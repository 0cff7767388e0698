"""Known layouts of rows, each a function named for its source, and the conversation in a row.

A layout is recognised by the field that holds the turns, ``[{role, content, ...}]`` unless its function says
otherwise. A row that cannot be read becomes a reason (str), never an exception. A row that names no user is a
user of its own; a user who is named is the same person in all files of a corpus, a conversation is not.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import NamedTuple

from pydantic import ValidationError

from realusersim_nb.records import Conversation, Message

Turn = tuple[str, object]  # the role, and the content as the source has it
Parse = Callable[[dict], tuple[dict, list[Turn]]]
LAYOUTS: dict[str, Parse] = {}
END_MARKS = re.compile(r"###(?:STOP|TRANSFER|OUT-OF-SCOPE)###")
NOBODY = frozenset(["", "none", "null", "nan", "n/a", "<na>", "nat"])  # texts for a value that is missing
NEVER = NOBODY | {"false", "0", "0.0", "no", "n", "f"}  # texts for a flag that is not set
SILENT = frozenset(  # roles of messages that neither the user nor the assistant wrote for the other
    ["system", "developer", "tool", "tool_call", "function", "function_call", "observation"]
)
SHAREGPT_ID = re.compile(r"([A-Za-z0-9]{7})_(\d+)")
PLACE, NOTES = "\0place", "\0notes"  # keys of a row beside those of its source


class Place(NamedTuple):
    """Where a row was read: its ``file`` if its corpus has several (else ""), and a name of its ``row``."""

    file: str
    row: str


def layout(field: str) -> Callable[[Parse], Parse]:
    """Register a parser of rows with this field, which gives (fields of ``Conversation``, turns)."""

    def register(parse: Parse) -> Parse:
        LAYOUTS[field] = parse
        return parse

    return register


def find_layout(row: dict) -> Parse | None:
    """What parses a row of a known layout."""
    return next((parse for field, parse in LAYOUTS.items() if field in row), None)


def parse_row(
    row: dict | str, *, simulated: bool = False, notes: Counter | None = None
) -> Conversation | str:
    """A Conversation from a row of any known layout, or the reason why it cannot be one.

    Of a row that holds a real and a simulated conversation it is the real one, unless ``simulated``. What
    a row lacks and what is left out of it is counted in ``notes``.
    """
    if not isinstance(row, dict):
        return row if isinstance(row, str) else "the row is not an object"
    if simulated and "simulated_messages" in row:
        row = {**row, "real_messages": row["simulated_messages"]}
    if (parse := find_layout(row)) is None:
        return f"no field {' or '.join(map(repr, LAYOUTS))}"
    notes = Counter() if notes is None else notes
    notes.update(row.get(NOTES, ()))
    try:
        fields, turns = parse(row)
        messages = list(read_messages(turns, notes))
        return Conversation(messages=messages, **fields | name_conversation(fields, row, notes))
    except (KeyError, TypeError, AttributeError, ValidationError) as error:
        return f"a field is missing or of the wrong type ({type(error).__name__})"


def name_conversation(fields: dict, row: dict, notes: Counter) -> dict:
    """The ids of a conversation: with its file if there are several, and of a user of its own if need be."""
    place, name = row.get(PLACE, Place("", "row")), read_name(fields["conversation_id"])
    conversation_id = "/".join(filter(None, (place.file, name))) if name else place.row
    if (user_id := read_name(fields.get("user_id"))) is None:
        notes["no user is named, so the conversation has one of its own"] += 1
    return {"conversation_id": conversation_id, "user_id": user_id or conversation_id}


def read_name(value: object) -> str | None:
    """An id as text, and None if it is that of nobody (null, NaN, empty)."""
    name = "" if isinstance(value, list | dict) else str(value).strip()
    return None if name.lower() in NOBODY else clean_text(name)


def pick_name(row: dict, *fields: str) -> str | None:
    """The first of these fields that holds an id."""
    return next((name for field in fields if (name := read_name(row.get(field)))), None)


def read_messages(turns: list[Turn], notes: Counter) -> Iterator[Message]:
    """The messages that have a text, of both sides."""
    for role, content in turns:
        if role in SILENT:
            notes[f"a message of role {role!r} left out"] += 1
            continue
        text = content if isinstance(content, str) else read_content(content, notes)
        if text and (text := clean_text(text)).strip():
            yield Message(role=role, content=text)


def read_content(content: object, notes: Counter) -> str:
    """The text of a message's content; of a list of parts the texts, a line each."""
    if isinstance(content, dict):
        content = content.get("parts", [content])
    if isinstance(content, list):
        texts = [read_piece(piece) for piece in content]
        notes["a part of a message that is no text left out"] += texts.count(None)
        return "\n".join(filter(None, texts))
    return "" if content is None or content != content else str(content)  # NaN is not itself


def read_piece(piece: object) -> str | None:
    """The text of a part of a message, None if it is something else (an image, a tool's result)."""
    if isinstance(piece, dict):
        is_text = piece.get("type", "text") in ("text", "input_text", "output_text")
        piece = piece.get("text", piece.get("value")) if is_text else None
        piece = piece.get("value") if isinstance(piece, dict) else piece
    return piece if isinstance(piece, str) else None


def clean_text(text: str) -> str:
    """The text without NUL bytes and half characters, which no file and no endpoint takes."""
    is_clean = text.isascii() and "\0" not in text
    return text if is_clean else text.replace("\0", "").encode("utf-8", "replace").decode()


def list_turns(messages: list[dict]) -> list[Turn]:
    """The turns of a chat, without the marks by which a simulated user ends."""
    contents = [message.get("content") for message in messages]
    contents = [END_MARKS.sub("", c) if isinstance(c, str) else c for c in contents]
    return [(message["role"], content) for message, content in zip(messages, contents, strict=True)]


@layout("conversation")
def parse_wildchat(row: dict) -> tuple[dict, list[Turn]]:
    """WildChat: ``conversation_hash`` or ``conversation_id``; perhaps ``hashed_ip``, ``model``, ``toxic``,
    ``timestamp``.
    """
    fields = {"conversation_id": pick_name(row, "conversation_hash", "conversation_id")}
    fields |= {"user_id": pick_name(row, "hashed_ip", "user_id"), "model": pick_name(row, "model")}
    turns = [(turn["role"], turn["content"]) for turn in row["conversation"]]
    fields["day"] = str(row.get("timestamp") or "")[:10]
    return fields | {"toxic": str(row.get("toxic")).strip().lower() not in NEVER}, turns


@layout("conversations")
def parse_sharegpt(row: dict) -> tuple[dict, list[Turn]]:
    """ShareGPT: ``[{from, value}]``; ``id: "<conversation>_<number>"``, where a conversation is a user.

    The id is read so where it is one of ShareGPT: seven letters and digits at random, which form a word
    (``session_3``) in its own file only.
    """
    roles = {"human": "user", "user": "user"} | {role: role for role in SILENT}
    turns = [(roles.get(turn["from"], "assistant"), turn["value"]) for turn in row["conversations"]]
    fields = {"conversation_id": row.get("id"), "user_id": pick_name(row, "user_id", "user", "hashed_ip")}
    if not fields["user_id"] and (match := SHAREGPT_ID.fullmatch(str(row.get("id")))):
        name, number = match.groups()
        is_word = name.isalpha() and (name.islower() or name.isupper() or name.istitle())
        if not is_word or PLACE not in row or "ShareGPT" in row[PLACE].row:
            fields |= {"user_id": name, "continues": number != "0"}
    return fields, turns


@layout("messages")
def parse_chat(row: dict) -> tuple[dict, list[Turn]]:
    """A chat: our transcripts.jsonl, a run of tau2-bench, or anything with roles and contents."""
    names = [pick_name(row, "case_id"), pick_name(row, "arm"), pick_name(row, "id")]
    name = "/".join(filter(None, names)) or pick_name(row, "conversation_id", "conversation_hash")
    user_id = pick_name(row, "user_id", "user", "hashed_ip", "task_id")
    return {"conversation_id": name, "user_id": user_id}, list_turns(row["messages"])


@layout("traj")
def parse_taubench(row: dict) -> tuple[dict, list[Turn]]:
    """A trajectory of tau-bench with ``task_id``; a task is the user."""
    conversation_id = f"{row['task_id']}/{row.get('trial', 0)}"
    return {"conversation_id": conversation_id, "user_id": row["task_id"]}, list_turns(row["traj"])


@layout("real_messages")
def parse_pair(row: dict) -> tuple[dict, list[Turn]]:
    """A real conversation beside one in ``simulated_messages`` (released simulators of arXiv 2605.07847)."""
    fields = {"conversation_id": row.get("id"), "user_id": pick_name(row, "user_id")}
    return fields, list_turns(row["real_messages"])


@layout("original_messages")
def parse_release(row: dict) -> tuple[dict, list[Turn]]:
    """A case of RealUserSim's released test sets, with ``user_ip``: its original conversation."""
    fields = {"conversation_id": pick_name(row, "conversation_hash", "test_id"), "user_id": row["user_ip"]}
    return fields, [(turn["role"], turn["content"]) for turn in row["original_messages"]]
