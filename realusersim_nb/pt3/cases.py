"""PT3 cases: a held-out real conversation, and the goal that a simulated user gets in its place.

A model writes the goal, and is asked to leave the person's wording out. Where five words in a row are still
theirs it is asked again, so that *what* to write does not show *how*. The prompts, that threshold, the
domains' names beyond the five released ones and the task types are ours.
"""

from itertools import product
from typing import Literal, get_args

import pandas as pd
from pydantic import BaseModel, Field

from realusersim_nb.corpus.splits import assign_others, group_by_user, hold_out
from realusersim_nb.errors import InputError
from realusersim_nb.llm.models import Models
from realusersim_nb.profiles import extraction
from realusersim_nb.prompts.fill import fill_prompt
from realusersim_nb.records import CLOSE, Case, Conversation
from realusersim_nb.simulators.rollouts import roll_out_arms
from realusersim_nb.simulators.users import Simulator
from realusersim_nb.text import cut_at_word, list_copied_runs, measure_longest_copy, measure_overlap

Released = Literal["business_finance", "ecommerce", "medical_health", "technology_it", "travel_hospitality"]
CaseDomain = Literal[Released, "education_science", "writing_entertainment", "other"]
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
COPIED_WORDS = 5  # of the person's in a row are too many in a goal (ours)
LEAK_COLUMNS = "case_id longest overlap too_long rewritten".split()


class Step(BaseModel):
    """One request in keywords: no sentence, so that little of the person's wording comes along."""

    action: str = Field(min_length=2, max_length=24)
    about: str = Field(min_length=2, max_length=60)
    details: str = Field(max_length=60)

    def __str__(self) -> str:
        return f"{self.action}: {self.about}" + f" ({self.details})" * bool(self.details.strip())


class CaseGoal(BaseModel):
    """A conversation's goal as a model writes it: what to ask for, step by step, facts, and tags."""

    steps: list[Step] = Field(min_length=1, max_length=5)
    facts: str = Field(max_length=120)
    domain: CaseDomain
    task_type: TaskType

    def make_case(self, original: Conversation, *, rewritten: bool) -> Case:
        """The case of a conversation, its goal the steps as a numbered list."""
        keys = {"case_id": original.conversation_id, "user_id": original.user_id}
        goal = "\n".join(f"{number}. {step}" for number, step in enumerate(self.steps, 1))
        tags = {"domain": self.domain, "task_type": self.task_type, "rewritten": rewritten}
        return Case(**keys, goal=goal, key_context=self.facts, **tags, original=original)


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


def cut_conversation(conversation: Conversation, n: int) -> Conversation:
    """A conversation up to its n-th user message: a fair comparison needs two that could be as long."""
    ends = [i for i, m in enumerate(conversation.messages, 1) if m.role == "user"][n - 1 : n]
    return conversation.model_copy(update={"messages": conversation.messages[: ends[0] if ends else None]})


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
    return one_each.sample(min(n_cases, len(one_each)), random_state=seed).tolist()


async def make_case(models: Models, model: str, conversation: Conversation, *, seed: int = 0) -> Case:
    """The case of one conversation: a model writes its goal, abstracted from the wording, and tags it.

    While five words in a row are the person's, it is asked once more, and the version that copies less is
    kept. CallFailed if the model's reply is unusable.
    """
    shown, wording = render_judged_messages(conversation), conversation.user_messages
    sampling = {"temperature": 0.001, "max_tokens": 400, "seed": seed}
    goal = await models.ask_json(model, fill_prompt("case_goal", messages=shown), CaseGoal, **sampling)
    case = goal.make_case(conversation, rewritten=False)
    copied = list_copied_runs(case.brief, wording, at_least=COPIED_WORDS)
    if not copied:
        return case
    listed = "\n".join(f"- {run}" for run in copied)
    prompt = fill_prompt("case_goal_again", messages=shown, goal=case.brief, copied=listed)
    again = await models.ask_json(model, prompt, CaseGoal, **sampling)
    versions = [version.make_case(conversation, rewritten=True) for version in (goal, again)]
    return min(versions, key=lambda version: measure_longest_copy(version.brief, wording))


async def make_cases(
    models: Models, model: str, chosen: list[Conversation], *, seed: int = 0
) -> tuple[list[Case], pd.DataFrame]:
    """Cases of all chosen conversations, and a table (case_id, error) of failures; InputError if all fail."""
    outcomes = await models.run_all([make_case(models, model, c, seed=seed) for c in chosen], "goals")
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
    """Test sets as they are released: ``mixed_domain`` with all cases, and one a domain that occurs."""
    domains = sorted({case.domain for case in cases if case.domain})
    return {MIXED: cases} | {domain: [case for case in cases if case.domain == domain] for domain in domains}


async def simulate_cases(
    simulator: Simulator,
    conversations: list[Conversation],
    *,
    extractor: str,
    arms: list[str],
    n_cases: int,
    profile_messages: int | None = None,
) -> list[Conversation]:
    """From curated conversations to rollouts in one call, for notebooks that begin after 03."""
    models, seed = simulator.models, simulator.seed
    profiled, held_out = hold_out(conversations, seed=seed, most=profile_messages)
    extracted, _ = await extraction.extract_profiles(profiled, extractor, models=models, seed=seed)
    profiles = {profile.user_id: profile for profile in extracted}
    chosen = draw_cases([c for c in held_out if c.user_id in profiles], n_cases=n_cases, seed=seed)
    cases, _ = await make_cases(models, simulator.assistant or simulator.model, chosen, seed=seed)
    return await roll_out_arms(simulator, cases, arms, profiles)
