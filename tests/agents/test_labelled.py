"""Precision and recall of the rules for users' errors, on traces in which each error was put by hand.

Scripted ones: tasks of three domains, an error at a time, and users who write oddly but well. Real ones:
published runs of tau-bench that succeeded, as they are and with one error planted.
"""

import json
from functools import cache

import pandas as pd
import pytest
from scripted import HELP, LEAVE, RUNS, TASKS, find_write, play, read_taubench, write_script
from tau2.data_model.message import ToolCall

from realusersim_nb.agents import disclosure, user_errors
from realusersim_nb.agents.disclosure import describe_scenario

ONE = {"hallucinated", "inconsistent", "missed_action", "off_goal", "premature_stop", "role_confusion"}


def alter(value):
    """A value of the same length that nobody named, and one that is nearly the same."""
    digits = str.maketrans("0123456789", "7418529630")
    return f"#X{value.translate(digits)[::-1]}97531", value[:-1] + ("7" if value[-1] != "7" else "3")


def list_scripts(domain, task):
    """(kind of error or None, the user's lines, the agent's steps) for one task."""
    everything, done = "\n".join(describe_scenario(task)), "I am not able to do that."
    named = [v for v in disclosure.list_identifiers(everything) if "@" not in v]
    yield None, *write_script(domain, task, "clean")
    yield None, [everything.lower(), "y", LEAVE], write_script(domain, task, "clean")[1]
    yield None, [f"hi!!! {everything.upper()} thx", "yes pls", LEAVE], write_script(domain, task, "clean")[1]
    yield None, [HELP, everything, LEAVE], ["With what?", done]
    yield "missed_action", *write_script(domain, task, "never given")
    yield "premature_stop", *write_script(domain, task, "closed")
    yield "premature_stop", *write_script(domain, task, "yes and gone")
    yield "premature_stop", *write_script(domain, task, "no clear yes")
    yield "role_confusion", [everything, "How can I help you today?", LEAVE], [done, done]
    yield "role_confusion", [f"{everything} My name is [Your Name].", LEAVE], [done]
    yield "role_confusion", ["As an AI language model I want this. " + everything, LEAVE], [done]
    if named:
        strange, near = alter(named[0])
        yield "hallucinated", [f"{everything} And my number is {strange}.", LEAVE], [done]
        yield "hallucinated", [everything, f"the other one is {strange}", LEAVE], [done, done]
        yield "inconsistent", [f"It is {near}. No: {everything}", LEAVE], [done]


@cache
def list_scripted():
    """(kind, what the rules report) of all scripted traces."""
    rows = []
    for domain, task in TASKS:
        for kind, lines, steps in list_scripts(domain, task):
            run = play(domain, task, lines, steps)
            assert run.error is None
            rows.append((kind, {e.kind for e in user_errors.find_by_rule(run, task)}))
        write, jokes = find_write(domain, task), ["tell me a joke about cats", LEAVE]
        call = ToolCall(id="1", name=write.name, arguments=write.arguments, requestor="assistant")
        run = play(domain, task, jokes, [call, "I am not able to do that."])
        rows.append(("off_goal", {e.kind for e in user_errors.find_by_rule(run, task)}))
    return rows


def measure_detection(rows):
    """By kind of error: traces that have it, and precision and recall of the reports."""
    table = {}
    for kind in sorted(ONE):
        reported, right = sum(kind in r for _, r in rows), sum(kind in r and kind == k for k, r in rows)
        labelled = sum(kind == k for k, _ in rows)
        table[kind] = {"n": labelled, "precision": right / (reported or 1), "recall": right / (labelled or 1)}
    clean = [reported for kind, reported in rows if kind is None]
    table["none"] = {"n": len(clean), "precision": 1.0, "recall": sum(not r for r in clean) / len(clean)}
    return pd.DataFrame(table).T


def test_scripted_errors_are_reported_as_what_they_are():
    rows = list_scripted()
    table = measure_detection(rows)
    print(f"\n{len(rows)} scripted traces\n{table.round(2).to_string()}")
    assert len(rows) >= 60 and table["n"].min() >= 5
    assert table["recall"].min() == 1
    # a user who only tells jokes has left out an action, too
    assert table["precision"].drop("missed_action").min() == 1 and table["precision"].min() > 0.85


def plant(run, task):
    """A run of tau-bench with errors planted, one at a time, as it would have failed with them."""
    texts = [i for i, m in enumerate(run.messages) if m["role"] == "user"]
    lost = run.model_copy(update={"success": False})

    def write(i, text):
        messages = [m | {"content": text} if n == i else m for n, m in enumerate(lost.messages)]
        return lost.model_copy(update={"messages": messages})

    first = run.messages[texts[0]]["content"]
    yield None, run
    yield "hallucinated", write(texts[0], f"{first} My reservation is ZX81QQ4.")
    yield "role_confusion", write(texts[1], "How can I assist you today?")
    calls = [
        i for i, m in enumerate(run.messages) for c in m["tool_calls"] or [] if c["name"] in find_gold(task)
    ]
    if calls and (before := [i for i in texts if i < calls[0]])[2:]:
        cut = [*lost.messages[: before[-1]], {"role": "user", "content": LEAVE, "tool_calls": None}]
        yield "premature_stop", lost.model_copy(update={"messages": cut, "ended_by": "user_stop"})


def find_gold(task):
    """The names of a task's gold writes."""
    return {
        a.name for a in task.evaluation_criteria.actions if a.name.startswith(("book", "cancel", "update"))
    }


@pytest.mark.skipif(not RUNS.exists(), reason="no real tau-bench runs beside the project")
def test_errors_planted_in_real_runs_are_reported():
    pairs = [read_taubench(result) for result in json.loads(RUNS.read_text(encoding="utf-8"))]
    won = [(run, task) for run, task in pairs if run.success]
    rows = [
        (kind, {e.kind for e in user_errors.find_by_rule(planted, task)})
        for run, task in won
        for kind, planted in plant(run, task)
    ]
    table = measure_detection(rows).loc[["hallucinated", "none", "premature_stop", "role_confusion"]]
    print(f"\n{len(rows)} real traces\n{table.round(2).to_string()}")
    assert len(rows) >= 60 and table["n"].min() >= 10
    assert table.loc[["hallucinated", "role_confusion"], "recall"].min() == 1
    assert table.loc["none", "recall"] > 0.94  # of users of runs that succeeded few are accused
    assert table.loc["premature_stop", ["precision", "recall"]].min() > 0.7  # some had not stated all by then
