"""The records that pass between modules and are saved one a line (``files``).

A worked example, from conversation to verdict::

    Conversation(conversation_id="QMDPde3_0", user_id="QMDPde3", messages=[...])
    Profile(user_id="QMDPde3", commands=[Command(dimension="capitalization",
        command="Begin your messages with a lower-case letter: in about 9 of 10 messages.",
        examples=["ok now in python"], evidence={"feature": "starts_lower", "value": 0.9, "n": 11, ...})])
    Case(case_id="QMDPde3_4", user_id="QMDPde3", goal="...", key_context="...", original=Conversation(...))
    Conversation(conversation_id="QMDPde3_4/profile", case_id="QMDPde3_4", arm="profile", messages=[...], ...)
    Judgement(case_id="QMDPde3_4", arm="profile", verdicts={"D1": True, "D2": False, ...}, ...)
"""

from itertools import zip_longest
from typing import Literal

from pydantic import BaseModel, ConfigDict

Dimension = Literal[
    "capitalization",
    "punctuation",
    "message length",
    "formality",
    "filler/hesitation",
    "repetition",
    "multi-turn behaviour",
    "requests for alternatives",
]
"""The eight command dimensions of an Executable Persona Manual (RealUserSim, profiles)."""
ReleasedDomain = Literal[
    "business_finance", "ecommerce", "medical_health", "technology_it", "travel_hospitality"
]
"""The five domains of the released test sets, which also have one of all domains."""
CLOSE = "/close"  # what a simulated user writes when they have what they want
Order = Literal["real_first", "simulated_first"]  # which conversation a judge is shown first


class Record(BaseModel):
    """Base of everything written to disk: an unknown field is an error."""

    model_config = ConfigDict(extra="forbid")


class Message(Record):
    """One turn, by the user or by the assistant."""

    role: Literal["user", "assistant"]
    content: str


class Conversation(Record):
    """A conversation: real, or under an ``arm`` of a case, where the user is simulated or a reference arm's.

    ``model`` is the assistant's name where the source states it. ``continues``: the source split a longer
    conversation and this is not its first piece. ``day`` (2023-04-09) where the source states it. ``toxic``
    is the source's flag. ``role_break``: how the
    simulated user left its role, if it did (``simulators.role_breaks``). ``error``: why a rollout failed.
    """

    conversation_id: str
    user_id: str
    model: str | None = None
    continues: bool = False
    day: str = ""
    toxic: bool = False
    messages: list[Message] = []
    case_id: str = ""
    arm: str = ""
    simulator: str | None = None
    ended_by: Literal["close", "max_turns", "real", "error"] = "real"
    role_break: str | None = None
    error: str | None = None

    @property
    def user_messages(self) -> list[str]:
        """What the user wrote, in order."""
        return [message.content for message in self.messages if message.role == "user"]


class Demographic(Record):
    """One fact: stated by the user in the words of ``quote`` (``extracted``), or guessed (``inferred``)."""

    value: str
    source: Literal["extracted", "inferred"]
    confidence: float
    quote: str = ""


class Command(Record):
    """One imperative rule of behaviour, verbatim examples of it, and the figures behind it.

    ``without``: messages of the same user that do not follow it, where it says what is done in fewer than
    half of them. ``contradicted`` names the measured figure of the user that speaks against the rule, if one
    does.
    """

    dimension: Dimension
    command: str
    examples: list[str] = []
    without: list[str] = []
    evidence: dict[str, str | int | float] = {}
    contradicted: str = ""


class Demonstration(Record):
    """A message as it was typed, after one neutral sentence on what it asks for."""

    wanted: str
    typed: str


class Profile(Record):
    """An executable profile: what a simulator needs to behave like one user.

    ``demonstrations`` are of the user's messages (``simulators.demonstrations``), none until they are made.
    """

    user_id: str
    demographics: dict[str, Demographic] = {}
    background: str = ""
    commands: list[Command] = []
    source_conversations: list[str] = []
    extractor: str = "measured"
    demonstrations: list[Demonstration] = []


