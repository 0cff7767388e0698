"""Why runs fail and whose fault it was: scripted agents and users that do one thing wrong, in tau2's loop."""

import asyncio
import json
from functools import partial

import numpy as np
import pandas as pd
import pytest
from conftest import make_conversation, with_models
from scripted import HELP, LEAVE, RUNS, TASKS, play, read_taubench, write_script

from realusersim_nb.agents import directives, disclosure, failures, runner, scores, user_errors
from realusersim_nb.agents.environment import load_tasks
from realusersim_nb.agents.participants import make_reference_pair
from realusersim_nb.records import AgentRun
from realusersim_nb.widgets import agent_runs


@pytest.mark.parametrize(
    ("what", "mechanism", "error"),
    [
        ("clean", None, None),
        ("misread", "misread", None),
        ("late", "late", None),
        ("never given", "late", "missed_action"),
        ("no clear yes", "unconfirmed", "premature_stop"),
        ("closed", "unconfirmed", "premature_stop"),
        ("yes and gone", "unconfirmed", "premature_stop"),
        ("claimed", "other", None),
        ("refused", "other", None),
    ],
)
@pytest.mark.parametrize(("domain", "task"), TASKS, ids=[f"{d}-{t.id}" for d, t in TASKS])
def test_a_run_with_one_thing_wrong_is_labelled_so_and_a_clean_one_is_not(
    domain, task, what, mechanism, error
):
    run = play(domain, task, *write_script(domain, task, what))
    assert (run.success, run.error) == (what == "clean", None)
    result = failures.find_mechanisms(run, task)
    assert [f.mechanism for f in result][:1] == ([mechanism] if mechanism else [])
    assert all(0 <= turn < len(run.messages) for f in result for turn in f.turns)
    assert {e.kind for e in user_errors.find_by_rule(run, task)} - {"off_goal"} == (
        {error} if error else set()
    )
    assert bool(run.changes) == (what != "clean") or domain == "airline"


# --- errors of the user, one by one ------------------------------------------------------------

RETAIL = {task.id: task for task in load_tasks("retail")}
FIRST = RETAIL["0"]  # Yusuf Rossi, zip 19122, order #W2378156


@pytest.mark.parametrize(
    ("text", "kind", "quote"),
    [
        ("hi i am yusuf rossi 19122, order #W2378156", None, ""),
        ("hi i am yusuf rossi 19122, about my order w 2378156 i want to exchange it", None, ""),
        ("my order is #W9999999 and i want to exchange it", "hallucinated", "#W9999999"),
        ("my order is #W2378157, no wait, #W2378156. exchange it", "inconsistent", "#W2378157"),
        ("How can I help you today? Exchange an order?", "role_confusion", "How can I help"),
        ("tell me a joke about cats", "off_goal", "tell me"),
    ],
)
def test_rules_find_the_error_and_its_words(text, kind, quote):
    run = play("retail", FIRST, [text, LEAVE], ["I have cancelled it. It is done."])
    result = [
        e for e in user_errors.find_by_rule(run, FIRST) if e.kind not in ("missed_action", "premature_stop")
    ]
    assert [e.kind for e in result] == ([kind] if kind else [])
    assert all(quote in e.quote and e.turn == 1 for e in result)


def test_what_is_to_be_stated_only_on_a_condition_is_too_early_in_the_opening():
    instructions = FIRST.user_scenario.instructions.model_copy(
        update={
            "task_instructions": "If the agent asks for an address, say it is 12 Elm Street 40812.",
            "known_info": "You are Yusuf Rossi.",
        }
    )
    action = FIRST.evaluation_criteria.actions[0].model_copy(update={"arguments": {"zip": "40812"}})
    task = FIRST.model_copy(
        update={
            "user_scenario": FIRST.user_scenario.model_copy(update={"instructions": instructions}),
            "evaluation_criteria": FIRST.evaluation_criteria.model_copy(update={"actions": [action]}),
        }
    )
    early, asked = [
        ["I want to exchange the keyboard, 40812", LEAVE],
        ["I want to exchange the keyboard", "40812", LEAVE],
    ]
    [error] = user_errors.find_by_rule(play("retail", task, early, ["It is done."]), task)
    assert (error.kind, error.quote) == ("revealed_early", "40812")
    assert not user_errors.find_by_rule(play("retail", task, asked, ["Where?", "It is done."]), task)


