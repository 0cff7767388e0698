"""Why runs fail, as far as the trace shows it: three mechanisms, and a rest.

RealUserSim reports that realistic users surface three failure mechanisms; how it defines them is not public
to us. These definitions are ours, made so that a program can decide them. Each is about one gold action
that changes state (a **write**) and that the run did not make as expected:

    late         the agent called it with another value before the user had stated the right one; or the user
                 never stated one that it requires; or stated them in pieces, and the steps ran out
    misread      the user had stated a value, in some surface form, and the agent called it with another
    unconfirmed  all was stated, and the agent never called it: it asked, and got no clear yes; or the user
                 closed the conversation first
    other        the rest: another choice among what tools showed, a call that the tool refused, a refusal or
                 a claim by the agent, facts not communicated, a write that nobody wanted

A run has the mechanism of its first missing gold write. Every finding has the turns that prove it. A value
that no program can trace in a text (see ``disclosure``: a colour, "the cheaper one") ends in ``other``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal, get_args

import pandas as pd

from realusersim_nb import stats
from realusersim_nb.agents import disclosure, scores
from realusersim_nb.records import AgentRun
from realusersim_nb.simulators.endings import ASKS, NO, YES

if TYPE_CHECKING:
    from tau2.data_model.tasks import Action, Task

Mechanism = Literal["late", "misread", "unconfirmed", "other"]
NEVER = "was never given"  # ends the detail of a value that the user did not state
HAND_OVER = "transfer_to_human_agents"
AGENT_SOURCES = ("user", "tool")  # messages from which an agent can know a value
ENDS = re.compile(  # the agent states that it is done, will not do it, or hands over
    r"(?i)\b(cannot|can't|can not|unable|not able|not possible|not allowed|transfer(red|ring)?)\b"
    r"|\b(is|are|has been|have been|been|i've|i have|successfully|now)\s+(\w+\s+)?(done|cancell?ed|completed?"
    r"|updated|changed|modified|processed|exchanged|returned|booked|created|submitted)\b"
)
Explanation = tuple[Mechanism, str, Sequence[int]]  # a detail in words, and the messages that prove it


@dataclass(frozen=True)
class FailureFinding:
    """What went wrong with one gold write, and the messages (indices) that prove it."""

    mechanism: Mechanism
    detail: str
    action: str
    turns: tuple[int, ...]


@dataclass(frozen=True)
class CallRecord:
    """One tool call of a run: the index of its message, and whether the tool accepted it."""

    turn: int
    name: str
    arguments: dict
    requestor: str
    accepted: bool


def list_calls(messages: list[dict]) -> list[CallRecord]:
    """All tool calls, in order; their results follow them in the same order (ids may repeat)."""
    accepted = iter([not m.get("error") for m in messages if m["role"] == "tool"])
    calls = [(i, call) for i, m in enumerate(messages) for call in m.get("tool_calls") or []]
    return [CallRecord(i, c["name"], c["arguments"], c["requestor"], next(accepted, False)) for i, c in calls]


def find_mechanisms(run: AgentRun, task: Task) -> list[FailureFinding]:
    """What went wrong in a failed run of a simulated user, by gold action; nothing for other runs."""
    if run.success is not False or run.simulator is None:
        return []
    from realusersim_nb.agents.environment import list_state_changing_tools  # here: it needs tau2-bench

    criteria, calls = task.evaluation_criteria, list_calls(run.messages)
    writes = list_state_changing_tools(run.domain)
    gold = [action for action in (criteria and criteria.actions) or [] if action.name in writes]
    missing = [a for a in gold if not any(call.accepted and not list_wrong(a, call) for call in calls)]
    if missing:
        why = [(a.name, explain_missing_write(run, task, a, calls)) for a in missing]
        return [
            FailureFinding(mechanism, detail, name, tuple(turns)) for name, (mechanism, detail, turns) in why
        ]
    n_past = len((task.initial_state and task.initial_state.message_history) or [])  # messages before the run
    made = [c for c in calls if c.turn >= n_past and c.accepted and c.name in writes]
    unwanted = [c for c in made if all(list_wrong(action, c) for action in gold)]
    if unwanted:
        return [FailureFinding("other", "a write that is not wanted", c.name, (c.turn,)) for c in unwanted]
    detail = "the steps ran out" if run.ended_by == "max_steps" else "not decided"
    detail = "facts not communicated" if run.checks.get("COMMUNICATE") == 0 else detail
    return [FailureFinding("other", detail, "", (len(run.messages) - 1,))]


def list_wrong(action: Action, call: CallRecord) -> list[str]:
    """The arguments in which a call differs from a gold action; ``(tool)`` if it is not of its tool."""
    if (call.name, call.requestor) != (action.name, action.requestor):
        return ["(tool)"]
    names = dict.fromkeys([*action.arguments, *call.arguments])
    compared = names if action.compare_args is None else action.compare_args
    return [n for n in names if n in compared and action.arguments.get(n) != call.arguments.get(n)]


def explain_missing_write(run: AgentRun, task: Task, action: Action, calls: list[CallRecord]) -> Explanation:
    """Why one gold write is missing, from its closest call if there is one."""
    attempts = [c for c in calls if (c.name, c.requestor) == (action.name, action.requestor)]
    if not attempts:
        return explain_absence(run, task, action)
    call = min(attempts, key=lambda attempt: len(list_wrong(action, attempt)))
    wrong, before = list_wrong(action, call), run.messages[: call.turn]
    values = {name: disclosure.flatten_values(call.arguments.get(name)) for name in wrong}
    slots = [
        s for s in disclosure.list_action_slots(task, action) if s.value not in values.get(s.name, [s.value])
    ]
    shown = [s for s in slots if disclosure.find_mention(before, s.value, by=["tool"]) is not None]
    # what a tool had shown the agent, the user need not state
    lacking = [s for s in slots if s not in shown or disclosure.find_mention(before, s.value) is not None]
    for slot in lacking:
        turn = disclosure.find_mention(run.messages, slot.value)
        if turn is not None and turn < call.turn:
            return "misread", f"{slot.name} was given as {slot.value}", (turn, call.turn)
        if turn is not None:
            return "late", f"{slot.name} was given after the call", (call.turn, turn)
    if lacking:
        return "late", f"{lacking[0].name} {NEVER}", (call.turn, len(run.messages) - 1)
    return "other", f"another {wrong[0]}" if wrong else "refused by the tool", (call.turn,)


def explain_absence(run: AgentRun, task: Task, action: Action) -> Explanation:
    """Why a gold write was never tried."""

    def find_first(value: str) -> int | None:
        return disclosure.find_mention(run.messages, value, by=AGENT_SOURCES)

    turns = {slot: find_first(slot.value) for slot in disclosure.list_action_slots(task, action)}
    never = [slot.name for slot, turn in turns.items() if turn is None]
    identity = disclosure.list_identity_values(task)
    if not never and identity and all(find_first(value) is None for value in identity):
        never = ["who they are"]
    if never:
        return "late", f"{never[0]} {NEVER}", [len(run.messages) - 1]
    pieces = sorted({turn for turn in turns.values() if run.messages[turn]["role"] == "user"})
    if run.ended_by == "max_steps" and len(pieces) > 1:
        return "late", "given in pieces, and the steps ran out", pieces
    return explain_close(run, since=max([0, *turns.values()]))


def explain_close(run: AgentRun, *, since: int) -> Explanation:
    """Why a write was not made though all was stated by message ``since``: no clear yes, or the user left."""
    texts = [(i, m["role"], m["content"]) for i, m in enumerate(run.messages) if m.get("content")]
    by_user = [(i, text) for i, role, text in texts if role == "user"]
    by_agent = [(i, text) for i, role, text in texts if role == "assistant" and i > since]
    asked = [i for i, text in by_agent if ASKS.search(text)]
    answers = [answer for question in asked for answer in [a for a in by_user if a[0] > question][:1]]
    yes = [i for i, text in answers if YES.search(text) and not NO.search(text)]
    handed = [call.turn for call in list_calls(run.messages) if call.accepted and call.name == HAND_OVER]
    later = [(i, text) for i, text in by_agent if i > max([since, *asked])]
    over = handed or [i for i, text in later if "?" not in text and ENDS.search(text)]
    has_left, end = run.ended_by == "user_stop", len(run.messages) - 1
    if yes and has_left and yes[0] == end:
        return "unconfirmed", "a yes, and closed at once", yes
    if yes:
        return "other", "confirmed, and not done", yes[:1]
    if over:
        return "other", "the agent refused, handed over or claimed success", over[:1]
    if not has_left:
        return "other", "never tried", [end]
    if asked:
        return "unconfirmed", "asked, and no clear yes", sorted({*asked, *(i for i, _ in answers)})
    return "unconfirmed", "the user closed first", [end]


def tabulate_failures(runs: list[AgentRun], tasks: list[Task]) -> pd.DataFrame:
    """One row a finding of a run; the ``first`` gives the run its mechanism."""
    by_id, rows = {task.id: task for task in tasks}, []
    for run in runs:
        run_key = run.model_dump(include={"task_id", "trial", "arm", "simulator"})
        findings = [asdict(finding) for finding in find_mechanisms(run, by_id[run.task_id])]
        rows += [{**run_key, "first": n == 0, **f, "turns": list(f["turns"])} for n, f in enumerate(findings)]
    columns = "task_id trial arm simulator first mechanism detail action turns".split()
    return pd.DataFrame(rows, columns=columns)


def name_mechanism(run: AgentRun, task: Task) -> Mechanism | None:
    """A failed run's mechanism; None for a reference arm and a run that succeeded or could not be scored."""
    return next((finding.mechanism for finding in find_mechanisms(run, task)), None)