class Persona(Record):
    """How a simulated user writes: one instruction a line, and in the same order the examples of each, those
    that follow it and those ``without``.

    ``facts``: those of the lines that say who it is, by name. ``framed``: in the paper's format the prompt
    says that one real person is imitated; under ``task_only`` it does not.
    ``demonstrations`` are messages to write like; ``template`` is a prompt of the reader's own, in place of
    ours (``simulators.conditions``). ``n_candidates`` of a message are written and one is chosen
    (``simulators.calibration``).
    """

    facts: dict[str, str] = {}
    framed: bool = True
    instructions: list[str] = []
    examples: list[list[str]] = []
    demonstrations: list[Demonstration] = []
    template: str = ""
    n_candidates: int = 1
    without: list[list[str]] = []

    def render(self) -> str:
        """The text that fills ``$persona`` in a prompt, its demonstrations at the end."""
        shown = [f"{shown.wanted}\nThis person types: {shown.typed}" for shown in self.demonstrations]
        return "\n\n".join(filter(None, [self.render_instructions(), *shown]))

    def render_instructions(self) -> str:
        """The same without demonstrations."""
        lines = []
        for line, *examples in zip_longest(self.instructions, self.examples, self.without, fillvalue=()):
            shown, without = (" / ".join(f'"{" ".join(e.split())}"' for e in quoted) for quoted in examples)
            line += f" For instance, about other things: {shown}" if shown else ""
            lines.append(line + (f" And without it: {without}" if without else ""))
        return "\n".join(lines)


class Case(Record):
    """One held-out real conversation and the goal a simulated user gets instead of it.

    ``steps``: what each message asks for, as a neutral sentence; ``goal`` is the same as a text (released
    cases have that only). ``rewritten``: a sentence had copied the person's words, and was asked for again.
    """

    case_id: str
    user_id: str
    goal: str
    key_context: str
    steps: list[str] = []
    domain: str = ""
    task_type: str = ""
    rewritten: bool = False
    original: Conversation

    @property
    def brief(self) -> str:
        """Goal and context, as the simulated user reads them."""
        return self.goal + (f"\nThey know: {self.key_context}" if self.key_context else "")

    def identify(self, arm: str) -> dict[str, str]:
        """The fields by which a conversation belongs to this case under an arm."""
        keys = {"case_id": self.case_id, "user_id": self.user_id, "arm": arm}
        return keys | {"conversation_id": f"{self.case_id}/{arm}"}


class Judgement(Record):
    """Five verdicts on one conversation against the original; ``verdicts`` is null if unscored.

    ``contradicted`` names dimensions whose verdict said the opposite of the judge's analysis: they have none.

    ``replies`` are the judge's raw replies, ``order`` and ``trial`` distinguish repeated judgements of one
    conversation, ``prompt_hash`` is the sha256 of the first request.
    """

    case_id: str
    user_id: str
    arm: str
    judge: str
    order: Order = "real_first"
    trial: int = 0
    verdicts: dict[str, bool] | None = None
    contradicted: list[str] = []
    analysis: str = ""
    replies: list[str] = []
    prompt_hash: str = ""
    error: str | None = None


class JudgePrompt(Record):
    """The two sections of a released ``judge_prompt.txt`` (``profiles.release``)."""

    system: str
    formatting: str


class AgentRun(Record):
    """One tau2-bench run; ``success`` is null when the run failed before it could be scored.

    ``checks`` are the components of tau2's verdict (0 or 1 each), ``changes`` where the database differs from
    what the gold actions make of it, ``messages`` all messages, also of a run that failed. ``made_from``: a
    digest of what decided the run (``agents.runner.digest_settings``); reference arms have none.
    """

    domain: str = ""
    task_id: str
    trial: int
    arm: str
    agent: str
    simulator: str | None = None
    persona: Persona = Persona()
    made_from: str = ""
    success: bool | None = None
    reward: float | None = None
    user_turns: int = 0
    ended_by: str = ""
    error: str | None = None
    checks: dict[str, float] = {}
    changes: list[str] = []
    messages: list[dict] = []
