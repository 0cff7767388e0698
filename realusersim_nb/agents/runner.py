"""Runs in tau2-bench's orchestrator and environments, scored by its evaluator, with our users and agents.

The scenario of a task is *what* the simulated user wants, the persona of the arm *how* they write. The
reference arms (``oracle``, ``do_nothing``) belong beside every success rate.

tau2's classes are synchronous, our model calls are not: each run has a thread, and its calls are handed to
the notebook's event loop; a thread ends at its next call once the study is stopped.
"""

import asyncio
import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import product
from typing import Any, get_args

import numpy as np
import pandas as pd
from anyio import CapacityLimiter, to_thread
from pydantic import BaseModel

from realusersim_nb.agents import environment as domains  # first: names the extra where tau2 is absent

# isort: split
from tau2.agent.base import AgentError, LocalAgent
from tau2.data_model.tasks import Task
from tau2.evaluator.evaluator import EvaluationType, evaluate_simulation
from tau2.orchestrator.orchestrator import Orchestrator
from tau2.user.base import BaseUser, UserError

from realusersim_nb.agents.disclosure import describe_scenario
from realusersim_nb.agents.participants import SimulatedUser, StockUser, find_agent, make_reference_pair
from realusersim_nb.agents.scores import CORRECTED, STOCK, AgentReferenceArm
from realusersim_nb.errors import InputError, StudyError
from realusersim_nb.llm.client import leave_if_stopped
from realusersim_nb.llm.errors import CallFailed, list_results
from realusersim_nb.llm.replies import ToolReply
from realusersim_nb.prompts.fill import hash_prompts
from realusersim_nb.records import AgentRun, Persona, Profile
from realusersim_nb.simulators import conditions
from realusersim_nb.simulators.users import Simulator

AGENT_TOKENS = 1000  # of one reply of an agent that calls functions
MAX_STEPS = 100  # tau2's; a message or a tool call is a step
STOCKS = (STOCK, CORRECTED)
PROMPTS = "agent_step user_manner user_plan user_shots user_turn user_turn_replied".split()  # of a run
MESSAGE_FIELDS = {"role", "content", "tool_calls", "id", "requestor", "error"}
RUN_ERRORS = (CallFailed, AgentError, UserError, ValueError, AssertionError)
"""What ends one run; others are defects. An unusable reply is CallFailed; tau2 raises ValueError for an empty
message and for arguments or JSON that do not validate, AssertionError for a state that was not reached."""


async def run_arms(
    simulator: Simulator,
    domain: domains.Domain,
    tasks: list[Task],
    arms: list[str],
    profiles: list[Profile],
    *,
    agent: str,
    agent_format: str = "constrained",
    n_trials: int = 1,
    max_steps: int = MAX_STEPS,
) -> list[AgentRun]:
    """Every task under every arm, ``n_trials`` times, by the model ``agent`` (``participants.find_agent``).

    Arms are those of ``conditions`` (with turn format ``roles``: tau2's user with the persona), ``stock``
    (tau2's user as it is), ``stock_corrected`` (as it is, but staying while the agent has yet to do what it
    has been allowed to) and the reference arms. A task keeps its profile (a seeded draw) and its seed in
    every arm, so arms can be compared in pairs. ``max_steps`` ends a run that does not end by itself;
    reference arms always have tau2's 100. A run that fails is a row with its reason.
    """
    make_agent = find_agent(agent_format)
    check_arms(simulator, domain, arms)
    drawn, runs = draw_profiles(tasks, profiles, seed=simulator.seed), []
    for arm, task, trial in product(arms, tasks, range(n_trials)):
        row = {"domain": domain, "task_id": task.id, "trial": trial, "arm": arm}
        if arm in get_args(AgentReferenceArm):
            make_pair = partial(make_reference_pair, task=task, arm=arm)
            runs.append(orchestrate(AgentRun(**row, agent=arm), task, make_pair))
        else:
            writer = replace(simulator, seed=derive_seed(simulator.seed, trial))
            persona = Persona() if arm in STOCKS else conditions.find_arm(arm)(*drawn[task.id])
            run = AgentRun(**row, agent=agent, simulator=simulator.model, persona=persona)
            run.made_from = digest_settings(run, writer, agent_format, max_steps)
            runs.append(run_task(run, task, writer, make_agent, max_steps=max_steps))
    return list_results(await simulator.models.run_all(runs, "agent runs"))


def derive_seed(seed: int, trial: int) -> int:
    """The seed of a trial: the study's for the first; for others one that no other study's trials have."""
    return seed if trial == 0 else int(np.random.SeedSequence((seed, trial)).generate_state(1)[0] >> 1)


def digest_settings(run: AgentRun, writer: Simulator, agent_format: str, max_steps: int) -> str:
    """12 hex digits of all that decides a run; two runs that have the same are one, made twice."""
    hashes = hash_prompts()
    made = run.model_dump(include={"domain", "task_id", "agent", "simulator", "persona"})
    made |= {"arm": run.arm, "seed": writer.seed, "turn_format": writer.turn_format, "max_steps": max_steps}
    made |= {"agent_format": agent_format, "prompts": [hashes[f"{name}.md"] for name in PROMPTS]}
    return hashlib.sha256(json.dumps(made, sort_keys=True).encode()).hexdigest()[:12]


