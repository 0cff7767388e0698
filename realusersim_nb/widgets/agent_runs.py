"""A browser for agent runs: the conversation, the calls, the verdict, and what the verdict rests on."""

import html
import json
from typing import TYPE_CHECKING

import ipywidgets

from realusersim_nb.agents import failures
from realusersim_nb.agents.disclosure import describe_scenario
from realusersim_nb.agents.user_errors import UserError
from realusersim_nb.records import AgentRun
from realusersim_nb.text import cut_at_word
from realusersim_nb.widgets.page import SHOWN, show_widgets

if TYPE_CHECKING:
    from tau2.data_model.tasks import Task


def browse_runs(runs: list[AgentRun], tasks: "list[Task]", errors: list[UserError]) -> None:
    """One run in full: the conversation, calls and results, the verdict, what the database lacks, and why it failed.

    Runs of simulated users, those that failed first. A page without widgets shows the first of them, folded.
    """
    by_id = {task.id: task for task in tasks}
    simulated = sorted((run for run in runs if run.simulator), key=lambda run: run.success is True)
    known = {f"{run.task_id}, {run.arm}, trial {run.trial}: {tell_outcome(run)}": run for run in simulated}

    def show(name: str) -> str:
        return show_run(known[name], by_id[known[name].task_id], errors)

    shown = list(known)[:SHOWN]
    chosen = ipywidgets.Dropdown(options=list(known), description="run", layout={"width": "40em"})
    page = ipywidgets.HTML(show(shown[0]) if shown else "No run has a simulated user.")
    chosen.observe(lambda change: setattr(page, "value", show(change["new"])), names="value")
    pages = [f"<details><summary>{html.escape(name)}</summary>{show(name)}</details>" for name in shown]
    show_widgets(
        [chosen, page], without=f"{''.join(pages)}<p>{len(shown)} of {len(known)} runs are shown.</p>"
    )


def tell_outcome(run: AgentRun) -> str:
    """How a run came out, in a word or two."""
    return {True: "succeeded", False: "failed", None: "not scored"}[run.success]


def show_run(run: AgentRun, task: "Task", errors: list[UserError]) -> str:
    """HTML of one run; all text of tasks and models is escaped. The messages that prove a finding are marked."""
    found = failures.find_mechanisms(run, task)
    own = [e for e in errors if (e.task_id, e.trial, e.arm) == (run.task_id, run.trial, run.arm)]
    marked = {turn for finding in found for turn in finding.turns} | {e.turn for e in own if e.proven}
    told = [
        f"<b>{tell_outcome(run)}</b>, ended by {html.escape(run.ended_by)}",
        *([html.escape(run.error)] if run.error else []),
    ]
    told += [
        f"<b>{f.mechanism}</b>: {html.escape(f'{f.detail} ({f.action})' if f.action else f.detail)}, messages {', '.join(map(str, f.turns))}"
        for f in found
    ]
    told += [
        f"<b>the user's own error</b>, {e.kind}{'' if e.proven else ' (unproven)'}, by {html.escape(e.detected_by)}: {html.escape(cut_at_word(e.quote, 200))}"
        for e in own
    ]
    told += [f"database: {html.escape(cut_at_word(change, 200))}" for change in run.changes[:SHOWN]]
    scenario = html.escape("\n".join(describe_scenario(task)))
    lines = "".join(show_run_message(i, m, is_marked=i in marked) for i, m in enumerate(run.messages))
    return (
        f"<ul>{''.join(f'<li>{line}</li>' for line in told)}</ul>"
        f"{fold('what the user wants and knows', scenario)}{fold('how they were told to write', html.escape(run.persona))}"
        f"<table style='text-align:left;line-height:1.4'>{lines}</table>"
    )


def fold(title: str, text: str) -> str:
    """HTML of an escaped text behind its title; nothing for no text."""
    body = f"<pre style='white-space:pre-wrap'>{text}</pre>"
    return f"<details><summary>{title}</summary>{body}</details>" if text else ""


def show_run_message(number: int, message: dict, *, is_marked: bool) -> str:
    """HTML of one message, with its calls, as a row of a table."""
    calls = [f"{c['name']}({json.dumps(c['arguments'])})" for c in message.get("tool_calls") or []]
    said = [cut_at_word(message.get("content") or "", 200 if message["role"] == "tool" else 1000)]
    text = "<br>".join(
        [*map(html.escape, filter(None, said)), *(f"<code>{html.escape(call)}</code>" for call in calls)]
    )
    role = f"{message['role']}{', refused' if message.get('error') else ''}"
    cells = (
        f"<td style='vertical-align:top;opacity:.6'>{number}</td><td style='vertical-align:top'>{role}</td>"
    )
    return f"<tr>{cells}<td style='text-align:left'>{f'<mark>{text}</mark>' if is_marked else text}</td></tr>"
