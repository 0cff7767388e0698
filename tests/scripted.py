"""Runs of scripted users and agents in tau2's loop, each with one thing wrong, and published runs of tau-bench."""

import asyncio
import json
from collections import deque
from pathlib import Path

from tau2.data_model.message import AssistantMessage, ToolCall, UserMessage
from tau2.data_model.tasks import Task
from tau2.user.base import STOP

from realusersim_nb.agents import disclosure, runner, user_errors
from realusersim_nb.agents.disclosure import describe_scenario
from realusersim_nb.agents.environment import list_state_changing_tools, load_tasks
from realusersim_nb.agents.participants import OracleAgent, ScriptedUser, to_call
from realusersim_nb.records import AgentRun

HELP, LEAVE = "I need some help.", STOP


class Agent(OracleAgent):
    """Says these texts and makes these calls, in order."""

    def __init__(self, environment, steps):
        super().__init__(environment.get_tools(), environment.get_policy(), [], [])
        self.steps = deque(steps)

    def generate_next_message(self, message, state):
        step = self.steps.popleft()
        fields = {"tool_calls": [step]} if isinstance(step, ToolCall) else {"content": step}
        return AssistantMessage(role="assistant", **fields), state


class User(ScriptedUser):
    """Says these texts, in order."""

    def __init__(self, lines):
        super().__init__([])
        self.lines = deque(lines)

    def generate_next_message(self, message, state):
        return UserMessage(role="user", content=self.lines.popleft()), state


def play(domain, task, lines, steps, **fields):
    """One run of scripted participants."""
    row = {"domain": domain, "task_id": task.id, "trial": 0, "arm": "task_only"}
    run = AgentRun(**row | {"agent": "script", "simulator": "script"} | fields)
    return asyncio.run(runner.orchestrate(run, task, lambda world: (Agent(world, steps), User(lines))))


def is_scripted(domain, task):
    """Whether a task has a write with a required slot, no condition in its scenario, and no assertion.

    (Assertions of domain mock raise inside tau2 when a task was not created.)
    """
    return (
        find_write(domain, task)
        and not task.evaluation_criteria.env_assertions
        and not user_errors.CONDITION.search("\n".join(describe_scenario(task)))
    )


def find_write(domain, task):
    """The first gold write with a required slot."""
    gold = (task.evaluation_criteria and task.evaluation_criteria.actions) or []
    writes = [a for a in gold if a.name in list_state_changing_tools(domain)]
    return writes[0] if writes and disclosure.list_action_slots(task, writes[0]) else None


TASKS = [
    (domain, task)
    for domain, n in [("mock", 2), ("retail", 3), ("airline", 2)]
    for task in [t for t in load_tasks(domain) if is_scripted(domain, t)][:n]
]


def write_script(domain, task, what):
    """What both sides say and do, with one thing wrong, and the calls that are gold."""
    criteria, write = task.evaluation_criteria, find_write(domain, task)
    gold = [to_call(action) for action in criteria.actions]
    slot = disclosure.list_action_slots(task, write)[0]
    garbled = {**write.arguments, slot.name: slot.value[:-2] + "zz"}
    wrong = ToolCall(id="wrong", name=write.name, arguments=garbled, requestor="assistant")
    everything, ask = "\n".join(describe_scenario(task)), "Shall I go ahead?"
    done = " ".join(["It has been done.", *(criteria.communicate_info or [])])
    return {
        "clean": ([everything, "yes", LEAVE], [ask, *gold, done]),
        "misread": ([everything, "yes", LEAVE], [ask, wrong, done]),
        "late": ([HELP, everything, LEAVE], [wrong, "It did not work. Which one?", done]),
        "never given": ([HELP, "forget it", LEAVE], ["With what?", "Fine."]),
        "no clear yes": ([everything, "hm, what does it cost", LEAVE], [ask, f"Nothing. {ask}"]),
        "closed": ([everything, LEAVE], ["One moment."]),
        "yes and gone": ([everything, f"yes, do it {LEAVE}"], [ask]),
        "claimed": ([everything, "yes", LEAVE], [ask, done]),
        "refused": ([everything, "why", LEAVE], ["I am not able to do that.", "It is the policy."]),
    }[what]


RUNS = Path(__file__).parents[2] / "shared" / "data" / "taubench" / "gpt4o_airline_trials01.json"


def read_taubench(result):
    """A run and its task from tau-bench's layout."""
    task = result["info"]["task"]
    actions = [
        {"action_id": str(i), "name": a["name"], "arguments": a["kwargs"]}
        for i, a in enumerate(task["actions"])
    ]
    messages = []
    for m in (m for m in result["traj"] if m["role"] != "system"):
        call = (m.get("tool_calls") or [{}])[0].get("function")
        calls = (
            [
                {
                    "id": "",
                    "name": call["name"],
                    "arguments": json.loads(call["arguments"]),
                    "requestor": "assistant",
                }
            ]
            if call
            else None
        )
        refused = m["role"] == "tool" and str(m["content"]).startswith("Error")
        messages.append(
            {
                "role": m["role"],
                "content": m["content"],
                "tool_calls": calls,
                "id": "",
                "requestor": "assistant",
                "error": refused,
            }
        )
    ended_by = "user_stop" if "###STOP###" in str(messages[-1]["content"]) else "agent_stop"
    about = {
        "domain": "airline",
        "task_id": str(result["task_id"]),
        "trial": result["trial"],
        "arm": "stock",
        "agent": "gpt-4o",
        "simulator": "gpt-4o",
    }
    run = AgentRun(**about, success=result["reward"] == 1, ended_by=ended_by, messages=messages)
    criteria = {"actions": actions, "communicate_info": task["outputs"]}
    scenario = {"instructions": task["instruction"]}
    return run, Task(id=run.task_id, user_scenario=scenario, evaluation_criteria=criteria)
