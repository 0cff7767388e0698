"""Texts that attack: those of tests/hostile.jsonl, records made of them, and what a page does with them."""

import json
import shutil
from html.parser import HTMLParser
from pathlib import Path

from realusersim_nb.records import AgentRun, Case, Command, Conversation, Judgement, Message, Profile

FILE = Path(__file__).with_name("hostile.jsonl")
N = 80  # readable conversations of the file; its other lines are damaged
ROWS = [json.loads(line) for line in FILE.read_text(encoding="utf-8").splitlines()[:N]]
TEXTS = list(dict.fromkeys(row["hashed_ip"] for row in ROWS))
WHOLE = "".join(text for text in TEXTS if not any("\ud800" <= c <= "\udfff" for c in text))
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def make_records(text: str) -> tuple[Profile, Case, Conversation, Judgement, AgentRun]:
    """One record of each kind, with the text in every field that takes any."""
    figure = {"feature": text, "value": text, "percentile": text, "n": text, text: text}
    commands = [
        Command(dimension="formality", command=text, examples=[text], evidence=evidence)
        for evidence in (figure, figure | {"value": 10**400, "percentile": 0.9}, {"percentile": 0.1})
    ]
    profile = Profile(user_id=text, commands=commands, background=text, extractor=text)
    messages = [Message(role=role, content=text) for role in ("user", "assistant") * 3]
    keys = {"case_id": text, "user_id": text}
    talk = Conversation(conversation_id=text, **keys, arm=text, simulator=text, messages=messages)
    case = Case(**keys, goal=text, key_context=text, domain=text, task_type=text, original=talk)
    judgement = Judgement(**keys, arm=text, judge=text, verdicts={text: True}, analysis=text, error=text)
    calls = [{"name": text, "arguments": {text: text}}]
    shown = [{"role": text, "content": text, "tool_calls": calls, "error": True}, {"role": text}]
    names = {"task_id": text, "trial": 0, "arm": text, "agent": text, "simulator": text}
    run = AgentRun(**names, ended_by=text, error=text, changes=[text], messages=shown)
    return profile, case, talk, judgement, run


class Inspector(HTMLParser):
    """Lists what of a page would run or be fetched."""

    def __init__(self, page: str):
        super().__init__()
        self.found: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        """Scripts, frames, handlers of events, and addresses that are scripts or elsewhere."""
        self.found += [tag] * (tag in ("script", "iframe", "object", "embed", "svg", "base"))
        for name, value in attributes:
            address = (value or "").strip().lower()
            acts = name in ("href", "src") and address.startswith(("javascript:", "http", "//", "x"))
            self.found += [f"{tag} {name}"] * (name.startswith("on") or acts)
