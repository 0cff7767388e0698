"""A browser of agent runs: the conversation, the calls, the outcome, and what explains it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import ipywidgets

from realusersim_nb.agents import failures
from realusersim_nb.agents.disclosure import describe_scenario
from realusersim_nb.records import AgentRun
from realusersim_nb.widgets.page import N_SHOWN, browse, render

if TYPE_CHECKING:
    from tau2.data_model.tasks import Task

    from realusersim_nb.agents.user_errors import UserError


def browse_runs(runs: list[AgentRun], tasks: list[Task], errors: list[UserError]) -> None:
    """One run in full, of those with a simulated user, failed ones first: see ``show_run``.

    A page without widgets shows the first twelve, folded.
    """
    by_id = {task.id: task for task in tasks}
    simulated = sorted((run for run in runs if run.simulator), key=lambda run: run.success is True)
    by_name = {f"{r.task_id}, {r.arm}, trial {r.trial}: {name_outcome(r)}": r for r in simulated}

    def show(name: str | None) -> str:
        if name is None:
            return render("note", text="No run has a simulated user.")
        return show_run(by_name[name], by_id.get(by_name[name].task_id), errors)

    names = list(by_name)[:N_SHOWN]
    static = [(name, show(name)) for name in names]
    chosen = ipywidgets.Dropdown(options=list(by_name), description="run", layout={"width": "40em"})
    browse([chosen], show, static=static, note=f"{len(names)} of {len(by_name)} runs are shown.")


def name_outcome(run: AgentRun) -> str:
    """How a run came out, in a word or two."""
    return {True: "succeeded", False: "failed", None: "not scored"}[run.success]


def show_run(run: AgentRun, task: Task | None = None, errors: list[UserError] = ()) -> str:
    """HTML of one run: outcome, why it failed, errors of its user, what the database lacks, and all messages.

    Messages that prove a finding are marked. Without its ``task`` (tau2-bench's) the run is shown without the
    scenario and the reason of a failure.
    """
    findings = failures.find_mechanisms(run, task) if task else []
    by_user = [e for e in errors if (e.task_id, e.trial, e.arm) == (run.task_id, run.trial, run.arm)]
    return render(
        "run",
        run=run,
        outcome=name_outcome(run),
        findings=findings,
        errors=by_user,
        marked={turn for f in findings for turn in f.turns} | {e.turn for e in by_user if e.proven},
        changes=run.changes[:N_SHOWN],
        scenario="\n".join(describe_scenario(task)) if task else "",
    )
