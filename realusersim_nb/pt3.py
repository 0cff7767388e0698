"""PT3, the Paired Trajectory Turing Test: is the simulated user the same person?

A case is a held-out real conversation and the goal behind it. A simulated user pursues the goal
under each arm; a judge then compares only the user's messages with the original, in five
dimensions. The **fidelity index** is the share of dimension verdicts that say match
(RealUserSim; 0..1, higher is closer to the person).

The prompts and the bounds ``same_user`` and ``other_user`` are ours; the two-call judge, the cut
to 9 messages and the index are the paper's.
"""

from typing import Annotated, Literal, get_args

import numpy as np
import pandas as pd
from pydantic import BaseModel, Field

from realusersim_nb import profiles, simulators, stats
from realusersim_nb.corpus import group_by_user, hold_out
from realusersim_nb.faults import CallFailed
from realusersim_nb.llm import Models
from realusersim_nb.measured_judge import MeasuredJudge
from realusersim_nb.records import Case, Conversation, Judgement, Message, Transcript, user_messages
from realusersim_nb.templates import fill_prompt

DIMENSIONS = {
    "D1": "persona and affective traits",
    "D2": "linguistic style and mechanics",
    "D3": "technical competency and knowledge",
    "D4": "interaction and data flow",
    "D5": "pacing and action sequencing",
}
Bound = Literal["same_user", "other_user"]
JUDGED_MESSAGES = 9  # the paper's: both conversations are cut to their first 9 messages
SHOWN_CHARS = 300  # of one message, in prompts (ours)


class CaseGoal(BaseModel):
    """A conversation's goal as a model writes it: what to ask for, step by step, and facts."""

    steps: list[Annotated[str, Field(max_length=200)]] = Field(min_length=1, max_length=5)
    facts: str = Field(max_length=300)


Finding = Annotated[str, Field(min_length=25, max_length=140)]  # a bare "match" is no finding


class Analysis(BaseModel):
    """The judge's free text, one sentence a dimension."""

    D1: Finding
    D2: Finding
    D3: Finding
    D4: Finding
    D5: Finding


class Verdicts(BaseModel):
    """One verdict a dimension: true is a match."""

    D1: bool
    D2: bool
    D3: bool
    D4: bool
    D5: bool


# --- cases -------------------------------------------------------------------------------------


def choose_cases(held_out: list[Conversation], *, n_cases: int, seed: int) -> list[Conversation]:
    """A seeded draw of held-out conversations, one a user; all if there are fewer."""
    one_each = pd.Series([own[0] for own in group_by_user(held_out).values()])
    return one_each.sample(min(n_cases, len(one_each)), random_state=seed).tolist()


async def describe_case(models: Models, model: str, conversation: Conversation, *, seed: int = 0) -> Case:
    """The case of one conversation: a model writes its goal, abstracted from the wording.

    Raises CallFailed if the model's reply is unusable.
    """
    prompt = fill_prompt("case_goal", messages=list_messages(conversation.messages))
    written = await models.ask(model, prompt, CaseGoal, temperature=0.001, max_tokens=400, seed=seed)
    return Case(
        case_id=conversation.conversation_id, user_id=conversation.user_id,
        goal="\n".join(f"{number}. {step}" for number, step in enumerate(written.steps, 1)),
        key_context=written.facts, original=conversation.messages,
    )  # fmt: skip


async def describe_cases(
    models: Models, model: str, chosen: list[Conversation], *, seed: int = 0
) -> tuple[list[Case], pd.DataFrame]:
    """Cases of all chosen conversations, and a table (case_id, error) of those that failed."""

    async def attempt(conversation: Conversation) -> Case | dict:
        try:
            return await describe_case(models, model, conversation, seed=seed)
        except CallFailed as error:
            return {"case_id": conversation.conversation_id, "error": str(error)}

    found = await models.run_all([attempt(c) for c in chosen], "goals")
    failed = [f for f in found if isinstance(f, dict)]
    return [f for f in found if isinstance(f, Case)], pd.DataFrame(failed, columns=["case_id", "error"])


