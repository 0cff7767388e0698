"""TODO."""

from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, Field

from realusersim_nb.llm.models import Models, Outcome
from realusersim_nb.prompts.fill import fill_prompt
from realusersim_nb.records import CLOSE, Case, Message, list_user_messages

TurnFormat = Literal["transcript", "roles"]


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
    parts_left: int = Field(ge=0, le=9)


# --- one message -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Simulator:
    """A model that plays users, and how it is asked.

    ``transcript``: one prompt shows the conversation as text, and whether the user is done is
    asked apart from what they write; small models need this, since with swapped roles they
    answer as the assistant. ``roles``: the paper's format, the conversation with swapped chat
    roles, ``/close`` written by the simulator itself.
    """

    models: Models
    model: str
    turn_format: TurnFormat = "transcript"
    seed: int = 0

    async def write(self, *, persona: str, goal: str, context: str, messages: list[Message]) -> str:
        """The user's next message, or ``/close`` when they have what they want. CallFailed if a reply is unusable."""
        if self.turn_format == "roles":
            system = {
                "role": "system",
                "content": fill_prompt("user_roles", persona=persona, goal=goal, context=context),
            }
            swap = {"user": "assistant", "assistant": "user"}
            swapped = [{"role": swap[m.role], "content": m.content} for m in messages]
            opening = [] if swapped else [{"role": "user", "content": "Hello! How can I help you?"}]
            return await self.models.ask(self.model, [system, *opening, *swapped], seed=self.seed)
        if list_user_messages(messages):
            prompt = fill_prompt(
                "user_plan", goal=goal, context=context, transcript=render_transcript(messages)
            )
            plan = await self.models.ask_json(
                self.model, prompt, UserPlan, temperature=0.001, max_tokens=120, seed=self.seed
            )
            if plan.parts_left == 0:
                return CLOSE
            shown, next_request = messages[-2:], plan.next_request
        else:  # they open the conversation, whatever the assistant may have said in greeting
            shown, next_request = [], goal.splitlines()[0]
        prompt = fill_prompt(
            "user_turn", persona=persona, transcript=render_transcript(shown), next=next_request
        )
        turn = await self.models.ask_json(self.model, prompt, UserTurn, max_tokens=300, seed=self.seed)
        return turn.same_request_as_this_person_types_it.strip()

    async def open(self, case: Case, personas: dict[str, str]) -> dict[str, Outcome[str]]:
        """The first message of a case's user under each persona, by the persona's name."""
        told = {"goal": case.goal, "context": case.key_context, "messages": []}
        tasks = [self.write(persona=persona, **told) for persona in personas.values()]
        outcomes = await self.models.run_all(tasks, "openings")
        return dict(zip(personas, outcomes, strict=True))


def render_transcript(messages: list[Message]) -> str:
    """The conversation as text, as a simulator sees it."""
    names = {"user": "Person", "assistant": "Assistant"}
    return "\n".join(f"{names[m.role]}: {m.content}" for m in messages) or "(It begins with this message.)"
