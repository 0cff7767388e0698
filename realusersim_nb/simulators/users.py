"""One message of a simulated user: a model, the persona it follows, the goal, and the conversation so far."""

import re
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, Field

from realusersim_nb.corpus.layouts.datasets import END_MARKS
from realusersim_nb.llm.errors import Outcome
from realusersim_nb.llm.models import Models
from realusersim_nb.prompts.fill import fill_prompt
from realusersim_nb.records import CLOSE, Case, Demonstration, Message, Persona
from realusersim_nb.text import cut_at_word

TurnFormat = Literal["transcript", "roles"]
SPEAKERS = {"user": "User", "assistant": "Assistant"}
SWAPPED = {"user": "assistant", "assistant": "user"}
ROLE_TOKENS = 1024  # of a message in the format of the paper
PRIMER = "Write the first message that this user sends."
UNSTATED = "Not stated: once all that is wanted was given."
NOBODY = "Nothing is known of who this person is."
NOT_KNOWN = {"", "null", "none", "unknown"}
DEMOGRAPHICS = {
    "age range": ["age", "age range"],
    "gender": ["gender"],
    "occupation": ["occupation"],
    "education": ["education"],
    "location/nationality": ["location", "nationality"],
    "income level": ["income", "income level"],
    "marital status": ["marital status"],
}
"""The demographics of the released prompt, in its order, by their names in profiles."""
SHOWN_CHARS = 200  # of the assistant's last reply, which the next message sees
TEMPLATE_FIELDS = re.compile(r"\{(goal|profile|examples)\}")


class UserPlan(BaseModel):
    """Where the simulated user stands: what they ask for next, and whether that is all."""

    next_request: str = Field(min_length=1, max_length=200)
    n_left: int = Field(ge=0, le=9, alias="parts_left")  # the name that models see


@dataclass(frozen=True)
class Simulator:
    """A model that writes as a user, how it is asked, and whom it talks to.

    ``transcript``: what the user wants next is decided first, and is then put into the person's words as one
    turn of a chat, after demonstrations, else three fixed turns; small models need this, since
    with swapped roles they answer as the assistant. ``roles``: the paper's format, the conversation with
    swapped chat roles, a prompt of the structure that its data card fixes, its token limits (1,024, and 2,048
    of the assistant), ``/close`` written by the simulator itself. ``assistant`` (None: the same model)
    replies in rollouts, which have at most ``max_user_messages``: the paper's 5, an opening and answers to at
    most 4 replies. ``draw`` numbers draws of a message: in ``transcript`` the first is the likeliest one.
    """

    models: Models
    model: str
    turn_format: TurnFormat = "transcript"
    seed: int = 0
    assistant: str | None = None
    max_user_messages: int = 5
    draw: int = 0

    async def write(
        self, *, persona: Persona, goal: str, context: str, messages: list[Message], steps: list[str] = ()
    ) -> str:
        """The user's next message, or ``/close`` at the end; CallFailed for an unusable reply.

        ``steps``: what to ask for, one neutral sentence a message; without, a plan is asked for.
        """
        if self.turn_format == "roles" or persona.template:
            prompt = make_role_prompt(persona, goal, context, messages)
            sampling = {"max_tokens": ROLE_TOKENS, "seed": self.seed + 1_000_000 * self.draw}
            return await self.models.ask(self.model, prompt, **sampling)
        wanted = await self._choose_step(goal, context, messages, steps)
        if wanted is None:
            return CLOSE
        prompt = make_turn_prompt(persona, wanted, messages)
        temperature = 0.7 if self.draw else 0.001
        sampling = {"temperature": temperature, "max_tokens": 200, "seed": self.seed + 1_000_000 * self.draw}
        text = await self.models.ask(self.model, prompt, **sampling)
        return text.strip().strip('"')

    async def _choose_step(
        self, goal: str, context: str, messages: list[Message], steps: list[str]
    ) -> str | None:
        """What to ask for next, as a neutral sentence; None when all was asked."""
        n_asked = sum(m.role == "user" for m in messages)
        if steps:
            return steps[n_asked] if n_asked < len(steps) else None
        if not n_asked:
            return goal.splitlines()[0]  # an opening ignores how the assistant greets
        about = {"goal": goal, "context": context or "nothing else"}
        prompt = fill_prompt("user_plan", transcript=render_transcript(messages), **about)
        sampling = {"temperature": 0.001, "max_tokens": 120, "seed": self.seed}
        plan = await self.models.ask_json(self.model, prompt, UserPlan, **sampling)
        return plan.next_request if plan.n_left else None

    async def open(self, case: Case, personas: dict[str, Persona]) -> dict[str, Outcome[str]]:
        """The first message of a case's user under each persona, by the persona's name."""
        about = {"goal": case.goal, "context": case.key_context, "steps": case.steps, "messages": []}
        tasks = [self.write(persona=persona, **about) for persona in personas.values()]
        return dict(zip(personas, await self.models.run_all(tasks, "openings"), strict=True))