# --- transcripts -------------------------------------------------------------------------------


async def roll_out_arms(
    models: Models, cases: list[Case], arms: list[str], own: dict, *, seed: int = 0, **settings
) -> list[Transcript]:
    """One simulated conversation for each case under each arm, arm by arm.

    ``own`` maps user ids to profiles; ``settings`` are those of ``simulators.roll_out``.
    """
    simulators.check_arms(arms)
    tasks = [
        simulators.roll_out(models, case, arm, persona, seed=seed, **settings)
        for arm in arms
        for case, persona in zip(cases, simulators.write_personas(arm, cases, own, seed=seed), strict=True)
    ]
    return await models.run_all(tasks, "roll-outs")


async def simulate(
    models: Models, conversations: list[Conversation], *, arms: list[str], extractor: str, n_cases: int,
    simulator: str, assistant: str, seed: int, **settings,
) -> list[Transcript]:  # fmt: skip
    """From curated conversations to roll-outs in one call, for notebooks that begin after 03."""
    profiled, held_out = hold_out(conversations, seed=seed)
    found, _ = await profiles.extract(profiled, extractor, models=models, seed=seed)
    own = {profile.user_id: profile for profile in found}
    chosen = choose_cases([c for c in held_out if c.user_id in own], n_cases=n_cases, seed=seed)
    cases, _ = await describe_cases(models, assistant, chosen, seed=seed)
    return await roll_out_arms(
        models, cases, arms, own, simulator=simulator, assistant=assistant, seed=seed, **settings
    )


def describe_transcripts(transcripts: list[Transcript], examples: dict[str, list[str]] | None = None) -> pd.DataFrame:
    """How each arm's conversations went: one row an arm.

    Columns: ``n``, how many ended by ``close``, ``max_turns`` or ``error``, ``messages`` (user
    messages a conversation, mean) and ``repeated`` (0..1: share of the messages after the first
    that say word for word what that user said before). With ``examples``, each user's profile
    examples, also ``copied`` (0..1: share of messages that copy one).
    """
    rows = []
    for t in transcripts:
        texts = user_messages(t.messages)
        again = [text in texts[:i] for i, text in enumerate(texts)][1:]
        copied = [any(text in e or e in text for e in (examples or {}).get(t.user_id, [])) for text in texts]
        rows.append(
            {"arm": t.arm, "close": t.ended_by == "close", "max_turns": t.ended_by == "max_turns",
             "error": t.ended_by == "error", "messages": len(texts), "later": len(again),
             "again": sum(again), "copied": sum(copied)}
        )  # fmt: skip
    table = pd.DataFrame(rows)
    arms = table.groupby("arm", sort=False)
    found = arms[["close", "max_turns", "error"]].sum().assign(messages=arms["messages"].mean())
    found.insert(0, "n", arms.size())
    found["repeated"] = arms["again"].sum() / arms["later"].sum()
    if examples is not None:
        found["copied"] = arms["copied"].sum() / arms["messages"].sum()
    return found


def show_side_by_side(case: Case, transcripts: list[Transcript]) -> pd.DataFrame:
    """The real user's messages and each arm's in one case, turn by turn, as a judge would see them."""
    columns = {"real": prepare(case.original)}
    columns |= {t.arm: prepare(t.messages) for t in transcripts if t.case_id == case.case_id}
    shown = {
        name: pd.Series([" ".join(profiles.cut_at_word(t, 200).split()) for t in texts], dtype=object)
        for name, texts in columns.items()
    }
    return pd.DataFrame(shown).fillna("").rename_axis("turn")


