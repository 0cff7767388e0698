"""PT3 cases: a held-out real conversation, and the goal that a simulated user gets in its place.

The goal is written by a model that is told to leave the person's wording behind. Where five words
in a row are still theirs it is asked again, so that *what* to say does not tell *how*. The prompts,
that threshold, the domains' names beyond the five released ones and the task types are ours.
"""

from typing import Literal, get_args

import pandas as pd
from pydantic import BaseModel, Field

from realusersim_nb.corpus.splits import assign_others, group_by_user, hold_out
from realusersim_nb.errors import InputError
from realusersim_nb.llm.models import Models
from realusersim_nb.profiles import extraction
from realusersim_nb.prompts.fill import fill_prompt
from realusersim_nb.records import CLOSE, Case, Conversation, Message, Transcript, list_user_messages
from realusersim_nb.simulators.rollouts import roll_out_arms
from realusersim_nb.simulators.users import Simulator
from realusersim_nb.text import cut_at_word, list_copied_runs, measure_longest_copy, measure_overlap


async def simulate_cases(
    simulator: Simulator,
    assistant: str,
    conversations: list[Conversation],
    *,
    extractor: str,
    arms: list[str],
    n_cases: int,
    max_user_messages: int,
    profile_messages: int | None = None,
) -> list[Transcript]:
    """From curated conversations to roll-outs in one call, for notebooks that begin after 03."""
    models, seed = simulator.models, simulator.seed
    profiled, held_out = hold_out(conversations, seed=seed, most=profile_messages)
    found, _ = await extraction.extract_profiles(profiled, extractor, models=models, seed=seed)
    own = {profile.user_id: profile for profile in found}
    chosen = draw_cases([c for c in held_out if c.user_id in own], n_cases=n_cases, seed=seed)
    cases, _ = await make_cases(models, assistant, chosen, seed=seed)
    return await roll_out_arms(simulator, assistant, cases, arms, own, max_user_messages=max_user_messages)


def tabulate_side_by_side(case: Case, transcripts: list[Transcript]) -> pd.DataFrame:
    """The real user's messages and each arm's in one case, turn by turn, as a judge would see them."""
    columns = {"real": list_judged_messages(case.original)}
    columns |= {t.arm: list_judged_messages(t.messages) for t in transcripts if t.case_id == case.case_id}
    shown = {
        name: pd.Series([" ".join(cut_at_word(t, 200).split()) for t in texts], dtype=object)
        for name, texts in columns.items()
    }
    return pd.DataFrame(shown).fillna("").rename_axis("turn")


def draw_reference_arms(
    cases: list[Case], known: list[Conversation], *, first: int, seed: int
) -> list[Transcript]:
    """What real people score: another conversation of the same user, and one of another user.

    ``same_user`` is the ceiling a perfect simulator could reach, ``other_user`` the floor of a
    real but wrong person (one of the cases' users, each once). ``known`` are other conversations of the
    cases' users; a user without one gives no bound. Each is cut to its ``first`` user messages.
    """
    talks = group_by_user(known)
    others = assign_others([case.user_id for case in cases], seed=seed)
    return [
        Transcript(
            case_id=case.case_id,
            user_id=case.user_id,
            arm=bound,
            messages=cut_conversation(talk.messages, first),
        )
        for bound in get_args(ReferenceArm)
        for case in cases
        for user in [case.user_id if bound == "same_user" else others[case.user_id]]
        for talk in [c for c in talks.get(user, []) if c.messages != case.original][:1]
    ]


CaseDomain = Literal[
    "business_finance",
    "ecommerce",
    "medical_health",
    "technology_it",
    "travel_hospitality",
    "education_science",
    "writing_entertainment",
    "other",
]
"""The five of the released test sets, and three of ours for the rest of what people chat about."""
TaskType = Literal[
    "find information",
    "get advice",
    "write or edit a text",
    "write or mend code",
    "analyse or calculate",
    "talk or play",
]
MIXED = "mixed_domain"  # the released name of the test set of all domains
ReferenceArm = Literal["same_user", "other_user"]
JUDGED_MESSAGES = 9  # the paper's: both conversations are cut to their first 9 messages
SHOWN_CHARS = 300  # of one message, in prompts (ours)
COPIED_WORDS = 5  # of the person's in a row are too many in a goal (ours)


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

    @property
    def goal(self) -> str:
        """The steps as a numbered list."""
        return "\n".join(f"{number}. {step}" for number, step in enumerate(self.steps, 1))


# --- what is judged of a conversation ----------------------------------------------------------


def list_judged_messages(messages: list[Message]) -> list[str]:
    """What a judge sees of a conversation: the user's part of its first 9 messages.

    ``/close`` is removed, and turns that are then empty.
    """
    texts = [text.replace(CLOSE, "").strip() for text in list_user_messages(messages[:JUDGED_MESSAGES])]
    return [text for text in texts if text]


