"""tau2-bench adapter: our users and agents in its orchestrator, its environments, its evaluator.

The scenario of a task says *what* the simulated user wants, the arm says *how* they write. Two
bounds (``bounds``) belong beside every success rate.

tau2's classes are synchronous, our model calls are not: each run has a thread, and its calls are
handed to the notebook's event loop.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from math import comb
from typing import Any, get_args

import numpy as np
import pandas as pd
import statsmodels.formula.api as smf
from anyio import CapacityLimiter, to_thread
from pydantic import BaseModel
from tau2.agent.base import LocalAgent
from tau2.data_model.message import Message
from tau2.data_model.tasks import Task
from tau2.environment.environment import Environment
from tau2.evaluator.evaluator import EvaluationType, evaluate_simulation
from tau2.orchestrator.orchestrator import Orchestrator
from tau2.user.base import BaseUser

from realusersim_nb import StudyStopped, simulators, stats
from realusersim_nb.bounds import Bound, make_bound
from realusersim_nb.domains import (
    Domain,
    compare_databases,
    describe_scenario,
    make_environment,
    name_shared,
    play_gold,
)
from realusersim_nb.players import SimulatedUser, StockUser, find_agent
from realusersim_nb.records import AgentRun, Profile
from realusersim_nb.replies import Said
from realusersim_nb.simulators import Simulator

STOCK, BASELINE = "stock", "task_only"  # the arm of tau2's own user, as shipped; what arms are compared with
SMALL_EFFECT = 0.03  # about what the paper reports
AGENT_TOKENS = 1000  # of one reply of an agent that calls functions
TASKS_A_TERM = 10  # of a linear model, at least
MAX_STEPS = 100  # tau2's; a message or a tool call is a step


# --- runs --------------------------------------------------------------------------------------


async def run_arms(
    simulator: Simulator,
    domain: Domain,
    tasks: list[Task],
    arms: list[str],
    profiles: list[Profile],
    *,
    agent: str,
    agent_format: str = "constrained",
    n_trials: int = 1,
    max_steps: int = MAX_STEPS,
) -> list[AgentRun]:
    """Every task under every arm, ``n_trials`` times, in tau2's orchestrator; ``agent`` is a model's name,
    ``agent_format`` the kind of agent it is (``players.find_agent``).

    Arms are kinds of simulated user (with turn format ``roles``, tau2's own told the persona), ``stock``,
    tau2's user as it is, and the bounds. A task keeps its profile (a seeded draw) and
    its seed in every arm, so arms can be compared in pairs. ``max_steps`` ends a run that does not
    end by itself; bounds always have tau2's 100. A run that fails is a row with its reason.
    """
    find_agent(agent_format)
    simulators.check_arms(arms, known=(*get_args(Bound), STOCK, *simulators.ARMS))
    if domain == "telecom" and simulator.turn_format == "transcript" and set(arms) & set(simulators.ARMS):
        raise ValueError("users of domain 'telecom' have tools: take turn_format 'roles', or mock, airline or retail.")
    drawn = draw_profiles(tasks, profiles, seed=simulator.seed)
    trials = [replace(simulator, seed=simulator.seed + trial) for trial in range(n_trials)]
    runs = [
        run_bound(domain, task, arm, trial)
        if arm in get_args(Bound)
        else run_task(player, domain, task, arm, trial, drawn[task.id], agent, agent_format, max_steps)
        for arm in arms
        for task in tasks
        for trial, player in enumerate(trials)
    ]
    return await simulator.models.run_all(runs, "agent runs")


def draw_profiles(tasks: list[Task], profiles: list[Profile], *, seed: int) -> dict[str, tuple[Profile, Profile]]:
    """For each task a real profile and, for ``shuffled_profile``, another one."""
    drawn = pd.Series(profiles, dtype=object).sample(
        2 * len(tasks), replace=2 * len(tasks) > len(profiles), random_state=seed
    )
    pairs = zip(drawn[::2], drawn[1::2], strict=True)
    return {task.id: pair for task, pair in zip(tasks, pairs, strict=True)}


async def run_bound(domain: Domain, task: Task, arm: Bound, trial: int) -> AgentRun:
    """One run of a bound."""
    about = {"task_id": task.id, "trial": trial, "arm": arm, "agent": arm}
    return await orchestrate(domain, task, lambda environment: make_bound(environment, task, arm), MAX_STEPS, about)


async def run_task(
    simulator: Simulator, domain: Domain, task: Task, arm: str, trial: int, drawn: tuple[Profile, Profile],
    agent: str, agent_format: str, max_steps: int,
) -> AgentRun:  # fmt: skip
    """One run of an agent with a simulated user."""
    loop = asyncio.get_running_loop()
    persona = None if arm == STOCK else simulators.ARMS[arm](*drawn)

    def wait(call: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(call, loop).result()

    def ask(prompt: str | list[dict], form: type[BaseModel] | list[dict]) -> Any:
        bound = {"schema": form} if agent_format == "constrained" else {"tools": form, "max_tokens": AGENT_TOKENS}
        return wait(simulator.models.ask(agent, prompt, temperature=0.001, seed=simulator.seed, **bound))

    def write(**told) -> str:
        return wait(simulator.write(persona=persona, **told))

    def chat(messages: list[dict], tools: list[dict]) -> Said:
        return wait(simulator.models.ask(simulator.model, messages, tools=tools, seed=simulator.seed))

    def make_pair(environment: Environment) -> tuple[LocalAgent, BaseUser]:
        player = find_agent(agent_format)(environment.get_tools(), environment.get_policy(), ask)
        if arm == STOCK or simulator.turn_format == "roles":
            tools = environment.get_user_tools() if environment.user_tools else []
            return player, StockUser(task, tools, chat, persona)
        return player, SimulatedUser(*describe_scenario(task), write)

    about = {"task_id": task.id, "trial": trial, "arm": arm, "agent": agent, "simulator": simulator.model}
    return await orchestrate(domain, task, make_pair, max_steps, {**about, "manner": persona or ""})


async def orchestrate(
    domain: Domain, task: Task, make_pair: Callable[[Environment], tuple], max_steps: int, about: dict
) -> AgentRun:
    """One run in tau2's loop, scored by its evaluator (database, actions and facts; no model judges)."""
    environment = make_environment(domain)
    loop = Orchestrator(domain, *make_pair(environment), environment, task, max_steps=max_steps)

    def play() -> dict:
        simulation = loop.run()
        verdict = evaluate_simulation(simulation, task, EvaluationType.ALL, solo_mode=False, domain=name_shared(domain))
        won = verdict.reward > 0.999
        return {
            "success": won, "reward": verdict.reward, "ended_by": simulation.termination_reason.value,
            "checks": {basis.value: value for basis, value in (verdict.reward_breakdown or {}).items()},
            "changes": [] if won else compare_databases(play_gold(domain, task), environment),
        }  # fmt: skip

    try:
        # not a thread of asyncio's pool: there the cache waits for its turn, for which these would wait in turn
        found = await to_thread.run_sync(play, limiter=CapacityLimiter(1))
    except StudyStopped:
        raise
    except Exception as error:  # whatever tau2 or a reply breaks is this run's result, not the study's end
        found = {"ended_by": "error", "error": f"{type(error).__name__}: {error}"}
    messages = [describe_message(message) for message in loop.trajectory]
    user_turns = sum(m["role"] == "user" for m in messages)
    return AgentRun(domain=domain, **about, **found, user_turns=user_turns, messages=messages)


def describe_message(message: Message) -> dict:
    """A message, a call or a result of tau2's as it is kept."""
    told = message.model_dump(include={"role", "content", "tool_calls", "id", "requestor", "error"}, exclude_none=True)
    return {name: value for name, value in told.items() if value is not False}


# --- scores ------------------------------------------------------------------------------------


def score(runs: pd.DataFrame, *, by: str | list[str] = "arm", seed: int = 0) -> pd.DataFrame:
    """Success of each arm (or of what ``by`` names): one row each, in the order met.

    Columns ``success, ci_low, ci_high`` (0..1, 95 % by task), ``n_runs`` (scored), ``n_failed``.
    """
    found = stats.score(runs, "success", by=by, unit="task_id", item=["simulator", "task_id", "trial"], seed=seed)
    return found.rename(columns={"rate": "success", "n": "n_runs"})


def compare_arms(runs: pd.DataFrame, value: str = "success", *, seed: int = 0) -> pd.DataFrame:
    """Paired differences of ``value`` between each kind of simulated user and ``task_only``; tasks are the pairs.

    See ``stats.difference``; no rows without ``task_only``. ``tasks_for_3_points``: how many tasks, run as often
    and spread as these are, show a true difference of 3 points in 80 % of studies.
    """
    arms = [arm for arm in runs["arm"].unique() if arm in (STOCK, *simulators.ARMS)]
    pairs = [(arm, BASELINE) for arm in arms if BASELINE in arms and arm != BASELINE]
    rows = [
        stats.difference(runs, value, arm=arm, baseline=baseline, pair_by="task_id", seed=seed)
        for arm, baseline in pairs
    ]
    table = pd.DataFrame(rows, columns=stats.DIFFERENCE)
    return table.assign(tasks_for_3_points=np.ceil((stats.NORMAL * table["spread"] / SMALL_EFFECT) ** 2))


def pool(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs of simulated users with their simulator as ``scope``, and, where there are several, all of them once
    more in the scope ``pooled``. A run that stands in several studies counts once; tasks are named with their domain.
    """
    alike = ["domain", "agent", "simulator", "arm", "task_id", "trial"]
    own = runs.dropna(subset="simulator").drop_duplicates(alike, keep="last")
    own = own.assign(scope=own["simulator"], task_id=own["domain"] + "/" + own["task_id"])
    return pd.concat([own, own.assign(scope="pooled")]) if own["simulator"].nunique() > 1 else own


def describe_users(runs: list[AgentRun]) -> pd.DataFrame:
    """What differs between arms besides the manner: one row an arm of simulated users, medians over its runs.

    Columns ``manner_words`` (what the user was told of how to write), ``user_turns``, ``message_words``, ``n_runs``.
    """
    table = tabulate(runs)
    return table[table["simulator"].notna()].groupby("arm", sort=False).agg(
        manner_words=("manner_words", "median"), user_turns=("user_turns", "median"),
        message_words=("message_words", "median"), n_runs=("task_id", "size"),
    )  # fmt: skip


def adjust(runs: pd.DataFrame, covariates: list[str]) -> pd.DataFrame:
    """Differences of success from ``task_only`` with the covariates held equal, by a linear model.

    One row an arm: ``adjusted`` (in shares of runs), ``ci_low, ci_high, p`` with errors clustered by task, ``n_runs``.
    Empty figures where arms and covariates cannot be told apart, or with fewer than ten tasks a term.
    Turns come after the manner: what goes through them is taken from the arm's effect.
    """
    own = runs[runs["simulator"].notna()].dropna(subset=["success", *covariates])
    own = own.assign(success=own["success"].astype(float), **{c: np.log1p(own[c]) for c in covariates})
    arms = [arm for arm in own["arm"].unique() if arm != BASELINE]
    terms = [f"C(arm, Treatment({BASELINE!r}))", *covariates]
    rows = {arm: {"n_runs": len(own)} for arm in arms}
    if arms and (own["arm"] == BASELINE).any():
        model = smf.ols(f"success ~ {' + '.join(terms)}", own)
        enough = own["task_id"].nunique() >= TASKS_A_TERM * model.exog.shape[1]
        if enough and np.linalg.matrix_rank(model.exog) == model.exog.shape[1]:
            fit = model.fit(cov_type="cluster", cov_kwds={"groups": pd.factorize(own["task_id"])[0]})
            for arm in arms:
                name = f"{terms[0]}[T.{arm}]"
                low, high = fit.conf_int().loc[name]
                rows[arm] = {"adjusted": fit.params[name], "ci_low": low, "ci_high": high, "p": fit.pvalues[name], "n_runs": len(own)}  # fmt: skip
    columns = ["adjusted", "ci_low", "ci_high", "p", "n_runs"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns).rename_axis("arm")


def measure_pass(runs: pd.DataFrame, *, seed: int = 0) -> pd.DataFrame:
    """pass^k of each arm: how likely k runs of a task all succeed (tau-bench, arXiv 2406.12045).

    One row an arm and k, up to the fewest scored trials of a task: ``pass_k`` (0..1, mean over
    tasks of C(successes, k) / C(trials, k)) with its 95 % interval by task, and ``n`` tasks.
    """
    rows = []
    for arm, own in runs.dropna(subset="success").groupby("arm", sort=False):
        tasks = own.groupby("task_id")["success"].agg(["sum", "count"]).astype(int)
        for k in range(1, tasks["count"].min() + 1):
            chances = pd.Series([comb(c, k) / comb(n, k) for c, n in tasks.to_numpy().tolist()], tasks.index)
            found = stats.rate(chances, pd.Series(tasks.index), seed=seed)
            rows.append({"arm": arm, "k": k, "pass_k": found.pop("rate"), **found})
    return pd.DataFrame(rows, columns=["arm", "k", "pass_k", "ci_low", "ci_high", "n"])


def tabulate(runs: list[AgentRun]) -> pd.DataFrame:
    """One row a run, without its messages; with the words of the manner told and the median words of a user's message."""
    left_out = {"messages", "manner", "changes", "checks"}
    return pd.DataFrame([{**run.model_dump(exclude=left_out), **count_words(run)} for run in runs])


def count_words(run: AgentRun) -> dict[str, float]:
    """Words of the manner told, and median words of a message of the user."""
    said = [len(m["content"].split()) for m in run.messages if m["role"] == "user" and m.get("content")]
    return {"manner_words": len(run.manner.split()), "message_words": float(np.median(said)) if said else float("nan")}
