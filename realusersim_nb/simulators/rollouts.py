"""Rollouts: whole conversations of a simulated user with an assistant, for each case under each arm."""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace

import pandas as pd

from realusersim_nb.llm.errors import CallFailed, list_results
from realusersim_nb.prompts.fill import fill_prompt
from realusersim_nb.records import Case, Conversation, Message, Persona, Profile
from realusersim_nb.simulators import conditions, role_breaks
from realusersim_nb.simulators.calibration import choose_candidate
from realusersim_nb.simulators.users import Simulator, split_close
from realusersim_nb.text import mark_repeats, measure_longest_copy, split_words

ENDS = ["close", "max_turns", "error"]
DRAWS = 3  # of a message at most, while each has a role break (ours)
REPLY_WORDS = 40  # of the assistant, where a small model reads it (ours)
ASSISTANT_TOKENS = 2048  # of the assistant, in the paper's format


async def roll_out(
    simulator: Simulator,
    case: Case,
    arm: str,
    persona: Persona,
    *,
    live: list[Message] | None = None,
    answer: Callable[[list[Message]], Awaitable[str]] | None = None,
) -> Conversation:
    """One simulated conversation about a case's goal; the original is never shown.

    ``live`` is a list that receives the messages as they are written. ``answer`` replies to the messages so
    far in place of the simulator's assistant. A call that fails ends the conversation, which then has the
    messages so far and the ``error``.
    """
    messages, outcome = [] if live is None else live, {"ended_by": "max_turns"}
    try:
        for turn in range(simulator.max_user_messages):
            text, closes = await write_in_role(simulator, case, persona, messages)
            messages += [Message(role="user", content=text)] if text else []
            if closes:
                outcome["ended_by"] = "close"
                break
            if turn < simulator.max_user_messages - 1:
                reply = await answer(messages) if answer else await reply_as_assistant(simulator, messages)
                messages.append(Message(role="assistant", content=reply))
        outcome["role_break"] = role_breaks.find_conversation_break(messages, persona, case.steps)
    except CallFailed as error:
        outcome = {"ended_by": "error", "error": str(error)}
    return Conversation(messages=messages, simulator=simulator.model, **case.identify(arm), **outcome)


async def write_in_role(
    simulator: Simulator, case: Case, persona: Persona, messages: list[Message]
) -> tuple[str, bool]:
    """The user's next message, and whether it closes the conversation.

    A message with a role break is drawn again, with another seed; the last draw stands. Of several candidates
    without a role break (``Persona.n_candidates``), one is chosen. Once there is one, a draw that closes, is
    empty or fails is no candidate: several draws shall not end more conversations than one does.
    """
    about = {"persona": persona, "goal": case.goal, "context": case.key_context, "steps": case.steps}
    before, usable = [m.content for m in messages if m.role == "user"], []
    seen = {
        "wanted": dict(enumerate(case.steps)).get(len(before), ""),
        "replied": next((m.content for m in messages[::-1] if m.role == "assistant"), ""),
    }
    for draw in range(DRAWS + persona.n_candidates - 1):
        try:
            reply = split_close(await replace(simulator, draw=draw).write(messages=messages, **about))
        except CallFailed:
            if not usable:
                raise
            continue
        if usable and (reply[1] or not reply[0]):
            continue
        text, closes = reply
        if closes or not text:
            break
        usable += [] if role_breaks.find_break(text, before, persona, **seen) else [text]
        if len(usable) == persona.n_candidates:
            break
    if usable:
        shown = [demonstration.typed for demonstration in persona.demonstrations]
        return choose_candidate(usable, before, shown) if len(usable) > 1 else usable[0], False
    if not text and not closes:
        raise CallFailed("empty", "the user's message has no text")
    return text, closes


