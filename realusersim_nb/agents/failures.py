"""Why runs fail, as far as the trace alone can tell: three mechanisms, and what remains.

RealUserSim reports that realistic users surface three failure mechanisms; how it defines them is not
public to us. These definitions are ours, made so that a program can decide them. Each is about one
gold action that changes something (a **write**) and that the run did not make as it should be:

    late         the agent called it with another value before the user had told the right one; or the
                 user never told one that it needs; or told them in pieces, and the steps ran out
    misread      the user had told a value, in some surface form, and the agent called it with another
    unconfirmed  all was told, and the agent never called it: it asked, and got no clear yes; or the
                 user closed the conversation first
    other        what remains: another choice among what tools showed, a call that the tool refused, a
                 refusal or a claim by the agent, facts not told, a write that nobody wanted

A run has the mechanism of the first gold write that went wrong. Every finding has the turns that
prove it. What is traced is described in ``disclosure``; a value that no program can trace (a colour,
"the cheaper one") ends in ``other``.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal, get_args

import pandas as pd

from realusersim_nb import stats
from realusersim_nb.agents import scores
from realusersim_nb.agents.disclosure import (
    find_mention,
    flatten_values,
    list_action_slots,
    list_identity_values,
)
from realusersim_nb.agents.environment import list_state_changing_tools
from realusersim_nb.records import AgentRun

if TYPE_CHECKING:
    from tau2.data_model.tasks import Action, Task

Mechanism = Literal["late", "misread", "unconfirmed", "other"]
HAND_OVER = "transfer_to_human_agents"
AGENT_SOURCES = ("user", "tool")  # whence an agent can know a value
ASKS = re.compile(  # whether to do it, not which or what
    r"\b(confirm|proceed|go ahead|shall i|should i)\b|\(yes\b|\b(like|want) me to\b|\bis (this|that|it) (correct|right|ok(ay)?)\b",
    re.IGNORECASE,
)
YES = re.compile(
    r"\b(yes|yeah|yep|yup|ya|yea|ok|okay|sure|correct|confirm(ed)?|go ahead|do it|please do|proceed|sounds good"
    r"|that's right|thats right|fine|absolutely|definitely|exactly)\b|^\W*y\W*$",
    re.IGNORECASE,
)
NO = re.compile(r"\b(no|nope|not|don'?t|wait|never|wrong)\b", re.IGNORECASE)
ENDS = re.compile(  # the agent says that it is done, will not do it, or hands over
    r"\b(cannot|can't|can not|unable|not able|not possible|not allowed|transfer(red|ring)?)\b"
    r"|\b(is|are|has been|have been|been|i've|i have|successfully|now)\s+(\w+\s+)?"
    r"(done|cancell?ed|completed?|updated|changed|modified|processed|exchanged|returned|booked|created|submitted)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class FailureFinding:
    """What went wrong with one gold write: how, in words, and the messages (indices) that prove it."""

    mechanism: Mechanism
    detail: str
    action: str
    turns: tuple[int, ...]


@dataclass(frozen=True)
class CallRecord:
    """One tool call of a run: the message it stands in and whether the tool took it."""

    turn: int
    name: str
    arguments: dict
    requestor: str
    accepted: bool


def list_calls(messages: list[dict]) -> list[CallRecord]:
    """All tool calls, in order; their results follow them in the same order (ids may come again)."""
    results = iter([not m.get("error") for m in messages if m["role"] == "tool"])
    return [
        CallRecord(i, c["name"], c["arguments"], c["requestor"], next(results, False))
        for i, m in enumerate(messages)
        for c in m.get("tool_calls") or []
    ]


def find_mechanisms(run: AgentRun, task: Task) -> list[FailureFinding]:
    """What went wrong in a failed run of a simulated user, in the order of the gold actions; nothing for other runs."""
    if run.success is not False or run.simulator is None:
        return []
    criteria, calls = task.evaluation_criteria, list_calls(run.messages)
    past = len(
        (task.initial_state and task.initial_state.message_history) or []
    )  # what happened before the run
    writes = list_state_changing_tools(run.domain)
    gold = [action for action in (criteria and criteria.actions) or [] if action.name in writes]
    missed = [
        action for action in gold if not any(call.accepted and not list_wrong(action, call) for call in calls)
    ]
    if missed:
        return [
            explain_missing_write(run, task, action, [c for c in calls if is_attempt(action, c)])
            for action in missed
        ]
    unwanted = [
        c
        for c in calls
        if c.turn >= past and c.accepted and c.name in writes and all(list_wrong(a, c) for a in gold)
    ]
    if unwanted:
        return [FailureFinding("other", "a write that is not wanted", c.name, (c.turn,)) for c in unwanted]
    end = (len(run.messages) - 1,)
    detail = "the steps ran out" if run.ended_by == "max_steps" else "not decided"
    return [
        FailureFinding("other", "facts not told" if run.checks.get("COMMUNICATE") == 0 else detail, "", end)
    ]


def is_attempt(action: Action, call: CallRecord) -> bool:
    """Whether a call is of a gold action's tool."""
    return (call.name, call.requestor) == (action.name, action.requestor)