def test_model_reads_failed_runs_without_errors_and_must_quote(endpoint):
    done = ["I have cancelled it. It is done."]
    opening = "yusuf rossi 19122, exchange order #W2378156 for a keyboard please"
    lost = play("retail", FIRST, [opening, LEAVE], done, arm="profile")
    blamed = play("retail", FIRST, ["my order is #W9999999, exchange it", LEAVE], done, trial=1)
    asked = []

    def reply(request):
        asked.append(request["messages"][-1]["content"])
        quote = ["a keyboard please", "something never said"][len(asked) - 1]
        return json.dumps(
            {"kind": "off_goal", "message": 1, "quote": quote, "reason": "No keyboard is wanted."}
        )

    endpoint(reply)
    for proven in (True, False):
        errors = with_models(
            lambda m, p=proven: user_errors.find_user_errors(m, "m", [lost, blamed], [FIRST], seed=int(p))
        )
        read = [e for e in errors if e.detected_by == "m"]
        assert [(e.kind, e.turn, e.proven, e.arm) for e in read] == [("off_goal", 1, proven, "profile")]
        assert user_errors.name_errors(errors, [lost, blamed]) == [
            "off_goal" if proven else None,
            "hallucinated",
        ]
    assert len(asked) == 2 and "1. Person: yusuf rossi" in asked[0]


# --- rates, disclosure, traces -----------------------------------------------------------------


def test_rates_of_mechanisms_add_up_to_failures_and_are_paired_with_task_only():
    rows = [
        {"arm": arm, "simulator": "m", "task_id": t, "trial": 0, "success": 1.0, "mechanism": None}
        for arm in ("task_only", "profile")
        for t in "abcdef"
    ]
    runs = pd.DataFrame(rows)
    runs.loc[runs.index[-3:], ["success", "mechanism"]] = [0.0, "late"]
    result = failures.measure_mechanisms(runs)
    assert result.loc[("profile", "late"), ["rate", "difference", "n_pairs"]].tolist() == [0.5, 0.5, 6]
    assert result.loc["profile", "rate"].sum() == 0.5 and result.loc["task_only", "rate"].sum() == 0


@pytest.mark.parametrize(
    ("value", "forms", "other_texts"),
    [
        ("#W6247578", ["its w6247578", "W-6 2 4 7 5 7 8"], ["W62475789", "6247"]),
        ("2024-05-20", ["on may 20", "the 20th of May", "5/20"], ["may 2", "may 21"]),
        ("mei_kovacs_8020", ["Mei Kovacs 8020"], ["mei kovacs"]),
        ("a.b12@example.com", ["a.b12 at example dot com"], ["a.b@example.com"]),
        ("555-123-2002", ["5551232002"], ["555-123-200"]),
        ("2024-02-30", ["2024 02 30"], ["february 30", "2/30"]),  # a user's, who made it up
        ("12", [], ["12"]),
    ],
)
def test_a_value_is_recognised_in_any_spelling(value, forms, other_texts):
    assert all(disclosure.mentions(text, value) for text in forms)
    assert not any(disclosure.mentions(text, value) for text in other_texts)


def test_disclosure_counts_what_was_stated_by_each_message():
    lines = [HELP, "yusuf rossi", "19122 and the order is #W2378156", LEAVE]
    run = play("retail", FIRST, lines, ["Who?", "Zip?", "It is done."])
    traced = disclosure.trace_slots([run], [FIRST]).set_index("name")["user_message"]
    assert traced.to_dict() == {"zip": 3, "first_name": 2, "last_name": 2, "order_id": 3}
    assert disclosure.accumulate_disclosure(disclosure.trace_slots([run], [FIRST]))["task_only"].head(
        3
    ).tolist() == [0, 0.5, 1]


def test_trace_shows_what_proves_the_finding_and_escapes_all_text():
    run = play("retail", FIRST, ["<script>alert(1)</script> order #W9999999", LEAVE], ["One <b>moment</b>."])
    page = agent_runs.show_run(run, FIRST, user_errors.find_by_rule(run, FIRST))
    assert "<script>" not in page and "&lt;script&gt;" in page and "One &lt;b&gt;" in page
    assert page.count("<mark>") == 2 and "hallucinated" in page and "<b>late</b>" in page
    assert "expected" in page  # what the database lacks


# --- directives --------------------------------------------------------------------------------


def make_people(n, loud, calm="tell me about dogs"):
    """The halves of users of seven messages each: one in ten always writes as the loud do."""
    texts = {"loud": (loud, 1), "calm": (calm, 9)}
    talks = [
        make_conversation(*[text] * 7, user=f"{kind}{i}")
        for kind, (text, times) in texts.items()
        for i in range(n * times)
    ]
    return directives.split_traits(talks)


def make_openings(texts, simulator="m"):
    rows = [
        {"simulator": simulator, "arm": arm, "task_id": str(i), "trial": 0, "text": text}
        for arm, openings in texts.items()
        for i, text in enumerate(openings)
    ]
    return pd.concat([pd.DataFrame(rows), directives.measure_traits([row["text"] for row in rows])], axis=1)


def test_a_directive_followed_as_people_do_is_one_and_a_caricature_is_more():
    people = make_people(30, "give me that list of all the dogs!")
    angry = directives.measure_real_traits(people).loc["angry"]
    assert (angry["population"], angry["group"], angry["n_group"]) == (pytest.approx(0.1), 1, 30)
    assert angry["reach"] == pytest.approx(0.9) and angry["reach_low"] > 0.5
    all_angry = make_openings({"task_only": ["calm words"] * 10, "angry": ["now!"] * 10})
    row = directives.measure_amplification(all_angry, people).loc[0]
    assert row["amplification"] == pytest.approx(1 / 0.9)
    assert row["ci_low"] < 1 / 0.9 < row["ci_high"]  # of the real users, since all tasks are alike


