"""tau2-bench adapter: our users and agents in its orchestrator, its environments, its evaluator.

The scenario of a task says *what* the simulated user wants, the arm says *how* they write. Two
bounds (``reference_arms``) belong beside every success rate.

tau2's classes are synchronous, our model calls are not: each run has a thread, and its calls are
handed to the notebook's event loop.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any, get_args

import pandas as pd
from anyio import CapacityLimiter, to_thread
from pydantic import BaseModel
from tau2.agent.base import LocalAgent
from tau2.data_model.message import Message
from tau2.data_model.tasks import Task
from tau2.environment.environment import Environment
from tau2.evaluator.evaluator import EvaluationType, evaluate_simulation
from tau2.orchestrator.orchestrator import Orchestrator
from tau2.user.base import BaseUser

from realusersim_nb.agents.disclosure import describe_scenario
from realusersim_nb.agents.environment import (
    Domain,
    compare_databases,
    make_environment,
    name_shared,
    play_gold,
)
from realusersim_nb.agents.participants import SimulatedUser, StockUser, find_agent
from realusersim_nb.agents.reference_arms import AgentReferenceArm, make_reference_pair
from realusersim_nb.agents.scores import STOCK
from realusersim_nb.errors import InputError, StudyError
from realusersim_nb.llm.models import list_results
from realusersim_nb.llm.replies import ToolReply
from realusersim_nb.records import AgentRun, Profile
from realusersim_nb.simulators import conditions
from realusersim_nb.simulators.users import Simulator

AGENT_TOKENS = 1000  # of one reply of an agent that calls functions
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
    ``agent_format`` the kind of agent it is (``participants.find_agent``).

    Arms are kinds of simulated user (with turn format ``roles``, tau2's own told the persona), ``stock``,
    tau2's user as it is, and the bounds. A task keeps its profile (a seeded draw) and
    its seed in every arm, so arms can be compared in pairs. ``max_steps`` ends a run that does not
    end by itself; bounds always have tau2's 100. A run that fails is a row with its reason.
    """
    find_agent(agent_format)
    conditions.check_arms(arms, known=(*get_args(AgentReferenceArm), STOCK, *conditions.ARMS))
    if domain == "telecom" and simulator.turn_format == "transcript" and set(arms) & set(conditions.ARMS):
        raise InputError(
            "users of domain 'telecom' have tools: take turn_format 'roles', or mock, airline or retail."
        )
    drawn = draw_profiles(tasks, profiles, seed=simulator.seed)
    trials = [replace(simulator, seed=simulator.seed + trial) for trial in range(n_trials)]
    runs = [
        run_reference_arm(domain, task, arm, trial)
        if arm in get_args(AgentReferenceArm)
        else run_task(player, domain, task, arm, trial, drawn[task.id], agent, agent_format, max_steps)
        for arm in arms
        for task in tasks
        for trial, player in enumerate(trials)
    ]
    return list_results(await simulator.models.run_all(runs, "agent runs"))


def draw_profiles(
    tasks: list[Task], profiles: list[Profile], *, seed: int
) -> dict[str, tuple[Profile, Profile]]:
    """For each task a real profile and, for ``shuffled_profile``, another one."""
    drawn = pd.Series(profiles, dtype=object).sample(
        2 * len(tasks), replace=2 * len(tasks) > len(profiles), random_state=seed
    )
    pairs = zip(drawn[::2], drawn[1::2], strict=True)
    return {task.id: pair for task, pair in zip(tasks, pairs, strict=True)}


async def run_reference_arm(domain: Domain, task: Task, arm: AgentReferenceArm, trial: int) -> AgentRun:
    """One run of a bound."""
    about = {"task_id": task.id, "trial": trial, "arm": arm, "agent": arm}
    return await orchestrate(
        domain, task, lambda environment: make_reference_pair(environment, task, arm), MAX_STEPS, about
    )


async def run_task(
    simulator: Simulator,
    domain: Domain,
    task: Task,
    arm: str,
    trial: int,
    drawn: tuple[Profile, Profile],
    agent: str,
    agent_format: str,
    max_steps: int,
) -> AgentRun:
    """One run of an agent with a simulated user."""
    loop = asyncio.get_running_loop()
    persona = None if arm == STOCK else conditions.ARMS[arm](*drawn)

    def wait(call: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(call, loop).result()

    def ask(prompt: str | list[dict], form: type[BaseModel] | list[dict]) -> Any:
        models, sampling = simulator.models, {"temperature": 0.001, "seed": simulator.seed}
        if agent_format == "constrained":
            return wait(models.ask_json(agent, prompt, form, **sampling))
        return wait(models.ask_tools(agent, prompt, form, max_tokens=AGENT_TOKENS, **sampling))

    def write(**told) -> str:
        return wait(simulator.write(persona=persona, **told))

    def chat(messages: list[dict], tools: list[dict]) -> ToolReply:
        return wait(simulator.models.ask_tools(simulator.model, messages, tools, seed=simulator.seed))

    def make_pair(environment: Environment) -> tuple[LocalAgent, BaseUser]:
        player = find_agent(agent_format)(environment.get_tools(), environment.get_policy(), ask)
        if arm == STOCK or simulator.turn_format == "roles":
            tools = environment.get_user_tools() if environment.user_tools else []
            return player, StockUser(task, tools, chat, persona)
        return player, SimulatedUser(*describe_scenario(task), write)

    about = {"task_id": task.id, "trial": trial, "arm": arm, "agent": agent, "simulator": simulator.model}
    return await orchestrate(domain, task, make_pair, max_steps, {**about, "persona": persona or ""})


async def orchestrate(
    domain: Domain, task: Task, make_pair: Callable[[Environment], tuple], max_steps: int, about: dict
) -> AgentRun:
    """One run in tau2's loop, scored by its evaluator (database, actions and facts; no model judges)."""
    environment = make_environment(domain)
    loop = Orchestrator(domain, *make_pair(environment), environment, task, max_steps=max_steps)

    def play() -> dict:
        simulation = loop.run()
        verdict = evaluate_simulation(
            simulation, task, EvaluationType.ALL, solo_mode=False, domain=name_shared(domain)
        )
        won = verdict.reward > 0.999
        return {
            "success": won,
            "reward": verdict.reward,
            "ended_by": simulation.termination_reason.value,
            "checks": {basis.value: value for basis, value in (verdict.reward_breakdown or {}).items()},
            "changes": [] if won else compare_databases(play_gold(domain, task), environment),
        }

    try:
        # not a thread of asyncio's pool: there the cache waits for its turn, for which these would wait in turn
        found = await to_thread.run_sync(play, limiter=CapacityLimiter(1))
    except StudyError:
        raise
    except Exception as error:  # whatever tau2 or a reply breaks is this run's result, not the study's end
        found = {"ended_by": "error", "error": f"{type(error).__name__}: {error}"}
    messages = [describe_message(message) for message in loop.trajectory]
    user_turns = sum(m["role"] == "user" for m in messages)
    return AgentRun(domain=domain, **about, **found, user_turns=user_turns, messages=messages)


def describe_message(message: Message) -> dict:
    """A message, a call or a result of tau2's as it is kept."""
    told = message.model_dump(
        include={"role", "content", "tool_calls", "id", "requestor", "error"}, exclude_none=True
    )
    return {name: value for name, value in told.items() if value is not False}
