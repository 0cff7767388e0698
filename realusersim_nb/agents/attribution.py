"""Whose fault a failed run is: the agent's, its user's, or the environment's.

A run says nothing of an agent where its user made an error that hindered it; the others are **valid**. What
an error did is decided by rules, where a rule can prove it:

    hindered  the run failed, and: a value that the task needs was never stated; the user left before the
              agent could do it; no message was about the task; or the agent called a tool with a value that
              the user had made up
    helped    the run succeeded, and the user had stated early what the agent was to ask for
    minor     the run succeeded all the same, or failed though the user had stated more than asked for
    unclear   the rest, such as what a model read in a failed run: it stays valid
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal, get_args

import pandas as pd

from realusersim_nb.agents import scores
from realusersim_nb.agents.disclosure import flatten_values, mentions
from realusersim_nb.agents.failures import list_calls
from realusersim_nb.records import AgentRun

if TYPE_CHECKING:
    from realusersim_nb.agents.user_errors import UserError

Effect = Literal["hindered", "helped", "minor", "unclear"]
Blame = Literal["agent", "user", "environment"]
MADE_UP = ("hallucinated", "inconsistent")
ENDED = ("missed_action", "premature_stop", "off_goal")


def judge_effect(run: AgentRun, *, kind: str, turn: int, quote: str, by_rule: bool) -> Effect:
    """What an error of a run's user did."""
    if run.success:
        return "helped" if kind == "revealed_early" else "minor"
    if kind == "revealed_early":
        return "minor"
    if by_rule and kind in ENDED:
        return "hindered"
    return "hindered" if kind in MADE_UP and is_called_with(run, quote, since=turn) else "unclear"


def is_called_with(run: AgentRun, value: str, *, since: int) -> bool:
    """Whether the agent called a tool with a value after a message."""
    later = [call for call in list_calls(run.messages) if call.turn > since and call.requestor == "assistant"]
    return any(mentions(text, value) for call in later for text in flatten_values(call.arguments))


def name_run(run: AgentRun | UserError) -> tuple[str, int, str]:
    """What a run and its errors have in common."""
    return run.task_id, run.trial, run.arm


def attribute_runs(runs: list[AgentRun], errors: Iterable[UserError]) -> list[Blame | None]:
    """To whom each run's failure is due; None where it succeeded, and for reference arms.

    To the environment where a run could not be scored; to the user where a proven error hindered; to the
    environment where the oracle fails at the task too; else to the agent.
    """
    hindered = {name_run(error) for error in errors if error.proven and error.effect == "hindered"}
    unsolvable = {run.task_id for run in runs if run.arm == "oracle" and run.success is False}
    blames: list[Blame | None] = []
    for run in runs:
        if run.simulator is None or run.success:
            blames.append(None)
        elif run.success is not None and name_run(run) in hindered:
            blames.append("user")
        else:
            is_ours = run.success is None or run.task_id in unsolvable
            blames.append("environment" if is_ours else "agent")
    return blames


def count_blames(runs: pd.DataFrame) -> pd.DataFrame:
    """By arm of simulated users: ``n_runs``, ``succeeded``, and failures by ``blame`` (a column)."""
    runs = runs.dropna(subset="simulator")
    arms = runs["arm"].unique()
    counts = pd.crosstab(runs["arm"], runs["blame"].fillna("succeeded")).rename_axis(columns=None)
    counts = counts.reindex(index=arms, columns=["succeeded", *get_args(Blame)], fill_value=0)
    counts.insert(0, "n_runs", counts.sum(axis=1))
    return counts.rename_axis("arm")


def score_valid(runs: pd.DataFrame, *, seed: int = 0) -> pd.DataFrame:
    """Success of each arm with all runs (``scores.score_success``) and with the valid ones alone.

    The latter as ``valid, valid_low, valid_high, n_valid``: an upper limit, since errors of users are
    searched for in runs that failed.
    """
    kept = scores.score_success(runs[runs["blame"] != "user"], seed=seed)
    names = {"success": "valid", "ci_low": "valid_low", "ci_high": "valid_high", "n_runs": "n_valid"}
    table = scores.score_success(runs, seed=seed).join(kept.drop(columns="n_failed").rename(columns=names))
    return table.assign(n_valid=table["n_valid"].astype(float).fillna(0).astype(int))
