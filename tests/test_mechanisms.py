"""Why runs fail and whose fault it was: scripted agents and users that do one thing wrong each, in tau2's own loop."""

import asyncio
from collections import deque

import pytest
from tau2.data_model.message import AssistantMessage, ToolCall, UserMessage
from tau2.user.base import STOP

from realusersim_nb import agents, disclosure, domains, mechanisms, user_errors
from realusersim_nb.bounds import OracleAgent, ScriptedUser, to_call

HELP, LEAVE = "I need some help.", STOP


class Agent(OracleAgent):
    """Says these texts and makes these calls, in order."""

    def __init__(self, environment, steps):
        super().__init__(environment.get_tools(), environment.get_policy(), [], [])
        self.steps = deque(steps)

    def generate_next_message(self, message, state):
        step = self.steps.popleft()
        told = {"tool_calls": [step]} if isinstance(step, ToolCall) else {"content": step}
        return AssistantMessage(role="assistant", **told), state


class User(ScriptedUser):
    """Says these texts, in order."""

    def __init__(self, lines):
        super().__init__([])
        self.lines = deque(lines)

    def generate_next_message(self, message, state):
        return UserMessage(role="user", content=self.lines.popleft()), state


def play(domain, task, lines, steps, **about):
    """One run of scripted players."""
    about = {"task_id": task.id, "trial": 0, "arm": "task_only", "agent": "script", "simulator": "script"} | about
    make_pair = lambda environment: (Agent(environment, steps), User(lines))  # noqa: E731
    return asyncio.run(agents.orchestrate(domain, task, make_pair, 100, about))


def is_scripted(domain, task):
    """Whether a task has a write that needs something of the user, no condition in its scenario, and no assertion
    (those of domain mock raise inside tau2 when a task was not created)."""
    return (
        find_write(domain, task)
        and not task.evaluation_criteria.env_assertions
        and not user_errors.CONDITION.search("\n".join(domains.describe_scenario(task)))
    )


def find_write(domain, task):
    """The first gold write with a need."""
    gold = (task.evaluation_criteria and task.evaluation_criteria.actions) or []
    writes = [a for a in gold if a.name in domains.list_writes(domain)]
    return writes[0] if writes and disclosure.list_action_needs(task, writes[0]) else None


TASKS = [
    (domain, task)
    for domain, n in [("mock", 2), ("retail", 3), ("airline", 2)]
    for task in [t for t in domains.load_tasks(domain) if is_scripted(domain, t)][:n]
]


def write_script(domain, task, what):
    """What both sides say and do, with one thing wrong, and the calls that are gold."""
    criteria, write = task.evaluation_criteria, find_write(domain, task)
    gold = [to_call(action, "assistant") for action in criteria.actions]
    need = disclosure.list_action_needs(task, write)[0]
    garbled = {**write.arguments, need.name: need.value[:-2] + "zz"}
    wrong = ToolCall(id="wrong", name=write.name, arguments=garbled, requestor="assistant")
    everything, ask = "\n".join(domains.describe_scenario(task)), "Shall I go ahead?"
    done = " ".join(["It has been done.", *(criteria.communicate_info or [])])
    return {
        "clean": ([everything, "yes", LEAVE], [ask, *gold, done]),
        "misread": ([everything, "yes", LEAVE], [ask, wrong, done]),
        "late": ([HELP, everything, LEAVE], [wrong, "It did not work. Which one?", done]),
        "never told": ([HELP, "forget it", LEAVE], ["With what?", "Fine."]),
        "no clear yes": ([everything, "hm, what does it cost", LEAVE], [ask, f"Nothing. {ask}"]),
        "closed": ([everything, LEAVE], ["One moment."]),
        "claimed": ([everything, "yes", LEAVE], [ask, done]),
    }[what]


@pytest.mark.parametrize(
    ("what", "mechanism", "error"),
    [
        ("clean", None, None),
        ("misread", "misread", None),
        ("late", "late", None),
        ("never told", "late", "missed_action"),
        ("no clear yes", "unconfirmed", "premature_stop"),
        ("closed", "unconfirmed", "premature_stop"),
        ("claimed", "other", None),
    ],
)
@pytest.mark.parametrize(("domain", "task"), TASKS, ids=[f"{d}-{t.id}" for d, t in TASKS])
def test_a_run_with_one_thing_wrong_is_labelled_so_and_a_clean_one_is_not(domain, task, what, mechanism, error):
    run = play(domain, task, *write_script(domain, task, what))
    assert (run.success, run.error) == (what == "clean", None)
    found = mechanisms.find_mechanisms(run, task)
    assert [f.mechanism for f in found][:1] == ([mechanism] if mechanism else [])
    assert all(0 <= turn < len(run.messages) for f in found for turn in f.turns)
    assert {e.kind for e in user_errors.find_by_rule(run, task)} - {"off_goal"} == ({error} if error else set())
    assert bool(run.changes) == (what != "clean") or domain == "airline"


def test_the_suite_has_at_least_thirty_runs():
    assert len(TASKS) * 7 >= 30