async def reply_as_assistant(simulator: Simulator, messages: list[Message]) -> str:
    """The assistant's reply to a conversation: a short one, but as the model will in the paper's format."""
    prompt = [{"role": m.role, "content": m.content} for m in messages]
    sampling = {"max_tokens": ASSISTANT_TOKENS, "seed": simulator.seed}
    if simulator.turn_format == "transcript":
        system = {"role": "system", "content": fill_prompt("assistant", words=str(REPLY_WORDS))}
        prompt, sampling["max_tokens"] = [system, *prompt], 2 * REPLY_WORDS
    return await simulator.models.ask(simulator.assistant or simulator.model, prompt, **sampling)


async def roll_out_arms(
    simulator: Simulator, cases: list[Case], arms: list[str], profiles: dict[str, Profile]
) -> list[Conversation]:
    """One simulated conversation for each case under each arm, arm by arm; ``profiles`` by user id."""
    conditions.check_arms(arms)
    tasks = []
    for arm in arms:
        personas = conditions.write_personas(arm, cases, profiles, seed=simulator.seed)
        tasks += [roll_out(simulator, case, arm, p) for case, p in zip(cases, personas, strict=True)]
    return list_results(await simulator.models.run_all(tasks, "rollouts"))


def describe_rollouts(simulator: Simulator, arms: list[str], source: dict) -> dict:
    """What rollouts were made from, for reuse: the models, the arms, and the ``source`` of their cases."""
    settings = {name: getattr(simulator, name) for name in ("turn_format", "seed", "max_user_messages")}
    models = {"simulator": simulator.model, "assistant": simulator.assistant or simulator.model}
    texts = {arm: conditions.read_template(arm) for arm in arms if arm.startswith(conditions.PROMPT)}
    return {**source, **settings, **models, "arms": arms} | ({"prompt_files": texts} if texts else {})


def group_by_arm(transcripts: Iterable[Conversation]) -> dict[str, list[Conversation]]:
    """Simulated conversations by arm, without those that failed or have no user message."""
    arms: dict[str, list[Conversation]] = {}
    for transcript in transcripts:
        if transcript.ended_by != "real" and not transcript.error and transcript.user_messages:
            arms.setdefault(transcript.arm, []).append(transcript)
    return arms


def tabulate_rollouts(transcripts: list[Conversation], examples: dict[str, list[str]]) -> pd.DataFrame:
    """How each arm's conversations went: one row an arm.

    ``n``; how many ended by ``close``, ``max_turns`` or ``error``; ``messages`` (of the user, mean);
    ``repeated`` (0..1: share of the messages after the first that repeat one word for word); against each
    user's profile ``examples``, ``copied`` (0..1: share of messages that copy one, see ``is_copy``) and
    ``longest_copied`` (words of the longest run in common with one, mean over conversations).
    """
    rows = []
    for t in transcripts:
        texts, shown = t.user_messages, examples.get(t.user_id, [])
        repeats, longest = mark_repeats(texts), measure_longest_copy("\n".join(texts), shown)
        copies = sum(any(is_copy(text, example) for example in shown) for text in texts)
        ends = [t.ended_by == end for end in ENDS]
        rows.append([t.arm, *ends, len(texts), len(repeats), sum(repeats), copies, longest])
    table = pd.DataFrame(rows, columns=["arm", *ENDS, *"messages later repeats copies longest".split()])
    arms = table.groupby("arm", sort=False)
    sums, means = arms.sum(), arms.mean()
    shares = {"repeated": sums["repeats"] / sums["later"], "copied": sums["copies"] / sums["messages"]}
    result = sums[ENDS].assign(messages=means["messages"], **shares, longest_copied=means["longest"])
    result.insert(0, "n", arms.size())
    return result


def is_copy(text: str, example: str) -> bool:
    """Whether a message is an example, or one of the two, of four words or more, is in the other."""
    shorter = min(len(split_words(text)), len(split_words(example)))
    is_whole = shorter >= role_breaks.WHOLE_WORDS and measure_longest_copy(text, [example]) == shorter
    return text.strip() == example.strip() or is_whole
