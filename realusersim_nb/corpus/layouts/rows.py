"""A row of any layout as a Conversation, and the register of layouts.

A layout is recognised by the fields of a row. A row that cannot be read becomes a reason (str), never an
exception. A row that names no user is a user of its own; a user who is named is the same person in all files
of a corpus, a conversation is not.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import NamedTuple

from realusersim_nb.records import Conversation, Message

Turn = tuple[object, object]  # the role, and the content as the source has it
Parse = Callable[[dict], tuple[dict, list[Turn]]]
NOBODY = frozenset(["", "none", "null", "nan", "n/a", "<na>", "nat"])  # texts for a value that is missing
SILENT = frozenset(  # roles of messages that neither the user nor the assistant wrote for the other
    """system developer tool tool_call tool_calls tool_response tool_result function function_call
    function_response observation environment action""".split()
)
SPEAKERS = dict.fromkeys("user human prompter".split(), "user") | dict.fromkeys(
    "assistant ai bot model gpt chatgpt bing bard chatbot".split(), "assistant"
)
"""Roles by the names that layouts have for them."""
PLACE, NOTES = "\0place", "\0notes"  # keys of a row beside those of its source
CHAT, BOT = "chat", "\0bot"  # of a message between people: its conversation, and whether a program wrote it


class Place(NamedTuple):
    """Where a row was read: its ``file`` if its corpus has several (else ""), and a name of its ``row``."""

    file: str
    row: str


class Layout(NamedTuple):
    """How rows of one source are read: ``parse`` gives (fields of ``Conversation``, turns).

    They have all ``fields``, and ``fits`` says yes to them; ``title`` names the source in a sentence.
    """

    title: str
    fields: tuple[str, ...]
    parse: Parse
    fits: Callable[[dict], bool]

    def fits_row(self, row: dict) -> bool:
        """Whether a row is of it."""
        return all(name in row for name in self.fields) and self.fits(row)


class UnreadableRow(ValueError):
    """A row is not what its layout asks for; says what is wrong."""


LAYOUTS: list[Layout] = []
UNREADABLE = (LookupError, TypeError, ValueError, AttributeError, RecursionError, OverflowError)
"""What parsing a row raises that is not of its layout."""
FIELDS = frozenset(  # of layouts, which a reason may name; of what a row holds it says nothing
    """author channel content from id message messages name role sender sender_name senderName text time
    timestamp timestamp_ms traj ts type user user_ip value task_id responses conversation chunks""".split()
)


def layout(
    title: str, *fields: str, fits: Callable[[dict], bool] = lambda row: True
) -> Callable[[Parse], Parse]:
    """Register what parses rows of one source."""

    def register(parse: Parse) -> Parse:
        LAYOUTS.append(Layout(title, fields, parse, fits))
        LAYOUTS.sort(key=lambda one: -len(one.fields))  # the most particular first
        return parse

    return register


def find_layout(row: dict) -> Layout | None:
    """The first layout that a row has the fields of."""
    return next((one for one in LAYOUTS if one.fits_row(row)), None)


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
    if (known := find_layout(row)) is None:
        return (
            "the row is in no known layout; `look` at the file says what it has and how to name its columns"
        )
    notes = Counter() if notes is None else notes
    notes.update(row.get(NOTES, ()))
    try:
        fields, turns = known.parse(row)
        messages = list(read_messages(turns, notes))
        notes.update(fields.pop(NOTES, ()))
        fields |= name_conversation(fields, row, notes)
        return Conversation(
            messages=messages, **{k: clean_text(v) if isinstance(v, str) else v for k, v in fields.items()}
        )
    except UNREADABLE as error:
        return f"it looks like {known.title}, but {explain_error(error)}; correct the row, or leave it out"


def explain_error(error: Exception) -> str:
    """What is wrong with a row, of an error while it was parsed."""
    if isinstance(error, UnreadableRow):
        return str(error)
    if isinstance(error, KeyError) and error.args[0] in FIELDS:
        return f"a field {error.args[0]!r} is missing"
    return f"a field is empty or not of the type that it has there ({type(error).__name__})"


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
    for given, content in turns:
        name = str(given).strip().lower()
        role = SPEAKERS.get(name, name)
        if role in SILENT:
            notes[f"a message of role {role!r} left out"] += 1
            continue
        if role not in ("user", "assistant"):
            raise UnreadableRow("a message's role is neither the user's nor the assistant's")
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