def check_arms(simulator: Simulator, domain: domains.Domain, arms: list[str]) -> None:
    """InputError for an arm that does not exist, or that this simulator cannot write for in this domain."""
    conditions.check_arms(arms, known=(*get_args(AgentReferenceArm), *STOCKS, *conditions.ARMS))
    if "calibrated_demonstrations" in arms:
        advice = "in a run of an agent a message is drawn once; take 'demonstrations'"
        raise InputError(f"arm 'calibrated_demonstrations' is one of notebook 03: {advice}.")
    if (
        domain == "telecom"
        and simulator.turn_format == "transcript"
        and set(arms) - {*get_args(AgentReferenceArm), *STOCKS}
    ):
        raise InputError("users of domain 'telecom' have tools: take turn_format 'roles' or another domain.")


def draw_profiles(tasks: list[Task], profiles: list[Profile], *, seed: int) -> dict[str, list[Profile]]:
    """By task id a real profile and, for ``shuffled_profile``, another (the same if there is no other)."""
    n, most = 2 * len(tasks), len(profiles)
    drawn = pd.Series(range(most)).sample(n, replace=n > most, random_state=seed).to_numpy()
    pairs = [(one, (one + 1) % most if other == one else other) for one, other in drawn.reshape(-1, 2)]
    return {task.id: [profiles[i] for i in pair] for task, pair in zip(tasks, pairs, strict=True)}


async def run_task(
    run: AgentRun, task: Task, simulator: Simulator, make_agent: Callable[..., LocalAgent], *, max_steps: int
) -> AgentRun:
    """One run of an agent with a simulated user."""
    event_loop, models, seed = asyncio.get_running_loop(), simulator.models, simulator.seed

    def wait(ask: Callable[..., Any], *prompt: Any, **options: Any) -> Any:
        leave_if_stopped()
        return asyncio.run_coroutine_threadsafe(ask(*prompt, **options), event_loop).result()

    def ask(prompt: str | list[dict], form: type[BaseModel] | list[dict]) -> Any:
        sampling = {"temperature": 0.001, "seed": seed}
        if isinstance(form, type):
            return wait(models.ask_json, run.agent, prompt, form, **sampling)
        return wait(models.ask_tools, run.agent, prompt, form, max_tokens=AGENT_TOKENS, **sampling)

    def chat(messages: list[dict], tools: list[dict]) -> ToolReply:
        return wait(models.ask_tools, simulator.model, messages, tools, seed=seed)

    def write(**turn: Any) -> str:
        return wait(simulator.write, persona=run.persona, **turn)

    def make_pair(environment: domains.Environment) -> tuple[LocalAgent, BaseUser]:
        agent = make_agent(environment.get_tools(), environment.get_policy(), ask)
        if run.arm in STOCKS or (simulator.turn_format == "roles" and not run.persona.template):
            tools = environment.get_user_tools() if environment.user_tools else []
            persona = None if run.arm in STOCKS else run.persona.render()
            return agent, StockUser(task, tools, chat, persona, stays=run.arm != STOCK)
        return agent, SimulatedUser(*describe_scenario(task), write)

    return await orchestrate(run, task, make_pair, max_steps=max_steps)


async def orchestrate(
    run: AgentRun, task: Task, make_pair: Callable[..., tuple], *, max_steps: int = MAX_STEPS
) -> AgentRun:
    """``run`` with its outcome in tau2's loop; ``make_pair`` gives an environment's agent and user."""
    environment = domains.make_environment(run.domain)
    loop = Orchestrator(run.domain, *make_pair(environment), environment, task, max_steps=max_steps)
    try:
        # not a thread of asyncio's pool: the cache waits there for a place, which these runs would all hold
        outcome = await to_thread.run_sync(score_run, loop, limiter=CapacityLimiter(1))
    except StudyError:
        raise
    except RUN_ERRORS as error:
        outcome = {"ended_by": "error", "error": f"{type(error).__name__}: {error}"}
    dumps = [message.model_dump(include=MESSAGE_FIELDS, exclude_none=True) for message in loop.trajectory]
    messages = [{name: value for name, value in dump.items() if value is not False} for dump in dumps]
    user_turns = sum(m["role"] == "user" for m in messages)
    return AgentRun(**run.model_dump() | outcome | {"user_turns": user_turns, "messages": messages})


def score_run(loop: Orchestrator) -> dict:
    """Run to the end, and score by tau2's evaluator (database, actions and facts; no model judges)."""
    simulation, shared = loop.run(), domains.SHARED[loop.domain]
    verdict = evaluate_simulation(simulation, loop.task, EvaluationType.ALL, solo_mode=False, domain=shared)
    success, expected = verdict.reward > 0.999, domains.play_gold(loop.domain, loop.task)
    changes = [] if success else domains.compare_databases(expected, loop.environment)
    return {
        "success": success,
        "reward": verdict.reward,
        "ended_by": simulation.termination_reason.value,
        "checks": {basis.value: value for basis, value in (verdict.reward_breakdown or {}).items()},
        "changes": changes,
    }
