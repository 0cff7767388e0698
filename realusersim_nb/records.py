"""The records that pass between modules and lie in files (``files``).

A worked example, from conversation to verdict::

    Conversation(conversation_id="QMDPde3_0", user_id="QMDPde3", messages=[...])
    Profile(user_id="QMDPde3", commands=[Command(dimension="capitalization",
        command="Start your messages with a lower-case letter.", examples=["ok now in python"],
        evidence={"feature": "starts_lower", "value": 0.9, "percentile": 0.88, "n": 11})])
    Case(case_id="QMDPde3_4", user_id="QMDPde3", goal="...", key_context="...", original=[...])
    Transcript(case_id="QMDPde3_4", arm="profile", messages=[...], ended_by="close")
    Judgement(case_id="QMDPde3_4", arm="profile", verdicts={"D1": True, "D2": False, ...})
"""

from collections.abc import Iterable
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


class Record(BaseModel):
    """Base of everything written to disk: a field that is not known is an error."""

    model_config = ConfigDict(extra="forbid")


class Message(Record):
    """One turn, by the user or by the assistant."""

    role: Literal["user", "assistant"]
    content: str


class Conversation(Record):
    """A real conversation.

    ``model`` is the assistant's name where the source states it. ``continues`` is true of a later
    part of a longer conversation, whose opening refers to what cannot be seen. ``toxic`` is the
    source's flag.
    """

    conversation_id: str
    user_id: str
    model: str | None = None
    continues: bool = False
    toxic: bool = False
    messages: list[Message]

    @property
    def user_messages(self) -> list[str]:
        """What the user wrote, in order."""
        return list_user_messages(self.messages)


class Demographic(Record):
    """One demographic fact: stated by the user in the words of ``quote`` (``extracted``) or guessed (``inferred``)."""

    value: str
    source: Literal["extracted", "inferred"]
    confidence: float
    quote: str = ""


class Command(Record):
    """One imperative rule of behaviour, verbatim examples of it, and the figure behind it.

    ``contradicted`` says which measured figure of the user speaks against the rule, if one does.
    """

    dimension: Dimension
    command: str
    examples: list[str] = []
    evidence: dict[str, str | int | float] = {}
    contradicted: str = ""


class Profile(Record):
    """An executable profile: what a simulator needs to behave like one user."""

    user_id: str
    demographics: dict[str, Demographic] = {}
    background: str = ""
    commands: list[Command] = []
    source_conversations: list[str] = []
    extractor: str = "measured"


class Case(Record):
    """One held-out real conversation and the goal a simulated user gets instead of it.

    ``rewritten``: the goal had copied the person's words and was asked for once more.
    """

    case_id: str
    user_id: str
    goal: str
    key_context: str
    domain: str = ""
    task_type: str = ""
    rewritten: bool = False
    original: list[Message]

    @property
    def told(self) -> str:
        """All that a simulated user is told of what to say."""
        return f"{self.goal}\nThey know: {self.key_context}"


CLOSE = "/close"
"""What a simulated user says when they have what they want."""
Order = Literal["real_first", "simulated_first"]
"""Which conversation a judge is shown first."""


class Transcript(Record):
    """One conversation to be judged: simulated, or real when the arm is a bound.

    ``lapse``: how the simulated user fell out of its part, if it did (see ``role_breaks``).
    """

    case_id: str
    user_id: str
    arm: str
    simulator: str | None = None
    messages: list[Message] = []
    ended_by: Literal["close", "max_turns", "real", "error"] = "real"
    lapse: str | None = None
    error: str | None = None


class Judgement(Record):
    """Five verdicts on one transcript against the original; ``verdicts`` is null if unscored.

    ``analysis`` is the reasoning, ``replies`` are the judge's raw words, ``order`` and ``trial``
    tell several readings of one transcript apart, ``prompt_hash`` is the sha256 of the first request.
    """

    case_id: str
    user_id: str
    arm: str
    judge: str
    order: Order = "real_first"
    trial: int = 0
    verdicts: dict[str, bool] | None = None
    analysis: str = ""
    replies: list[str] = []
    prompt_hash: str = ""
    error: str | None = None


class JudgePrompt(Record):
    """The two sections of a released ``judge_prompt.txt`` (see ``release.read_judge_prompt``)."""

    system: str
    formatting: str


class AgentRun(Record):
    """One tau2-bench run; ``success`` is null when the run failed before it could be scored.

    ``persona`` is the text that says how the user writes, ``checks`` the parts of tau2's verdict (0 or 1 each),
    ``changes`` where the database is not as the gold actions leave it, and ``messages`` all there was, also of a
    run that failed.
    """

    domain: str = ""
    task_id: str
    trial: int
    arm: str
    agent: str
    simulator: str | None = None
    persona: str = ""
    success: bool | None = None
    reward: float | None = None
    user_turns: int = 0
    ended_by: str = ""
    error: str | None = None
    checks: dict[str, float] = {}
    changes: list[str] = []
    messages: list[dict] = []


def list_user_messages(messages: Iterable[Message]) -> list[str]:
    """The contents of the user's messages, in order."""
    return [message.content for message in messages if message.role == "user"]
