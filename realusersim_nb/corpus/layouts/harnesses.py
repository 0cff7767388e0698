"""What harnesses save in which a simulated user talks to an agent: deepeval, inspect_ai, mlflow and others.

The simulated user is the user. Those that save role and content in ``messages`` (LangWatch scenario,
tau2-bench) are read by ``datasets``.
"""

from collections.abc import Iterable, Iterator
from contextlib import suppress

from realusersim_nb.corpus.layouts.datasets import OTHERS, USERS, has_questions, list_turns, name_conversation
from realusersim_nb.corpus.layouts.rows import Turn, UnreadableRow, layout, pick_name
from realusersim_nb.text import parse_json

ATTACHMENT = "attachment://"  # what inspect_ai writes for a long text, which is then in ``attachments``
TEXTS = """messages input output choices message content response text question query prompt request answer
    result""".split()  # fields in which an agent's function takes and gives a text, the surest first


@layout(
    "a conversational test case of deepeval",
    "turns",
    "scenario",
    fits=lambda row: "personas" not in row and (row["turns"] is None or not has_questions(row)),
)
def parse_deepeval(row: dict) -> tuple[dict, list[Turn]]:
    """deepeval: ``turns`` with role and content, in a CSV file as JSON; a test case is a user of its own.

    From ``EvaluationDataset.save_as``, or a test run (``conversationalTestCases``).
    """
    turns = row["turns"] or []
    turns = parse_json(turns) if isinstance(turns, str) else turns
    return {"conversation_id": pick_name(row, "id")}, list_turns(turns)


@layout("a trajectory of openevals", "trajectory")
def parse_openevals(row: dict) -> tuple[dict, list[Turn]]:
    """openevals: what ``run_multiturn_simulation`` returns, ``trajectory`` with role and content."""
    return name_conversation(row), list_turns(row["trajectory"])


@layout("a sample of inspect_ai", "epoch", "messages", "target")
def parse_inspect(row: dict) -> tuple[dict, list[Turn]]:
    """inspect_ai: a sample of a log, once an epoch; the sample is the user."""
    attached = row.get("attachments") or {}
    turns = [(role, restore_text(content, attached)) for role, content in list_turns(row["messages"])]
    name = pick_name(row, "id")
    return {"conversation_id": f"{name}/{row['epoch']}", "user_id": name}, turns


def restore_text(content: object, attached: dict[str, str]) -> object:
    """A content with the attachments that stand for long texts of it."""
    if isinstance(content, str) and content.startswith(ATTACHMENT):
        return attached.get(content.removeprefix(ATTACHMENT), "")
    if isinstance(content, list):
        return [restore_text(piece, attached) for piece in content]
    if isinstance(content, dict) and "text" in content:
        return content | {"text": restore_text(content["text"], attached)}
    return content


def find_sdialog_user(row: dict) -> str | None:
    """The speaker of a dialogue of sdialog who is the user, by the names and by what the personas do.

    Of two speakers of whom one alone is an agent (``role: customer support agent``) it is the other.
    """
    if not isinstance(row["turns"], list) or not isinstance(row["personas"], dict):
        return None
    speakers = list(dict.fromkeys(t.get("speaker") for t in row["turns"] if isinstance(t, dict)))
    about = {str(who): f"{who} {read_role(row['personas'].get(who))}".lower().split() for who in speakers}
    agents = [who for who, words in about.items() if {*words} & {*OTHERS, "system"}]
    users = [who for who, words in about.items() if {*words} & {*USERS} and who not in agents]
    if len(agents) == 1 and len(about) == 2:
        users = [who for who in about if who not in agents]
    return users[0] if len(users) == 1 else None


def read_role(persona: object) -> str:
    """What a persona does."""
    return str(persona.get("role") or "") if isinstance(persona, dict) else ""