def draw_bounds(cases: list[Case], profiled: list[Conversation], *, seed: int) -> list[Transcript]:
    """What real people score: another conversation of the same user, and one of another user.

    ``same_user`` is the ceiling a perfect simulator could reach, ``other_user`` the floor of a
    real but wrong person. Needs the conversations the profiles were made from.
    """
    known = group_by_user(profiled)
    others = simulators.assign_others([case.user_id for case in cases], seed=seed)
    return [
        Transcript(case_id=case.case_id, user_id=case.user_id, arm=bound, messages=known[user][0].messages)
        for bound in get_args(Bound)
        for case in cases
        for user in [case.user_id if bound == "same_user" else others[case.user_id]]
    ]


# --- judging -----------------------------------------------------------------------------------


def prepare(messages: list[Message]) -> list[str]:
    """What a judge sees of a conversation: the user's part of its first 9 messages.

    ``/close`` is removed, and turns that are then empty.
    """
    texts = [text.replace(simulators.CLOSE, "").strip() for text in user_messages(messages[:JUDGED_MESSAGES])]
    return [text for text in texts if text]


def list_messages(messages: list[Message]) -> str:
    """The prepared user messages as a list, long ones cut."""
    return "\n".join(f"- {profiles.cut_at_word(text, SHOWN_CHARS)}" for text in prepare(messages))


def render_judging(case: Case, transcript: Transcript) -> str:
    """The prompt of the judge's first call."""
    return fill_prompt(
        "judge_analysis", reference=list_messages(case.original), candidate=list_messages(transcript.messages)
    )


async def judge(models: Models, model: str, case: Case, transcript: Transcript, *, seed: int = 0) -> Judgement:
    """Verdicts on one transcript: a forensic comparison, then one boolean a dimension.

    A failed roll-out, an empty one, or an unusable reply gives a Judgement without verdicts and
    with the reason; it is never scored 0.
    """
    about = {"case_id": case.case_id, "user_id": case.user_id, "arm": transcript.arm, "judge": model}
    if transcript.error or not prepare(transcript.messages):
        return Judgement(**about, error=transcript.error or "the simulated user wrote nothing")
    try:
        found = await models.ask(
            model, render_judging(case, transcript), Analysis, temperature=0.001, max_tokens=500, seed=seed
        )
        analysis = "\n".join(f"{name}: {text}" for name, text in found.model_dump().items())
        prompt = fill_prompt("judge_verdicts", analysis=analysis)
        verdicts = await models.ask(model, prompt, Verdicts, temperature=0.001, max_tokens=80, seed=seed)
    except CallFailed as error:
        return Judgement(**about, error=str(error))
    return Judgement(**about, verdicts=verdicts.model_dump(), analysis=analysis)


async def judge_all(
    models: Models, model: str, cases: list[Case], transcripts: list[Transcript], *, seed: int = 0
) -> list[Judgement]:
    """One judgement a transcript, in order."""
    by_id = {case.case_id: case for case in cases}
    return await models.run_all([judge(models, model, by_id[t.case_id], t, seed=seed) for t in transcripts], "judging")


def judge_by_measurement(judge: MeasuredJudge, cases: list[Case], transcripts: list[Transcript]) -> list[Judgement]:
    """One judgement a transcript by the judge that needs no model: D2, D4 and D5 only."""
    by_id = {case.case_id: case for case in cases}
    return [
        judge.judge(by_id[t.case_id], t, prepare(by_id[t.case_id].original), prepare(t.messages)) for t in transcripts
    ]


# --- scores ------------------------------------------------------------------------------------


def tabulate(judgements: list[Judgement]) -> pd.DataFrame:
    """One row a dimension verdict: case_id, user_id, arm, dimension, match (1, 0, NaN if unscored)."""
    return pd.DataFrame(
        [
            {"case_id": j.case_id, "user_id": j.user_id, "arm": j.arm, "dimension": d,
             "match": float(j.verdicts[d]) if j.verdicts and d in j.verdicts else float("nan")}
            for j in judgements for d in DIMENSIONS
        ]
    )  # fmt: skip