def list_wrong(action: Action, call: CallRecord) -> list[str]:
    """The arguments in which a call differs from a gold action; ``(tool)`` if it is not of its tool."""
    if not is_attempt(action, call):
        return ["(tool)"]
    names = action.compare_args if action.compare_args is not None else {*action.arguments, *call.arguments}
    return [
        n
        for n in action.arguments | dict.fromkeys(names)
        if n in names and action.arguments.get(n) != call.arguments.get(n)
    ]


def explain_missing_write(
    run: AgentRun, task: Task, action: Action, attempts: list[CallRecord]
) -> FailureFinding:
    """Why one gold write is missing, from its closest call if there is one."""
    if not attempts:
        return explain_absence(run, task, action)
    call = min(attempts, key=lambda attempt: len(list_wrong(action, attempt)))
    wrong, before = list_wrong(action, call), run.messages[: call.turn]
    lacking = [
        need
        for need in list_action_slots(task, action)
        if need.name in wrong
        and need.value not in flatten_values(call.arguments.get(need.name))
        # what a tool had shown the agent, the user need not tell
        and (
            find_mention(before, need.value) is not None
            or find_mention(before, need.value, by=("tool",)) is None
        )
    ]
    for need in lacking:
        told = find_mention(run.messages, need.value)
        if told is not None and told < call.turn:
            return FailureFinding(
                "misread", f"{need.name} was told as {need.value}", action.name, (told, call.turn)
            )
        if told is not None:
            return FailureFinding(
                "late", f"{need.name} was told after the call", action.name, (call.turn, told)
            )
    if lacking:
        return FailureFinding(
            "late", f"{lacking[0].name} was never told", action.name, (call.turn, len(run.messages) - 1)
        )
    return FailureFinding(
        "other", f"another {wrong[0]}" if wrong else "refused by the tool", action.name, (call.turn,)
    )


def explain_absence(run: AgentRun, task: Task, action: Action) -> FailureFinding:
    """Why a gold write was never tried."""
    messages, end = run.messages, len(run.messages) - 1
    needs = list_action_slots(task, action)
    heard = {need: find_mention(messages, need.value, by=AGENT_SOURCES) for need in needs}
    never = [need for need in needs if heard[need] is None]
    known = list_identity_values(task)
    if never or (known and all(find_mention(messages, value, by=AGENT_SOURCES) is None for value in known)):
        lacking = never[0].name if never else "who they are"
        return FailureFinding("late", f"{lacking} was never told", action.name, (end,))
    pieces = sorted({heard[need] for need in needs if messages[heard[need]]["role"] == "user"})
    if run.ended_by == "max_steps" and len(pieces) > 1:
        return FailureFinding("late", "told in pieces, and the steps ran out", action.name, tuple(pieces))
    return explain_close(run, action, since=max([0, *(heard[need] for need in needs)]))


