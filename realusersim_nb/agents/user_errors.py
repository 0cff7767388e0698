"""Was it the user's fault? Errors of simulated users, found before an agent is blamed.

The seven kinds are tau2-bench's: a fact made up, told too early, something left out, a stop too
soon, a fall out of the role, another goal, a contradiction. Rules look first, at every run; they are
ours, and fire on what a program can prove from the scenario and the trace. A model reads the failed
runs in which the rules found nothing, and must quote: what it cannot quote from the message it
names is kept as unproven and does not count.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Literal, get_args

import pandas as pd
from pydantic import BaseModel, Field
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

from realusersim_nb.agents import scores
from realusersim_nb.agents.disclosure import (
    describe_scenario,
    list_identifiers,
    list_required_slots,
    mentions,
)
from realusersim_nb.agents.failures import find_mechanisms
from realusersim_nb.agents.scores import is_user_text, list_user_texts
from realusersim_nb.llm.errors import CallFailed
from realusersim_nb.llm.models import Models
from realusersim_nb.prompts.fill import fill_prompt
from realusersim_nb.records import AgentRun, Record
from realusersim_nb.simulators import role_breaks
from realusersim_nb.text import split_words

if TYPE_CHECKING:
    from tau2.data_model.tasks import Task

ErrorKind = Literal[
    "hallucinated",
    "revealed_early",
    "missed_action",
    "premature_stop",
    "role_confusion",
    "off_goal",
    "inconsistent",
]
BY_RULE = "rules"
ALIKE = 0.75  # of two identifiers, one of them taken for a slip of the other
CONDITION = re.compile(r"\b(if|unless|until|once|only when|only after)\b", re.IGNORECASE)
BLANK = re.compile(
    r"\[(?:your|my|provide|insert|enter|user|customer|order|reservation)\b[^\]]*\]", re.IGNORECASE
)
OUT_OF_ROLE = ("recites its prompt", "answers as the assistant")


class UserError(Record):
    """One error of a run's user: the message (index), the words that show it, who found it, and whether it is proven."""

    task_id: str
    trial: int
    arm: str
    kind: ErrorKind
    turn: int
    quote: str
    reason: str = ""
    detected_by: str = BY_RULE
    proven: bool = True


class Reading(BaseModel):
    """A model's answer on one run."""

    kind: Literal[ErrorKind, "none"]
    message: int = Field(ge=0)
    quote: str = Field(max_length=200)
    reason: str = Field(max_length=200)


# --- rules -------------------------------------------------------------------------------------


def find_by_rule(run: AgentRun, task: Task) -> list[UserError]:
    """All that the rules find in one run, in the order of the messages; nothing for bounds and broken runs."""
    if run.simulator is None or run.success is None:
        return []
    said = list_user_texts(run)
    found = [
        *check_facts(run, task, said),
        *check_role(run, said),
        *check_goal(task, said),
        *check_early(task, said),
    ]
    if run.success is False:
        found += check_end(run, task)
    about = {"task_id": run.task_id, "trial": run.trial, "arm": run.arm}
    return [
        UserError(**about, kind=kind, turn=turn, quote=quote, reason=reason)
        for kind, turn, quote, reason in sorted(found, key=lambda error: error[1])
    ]


RuleFindings = Iterator[tuple[ErrorKind, int, str, str]]  # kind, message, quote, reason


def check_facts(run: AgentRun, task: Task, said: list[tuple[int, str]]) -> RuleFindings:
    """Numbers, codes and addresses that neither the scenario nor anybody before had: made up; or, where the user
    also told the right one, two that cannot both be true.
    """
    scenario = "\n".join(describe_scenario(task))
    for i, text in said:
        heard = "\n".join(
            [scenario, *(str(m.get("content")) for m in run.messages[:i] if not is_user_text(m))]
        )
        for value in list_identifiers(text):
            if squeeze(value) not in squeeze(heard):
                told = [
                    v
                    for v in list_identifiers(scenario)
                    if is_near(v, value) and any(mentions(t, v) for _, t in said)
                ]
                if told:
                    yield "inconsistent", i, value, f"they also told {told[0]}"
                else:
                    yield "hallucinated", i, value, "nobody had named it"


def is_near(known: str, value: str) -> bool:
    """Whether one identifier may be a slip of the other."""
    return ("@" in known) == ("@" in value) and SequenceMatcher(None, known, value).ratio() > ALIKE


def squeeze(text: str) -> str:
    """A text's letters and digits alone."""
    return re.sub(r"[\W_]", "", text).lower()


def check_role(run: AgentRun, said: list[tuple[int, str]]) -> RuleFindings:
    """The first message in which the user speaks as an assistant, recites what it was told, or fills in a form."""
    for i, text in said:
        if blank := BLANK.search(text):
            yield "role_confusion", i, blank[0], "leaves a blank as in a form"
            return
        if role_breaks.find_role_break([text], run.persona) in OUT_OF_ROLE:
            yield "role_confusion", i, text, "speaks as an assistant, or recites its prompt"
            return


def check_goal(task: Task, said: list[tuple[int, str]]) -> RuleFindings:
    """A user who in the whole conversation uses no word of the scenario (of four letters or more)."""
    telling = {
        word for word in split_words("\n".join(describe_scenario(task))) if len(word) > 3
    } - ENGLISH_STOP_WORDS
    if said and not any(telling & set(split_words(text)) for _, text in said):
        yield "off_goal", *said[0], "no message holds a word of the scenario"