def score(verdicts: pd.DataFrame, *, seed: int = 0) -> pd.DataFrame:
    """Fidelity index of each arm: one row an arm, in the order met.

    Columns ``rate, ci_low, ci_high`` (0..1, 95 % by user), ``without_D3`` (D3 is near its ceiling
    for every simulator), ``n_cases`` (scored) and ``n_failed``.
    """
    rows = []
    for arm, own in verdicts.groupby("arm", sort=False):
        scored = own.dropna(subset="match")
        found = stats.rate(scored["match"], scored["user_id"], seed=seed)
        n_cases = scored["case_id"].nunique()
        rows.append(
            {"arm": arm, "rate": found["rate"], "ci_low": found["ci_low"], "ci_high": found["ci_high"],
             "without_D3": scored.loc[scored["dimension"] != "D3", "match"].mean(),
             "n_cases": n_cases, "n_failed": own["case_id"].nunique() - n_cases}
        )  # fmt: skip
    return pd.DataFrame(rows).set_index("arm")


def normalise(verdicts: pd.DataFrame, *, seed: int = 0) -> pd.DataFrame:
    """Where each arm lies between a stranger (0) and the same person (1): (arm - other) / (same - other).

    Index: arm; columns ``normalised, ci_low, ci_high`` (95 %, users resampled for arm and bounds
    together) and ``n_users``. NaN where the judge scores strangers as high as the person, since
    then nothing lies between; a resample without a difference makes the interval NaN too.
    """
    wide = verdicts.dropna(subset="match").groupby(["user_id", "arm"])["match"].mean().unstack("arm")
    same, other = get_args(Bound)
    if not {same, other} <= set(wide.columns):
        return pd.DataFrame(columns=["normalised", "ci_low", "ci_high", "n_users"])
    rng = np.random.default_rng(seed)
    draws = [wide.iloc[rng.integers(0, len(wide), len(wide))].mean() for _ in range(stats.RESAMPLES)]
    rows = {}
    for arm in wide.columns.drop([same, other]):
        whole, *resampled = [place_between(means, arm) for means in (wide.mean(), *draws)]
        low, high = np.quantile(resampled, [0.025, 0.975])
        rows[arm] = {"normalised": whole, "ci_low": low, "ci_high": high, "n_users": int(wide[arm].count())}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("arm")


def place_between(means: pd.Series, arm: str) -> float:
    """The place of an arm's mean between those of the two bounds; NaN if they do not differ as they should."""
    same, other = (means[bound] for bound in get_args(Bound))
    return float((means[arm] - other) / (same - other)) if same > other else float("nan")


def score_dimensions(verdicts: pd.DataFrame, *, seed: int = 0) -> pd.DataFrame:
    """Match rate of each arm in each dimension with its interval by user (columns as in ``score``)."""
    return pd.DataFrame(
        [
            {"arm": arm, "dimension": dimension, **stats.rate(scored["match"], scored["user_id"], seed=seed)}
            for (arm, dimension), own in verdicts.groupby(["arm", "dimension"], sort=False)
            for scored in [own.dropna(subset="match")]
        ]
    )


def compare_arms(verdicts: pd.DataFrame, *, seed: int = 0) -> pd.DataFrame:
    """Paired differences of the index between the arms that were run (see ``stats.difference``).

    ``profile`` against each other arm, and the two bounds against each other; users are the pairs.
    """
    present = list(verdicts["arm"].unique())
    pairs = [("profile", arm) for arm in present if arm not in ("profile", *get_args(Bound))]
    pairs = [*pairs, get_args(Bound)] if "profile" in present else [get_args(Bound)]
    scored = verdicts.dropna(subset="match")
    return pd.DataFrame(
        [
            stats.difference(scored, "match", arm=arm, baseline=baseline, pair_by="user_id", seed=seed)
            for arm, baseline in pairs
        ]
    )
