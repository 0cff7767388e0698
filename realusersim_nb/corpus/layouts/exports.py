"""Exports of a person's conversations with an assistant: ChatGPT, Claude, Grok, AI Studio.

Who exported them is the user of all, unless the export names an account.
"""

import re
from collections import Counter
from collections.abc import Mapping

from realusersim_nb.corpus.layouts.rows import NOTES, PLACE, Turn, UnreadableRow, layout, pick_name

ATTACHED, VERSION = "an attachment left out", "a version that was edited or asked for again left out"
THOUGHT, CALL, HIDDEN = "a thought left out", "a call of a tool left out", "a hidden message left out"
CHATGPT_TEXTS = ("text", "multimodal_text")  # kinds of content that the other side reads


def name_owner(row: dict) -> str | None:
    """The export that a row is in; ``conversations-003.json`` is a piece of one."""
    return re.sub(r"-\d+(?=\.json)", "", row[PLACE].row.rpartition("/")[0]) if PLACE in row else None


def follow_branch(parents: Mapping[str, str | None], leaf: str | None) -> list[str]:
    """The nodes from the root of a tree to a leaf, in order."""
    branch: list[str] = []
    while leaf in parents:
        branch.append(leaf)
        if len(branch) > len(parents):
            raise UnreadableRow("its messages form a circle")
        leaf = parents[leaf]
    return branch[::-1]


def find_leaf(parents: Mapping[str, str | None], times: Mapping[str, object]) -> str | None:
    """The newest node without a child, of equally new ones the last."""
    leaves = [node for node in parents if node not in {*parents.values()}]
    return max(enumerate(leaves), key=lambda pair: (str(times[pair[1]] or ""), pair[0]), default=(0, None))[1]


@layout("a conversation of a ChatGPT export", "mapping")
def parse_chatgpt(row: dict) -> tuple[dict, list[Turn]]:
    """ChatGPT's ``conversations.json``: a tree of nodes in ``mapping``, read from ``current_node`` up."""
    nodes = {name: node.get("message") or {} for name, node in row["mapping"].items()}
    parents = {name: row["mapping"][name].get("parent") for name in nodes}
    times = {name: f"{message.get('create_time') or 0:020.6f}" for name, message in nodes.items()}
    leaf = row.get("current_node")
    branch = follow_branch(parents, leaf if leaf in nodes else find_leaf(parents, times))
    notes, turns, models = Counter(), [], [row.get("default_model_slug")]
    for message in filter(None, (nodes[name] for name in branch)):
        turn, kinds, model = read_chatgpt_message(message)
        notes.update(kinds)
        turns += [turn] if turn else []
        models += [model] if model else []
    written = [m for m in nodes.values() if m and m["author"]["role"] in ("user", "assistant")]
    shown = [nodes[name] for name in branch if nodes[name]]
    notes[VERSION] += len(written) - sum(m["author"]["role"] in ("user", "assistant") for m in shown)
    fields = {"conversation_id": pick_name(row, "conversation_id", "id"), "user_id": name_owner(row)}
    return fields | {"model": models[-1], NOTES: notes}, turns


def read_chatgpt_message(message: dict) -> tuple[Turn | None, list[str], str | None]:
    """The turn that a message is, if the other side read it; what is left out of it; the model."""
    role, content, more = (
        message["author"]["role"],
        message.get("content") or {},
        message.get("metadata") or {},
    )
    notes = [ATTACHED] * len(more.get("attachments") or ())
    if more.get("is_visually_hidden_from_conversation"):
        return None, [HIDDEN], None
    if role == "assistant" and message.get("recipient", "all") != "all":
        return None, [CALL], None
    kind = content.get("content_type", "text")
    if role in ("user", "assistant") and kind not in CHATGPT_TEXTS:
        is_thought = kind in ("thoughts", "reasoning_recap")
        return None, [THOUGHT if is_thought else "a message of another kind than text left out"], None
    return (role, content), notes, more.get("model_slug") if role == "assistant" else None


@layout("a conversation of a Claude export", "chat_messages")
def parse_claude(row: dict) -> tuple[dict, list[Turn]]:
    """Claude's ``conversations.json``: ``sender``, and ``text`` or blocks in ``content``."""
    messages, notes = row["chat_messages"], Counter()
    if messages and all(m.get("parent_message_uuid") and m.get("uuid") for m in messages):
        by_id = {m["uuid"]: m for m in messages}
        parents = {name: m["parent_message_uuid"] for name, m in by_id.items()}
        leaf = row.get("current_leaf_message_uuid")
        times = {name: m.get("created_at") for name, m in by_id.items()}
        branch = follow_branch(parents, leaf if leaf in by_id else find_leaf(parents, times))
        notes[VERSION] += len(messages) - len(branch)
        messages = [by_id[name] for name in branch]
    turns = []
    for message in messages:
        notes[ATTACHED] += len(message.get("attachments") or ()) + len(message.get("files") or ())
        blocks = message.get("content") or []
        texts = [block for block in blocks if block.get("type") == "text"]
        notes[THOUGHT] += sum(block.get("type") == "thinking" for block in blocks)
        notes[CALL] += sum(block.get("type") == "tool_use" for block in blocks)
        turns.append((message["sender"], texts or message.get("text")))
    user_id = pick_name(row.get("account") or {}, "uuid") or name_owner(row)
    return {"conversation_id": pick_name(row, "uuid"), "user_id": user_id, NOTES: notes}, turns


@layout("a conversation of a Grok export", "conversation", "responses")
def parse_grok(row: dict) -> tuple[dict, list[Turn]]:
    """Grok's ``conversations``: ``responses`` (each perhaps in ``response``) with ``sender``, ``message``."""
    responses = [response.get("response", response) for response in row["responses"]]
    about, notes = row["conversation"], Counter()
    for response in responses:
        notes[ATTACHED] += len(response.get("file_attachments") or ())
    models = [response.get("model") for response in responses if response.get("model")]
    fields = {"conversation_id": pick_name(about, "id"), "model": models[-1] if models else None}
    fields |= {"user_id": pick_name(about, "user_id") or name_owner(row), NOTES: notes}
    return fields, [(response["sender"], response.get("message")) for response in responses]


@layout("a prompt of AI Studio", "chunkedPrompt")
def parse_ai_studio(row: dict) -> tuple[dict, list[Turn]]:
    """A file of AI Studio: ``chunkedPrompt.chunks`` with ``role`` (user, model) and ``text``; a file each."""
    chunks, notes = row["chunkedPrompt"]["chunks"], Counter()
    for chunk in chunks:
        notes[THOUGHT] += bool(chunk.get("isThought"))
        notes[ATTACHED] += any(name.startswith(("drive", "inline")) for name in chunk)
    model = (row.get("runSettings") or {}).get("model")
    fields = {"conversation_id": pick_name(row, "id"), "user_id": "owner", "model": model, NOTES: notes}
    return fields, [(chunk["role"], chunk.get("text")) for chunk in chunks if not chunk.get("isThought")]
