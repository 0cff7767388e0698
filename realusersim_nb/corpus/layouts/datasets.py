"""Released corpora and transcripts of tools: a function a layout, named for its source.

Turns are ``[{role, content, ...}]`` unless a function says otherwise.
"""

import re
from collections import Counter
from itertools import zip_longest

from realusersim_nb.corpus.layouts.rows import (
    NOBODY,
    NOTES,
    PLACE,
    SILENT,
    Turn,
    UnreadableRow,
    layout,
    pick_name,
)

END_MARKS = re.compile(r"###(?:STOP|TRANSFER|OUT-OF-SCOPE)###")
NEVER = NOBODY | {"false", "0", "0.0", "no", "n", "f"}  # texts for a flag that is not set
SHAREGPT_ID = re.compile(r"([A-Za-z0-9]{7})_(\d+)")
USERS = """user human customer client visitor end_user enduser requester caller member patient student
    guest""".split()  # of two sides, the one that is the user
OTHERS = "assistant agent ai bot chatbot model gpt support operator representative tutor doctor".split()
LABELS = "|".join([*USERS, *OTHERS, "system", "tool"])
LINES = re.compile(rf"(?im)^[ \t]*(?:\*\*)?({LABELS})(?:\*\*)?[ \t]*:(?:\*\*)?[ \t]*")
INLINE = re.compile(rf"(?i)(?:^|(?<=\s))({LABELS}):[ \t]*")
SENDERS = {"role", "sender", "speaker", "author", "from"}
SCRIPTS = "messages_display conversation dialogue dialog transcript chosen text chat history".split()


def list_turns(messages: list[dict]) -> list[Turn]:
    """The turns of a chat, without the marks by which a simulated user ends."""
    contents = [message.get("content") for message in messages]
    contents = [END_MARKS.sub("", c) if isinstance(c, str) else c for c in contents]
    return [(message["role"], content) for message, content in zip(messages, contents, strict=True)]


def name_conversation(row: dict) -> dict:
    """The ids that a row of a chat has under the usual names."""
    names = "id conversation_id conversation_hash dialogue_id dialog_id convo_id question_id".split()
    return {
        "conversation_id": pick_name(row, *names),
        "user_id": pick_name(row, "user_id", "user", "hashed_ip"),
    }


def cut_script(text: str) -> tuple[list[tuple[str, str]], Counter]:
    """(speaker, text) of the turns of a dialogue in one string, and labels that are none, counted.

    A turn begins with its label, at the beginning of a line. If the text begins with a label and no line
    does, they may stand inside the line. Each side has one label; another that is there once or twice is
    taken as text (``Guest: 2 adults``).
    """
    marks = list(LINES.finditer(text))
    if len(marks) < 2 and marks and not text[: marks[0].start()].strip():
        marks = list(INLINE.finditer(text))
    counts = Counter(mark[1].lower() for mark in marks)  # in the order in which they first come
    sides = {next((label for label in counts if label in side), "") for side in (USERS, OTHERS)}
    few = {label: n for label, n in counts.items() if label not in sides | SILENT and n < 3}
    marks = [mark for mark in marks if mark[1].lower() not in few]
    ends = [*(mark.start() for mark in marks), len(text)][1:]
    turns = [(m[1].lower(), text[m.end() : end].strip()) for m, end in zip(marks, ends, strict=True)]
    return turns, Counter({f"a label {label!r} taken as text": n for label, n in few.items()})


def find_script(row: dict) -> str | None:
    """The field that holds a whole dialogue of two sides."""
    texts = {name: row[name] for name in SCRIPTS if isinstance(row.get(name), str)}
    if SENDERS & row.keys():  # a message that quotes others
        return None
    speakers = {name: {who for who, _ in cut_script(text)[0]} for name, text in texts.items()}
    return next((n for n, who in speakers.items() if who & {*USERS} and who & {*OTHERS}), None)


def name_side(label: str) -> str:
    """The role of a label."""
    return "user" if label in USERS else "assistant" if label in OTHERS else label


@layout("a dialogue in one string", fits=lambda row: find_script(row) is not None)
def parse_script(row: dict) -> tuple[dict, list[Turn]]:
    """A string ``user: ... agent: ...``, also tau-bench's histories, where a call has the text None."""
    cut, notes = cut_script(row[find_script(row)])
    turns = [(name_side(who), END_MARKS.sub("", text)) for who, text in cut]
    calls = [role == "assistant" and text == "None" for role, text in turns]
    notes["a call of a tool left out"] = sum(calls)
    return name_conversation(row) | {NOTES: notes}, [t for t, e in zip(turns, calls, strict=True) if not e]


@layout("a pair of answers with a verdict", "conversation_a", "conversation_b")
def parse_verdict(row: dict) -> tuple[dict, list[Turn]]:
    """Chatbot Arena, MT-bench: the conversation with model a; who compared is the user in the arena only."""
    user_id = row.get("judge") if str(row.get("judge")).startswith("arena_user") else None
    fields = {"conversation_id": pick_name(row, "question_id"), "user_id": user_id}
    return fields | {"model": pick_name(row, "model_a")}, list_turns(row["conversation_a"])


@layout(
    "a conversation of WildChat", "conversation", fits=lambda row: not isinstance(row["conversation"], str)
)
def parse_wildchat(row: dict) -> tuple[dict, list[Turn]]:
    """WildChat: ``conversation_hash`` or ``conversation_id``; perhaps ``hashed_ip``, ``model``, ``toxic``,
    ``timestamp``.
    """
    fields = {"conversation_id": pick_name(row, "conversation_hash", "conversation_id")}
    fields |= {"user_id": pick_name(row, "hashed_ip", "user_id"), "model": pick_name(row, "model")}
    turns = [(turn["role"], turn["content"]) for turn in row["conversation"]]
    fields["day"] = str(row.get("timestamp") or "")[:10]
    return fields | {"toxic": str(row.get("toxic")).strip().lower() not in NEVER}, turns


