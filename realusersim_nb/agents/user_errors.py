"""Was it the user's fault? Errors of simulated users, detected before an agent is blamed.

The seven kinds are tau2-bench's: a fact made up, one revealed too early, an action left out, a stop too soon,
role confusion, another goal, a contradiction. Rules are applied to every run; they are ours, and report what
a program can prove from scenario and trace. A model reads the failed runs in which the rules report
nothing, and must quote: an error whose quote is not in the message it names is kept as unproven, not counted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import SequenceMatcher
from itertools import chain, count
from typing import TYPE_CHECKING, Any, Literal, get_args

import pandas as pd
from pydantic import BaseModel, Field
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

from realusersim_nb.agents import disclosure
from realusersim_nb.agents.attribution import Effect, judge_effect
from realusersim_nb.agents.failures import NEVER, find_mechanisms
from realusersim_nb.agents.scores import is_user_text, list_user_texts
from realusersim_nb.llm.errors import CallFailed, list_results
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
SIMILAR = 0.75  # ratio from which one identifier is taken for a slip of the other
CONDITION = re.compile(r"(?i)\b(if|unless|until|once|only when|only after)\b")
VAGUE = set(
    "hello need needs want help please thanks thank sure okay question problem issue forget wait done".split()
)
BLANK = re.compile(r"(?i)\[(?:your|my|provide|insert|enter|user|customer|order|reservation)\b[^\]]*\]")
RULES = "rules"  # the detector that is no model
OUT_OF_ROLE = ("recites its prompt", "answers as the assistant")


class UserError(Record):
    """One error of a run's user, the message (index) that shows it, and what it did to the run
    (``attribution``); ``unread``: a reading that failed.
    """

    task_id: str
    trial: int
    arm: str
    kind: ErrorKind | Literal["unread"]
    turn: int = 0
    quote: str = ""
    reason: str = ""
    detected_by: str = RULES
    proven: bool = True
    effect: Effect = "unclear"


class Reading(BaseModel):
    """A model's answer on one run."""

    kind: Literal[ErrorKind, "none"]
    message: int = Field(ge=0)
    quote: str = Field(max_length=200)
    reason: str = Field(max_length=200)


Texts = list[tuple[int, str]]  # of the user, with the index of their message
RuleFindings = Iterator[tuple[ErrorKind, int, str, str]]  # kind, message, quote, reason


def find_by_rule(run: AgentRun, task: Task) -> list[UserError]:
    """What the rules find in a run, by message; nothing for reference arms and unscored runs."""
    if run.simulator is None or run.success is None:
        return []
    texts = list_user_texts(run)
    findings = [*check_facts(run, task, texts), *check_role(run, texts), *check_goal(task, texts)]
    findings += [*check_early(task, texts), *check_end(run, task)]
    return [
        make_error(run, kind=kind, turn=turn, quote=quote, reason=reason)
        for kind, turn, quote, reason in sorted(findings, key=lambda finding: finding[1])
    ]


def make_error(run: AgentRun, **fields: Any) -> UserError:
    """An error of this run's user."""
    error = UserError(task_id=run.task_id, trial=run.trial, arm=run.arm, **fields)
    shown = error.model_dump(include={"kind", "turn", "quote"})
    return error.model_copy(update={"effect": judge_effect(run, **shown, by_rule=error.detected_by == RULES)})


def check_facts(run: AgentRun, task: Task, texts: Texts) -> RuleFindings:
    """Identifiers that neither the scenario nor anybody before had named; two that cannot both be true."""
    scenario = "\n".join(disclosure.describe_scenario(task))
    for i, text in texts:
        before = [str(m.get("content")) for m in run.messages[:i] if not is_user_text(m)]
        named = squeeze("\n".join([scenario, *before]))
        for value in disclosure.list_identifiers(text):
            if squeeze(value) not in named:
                same_kind = [v for v in disclosure.list_identifiers(scenario) if ("@" in v) == ("@" in value)]
                near = [v for v in same_kind if SequenceMatcher(None, v, value).ratio() > SIMILAR]
                stated = [v for v in near if any(disclosure.mentions(t, v) for _, t in texts)]
                reason = f"they also stated {stated[0]}" if stated else "nobody had named it"
                yield "inconsistent" if stated else "hallucinated", i, value, reason


def squeeze(text: str) -> str:
    """A text's letters and digits alone."""
    return re.sub(r"[\W_]", "", text).lower()


def check_role(run: AgentRun, texts: Texts) -> RuleFindings:
    """The first message in which the user speaks as an assistant, recites its prompt, or leaves a blank."""
    for i, text in texts:
        if blank := BLANK.search(text):
            yield "role_confusion", i, blank[0], "leaves a blank as in a form"
            return
        if role_breaks.find_role_break([text], run.persona) in OUT_OF_ROLE:
            yield "role_confusion", i, text, "speaks as an assistant, or recites its prompt"
            return


def check_goal(task: Task, texts: Texts) -> RuleFindings:
    """A user who asks for something, but in the whole conversation uses no word of the scenario.

    Words are of four letters or more; who has only said that they need help has not asked for anything yet.
    """
    stated = list_content_words("\n".join(text for _, text in texts))
    if stated and not stated & list_content_words("\n".join(disclosure.describe_scenario(task))):
        yield "off_goal", *texts[0], "no message holds a word of the scenario"


