"""One message of a simulated user: a model, the persona it follows, the goal, and the conversation so far."""

from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, Field

from realusersim_nb.llm.errors import Outcome
from realusersim_nb.llm.models import Models
from realusersim_nb.prompts.fill import fill_prompt
from realusersim_nb.records import CLOSE, Case, Message, Persona

TurnFormat = Literal["transcript", "roles"]
SPEAKERS = {"user": "Person", "assistant": "Assistant"}
SWAPPED = {"user": "assistant", "assistant": "user"}


class UserTurn(BaseModel):
    """The simulated user's next message, after its content in plain words.

    The plain request comes first because a small model that is asked for the message at once
    tends to answer as the assistant.
    """

    plain_request: str = Field(max_length=200)
    same_request_as_this_person_types_it: str = Field(min_length=1, max_length=600)


class UserPlan(BaseModel):
    """Where the simulated user stands: what they ask for next, and whether that is all."""

    next_request: str = Field(min_length=1, max_length=200)
    n_left: int = Field(ge=0, le=9, alias="parts_left")  # the name that models see


@dataclass(frozen=True)
class Simulator:
    """A model that writes as a user, how it is asked, and whom it talks to.

    ``transcript``: one prompt shows the conversation as text, and whether the user is done is asked apart
    from what they write; small models need this, since with swapped roles they answer as the assistant.
    ``roles``: the paper's format, the conversation with swapped chat roles, ``/close`` written by the
    simulator itself. ``assistant`` (None: the same model) replies in rollouts, which have at most
    ``max_user_messages``: the paper's 5, an opening and answers to at most 4 replies.
    """

    models: Models
    model: str
    turn_format: TurnFormat = "transcript"
    seed: int = 0
    assistant: str | None = None
    max_user_messages: int = 5

    async def write(self, *, persona: Persona, goal: str, context: str, messages: list[Message]) -> str:
        """The user's next message, or ``/close`` at the end; CallFailed for an unusable reply."""
        about = {"goal": goal, "context": context}
        if self.turn_format == "roles":
            system = fill_prompt("user_roles", persona=persona.render(), **about)
            swapped = [{"role": SWAPPED[m.role], "content": m.content} for m in messages]
            greeting = {"role": "user", "content": "Hello! How can I help you?"}  # many models want one first
            prompt = [{"role": "system", "content": system}, greeting, *swapped]
            return await self.models.ask(self.model, prompt, seed=self.seed)
        shown, next_request = [], goal.splitlines()[0]  # an opening ignores how the assistant greets
        if any(m.role == "user" for m in messages):
            prompt = fill_prompt("user_plan", transcript=render_transcript(messages), **about)
            sampling = {"temperature": 0.001, "max_tokens": 120, "seed": self.seed}
            plan = await self.models.ask_json(self.model, prompt, UserPlan, **sampling)
            if plan.n_left == 0:
                return CLOSE
            shown, next_request = messages[-2:], plan.next_request
        texts = {"persona": persona.render(), "transcript": render_transcript(shown), "next": next_request}
        prompt = fill_prompt("user_turn", **texts)
        turn = await self.models.ask_json(self.model, prompt, UserTurn, max_tokens=300, seed=self.seed)
        return turn.same_request_as_this_person_types_it.strip()

    async def open(self, case: Case, personas: dict[str, Persona]) -> dict[str, Outcome[str]]:
        """The first message of a case's user under each persona, by the persona's name."""
        about = {"goal": case.goal, "context": case.key_context, "messages": []}
        tasks = [self.write(persona=persona, **about) for persona in personas.values()]
        return dict(zip(personas, await self.models.run_all(tasks, "openings"), strict=True))


def render_transcript(messages: list[Message]) -> str:
    """The conversation as text, as a simulator sees it."""
    return "\n".join(f"{SPEAKERS[m.role]}: {m.content}" for m in messages) or "(It begins with this message.)"
