"""Kinds of simulated user (arms) and the conversations they have (roll-outs).

An arm decides only what the simulator is told about *how* a person writes; the goal, the
assistant and the seeds are the same for all arms of a case, so arms can be compared in pairs.
To add an arm, add a line to ``ARMS`` and put its text into ``prompts/``.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, Field

from realusersim_nb import lapses, profiles
from realusersim_nb.corpus import assign_others
from realusersim_nb.faults import CallFailed
from realusersim_nb.llm import Models
from realusersim_nb.records import CLOSE, Case, Conversation, Message, Profile, Transcript, user_messages
from realusersim_nb.templates import fill_prompt

TurnFormat = Literal["transcript", "roles"]

MAX_USER_MESSAGES = 5  # the paper's: an opening and answers to at most 4 replies
REPLY_WORDS = 40  # of the assistant (ours; the paper does not say)


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


# --- arms --------------------------------------------------------------------------------------

LIBRARY = ("terse", "chatty", "polite", "casual", "impatient", "angry", "confused")
"""Directives for one trait each, as benchmarks write them by hand; ``directives`` measures what becomes of them."""
ARMS: dict[str, Callable[[Profile, Profile], str]] = {
    "profile": lambda own, other: profiles.render(own),
    "profile_no_examples": lambda own, other: profiles.render(own, examples=False),
    "shuffled_profile": lambda own, other: profiles.render(other),
    "placebo": lambda own, other: fill_to_length(fill_prompt("persona_placebo"), len(profiles.render(own))),
    "directive": lambda own, other: fill_prompt("persona_directive"),
    **{name: lambda own, other, name=name: fill_prompt(f"directive_{name}") for name in LIBRARY},
    "task_only": lambda own, other: fill_prompt("persona_task_only"),
}
"""What each arm is told of how the person writes, from their own and somebody else's profile; in the order of figures."""


def fill_to_length(text: str, n: int) -> str:
    """So many characters of a text, which begins anew where it ends."""
    return "\n".join([text] * (n // len(text) + 1))[:n]


def check_arms(arms: Iterable[str], known: Iterable[str] = ARMS) -> None:
    """ValueError naming the first arm that does not exist."""
    for arm in arms:
        if arm not in known:
            raise ValueError(f"arm {arm!r} does not exist: expected some of {', '.join(known)}.")


def write_personas(arm: str, cases: list[Case], own: dict[str, Profile], *, seed: int) -> list[str]:
    """The persona text of each case under an arm; ``own`` has profiles by user, or for one case by its id."""
    others = assign_others([case.user_id for case in cases], seed=seed)
    return [ARMS[arm](own.get(c.case_id) or own[c.user_id], own[others[c.user_id]]) for c in cases]


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
        if user_messages(messages):
            prompt = fill_prompt("user_plan", goal=goal, context=context, transcript=render_transcript(messages))
            plan = await self.models.ask(
                self.model, prompt, UserPlan, temperature=0.001, max_tokens=120, seed=self.seed
            )
            if plan.parts_left == 0:
                return CLOSE
            shown, next_request = messages[-2:], plan.next_request
        else:  # they open the conversation, whatever the assistant may have said in greeting
            shown, next_request = [], goal.splitlines()[0]
        prompt = fill_prompt("user_turn", persona=persona, transcript=render_transcript(shown), next=next_request)
        turn = await self.models.ask(self.model, prompt, UserTurn, max_tokens=300, seed=self.seed)
        return turn.same_request_as_this_person_types_it.strip()

    async def open(self, case: Case, personas: dict[str, str]) -> dict[str, str | CallFailed]:
        """The first message of a case's user under each persona, by the persona's name."""
        told = {"goal": case.goal, "context": case.key_context, "messages": []}
        tasks = [self.write(persona=persona, **told) for persona in personas.values()]
        return dict(zip(personas, await self.models.run_all(tasks, "openings"), strict=True))


def render_transcript(messages: list[Message]) -> str:
    """The conversation as text, as a simulator sees it."""
    names = {"user": "Person", "assistant": "Assistant"}
    return "\n".join(f"{names[m.role]}: {m.content}" for m in messages) or "(It begins with this message.)"


# --- whole conversations -----------------------------------------------------------------------


async def roll_out(
    simulator: Simulator,
    assistant: str,
    case: Case,
    arm: str,
    persona: str,
    *,
    max_user_messages: int = MAX_USER_MESSAGES,
    heard: list[Message] | None = None,
) -> Transcript:
    """One simulated conversation about a case's goal; the original is never shown.

    ``heard`` is a list that fills while they speak, for who listens. A call that fails ends it: the transcript then holds what there was, and the reason. A user who
    fell out of its part is marked with the kind of lapse.
    """
    messages = [] if heard is None else heard
    about = {"case_id": case.case_id, "user_id": case.user_id, "arm": arm, "simulator": simulator.model}
    told, ended_by = {"persona": persona, "goal": case.goal, "context": case.key_context}, "max_turns"
    try:
        for turn in range(max_user_messages):
            text = await simulator.write(messages=messages, **told)
            if CLOSE in text:
                ended_by = "close"
                break
            messages.append(Message(role="user", content=text))
            if turn < max_user_messages - 1:
                messages.append(await answer(simulator.models, assistant, messages, seed=simulator.seed))
    except CallFailed as error:
        return Transcript(**about, messages=messages, ended_by="error", error=str(error))
    lapse = lapses.find_lapse(user_messages(messages), persona)
    return Transcript(**about, messages=messages, ended_by=ended_by, lapse=lapse)


async def answer(models: Models, assistant: str, messages: list[Message], *, seed: int) -> Message:
    """The assistant's reply to a conversation."""
    system = {"role": "system", "content": fill_prompt("assistant", words=str(REPLY_WORDS))}
    turns = [{"role": m.role, "content": m.content} for m in messages]
    text = await models.ask(assistant, [system, *turns], max_tokens=2 * REPLY_WORDS, seed=seed)
    return Message(role="assistant", content=text)


def group_by_arm(transcripts: Iterable[Transcript]) -> dict[str, list[Conversation]]:
    """Simulated conversations by arm; those that failed or say nothing are left out."""
    arms: dict[str, list[Conversation]] = {}
    for t in transcripts:
        conversation = Conversation(conversation_id=f"{t.case_id}/{t.arm}", user_id=t.user_id, messages=t.messages)
        if t.error is None and conversation.user_messages:
            arms.setdefault(t.arm, []).append(conversation)
    return arms
