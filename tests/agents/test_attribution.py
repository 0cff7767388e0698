"""Whose fault a failed run is, what an error of its user did, and success with valid runs."""

import pandas as pd
import pytest

from realusersim_nb import agents
from realusersim_nb.agents import attribution
from realusersim_nb.agents.user_errors import count_effects, count_user_errors, make_error
from realusersim_nb.records import AgentRun


def make_run(task_id, success, *, arm="profile", called_with=None):
    """A run in which the user writes one message, and the agent perhaps calls a tool after it."""
    call = {"id": "1", "name": "cancel", "arguments": {"order": called_with}, "requestor": "assistant"}
    messages = [{"role": "user", "content": "my order is #W9999999"}]
    messages += [{"role": "assistant", "tool_calls": [call]}, {"role": "tool"}] if called_with else []
    simulator = None if arm == "oracle" else "m"
    return AgentRun(
        task_id=task_id, trial=0, arm=arm, agent="a", simulator=simulator, success=success, messages=messages
    )


@pytest.mark.parametrize(
    ("success", "kind", "called_with", "detector", "effect"),
    [
        (True, "revealed_early", None, "rules", "helped"),
        (False, "revealed_early", None, "rules", "minor"),
        (True, "hallucinated", "W9999999", "rules", "minor"),
        (False, "hallucinated", "W9999999", "rules", "hindered"),
        (False, "hallucinated", "#W9999999", "reader", "hindered"),
        (False, "hallucinated", "W1111111", "rules", "unclear"),
        (False, "hallucinated", None, "rules", "unclear"),
        (False, "missed_action", None, "rules", "hindered"),
        (False, "premature_stop", None, "rules", "hindered"),
        (False, "premature_stop", None, "reader", "unclear"),
        (False, "role_confusion", None, "rules", "unclear"),
    ],
)
def test_effect_of_an_error_is_what_a_rule_can_prove(success, kind, called_with, detector, effect):
    run = make_run("a", success, called_with=called_with)
    assert make_error(run, kind=kind, quote="#W9999999", detected_by=detector).effect == effect


def test_failures_are_the_users_the_environments_or_the_agents_and_valid_runs_leave_the_first_out():
    runs = [
        make_run(task, success)
        for task, success in zip("abcde", [True, False, False, False, None], strict=True)
    ]
    runs += [make_run("d", False, arm="oracle")]
    errors = [make_error(runs[1], kind="missed_action"), make_error(runs[2], kind="role_confusion")]
    errors += [make_error(runs[3], kind="missed_action", proven=False)]
    blames = attribution.attribute_runs(runs, errors)
    assert blames == [None, "user", "agent", "environment", "environment", None]
    rows = [run.model_dump(include={"task_id", "trial", "arm", "simulator", "success"}) for run in runs]
    table = pd.DataFrame(rows).assign(blame=blames, user_error=[None, "missed_action", *[None] * 4])
    valid = attribution.score_valid(table).loc["profile"]
    assert (valid["success"], valid["n_runs"], valid["n_failed"]) == (0.25, 4, 1)
    assert (valid["valid"], valid["n_valid"]) == (pytest.approx(1 / 3), 3)
    counts = attribution.count_blames(table)
    assert counts.loc["profile"].tolist() == [5, 1, 1, 1, 2] and list(counts.index) == ["profile"]
    assert count_effects(errors).loc["missed_action"].tolist() == [1, 0, 0, 0]
    assert count_user_errors(table).loc["profile", ["n", "missed_action", "any"]].tolist() == [4, 1, 1]


def test_arm_whose_users_all_hindered_has_no_valid_runs():
    table = pd.DataFrame([{"arm": "profile", "task_id": "a", "success": 0.0, "blame": "user"}])
    row = attribution.score_valid(table).loc["profile"]
    assert (row["success"], row["n_runs"], row["n_valid"]) == (0, 1, 0) and pd.isna(row["valid"])


def test_user_who_ends_a_run_that_is_not_done_has_left():
    """The run that broke off and the one that ran out of steps were not left; reference arms have no user."""
    ends = [(True, "user_stop"), (False, "user_stop"), (False, "max_steps"), (None, "error")]
    runs = [make_run(str(i), success) for i, (success, _) in enumerate(ends)]
    for run, (_, end) in zip(runs, ends, strict=True):
        run.ended_by, run.user_turns = end, 3
    table = agents.tabulate_runs([*runs, make_run("0", True, arm="oracle")])
    left = agents.measure_leaving(table).loc["profile"]
    assert left["left"] == pytest.approx(1 / 3) and (left["n"], left["n_failed"], left["user_turns"]) == (
        3,
        1,
        3,
    )
    assert agents.measure_leaving(table).index.tolist() == ["profile"]
    talks = agents.list_conversations(runs)
    assert [talk.ended_by for talk in talks] == ["close", "close", "max_turns"]
    assert talks[0].user_messages == ["my order is #W9999999"]