def list_content_words(text: str) -> set[str]:
    """The words of a text that say what it is about."""
    return {word for word in split_words(text) if len(word) > 3} - ENGLISH_STOP_WORDS - VAGUE


def check_early(task: Task, texts: Texts) -> RuleFindings:
    """A value stated in the opening, though the scenario names it only in sentences with a condition."""
    sentences = re.split(r"(?<=[.!?])\s+|\n", "\n".join(disclosure.describe_scenario(task)))
    free = " ".join(sentence for sentence in sentences if not CONDITION.search(sentence))
    for slot in disclosure.list_required_slots(task) if texts else []:
        if disclosure.mentions(texts[0][1], slot.value) and not disclosure.mentions(free, slot.value):
            yield "revealed_early", texts[0][0], slot.value, "the scenario names it only on a condition"


def check_end(run: AgentRun, task: Task) -> RuleFindings:
    """How the user ended a failed run: a required value was never given, or a question was left open."""
    findings = find_mechanisms(run, task) if run.ended_by == "user_stop" else []
    end, last = len(run.messages) - 1, str(run.messages[-1].get("content")) if run.messages else ""
    never = [f.detail for f in findings if f.mechanism == "late" and f.detail.endswith(NEVER)]
    if never:
        yield "missed_action", end, last, never[0]
    if findings and findings[0].mechanism == "unconfirmed":
        yield "premature_stop", end, last, findings[0].detail


async def find_user_errors(
    models: Models, model: str | None, runs: list[AgentRun], tasks: list[Task], *, seed: int = 0
) -> list[UserError]:
    """The errors of all runs: by the rules, then by ``model`` (None: no model) in failed runs without any."""
    by_id = {task.id: task for task in tasks}
    by_rule = [find_by_rule(run, by_id[run.task_id]) for run in runs]
    pairs = zip(runs, by_rule, strict=True)
    unclear = [r for r, errors in pairs if model and r.simulator and r.success is False and not errors]
    readings = [read_run(models, model, run, by_id[run.task_id], seed=seed) for run in unclear]
    outcomes = await models.run_all(readings, f"errors of the user, read by {model}") if readings else []
    return [*chain.from_iterable(by_rule), *filter(None, list_results(outcomes))]


async def read_run(models: Models, model: str, run: AgentRun, task: Task, *, seed: int) -> UserError | None:
    """What a model finds in one run; None if it finds nothing."""
    sampling = {"temperature": 0.001, "max_tokens": 200, "seed": seed}
    try:
        answer = await models.ask_json(model, render_reading(run, task), Reading, **sampling)
    except CallFailed as failure:
        return make_error(run, kind="unread", reason=str(failure), detected_by=model, proven=False)
    if answer.kind == "none":
        return None
    texts = list_user_texts(run)
    turn, text = texts[min(max(answer.message, 1), len(texts)) - 1] if texts else (0, "")
    proven = bool(squeeze(answer.quote)) and squeeze(answer.quote) in squeeze(text)
    fields = answer.model_dump(include={"kind", "quote", "reason"})
    return make_error(run, **fields, turn=turn, detected_by=model, proven=proven)


def render_reading(run: AgentRun, task: Task) -> str:
    """The prompt of that reading: the scenario, and the texts of both sides."""
    texts, lines, number = dict(list_user_texts(run)), [], count(1)
    for i, m in enumerate(run.messages):
        if i in texts:
            lines.append(f"{next(number)}. Person: {texts[i]}")
        elif m["role"] == "assistant" and m.get("content"):
            lines.append(f"Agent: {m['content']}")
    lines.append("The person ended it." if run.ended_by == "user_stop" else "It was cut off.")
    scenario = "\n".join(disclosure.describe_scenario(task))
    return fill_prompt("user_errors", scenario=scenario, transcript="\n".join(lines))


def name_errors(errors: list[UserError], runs: list[AgentRun]) -> list[ErrorKind | None]:
    """The kind of the first proven error of each run, None without one."""
    proven = sorted((e for e in errors if e.proven), key=lambda error: error.turn, reverse=True)
    first = {(e.task_id, e.trial, e.arm): e.kind for e in proven}
    return [first.get((run.task_id, run.trial, run.arm)) for run in runs]


def count_effects(errors: list[UserError]) -> pd.DataFrame:
    """How many proven errors of each kind did what: one row a kind (index), one column an effect."""
    proven = pd.DataFrame([(e.kind, e.effect) for e in errors if e.proven], columns=["kind", "effect"])
    counts = pd.crosstab(proven["kind"], proven["effect"]).rename_axis(columns=None)
    kinds = pd.Index(get_args(ErrorKind), name="kind")
    return counts.reindex(index=kinds, columns=list(get_args(Effect)), fill_value=0)


def count_user_errors(runs: pd.DataFrame) -> pd.DataFrame:
    """By arm: how many of ``n`` scored runs have each kind of ``user_error`` (a column), and ``any``."""
    scored, kinds = runs.dropna(subset="success"), list(get_args(ErrorKind))
    counts = pd.crosstab(scored["arm"], scored["user_error"].fillna("none")).rename_axis(columns=None)
    counts = counts.reindex(index=scored["arm"].unique(), columns=kinds, fill_value=0)
    return counts.assign(any=counts.sum(axis=1), n=scored["arm"].value_counts())[["n", *kinds, "any"]]