def make_role_prompt(persona: Persona, goal: str, context: str, messages: list[Message]) -> list[dict]:
    """The conversation with swapped roles, after our prompt or the persona's own template, and a primer."""
    if persona.template:
        system = fill_template(persona, f"{goal}\n{context}".strip())
    else:
        manner = fill_prompt("user_roles_manner") if persona.framed else ""
        about = {"manner": manner, "person": describe_person(persona) if persona.framed else ""}
        system = fill_prompt("user_roles", **about, goal=goal, context=context or UNSTATED).strip()
    swapped = [{"role": SWAPPED[m.role], "content": m.content} for m in messages]
    return [{"role": "system", "content": system}, {"role": "user", "content": PRIMER}, *swapped]


def describe_person(persona: Persona) -> str:
    """Who the person is, as a list, and how the person writes: the commands as they are."""
    facts = {name.lower().replace("_", " "): value for name, value in persona.facts.items()}
    known = {name: v for name, v in facts.items() if str(v).strip().lower() not in NOT_KNOWN}
    lines = []
    for label, names in DEMOGRAPHICS.items():
        if values := [known[name] for name in names if name in known]:
            lines.append(f"- {label}: {' / '.join(values)}")
    about = set(map(": ".join, persona.facts.items()))
    manner = "\n".join(line for line in persona.render().split("\n") if line not in about)
    return f"Who this person is:\n{chr(10).join(lines) or NOBODY}\n\nHow this person writes:\n{manner}\n"


def fill_template(persona: Persona, goal: str) -> str:
    """A reader's prompt with goal, profile and examples in their places; other braces stay as they are."""
    examples = "\n".join(f"- {shown.typed}" for shown in persona.demonstrations)
    values = {"goal": goal, "profile": persona.render_instructions(), "examples": examples}
    return TEMPLATE_FIELDS.sub(lambda field: values[field[1]], persona.template)


def make_turn_prompt(persona: Persona, wanted: str, messages: list[Message]) -> list[dict]:
    """What the person wants as the last turn of a chat, after the demonstrations as turns before it.

    The assistant's last reply stands before all turns: in the last one, a small model answers it or goes on
    with it, instead of writing as the user.
    """
    system = fill_prompt("user_turn", persona=persona.render_instructions())
    turns = [(shown.wanted, shown.typed) for shown in persona.demonstrations or read_shots()]
    for message in messages[-1:]:
        if message.role == "assistant" and len(messages) > 1:
            reply = cut_at_word(message.content, SHOWN_CHARS)
            system += "\n\n" + fill_prompt("user_turn_replied", replied=reply)
    chat = [
        {"role": role, "content": text} for turn in turns for role, text in zip(SWAPPED, turn, strict=True)
    ]
    return [{"role": "system", "content": system}, *chat, {"role": "user", "content": wanted}]


def read_shots() -> list[Demonstration]:
    """Three fixed turns for personas without demonstrations: they show what a turn is, in plain writing."""
    pairs = (pair.split("\n") for pair in fill_prompt("user_shots").split("\n\n"))
    return [Demonstration(wanted=wanted, typed=typed) for wanted, typed in pairs]


def split_close(text: str) -> tuple[str, bool]:
    """A message without the ``/close`` (or tau2's mark) at its end, and whether there is one: elsewhere it
    closes nothing.
    """
    match = re.search(rf"(?:^|\s)(?:{CLOSE}|{END_MARKS.pattern})[.!\s]*$", text)
    return (text[: match.start()].strip(), True) if match else (text, False)


def render_transcript(messages: list[Message]) -> str:
    """The conversation as text, as a simulator sees it."""
    return "\n".join(f"{SPEAKERS[m.role]}: {m.content}" for m in messages) or "(It begins with this message.)"
