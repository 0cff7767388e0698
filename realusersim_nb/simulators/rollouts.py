"""TODO."""

from collections.abc import Iterable

import pandas as pd

from realusersim_nb.llm.errors import CallFailed
from realusersim_nb.llm.models import Models, list_results
from realusersim_nb.prompts.fill import fill_prompt
from realusersim_nb.records import CLOSE, Case, Conversation, Message, Transcript, list_user_messages
from realusersim_nb.simulators import conditions, role_breaks
from realusersim_nb.simulators.users import Simulator
from realusersim_nb.text import mark_repeats, measure_longest_copy

MAX_USER_MESSAGES = 5  # the paper's: an opening and answers to at most 4 replies
REPLY_WORDS = 40  # of the assistant (ours; the paper does not say)


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
                messages.append(
                    await reply_as_assistant(simulator.models, assistant, messages, seed=simulator.seed)
                )
    except CallFailed as error:
        return Transcript(**about, messages=messages, ended_by="error", error=str(error))
    lapse = role_breaks.find_role_break(list_user_messages(messages), persona)
    return Transcript(**about, messages=messages, ended_by=ended_by, lapse=lapse)


async def reply_as_assistant(
    models: Models, assistant: str, messages: list[Message], *, seed: int
) -> Message:
    """The assistant's reply to a conversation."""
    system = {"role": "system", "content": fill_prompt("assistant", words=str(REPLY_WORDS))}
    turns = [{"role": m.role, "content": m.content} for m in messages]
    text = await models.ask(assistant, [system, *turns], max_tokens=2 * REPLY_WORDS, seed=seed)
    return Message(role="assistant", content=text)


def group_by_arm(transcripts: Iterable[Transcript]) -> dict[str, list[Conversation]]:
    """Simulated conversations by arm; those that failed or say nothing are left out."""
    arms: dict[str, list[Conversation]] = {}
    for t in transcripts:
        conversation = Conversation(
            conversation_id=f"{t.case_id}/{t.arm}", user_id=t.user_id, messages=t.messages
        )
        if t.error is None and conversation.user_messages:
            arms.setdefault(t.arm, []).append(conversation)
    return arms


# --- transcripts -------------------------------------------------------------------------------


async def roll_out_arms(
    simulator: Simulator,
    assistant: str,
    cases: list[Case],
    arms: list[str],
    own: dict,
    *,
    max_user_messages: int,
) -> list[Transcript]:
    """One simulated conversation for each case under each arm, arm by arm; ``own`` maps user ids to profiles."""
    conditions.check_arms(arms)
    tasks = [
        roll_out(simulator, assistant, case, arm, persona, max_user_messages=max_user_messages)
        for arm in arms
        for case, persona in zip(
            cases, conditions.write_personas(arm, cases, own, seed=simulator.seed), strict=True
        )
    ]
    return list_results(await simulator.models.run_all(tasks, "roll-outs"))


def describe_rollouts(
    simulator: Simulator, assistant: str, arms: list[str], source: dict, *, max_user_messages: int
) -> dict:
    """What roll-outs were made from, for reuse: the models, the arms, and the ``source`` of their cases."""
    asked = {"simulator": simulator.model, "turn_format": simulator.turn_format, "seed": simulator.seed}
    return {**source, **asked, "assistant": assistant, "arms": arms, "max_user_messages": max_user_messages}


def tabulate_rollouts(transcripts: list[Transcript], examples: dict[str, list[str]]) -> pd.DataFrame:
    """How each arm's conversations went: one row an arm.

    Columns: ``n``, how many ended by ``close``, ``max_turns`` or ``error``, ``messages`` (user
    messages a conversation, mean) and ``repeated`` (0..1: share of the messages after the first
    that say word for word what that user said before), and, with each user's profile
    ``examples``, ``copied`` (0..1: share of messages that copy one) and ``longest_copied`` (words
    of the longest run in common with an example, mean over conversations).
    """
    rows = []
    for t in transcripts:
        texts = list_user_messages(t.messages)
        again = mark_repeats(texts)
        copied = [any(text in e or e in text for e in examples.get(t.user_id, [])) for text in texts]
        rows.append(
            {
                "arm": t.arm,
                "close": t.ended_by == "close",
                "max_turns": t.ended_by == "max_turns",
                "error": t.ended_by == "error",
                "messages": len(texts),
                "later": len(again),
                "again": sum(again),
                "copied": sum(copied),
                "run": measure_longest_copy("\n".join(texts), examples.get(t.user_id, [])),
            }
        )
    table = pd.DataFrame(rows)
    arms = table.groupby("arm", sort=False)
    found = arms[["close", "max_turns", "error"]].sum().assign(messages=arms["messages"].mean())
    found.insert(0, "n", arms.size())
    found["repeated"] = arms["again"].sum() / arms["later"].sum()
    found["copied"] = arms["copied"].sum() / arms["messages"].sum()
    found["longest_copied"] = arms["run"].mean()
    return found
