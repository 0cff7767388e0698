"""PT3 cases: a held-out real conversation, and the goal that a simulated user gets in its place.

A model writes the goal, one neutral sentence for each message of the person's (``simulators.sentences``), so
that *what* to write does not show *how*. The prompts, the domains' names beyond the five released ones and
the task types are ours.
"""

from itertools import product
from typing import Literal, get_args

import pandas as pd
from pydantic import BaseModel

from realusersim_nb.corpus.splits import assign_others, cut_conversation, group_by_user, hold_out
from realusersim_nb.errors import InputError
from realusersim_nb.llm.models import Models
from realusersim_nb.profiles import extraction
from realusersim_nb.prompts.fill import fill_prompt
from realusersim_nb.records import CLOSE, Case, Conversation, ReleasedDomain
from realusersim_nb.simulators.conditions import needs_demonstrations
from realusersim_nb.simulators.demonstrations import add_demonstrations, keep_demonstrable
from realusersim_nb.simulators.rollouts import roll_out_arms
from realusersim_nb.simulators.sentences import COPIED_WORDS, state_request
from realusersim_nb.simulators.users import Simulator
from realusersim_nb.style import typed_text
from realusersim_nb.text import cut_at_word, measure_longest_copy, measure_overlap, name_file

CaseDomain = Literal[ReleasedDomain, "education_science", "writing_entertainment", "other"]
"""The five of the released test sets, and three of ours for the rest of what people chat about."""
TaskType = Literal[
    "find information",
    "get advice",
    "write or edit a text",
    "write or mend code",
    "analyse or calculate",
    "talk or play",
]
ReferenceArm = Literal["same_user", "other_user"]
MIXED = "mixed_domain"  # the released name of the test set of all domains
JUDGED_MESSAGES = 9  # the paper's: both conversations are cut to their first 9 messages
SHOWN_CHARS = 300  # of one message, in prompts (ours)
MOST_STEPS = 5  # of a goal: as many as a rollout has user messages
LEAK_COLUMNS = "case_id longest overlap too_long rewritten".split()


class CaseTags(BaseModel):
    """What a conversation is about, as a model tags it."""

    domain: CaseDomain
    task_type: TaskType


def list_judged_messages(conversation: Conversation) -> list[str]:
    """What a judge sees: the user's among the first 9 messages, without ``/close`` and what is then empty."""
    shown = (m for m in conversation.messages[:JUDGED_MESSAGES] if m.role == "user")
    return [text for m in shown if (text := m.content.replace(CLOSE, "").strip())]


def render_judged_messages(conversation: Conversation) -> str:
    """Those messages as a list, long ones cut."""
    return "\n".join(f"- {cut_at_word(text, SHOWN_CHARS)}" for text in list_judged_messages(conversation))


def tabulate_side_by_side(case: Case, transcripts: list[Conversation]) -> pd.DataFrame:
    """The real user's messages and each arm's in one case, turn by turn, as a judge would see them."""
    sides = {"real": case.original} | {t.arm: t for t in transcripts if t.case_id == case.case_id}
    columns = {name: pd.Series(list_judged_messages(side), dtype=object) for name, side in sides.items()}
    table = pd.DataFrame(columns).fillna("").rename_axis("turn")
    return table.map(lambda text: " ".join(cut_at_word(text, 200).split()))


def cut_case(case: Case, n: int) -> Case:
    """The case with its original cut to n user messages."""
    return case.model_copy(update={"original": cut_conversation(case.original, n)})


def draw_cases(held_out: list[Conversation], *, n_cases: int, seed: int) -> list[Conversation]:
    """A seeded draw of held-out conversations, one a user; all if there are fewer, InputError for none."""
    if not held_out:
        problem = "no conversation was held out to make a case of, since no user of this corpus has two"
        usable = "profiles (notebooks 01 and 02), agents (04) and given systems (05, simulator null) work"
        raise InputError(f"{problem}: {usable}; for the rest give a corpus whose users come back.")
    one_each = pd.Series([conversations[0] for conversations in group_by_user(held_out).values()])
    return one_each.sample(frac=1, random_state=seed)[:n_cases].tolist()  # more cases begin with the same


async def make_case(
    models: Models, model: str, conversation: Conversation, *, first: int = MOST_STEPS, seed: int = 0
) -> Case:
    """The case of one conversation: a model writes its goal, a sentence for each of its ``first`` messages.

    ``simulators.sentences`` says how the person's wording is kept out. CallFailed if a sentence is missing.
    """
    keys = {"case_id": conversation.conversation_id, "user_id": conversation.user_id}
    steps, rewritten = [], False
    for text in list_judged_messages(conversation)[:first]:
        sentence, again = await state_request(models, model, typed_text(text), seed=seed)
        steps, rewritten = [*steps, sentence], rewritten or again
    goal = {"goal": "\n".join(steps), "key_context": "", "steps": steps, "rewritten": rewritten}
    return Case(**keys, **goal, original=conversation)