@layout("a dialogue of sdialog", "turns", "personas", fits=lambda row: find_sdialog_user(row) is not None)
def parse_sdialog(row: dict) -> tuple[dict, list[Turn]]:
    """sdialog: ``turns`` with speaker and text; ``personas`` by speaker say who is the agent."""
    user = find_sdialog_user(row)
    turns = [("user" if t["speaker"] == user else "assistant", t["text"]) for t in row["turns"]]
    return {"conversation_id": pick_name(row, "id")}, turns


# --- mlflow: a trace an exchange -----------------------------------------------------------------


def is_trace(row: dict) -> bool:
    """Whether a row is a trace of mlflow, as ``Trace.to_json`` or ``search_traces`` gives it."""
    info = row.get("info")
    whole = isinstance(info, dict) and isinstance(row.get("data"), dict) and "spans" in row["data"]
    return whole or {"trace_id", "request", "response", "trace_metadata"} <= row.keys()


def join_traces(rows: Iterable[dict | str]) -> Iterator[dict | str]:
    """The rows, with the traces of each session of mlflow as one row of roles and contents, at the end.

    A trace without a session is a conversation. Of a trace that is handed the whole history the last
    message of the user counts.
    """
    sessions: dict[str, list[tuple]] = {}
    for row in rows:
        if not isinstance(row, dict) or not is_trace(row):
            yield row
            continue
        try:
            about, asked, answered = read_trace(row)
        except (LookupError, TypeError, ValueError, AttributeError):
            yield "it looks like a trace of mlflow, but its spans hold no inputs and outputs; leave it out"
            continue
        session = about.get("mlflow.trace.session") or f"trace {len(sessions)}"
        order = int(about.get("mlflow.simulation.turn") or 0), str(about.get("time") or "")
        sessions.setdefault(session, []).append((order, asked, answered, about.get("mlflow.trace.user")))
    for session, exchanges in sessions.items():
        exchanges.sort(key=lambda exchange: exchange[0])  # search_traces has the newest first
        pairs = [pair for _, *pair, _ in exchanges]
        messages = [
            {"role": role, "content": text}
            for pair in pairs
            for role, text in zip(("user", "assistant"), pair, strict=True)
        ]
        yield {"id": session, "user_id": exchanges[0][-1], "messages": messages}


def read_trace(row: dict) -> tuple[dict, str, str]:
    """The metadata of a trace with its ``time``, what the user wrote and what the agent answered."""
    if isinstance(row.get("trace"), str):  # of a table, which in a CSV file is JSON here alone
        row = parse_json(row["trace"])
    info = row.get("info", row)
    about = {**(info.get("trace_metadata") or info.get("request_metadata") or {})}
    about["time"] = info.get("request_time") or info.get("timestamp_ms")
    if "data" not in row:
        return about, find_text(row["request"], "user"), find_text(row["response"], "assistant")
    root = next(s for s in row["data"]["spans"] if not (s.get("parent_span_id") or s.get("parent_id")))
    asked, answered = (root["attributes"][f"mlflow.span{side}"] for side in ("Inputs", "Outputs"))
    return about, find_text(asked, "user"), find_text(answered, "assistant")


def find_text(value: object, role: str) -> str:
    """The text of a role in what a function takes or gives: a text, messages, or an object of them."""
    if isinstance(value, str):
        with suppress(ValueError):
            parsed = parse_json(value)
            return find_text(parsed, role) if isinstance(parsed, str | list | dict) else value
        return value
    if isinstance(value, list):
        written = [each for each in value if isinstance(each, dict) and each.get("role", role) == role]
        return find_text((written or value)[-1], role)
    if not isinstance(value, dict):
        raise UnreadableRow("no text")
    if isinstance(value.get("content"), str | list) and value.get("role", role) == role:
        content = value["content"]
        return content if isinstance(content, str) else find_pieces(content)
    name = next(name for name in [*TEXTS, *value] if value.get(name))
    return find_text(value[name], role)


def find_pieces(pieces: list) -> str:
    """The texts of a content in pieces, a line each."""
    texts = [piece.get("text") for piece in pieces if isinstance(piece, dict)]
    return "\n".join(text for text in texts if isinstance(text, str))