def measure_mechanisms(runs: pd.DataFrame, *, seed: int = 0) -> pd.DataFrame:
    """How often runs of simulated users fail by each mechanism: one row an arm and mechanism.

    ``runs`` is ``scores.tabulate_runs``'s table with a column ``mechanism``. Columns ``rate`` (0..1 of scored
    runs), ``ci_low, ci_high`` (95% by task), ``n``, ``n_failed`` (not scored); against ``task_only``, paired
    by task: ``difference, difference_low, difference_high, p, n_pairs``.
    """
    tables, runs = [], runs.dropna(subset="simulator")
    runs = runs.assign(row=range(len(runs)))
    names = {"ci_low": "difference_low", "ci_high": "difference_high"}
    for mechanism in get_args(Mechanism):
        failed = (runs["mechanism"] == mechanism).where(runs["success"].notna()).astype(float)
        marked = runs.assign(failed=failed)
        rates = stats.tabulate_rates(marked, "failed", by="arm", unit="task_id", item="row", seed=seed)
        rates = rates.reindex(columns="rate ci_low ci_high n n_failed".split()).assign(mechanism=mechanism)
        pairs = scores.compare_success(marked, "failed", seed=seed).set_index("arm").rename(columns=names)
        tables.append(rates.join(pairs["difference difference_low difference_high p n_pairs".split()]))
    return pd.concat(tables).set_index("mechanism", append=True)
