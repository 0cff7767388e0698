"""A browser of agent runs: the conversation, the calls, the outcome, and what explains it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ipywidgets import Dropdown

from realusersim_nb.agents.disclosure import describe_scenario
from realusersim_nb.agents.failures import find_mechanisms
from realusersim_nb.agents.user_errors import UserError
from realusersim_nb.records import AgentRun
from realusersim_nb.widgets.page import N_SHOWN, browse, render

if TYPE_CHECKING:
    from tau2.data_model.tasks import Task

OUTCOMES = {True: "succeeded", False: "failed", None: "not scored"}


def browse_runs(runs: list[AgentRun], tasks: list[Task], errors: list[UserError]) -> None:
    """One run of a simulated user (see ``show_run``), failed ones first; without widgets, twelve of them."""
    by_id = {task.id: task for task in tasks}
    simulated = sorted((run for run in runs if run.simulator), key=lambda run: run.success is True)
    by_name = {f"{r.task_id}, {r.arm}, trial {r.trial}: {OUTCOMES[r.success]}": r for r in simulated}

    def show(name: str | None) -> str:
        if name:
            return show_run(by_name[name], by_id.get(by_name[name].task_id), errors)
        return render("note", text="No run has a simulated user.")

    static = [(name, show(name)) for name in list(by_name)[:N_SHOWN]]
    names = Dropdown(options=list(by_name), description="run", layout={"width": "40em"})
    browse([names], show, static=static, note=f"{len(static)} of {len(by_name)} runs are shown.")


def show_run(run: AgentRun, task: Task | None = None, errors: list[UserError] = ()) -> str:
    """HTML of one run: outcome, why it failed, errors of its user, what the database lacks, and all messages.

    Messages that prove a finding are marked. Without its ``task`` there is no scenario and no reason.
    """
    findings = find_mechanisms(run, task) if task else []
    by_user = [e for e in errors if (e.task_id, e.trial, e.arm) == (run.task_id, run.trial, run.arm)]
    marked = {turn for f in findings for turn in f.turns} | {e.turn for e in by_user if e.proven}
    scenario = "\n".join(describe_scenario(task)) if task else ""
    values = {"outcome": OUTCOMES[run.success], "changes": run.changes[:N_SHOWN], "scenario": scenario}
    return render("run", run=run, findings=findings, errors=by_user, marked=marked, **values)