@layout("a conversation of ShareGPT", "conversations")
def parse_sharegpt(row: dict) -> tuple[dict, list[Turn]]:
    """ShareGPT: ``[{from, value}]``; ``id: "<conversation>_<number>"``, where a conversation is a user.

    The id is read so where it is one of ShareGPT: seven letters and digits at random, which form a word
    (``session_3``) in its own file only. Some files have ``role`` and ``content`` in the turns.
    """
    turns = [
        (turn["from"], turn["value"]) if "from" in turn else (turn["role"], turn["content"])
        for turn in row["conversations"]
    ]
    fields = {"conversation_id": row.get("id"), "user_id": pick_name(row, "user_id", "user", "hashed_ip")}
    if not fields["user_id"] and (match := SHAREGPT_ID.fullmatch(str(row.get("id")))):
        name, number = match.groups()
        is_word = name.isalpha() and (name.islower() or name.isupper() or name.istitle())
        if not is_word or PLACE not in row or "ShareGPT" in row[PLACE].row:
            fields |= {"user_id": name, "continues": number != "0"}
    return fields, turns


@layout("a chat of roles and contents", "messages")
def parse_chat(row: dict) -> tuple[dict, list[Turn]]:
    """A chat: our transcripts.jsonl, a run of tau2-bench, rows for fine-tuning; any roles and contents."""
    names = [pick_name(row, "case_id"), pick_name(row, "arm"), pick_name(row, "id")]
    name = "/".join(filter(None, names)) or pick_name(row, "conversation_id", "conversation_hash")
    user_id = pick_name(row, "user_id", "user", "hashed_ip", "task_id")
    return {"conversation_id": name, "user_id": user_id}, list_turns(row["messages"])


@layout("a preference of OpenAI's fine-tuning", "input", "preferred_output")
def parse_preference(row: dict) -> tuple[dict, list[Turn]]:
    """The messages of ``input`` and the answer that was preferred."""
    return name_conversation(row), list_turns([*row["input"]["messages"], *row["preferred_output"]])


def is_instruction(row: dict) -> bool:
    """Whether a row is a conversation of its own, since no column puts it in one."""
    return not {"conversation_id", "session_id", "thread_id", "dialogue_id"} & row.keys()


@layout("an instruction with its output (Alpaca)", "instruction", "output", fits=is_instruction)
def parse_instruction(row: dict) -> tuple[dict, list[Turn]]:
    """``instruction``, which an ``input`` may follow in the same message; ``history`` has pairs before it."""
    before = [
        turn for pair in row.get("history") or [] for turn in zip(("user", "assistant"), pair, strict=True)
    ]
    asked = "\n".join(str(row[name]) for name in ("instruction", "input") if pick_name(row, name))
    return name_conversation(row), [*before, ("user", asked), ("assistant", row["output"])]


@layout("a trajectory of tau-bench", "traj")
def parse_taubench(row: dict) -> tuple[dict, list[Turn]]:
    """A trajectory of tau-bench with ``task_id``; a task is the user."""
    conversation_id = f"{row['task_id']}/{row.get('trial', 0)}"
    return {"conversation_id": conversation_id, "user_id": row["task_id"]}, list_turns(row["traj"])


@layout("an index of tau2-bench's results", "info", "tasks", fits=lambda row: "simulations" not in row)
def parse_tau2_index(row: dict) -> tuple[dict, list[Turn]]:
    """``results.json`` of tau2-bench 1.x: the simulations are files beside it."""
    raise UnreadableRow("its simulations are files in a folder `simulations`, which is not beside it")


@layout("a pair of real and simulated messages", "real_messages")
def parse_pair(row: dict) -> tuple[dict, list[Turn]]:
    """A real conversation beside one in ``simulated_messages`` (released simulators of arXiv 2605.07847)."""
    fields = {"conversation_id": row.get("id"), "user_id": pick_name(row, "user_id")}
    return fields, list_turns(row["real_messages"])


@layout("a released case of RealUserSim", "original_messages")
def parse_release(row: dict) -> tuple[dict, list[Turn]]:
    """A case of RealUserSim's released test sets, with ``user_ip``: its original conversation."""
    fields = {"conversation_id": pick_name(row, "conversation_hash", "test_id"), "user_id": row["user_ip"]}
    return fields, [(turn["role"], turn["content"]) for turn in row["original_messages"]]


@layout("an annotated conversation of SimulatorArena", "user_queries", "ai_responses")
def parse_simulator_arena(row: dict) -> tuple[dict, list[Turn]]:
    """SimulatorArena: two lists, a query and its response in the same place; the worker is the user."""
    pairs = list(zip_longest(row["user_queries"], row["ai_responses"]))
    fields = {"conversation_id": None, "user_id": pick_name(row, "workerId", "user_id")}
    fields["model"] = pick_name(row, "model")
    return fields, [turn for one, other in pairs for turn in (("user", one), ("assistant", other))]


def has_questions(row: dict) -> bool:
    """Whether ``turns`` are texts."""
    turns = row["turns"]
    return isinstance(turns, list) and bool(turns) and all(isinstance(turn, str) for turn in turns)


@layout("questions without answers, as MT-bench's", "turns", fits=has_questions)
def parse_questions(row: dict) -> tuple[dict, list[Turn]]:
    """MT-bench: ``turns`` are what the user asks, one after the other."""
    return name_conversation(row), [("user", text) for text in row["turns"]]