def explain_close(run: AgentRun, action: Action, *, since: int) -> FailureFinding:
    """Why a write was not made though all had been told by message ``since``: nobody said yes, or the user left."""
    said = [(i, m["role"], m["content"]) for i, m in enumerate(run.messages) if m.get("content")]
    asked = [i for i, role, text in said if role == "assistant" and i > since and ASKS.search(text)]
    by_user = [(i, text) for i, role, text in said if role == "user"]
    answers = [answer for question in asked for answer in [a for a in by_user if a[0] > question][:1]]
    yes = [i for i, text in answers if YES.search(text) and not NO.search(text)]
    handed = [call.turn for call in list_calls(run.messages) if call.accepted and call.name == HAND_OVER]
    later = [(i, text) for i, role, text in said if role == "assistant" and i > max([since, *asked])]
    over = handed or [i for i, text in later if "?" not in text and ENDS.search(text)]
    has_left, end = run.ended_by == "user_stop", len(run.messages) - 1
    if yes and has_left and yes[0] == end:
        found = "unconfirmed", "said yes and closed at once", yes
    elif yes:
        found = "other", "confirmed, and not done", yes[:1]
    elif over:
        found = "other", "the agent refused, handed over or said that it was done", over[:1]
    elif not has_left:
        found = "other", "never tried", [end]
    elif asked:
        found = "unconfirmed", "asked, and no clear yes", sorted({*asked, *(i for i, _ in answers)})
    else:
        found = "unconfirmed", "the user closed first", [end]
    mechanism, detail, turns = found
    return FailureFinding(mechanism, detail, action.name, tuple(turns))


# --- by arm ------------------------------------------------------------------------------------


def tabulate_failures(runs: list[AgentRun], tasks: list[Task]) -> pd.DataFrame:
    """All findings: one row each, with the run's ``task_id, trial, arm, simulator``, ``first`` (it gives the run its
    mechanism) and the finding's ``mechanism, detail, action, turns``.
    """
    by_id, rows = {task.id: task for task in tasks}, []
    for run in runs:
        for n, finding in enumerate(find_mechanisms(run, by_id[run.task_id])):
            about = {
                "task_id": run.task_id,
                "trial": run.trial,
                "arm": run.arm,
                "simulator": run.simulator,
                "first": n == 0,
            }
            rows.append({**about, **asdict(finding), "turns": list(finding.turns)})
    return pd.DataFrame(
        rows,
        columns=["task_id", "trial", "arm", "simulator", "first", "mechanism", "detail", "action", "turns"],
    )


def name_mechanism(run: AgentRun, task: Task) -> Mechanism | None:
    """A failed run's mechanism; None for a bound and a run that succeeded or broke."""
    return next((finding.mechanism for finding in find_mechanisms(run, task)), None)


def measure_mechanisms(runs: pd.DataFrame, *, seed: int = 0) -> pd.DataFrame:
    """How often runs of simulated users fail by each mechanism: one row an arm and mechanism.

    ``folders`` is ``scores.tabulate_runs``'s table with a column ``mechanism``. Columns ``rate`` (0..1 of the scored runs) with
    its 95 % interval by task, ``n`` and ``n_failed`` (not scored); against ``task_only``, paired by task: ``difference``,
    ``difference_low, difference_high``, ``p``, ``n_pairs``.
    """
    rows, runs = [], runs.dropna(subset="simulator")
    for mechanism in get_args(Mechanism):
        own = runs.assign(
            failed=(runs["mechanism"] == mechanism).where(runs["success"].notna()).astype(float)
        )
        rates = stats.tabulate_rates(
            own, "failed", by="arm", unit="task_id", item=["simulator", "task_id", "trial"], seed=seed
        )
        pairs = scores.compare_success(own, "failed", seed=seed).set_index("arm")
        pairs = pairs.rename(columns={"ci_low": "difference_low", "ci_high": "difference_high"})
        shown = ["difference", "difference_low", "difference_high", "p", "n_pairs"]
        rows.append(
            rates.reindex(columns=["rate", "ci_low", "ci_high", "n", "n_failed"])
            .join(pairs[shown])
            .assign(mechanism=mechanism)
        )
    return pd.concat(rows).set_index("mechanism", append=True)