async def tag_cases(models: Models, model: str, cases: list[Case], *, seed: int) -> list[Case]:
    """The cases with a domain and a type of task, as a model tags their goals; without, where it fails."""
    sampling = {"temperature": 0.001, "max_tokens": 60, "seed": seed}
    prompts = [fill_prompt("case_tags", goal=case.goal) for case in cases]
    tasks = [models.ask_json(model, prompt, CaseTags, **sampling) for prompt in prompts]
    tags = [o.result.model_dump() if o.result else {} for o in await models.run_all(tasks, "domains")]
    return [case.model_copy(update=tag) for case, tag in zip(cases, tags, strict=True)]


async def make_cases(
    models: Models, model: str, chosen: list[Conversation], *, first: int = MOST_STEPS, seed: int = 0
) -> tuple[list[Case], pd.DataFrame]:
    """Cases of all chosen conversations, and a table (case_id, error) of failures; InputError if all fail."""
    tasks = [make_case(models, model, c, first=first, seed=seed) for c in chosen]
    outcomes = await models.run_all(tasks, "goals")
    pairs = zip(chosen, outcomes, strict=True)
    failed = [(c.conversation_id, str(outcome.failure)) for c, outcome in pairs if outcome.failure]
    if failed and len(failed) == len(outcomes):
        reason = f"no goal of {len(outcomes)} could be written by {model!r} ({failed[0][1]})"
        raise InputError(f"{reason}; try another model as `assistant`.")
    cases = [outcome.result for outcome in outcomes if outcome.result]
    return cases, pd.DataFrame(failed, columns=["case_id", "error"])


def draw_reference_arms(
    cases: list[Case], known: list[Conversation], *, first: int, seed: int
) -> list[Conversation]:
    """What real people score: another conversation of the same user, and one of another user.

    ``same_user`` is the ceiling a perfect simulator could reach, ``other_user`` the floor of a real but wrong
    person (one of the cases' users, each once). ``known`` are other conversations of the cases' users; a user
    without one gives none. Each is cut to its ``first`` user messages.
    """
    by_user, others = group_by_user(known), assign_others([case.user_id for case in cases], seed=seed)
    drawn = []
    for arm, case in product(get_args(ReferenceArm), cases):
        user = case.user_id if arm == "same_user" else others[case.user_id]
        candidates = [c for c in by_user.get(user, []) if c.messages != case.original.messages]
        drawn += [cut_conversation(c, first).model_copy(update=case.identify(arm)) for c in candidates[:1]]
    return drawn


def measure_leaks(cases: list[Case]) -> pd.DataFrame:
    """What each goal has kept of the person's wording: one row a case, index case_id.

    ``longest`` run of words in common (names and numbers count), ``overlap`` (0..1: share of the
    word triples in common), whether it is ``too_long`` (five words or more) and was ``rewritten``.
    """
    rows = []
    for case in cases:
        wording = case.original.user_messages
        longest, overlap = measure_longest_copy(case.brief, wording), measure_overlap(case.brief, wording)
        rows.append((case.case_id, longest, overlap, longest >= COPIED_WORDS, case.rewritten))
    return pd.DataFrame(rows, columns=LEAK_COLUMNS).set_index("case_id")


def split_by_domain(cases: list[Case]) -> dict[str, list[Case]]:
    """Test sets by file name, as they are released: ``mixed_domain`` with all cases, and one a domain."""
    named = [(name_file(case.domain), case) for case in cases if case.domain]
    domains = sorted({name for name, _ in named if name != MIXED})
    return {MIXED: cases} | {domain: [case for name, case in named if name == domain] for domain in domains}


async def simulate_cases(
    simulator: Simulator,
    conversations: list[Conversation],
    *,
    extractor: str,
    arms: list[str],
    n_cases: int,
    n_demonstrations: int,
    profile_messages: int | None = None,
) -> list[Conversation]:
    """From curated conversations to rollouts in one call, for notebooks that begin after 03.

    As there, a person without demonstrations is in no case where an arm shows some.
    """
    models, seed = simulator.models, simulator.seed
    profiled, held_out = hold_out(conversations, seed=seed, most=profile_messages)
    extracted, _ = await extraction.extract_profiles(profiled, extractor, models=models, seed=seed)
    profiles = {profile.user_id: profile for profile in extracted}
    eligible = keep_demonstrable(held_out, profiled, n=n_demonstrations)
    chosen, first = draw_cases(eligible, n_cases=n_cases, seed=seed), simulator.max_user_messages
    writer = simulator.assistant or simulator.model
    cases, _ = await make_cases(models, writer, chosen, first=first, seed=seed)
    if needs_demonstrations(arms):
        profiles = {case.user_id: profiles[case.user_id] for case in cases}
        profiles = await add_demonstrations(models, writer, profiles, profiled, n=n_demonstrations, seed=seed)
        cases = [case for case in cases if profiles[case.user_id].demonstrations]
    return await roll_out_arms(simulator, cases, arms, profiles)