def check_early(task: Task, said: list[tuple[int, str]]) -> RuleFindings:
    """A value told in the opening, though the scenario names it only in sentences with a condition."""
    sentences = re.split(r"(?<=[.!?])\s+|\n", "\n".join(describe_scenario(task)))
    free = " ".join(sentence for sentence in sentences if not CONDITION.search(sentence))
    for need in list_required_slots(task) if said else []:
        if mentions(said[0][1], need.value) and not mentions(free, need.value):
            yield "revealed_early", said[0][0], need.value, "the scenario names it only on a condition"


def check_end(run: AgentRun, task: Task) -> RuleFindings:
    """How a failed run ended, if the user ended it: they never told what was needed, or left a question open."""
    end, last = len(run.messages) - 1, str(run.messages[-1].get("content"))
    if run.ended_by != "user_stop" or not (missed := find_mechanisms(run, task)):
        return
    never = [f.detail for f in missed if f.mechanism == "late" and f.detail.endswith("never told")]
    if never:
        yield "missed_action", end, last, never[0]
    if missed[0].mechanism == "unconfirmed":
        yield "premature_stop", end, last, missed[0].detail


# --- a model, where the rules found nothing ----------------------------------------------------


async def find_user_errors(
    models: Models, model: str | None, runs: list[AgentRun], tasks: list[Task], *, seed: int = 0
) -> list[UserError | CallFailed]:
    """The errors of all runs: by the rules, then of ``model`` (None: nobody) on failed runs without any.

    A reading that fails is its failure.
    """
    by_id = {task.id: task for task in tasks}
    by_run = [find_by_rule(run, by_id[run.task_id]) for run in runs]
    unclear = [
        r for r, found in zip(runs, by_run, strict=True) if r.success is False and r.simulator and not found
    ]
    read = [read_run(models, model, run, by_id[run.task_id], seed=seed) for run in (unclear if model else [])]
    outcomes = await models.run_all(read, f"errors of the user, read by {model}") if read else []
    told = [outcome.failure or outcome.result for outcome in outcomes]
    return [error for found in by_run for error in found] + [error for error in told if error is not None]


async def read_run(models: Models, model: str, run: AgentRun, task: Task, *, seed: int) -> UserError | None:
    """What a model finds in one run; None if it finds nothing."""
    answer = await models.ask_json(
        model, render_reading(run, task), Reading, temperature=0.001, max_tokens=200, seed=seed
    )
    if answer.kind == "none":
        return None
    said = list_user_texts(run)
    turn, text = said[min(max(answer.message, 1), len(said)) - 1] if said else (0, "")
    proven = bool(squeeze(answer.quote)) and squeeze(answer.quote) in squeeze(text)
    return UserError(
        task_id=run.task_id,
        trial=run.trial,
        arm=run.arm,
        kind=answer.kind,
        turn=turn,
        quote=answer.quote,
        reason=answer.reason,
        detected_by=model,
        proven=proven,
    )


def render_reading(run: AgentRun, task: Task) -> str:
    """The prompt of that reading: the scenario, and what both sides said."""
    number, lines = 0, []
    said = dict(list_user_texts(run))
    for i, m in enumerate(run.messages):
        if i in said:
            number += 1
            lines.append(f"{number}. Person: {said[i]}")
        elif m["role"] == "assistant" and m.get("content"):
            lines.append(f"Agent: {m['content']}")
    ending = "The person ended it." if run.ended_by == "user_stop" else "It was cut off."
    scenario = "\n".join(describe_scenario(task))
    return fill_prompt("user_errors", scenario=scenario, transcript="\n".join([*lines, ending]))


def keep_errors(errors: list[UserError | CallFailed]) -> list[UserError]:
    """Without the readings that failed."""
    return [error for error in errors if isinstance(error, UserError)]


# --- by arm ------------------------------------------------------------------------------------


def name_errors(errors: list[UserError | CallFailed], runs: list[AgentRun]) -> list[ErrorKind | None]:
    """The first proven error of each run, None without one."""
    proven = sorted((e for e in keep_errors(errors) if e.proven), key=lambda error: error.turn, reverse=True)
    first = {(e.task_id, e.trial, e.arm): e.kind for e in proven}
    return [first.get((run.task_id, run.trial, run.arm)) for run in runs]


def tabulate_user_errors(errors: list[UserError | CallFailed]) -> pd.DataFrame:
    """One row an error, and one (of kind ``unread``, with the reason) a reading that failed."""
    failed = [{"kind": "unread", "reason": str(error)} for error in errors if isinstance(error, CallFailed)]
    rows = [error.model_dump() for error in keep_errors(errors)]
    return pd.DataFrame([*rows, *failed], columns=list(UserError.model_fields))


def count_user_errors(runs: pd.DataFrame) -> pd.DataFrame:
    """How many scored runs have each kind of error: one row an arm, with ``n`` and ``any``.

    ``folders`` is ``scores.tabulate_runs``'s table with a column ``user_error``.
    """
    scored = runs.dropna(subset="success")
    found = pd.crosstab(scored["arm"], scored["user_error"].fillna("none"))
    found = found.reindex(index=scored["arm"].unique(), columns=get_args(ErrorKind), fill_value=0)
    found = found.assign(any=found.sum(axis=1))
    found.insert(0, "n", scored["arm"].value_counts())
    return found.rename_axis(columns=None)


def score_without_user_errors(runs: pd.DataFrame, *, seed: int = 0) -> pd.DataFrame:
    """Success of each arm with all runs and without those whose user made an error.

    The columns of ``scores.score_success``, and ``without, without_low, without_high, n_without``: an upper bound, since
    most errors are looked for, and some can only be found, in runs that failed.
    """
    kept = scores.score_success(runs[runs["user_error"].isna()], seed=seed)
    names = {"success": "without", "ci_low": "without_low", "ci_high": "without_high", "n_runs": "n_without"}
    return scores.score_success(runs, seed=seed).join(kept.drop(columns="n_failed").rename(columns=names))