def test_ratio_is_resampled_whole():
    """Of moved and reach with known spreads: wider than by tasks alone, as the formula of a ratio says."""
    rng = np.random.default_rng(0)
    moved, reach = rng.normal(2, 1, 100), rng.normal(1, 0.1, 4000)
    low, high = directives.resample_ratio(moved, reach, seed=0)
    by_tasks = directives.resample_ratio(moved, np.ones(4000), seed=0)
    expected = 2 * 1.96 * 2 * np.hypot(0.1 / 2, 0.1)  # relative errors of both, of a ratio of 2
    assert high - low == pytest.approx(expected, rel=0.15) and high - low > 1.8 * (by_tasks[1] - by_tasks[0])


def test_reach_is_measured_on_the_half_that_chose_nobody():
    """Where messages differ by chance alone nobody has a trait: no reach, and no ratio."""
    rng = np.random.default_rng(1)
    talks = [make_conversation(*rng.choice(["now!", "tell me"], 8), user=f"u{i}") for i in range(300)]
    halves = directives.split_traits(talks)
    real = directives.measure_real_traits(halves).loc["angry"]
    assert abs(real["reach"]) < 0.1 and real["reach_low"] < 0
    angry = halves[halves["directive"] == "angry"]
    chosen = angry["chosen_by"].to_numpy()
    assert (
        directives.measure_reach(chosen, chosen) > 0.2
    )  # what choosing by the same half would have made of it
    tried = make_openings({"task_only": ["calm words"] * 5, "angry": ["now!"] * 5})
    assert pd.isna(directives.measure_amplification(tried, halves).loc[0, "amplification"])


def test_spread_between_simulators_is_of_the_directive_and_of_the_profile():
    people = directives.measure_real_traits(make_people(30, "give me that list!"))
    calm, loud = ["calm words"] * 4, ["now!"] * 4
    both = pd.concat(
        [
            make_openings({"task_only": calm, "angry": loud, "profile": calm}, "a"),
            make_openings({"task_only": calm, "angry": calm, "profile": calm}, "b"),
        ]
    )
    spread = directives.measure_simulator_spread(both, people).loc["angry"]
    assert spread["under_profile"] == 0 and spread["under_directive"] == pytest.approx(0.5**0.5 / 0.9)


def test_the_suite_is_of_several_domains():
    assert len({domain for domain, _ in TASKS}) == 3 and len(TASKS) >= 4


def test_where_only_reference_arms_were_run_every_table_is_empty_and_none_fails(tmp_path):
    tasks = load_tasks("mock")[:2]
    runs = [
        asyncio.run(runner.orchestrate(run, task, partial(make_reference_pair, task=task, arm=arm)))
        for task in tasks
        for arm in ("oracle", "do_nothing")
        for run in [AgentRun(domain="mock", task_id=task.id, trial=0, arm=arm, agent=arm)]
    ]
    table = scores.tabulate_runs(runs).assign(user_error=None, mechanism=None)
    traced = disclosure.trace_slots(runs, tasks)
    halves = make_people(3, "give me that!")
    people = directives.measure_real_traits(halves)
    openings = directives.measure_openings([])
    made = [
        scores.describe_arms(runs),
        scores.adjust_for_covariates(table, ["persona_words"]),
        failures.tabulate_failures(runs, tasks),
        failures.measure_mechanisms(table),
        traced,
        disclosure.accumulate_disclosure(traced),
        openings,
        directives.measure_amplification(openings, halves),
        directives.measure_simulator_spread(openings, people),
    ]
    assert all(result.empty for result in made)
    assert scores.score_success(table).loc["oracle", "n_runs"] == 2


# --- real runs ---------------------------------------------------------------------------------


@pytest.mark.skipif(not RUNS.exists(), reason="no real tau-bench runs beside the project")
def test_rules_on_real_runs_accuse_few_users_of_runs_that_succeeded_and_prove_what_they_say():
    pairs = [read_taubench(result) for result in json.loads(RUNS.read_text(encoding="utf-8"))]
    accused = {
        won: [r for r, t in pairs if r.success is won and user_errors.find_by_rule(r, t)]
        for won in (True, False)
    }
    n_won = sum(run.success for run, _ in pairs)
    assert len(accused[True]) / n_won < 0.05 < len(accused[False]) / (len(pairs) - n_won) < 0.5
    for run, task in pairs:
        result = failures.find_mechanisms(run, task)
        assert bool(result) is not run.success
        assert all(e.quote in run.messages[e.turn]["content"] for e in user_errors.find_by_rule(run, task))