def render_judged_messages(messages: list[Message]) -> str:
    """The prepared user messages as a list, long ones cut."""
    return "\n".join(f"- {cut_at_word(text, SHOWN_CHARS)}" for text in list_judged_messages(messages))


def cut_conversation(messages: list[Message], n: int) -> list[Message]:
    """A conversation up to its n-th user message: two are compared fairly if both could be as long."""
    ends = [i for i, m in enumerate(messages) if m.role == "user"][n - 1 : n]
    return messages[: ends[0] + 1] if ends else messages


def cut_case(case: Case, n: int) -> Case:
    """The case with its original cut to n user messages."""
    return case.model_copy(update={"original": cut_conversation(case.original, n)})


# --- cases from a corpus -----------------------------------------------------------------------


def draw_cases(held_out: list[Conversation], *, n_cases: int, seed: int) -> list[Conversation]:
    """A seeded draw of held-out conversations, one a user; all if there are fewer. ValueError if there is none."""
    if not held_out:
        raise InputError(
            "no conversation was held out to make a case of, since no user of this corpus has two: profiles (notebooks 01 "
            "and 02), agents (04) and given systems (05, simulator null) work; for the rest give a corpus whose users come back."
        )
    one_each = pd.Series([own[0] for own in group_by_user(held_out).values()])
    return one_each.sample(min(n_cases, len(one_each)), random_state=seed).tolist()


async def make_case(models: Models, model: str, conversation: Conversation, *, seed: int = 0) -> Case:
    """The case of one conversation: a model writes its goal, abstracted from the wording, and tags it.

    While five words in a row are the person's own, it is asked once more, and the version
    that copies less is kept. Raises CallFailed if the model's reply is unusable.
    """
    shown, own_words = render_judged_messages(conversation.messages), conversation.user_messages
    settings = {"temperature": 0.001, "max_tokens": 400, "seed": seed}

    def make_case(goal: CaseGoal, *, rewritten: bool) -> Case:
        return Case(
            case_id=conversation.conversation_id,
            user_id=conversation.user_id,
            goal=goal.goal,
            key_context=goal.facts,
            domain=goal.domain,
            task_type=goal.task_type,
            rewritten=rewritten,
            original=conversation.messages,
        )

    goal = await models.ask_json(model, fill_prompt("case_goal", messages=shown), CaseGoal, **settings)
    case = make_case(goal, rewritten=False)
    copied = list_copied_runs(case.told, own_words, at_least=COPIED_WORDS)
    if not copied:
        return case
    listed = "\n".join(f"- {run}" for run in copied)
    prompt = fill_prompt("case_goal_again", messages=shown, goal=case.told, copied=listed)
    again = await models.ask_json(model, prompt, CaseGoal, **settings)
    versions = [make_case(version, rewritten=True) for version in (goal, again)]
    return min(versions, key=lambda version: measure_longest_copy(version.told, own_words))


async def make_cases(
    models: Models, model: str, chosen: list[Conversation], *, seed: int = 0
) -> tuple[list[Case], pd.DataFrame]:
    """Cases of all chosen conversations, and a table (case_id, error) of those that failed.

    ValueError, with the first reason, if every one failed.
    """
    outcomes = await models.run_all([make_case(models, model, c, seed=seed) for c in chosen], "goals")
    failed = [
        (c.conversation_id, str(o.failure)) for c, o in zip(chosen, outcomes, strict=True) if o.failure
    ]
    if failed and len(failed) == len(outcomes):
        raise InputError(
            f"no goal of {len(outcomes)} could be written by {model!r} ({failed[0][1]}); try another model as `assistant`."
        )
    return [o.result for o in outcomes if o.result], pd.DataFrame(failed, columns=["case_id", "error"])


def measure_leaks(cases: list[Case]) -> pd.DataFrame:
    """What each goal has kept of the person's wording: one row a case, index case_id.

    ``longest`` run of words in common (names and numbers count), ``overlap`` (0..1: share of the
    word triples in common), whether it is ``too_long`` (five words or more) and was ``rewritten``.
    """
    rows = []
    for case in cases:
        said = list_user_messages(case.original)
        longest = measure_longest_copy(case.told, said)
        rows.append(
            (case.case_id, longest, measure_overlap(case.told, said), longest >= COPIED_WORDS, case.rewritten)
        )
    return pd.DataFrame(rows, columns=["case_id", "longest", "overlap", "too_long", "rewritten"]).set_index(
        "case_id"
    )


def split_by_domain(cases: list[Case]) -> dict[str, list[Case]]:
    """Test sets as they are released: ``mixed_domain`` with all cases, and one a domain that occurs."""
    domains = sorted({case.domain for case in cases if case.domain})
    return {MIXED: cases} | {domain: [case for case in cases if case.domain == domain] for domain in domains}


def list_originals(cases: list[Case]) -> list[Conversation]:
    """The cases' real conversations, from which released cases take their bounds."""
    return [Conversation(conversation_id=c.case_id, user_id=c.user_id, messages=c.original) for c in cases]
