"""The tau2-bench adapter: reference arms reach their known values, failures are rows."""

import asyncio
import itertools
import json
import threading
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from conftest import make_conversation, with_models
from tau2.data_model.message import AssistantMessage
from toy import fill

from realusersim_nb.agents import environment, participants, runner
from realusersim_nb.agents.scores import (
    adjust_for_covariates,
    compare_success,
    describe_pair,
    measure_flips,
    measure_pass_k,
    pool_runs,
    score_success,
    tabulate_runs,
)
from realusersim_nb.llm.cache import Cache
from realusersim_nb.prompts.fill import read_prompt
from realusersim_nb.records import AgentRun, Case, Command, Message, Persona, Profile
from realusersim_nb.simulators import conditions, users
from realusersim_nb.simulators.endings import STOP
from realusersim_nb.simulators.rollouts import roll_out
from realusersim_nb.simulators.users import Simulator

PROFILES = [
    Profile(user_id=f"u{i}", commands=[Command(dimension="formality", command=f"Be u{i}.")])
    for i in range(300)
]


def run(
    arms, tasks, tmp_path, agent="m", max_concurrency=2, turn_format="transcript", domain="mock", **settings
):
    def work(models):
        simulator = Simulator(models, "m", turn_format)
        return runner.run_arms(
            simulator, domain, tasks, arms, PROFILES, agent=agent, max_steps=10, **settings
        )

    return with_models(work, cache=Cache(tmp_path / "replies.sqlite"), max_concurrency=max_concurrency)


def test_oracle_solves_what_doing_nothing_does_not(tmp_path):
    tasks = environment.load_tasks("mock")
    runs = tabulate_runs(run(["oracle", "do_nothing"], tasks, tmp_path)).pivot(
        index="task_id", columns="arm", values="success"
    )
    assert len(runs) == 9
    # this one lists no gold actions, only the state they should lead to
    assert list(runs.index[~runs["oracle"].astype(bool)]) == ["update_task_with_history_and_env_assertions"]
    assert runs["do_nothing"].sum() == 1


@pytest.mark.parametrize(
    ("domain", "n", "idle"), [("airline", 50, 19), ("retail", 114, 7), ("telecom", 114, 0)]
)
def test_oracle_solves_every_task_and_doing_nothing_few(domain, n, idle, tmp_path):
    runs = tabulate_runs(
        run(["oracle", "do_nothing"], environment.load_tasks(domain), tmp_path, domain=domain)
    )
    assert runs.groupby("arm")["success"].agg(["sum", "count"]).T.to_dict() == {
        "oracle": {"sum": n, "count": n},
        "do_nothing": {"sum": idle, "count": n},
    }
    # no run changed what another reads
    assert environment.read_database(domain) == environment.registry.get_env_constructor(domain)().tools.db


def test_spoken_tasks_are_those_in_which_manner_can_act(tmp_path):
    """Without two whose user has asked for all before, and one at which silence succeeds."""
    tasks = environment.load_tasks("mock", spoken_only=True)
    assert {task.id for task in environment.load_tasks("mock")} - {task.id for task in tasks} == {
        "update_task_with_message_history",
        "update_task_with_history_and_env_assertions",
        "create_task_1_nl_eval",
    }
    runs = tabulate_runs(run(["oracle", "do_nothing"], tasks, tmp_path))
    assert runs.groupby("arm")["success"].sum().to_dict() == {"oracle": 6, "do_nothing": 0}


def test_changes_say_what_is_there_and_what_should_be():
    task = next(t for t in environment.load_tasks("mock") if t.id == "update_task_1")
    expected, result = environment.play_gold("mock", task), environment.make_environment("mock")
    assert environment.compare_databases(expected, expected) == []
    assert environment.compare_databases(expected, result) == [
        "tasks.task_1.status: 'completed' expected, 'pending' found"
    ]


def play_user(request, *, done):
    """What the mock says as the user: its plan as JSON, its message as text."""
    return json.dumps(fill(request, done=done)) if "response_format" in request else "task please"


def asks_agent(request):
    """Whether a request is for a step of the constrained agent."""
    form = request.get("response_format") or {"json_schema": {}}
    return form["json_schema"].get("name") == "AgentStep"


def make_reply(steps):
    """A mock of both sides: the agent takes these steps, the user asks once and is then done."""
    steps = iter(steps)

    def reply(request):
        if asks_agent(request):
            return json.dumps({"customer_wants": "a task", "step": next(steps)})
        return play_user(request, done="It is done." in json.dumps(request["messages"]))

    return reply


def create_task_1():
    return [task for task in environment.load_tasks("mock") if task.id == "create_task_1"]


def test_constrained_agent_does_a_task_through_tau2(endpoint, tmp_path):
    call = {"action": "create_task", "arguments": {"user_id": "user_1", "title": "Important Meeting"}}
    endpoint(make_reply([call, {"action": "reply", "message": "It is done."}]))
    result = run(["task_only"], create_task_1(), tmp_path)[0]
    assert (result.success, result.error, result.ended_by) == (True, None, "user_stop")
    assert [c["name"] for m in result.messages for c in m.get("tool_calls") or []] == ["create_task"]


def call(name, arguments, text=None):
    """A choice in which a model calls one tool; ``arguments`` are JSON text."""
    called = [{"id": "1", "type": "function", "function": {"name": name, "arguments": arguments}}]
    return {
        "finish_reason": "tool_calls",
        "message": {"role": "assistant", "content": text, "tool_calls": called},
    }


def play_function_calling(steps):
    """A mock of both sides, whose agent gives these choices or texts."""
    steps = iter(steps)
    return lambda r: (
        next(steps) if "tools" in r else play_user(r, done="It is done." in json.dumps(r["messages"]))
    )


CALL_CREATE = {"action": "create_task", "arguments": {"user_id": "user_1", "title": "Important Meeting"}}
CREATE = '{"user_id": "user_1", "title": "Important Meeting"}'


@pytest.mark.parametrize("text", [None, "I do it now."], ids=["call", "text and call"])
def test_function_calling_agent_does_a_task_and_is_replayed_from_the_cache(endpoint, tmp_path, text):
    mock = endpoint(play_function_calling([call("create_task", CREATE, text), "It is done."]))
    for n in (1, 2):  # the second time all replies come from the cache
        result = run(["task_only"], create_task_1(), tmp_path, agent_format="function_calling")[0]
        assert (result.success, result.error, result.ended_by) == (True, None, "user_stop")
        assert len(mock.requests) == 4, n
    assert {t["function"]["name"] for t in mock.requests[1]["tools"]} >= {"create_task", "get_users"}
    assert mock.requests[2]["messages"][-1]["role"] == "tool"


def test_tool_call_that_cannot_be_read_is_asked_for_again_and_then_a_row(endpoint, tmp_path):
    endpoint(
        play_function_calling(
            [call("create_task", '{"user_id": '), call("create_task", CREATE), "It is done."]
        )
    )
    assert run(["task_only"], create_task_1(), tmp_path, agent_format="function_calling")[0].success
    endpoint(play_function_calling(itertools.repeat(call("create_task", '{"user_id": '))))
    (tmp_path / "replies.sqlite").unlink()
    result = run(["task_only"], create_task_1(), tmp_path, agent_format="function_calling")[0]
    assert result.success is None and "invalid: a tool call cannot be read" in result.error


def test_stock_user_is_that_of_tau2_and_an_arm_in_roles_is_the_same_with_our_persona(endpoint, tmp_path):
    mock = endpoint(
        lambda r: (
            json.dumps({"customer_wants": "x", "step": {"action": "reply", "message": "Yes?"}})
            if "response_format" in r
            else "###STOP###"
        )
    )
    task = next(t for t in environment.load_tasks("mock") if t.user_scenario.persona)
    result = run(["stock", "profile"], [task], tmp_path, turn_format="roles", max_concurrency=1)
    assert [r.ended_by for r in result] == ["user_stop", "user_stop"]
    stock, profile = (r["messages"][0]["content"] for r in mock.requests if "response_format" not in r)
    assert "Never make up or hallucinate information" in stock and task.user_scenario.persona in stock
    assert task.user_scenario.persona not in profile and "Be u" in profile and "<manner>" not in stock
    assert str(task.user_scenario.instructions) in profile


def test_default_prompt_of_tau2s_user_is_an_arm_of_notebook_03(endpoint, tmp_path):
    """With the goal in it, whatever tau2's mark ends is ended."""
    participants.save_user_prompt(tmp_path / "tau2.txt")
    mock = endpoint(lambda r: "Where is my parcel? ###STOP###")
    [arm] = arms = [f"prompt:{tmp_path / 'tau2.txt'}"]
    conditions.check_arms(arms)
    persona = conditions.find_arm(arm)(*PROFILES[:2])
    case = Case(
        case_id="c",
        user_id="u0",
        domain="post",
        goal="The user asks for a parcel.",
        key_context="",
        original=make_conversation(),
    )
    talk = with_models(lambda models: roll_out(Simulator(models, "m"), case, arm, persona))
    system = mock.requests[0]["messages"][0]["content"]
    assert "<scenario>\nThe user asks for a parcel.\n</scenario>" in system and STOP in system
    assert (talk.user_messages, talk.ended_by) == (["Where is my parcel?"], "close")


def test_users_of_telecom_use_their_tools(endpoint, tmp_path):
    texts = iter([call("check_network_status", "{}"), "It says no service.", "###STOP###"])
    mock = endpoint(
        lambda r: next(texts) if "playing the role of a customer" in str(r) else "Please check the network."
    )
    task = environment.load_tasks("telecom", 1)
    settings = {"domain": "telecom", "agent_format": "function_calling"}
    result = run(["stock"], task, tmp_path, **settings)[0]
    called = [c for m in result.messages for c in m.get("tool_calls") or []]
    assert [(c["name"], c["requestor"]) for c in called] == [("check_network_status", "user")]
    assert (result.ended_by, result.success, result.error) == ("user_stop", False, None)
    assert any(m["role"] == "tool" for m in mock.requests[1]["messages"])
    with pytest.raises(ValueError, match="users of domain 'telecom' have tools: take turn_format 'roles'"):
        run(["profile"], task, tmp_path, **settings)


def test_after_an_interrupt_no_thread_calls_again_and_what_was_in_flight_is_kept(endpoint, tmp_path):
    """As in a notebook, whose event loop goes on; the reply in flight would be asked for again, being bad."""
    over = threading.Event()
    mock = endpoint(lambda request: over.wait(9) and "not json")

    async def stop(models):
        tasks = [
            task for task in environment.load_tasks("mock") if task.id in ("create_task_1", "update_task_1")
        ]
        runs = runner.run_arms(
            Simulator(models, "m", "transcript"), "mock", tasks, ["task_only"], PROFILES, agent="m"
        )
        study = asyncio.create_task(runs)
        while len(mock.requests) < 2:
            await asyncio.sleep(0.01)
        study.cancel()
        await asyncio.sleep(0.1)
        over.set()
        with pytest.raises(asyncio.CancelledError):
            await study
        await asyncio.sleep(0.5)

    cache = Cache(tmp_path / "replies.sqlite")
    with_models(stop, cache=cache, max_concurrency=2)
    assert len(mock.requests) == len(list(cache.replies())) == 2
    threads = [thread for thread in threading.enumerate() if thread.name == "AnyIO worker thread"]
    assert [thread.join(5) or thread.is_alive() for thread in threads] == [False] * len(threads)


def test_many_runs_at_once_do_not_wait_for_each_other(endpoint, tmp_path):
    """More runs than asyncio's pool of threads has places, where the cache needs one too."""
    endpoint(make_reply(itertools.repeat({"action": "reply", "message": "And then?"})))
    result = run(["task_only"], environment.load_tasks("mock"), tmp_path, n_trials=5, max_concurrency=45)
    assert [r.ended_by for r in result] == ["max_steps"] * 45


def test_user_never_leaves_before_having_asked(endpoint, tmp_path):
    endpoint(
        lambda r: (
            '{"customer_wants": "x", "step": {"action": "reply", "message": "ok"}}'
            if asks_agent(r)
            else play_user(r, done=True)
        )
    )
    result = run(["task_only"], create_task_1(), tmp_path)[0]
    assert [m["content"] for m in result.messages if m["role"] == "user"] == ["task please", "###STOP###"]


@pytest.mark.parametrize(("arm", "stays"), [("task_only", True), ("stock", False), ("stock_corrected", True)])
def test_user_does_not_leave_in_the_turn_that_says_yes(endpoint, tmp_path, arm, stays):
    """In tau2's format: the mark goes, its text stays, and the agent can act; tau2's user as shipped leaves."""

    def reply(request):
        if asks_agent(request):
            question = {"action": "reply", "message": "I will create it. Shall I go ahead?"}
            return json.dumps({"customer_wants": "x", "step": question})
        asked = "Shall I go ahead?" in str(request["messages"][-1])
        return "yes, please do ###STOP###" if asked else "create the task 'Important Meeting' for user_1"

    endpoint(reply)
    [played] = run([arm], create_task_1(), tmp_path, turn_format="roles")
    texts = [m["content"] for m in played.messages if m["role"] == "user"]
    assert texts[1] == ("yes, please do" if stays else "yes, please do ###STOP###")
    assert (len(texts) > 2, played.ended_by == "user_stop") == (stays, not stays)


def test_user_of_ours_stays_too_and_leaves_once_it_is_done():
    answers = iter(["a task please", "yes /close", "thanks, bye /close"])
    user = participants.SimulatedUser("A task.", "", lambda **turn: next(answers))
    state, texts = user.get_init_state(), []
    for said in ("Hi!", "Shall I create it?", "It has been created."):
        message, state = user.generate_next_message(AssistantMessage(role="assistant", content=said), state)
        texts.append(message.content)
    assert texts == ["a task please", "yes", "thanks, bye ###STOP###"]


def test_reply_that_breaks_a_run_is_a_row_with_its_reason(endpoint, tmp_path):
    endpoint(lambda request: "not json")
    result = run(["task_only", "oracle"], create_task_1(), tmp_path)
    assert result[0].success is None and "CallFailed" in result[0].error
    assert result[1].success is True
    scores = score_success(tabulate_runs(result))
    assert scores["n_failed"].to_dict() == {"task_only": 1, "oracle": 0}


def test_a_task_keeps_its_profile_in_every_arm_and_shuffled_is_another():
    tasks = environment.load_tasks("mock")
    drawn = runner.draw_profiles(tasks, PROFILES, seed=4)
    assert drawn == runner.draw_profiles(tasks, PROFILES, seed=4)
    assert all(values != other for values, other in drawn.values())
    for seed in range(20):  # fewer profiles than two for each task
        few = runner.draw_profiles(tasks, PROFILES[:3], seed=seed)
        assert all(one != other for one, other in few.values())


def test_pass_k_of_a_hand_computed_example_and_the_tasks_that_three_points_need():
    wins = {"a": [1, 1, 1, 1], "b": [1, 1, 0, 0]}  # pass^2: (1 + 1/6) / 2
    rows = [
        {"arm": "task_only", "task_id": t, "trial": i, "success": float(w)}
        for t, values in wins.items()
        for i, w in enumerate(values)
    ]
    table = measure_pass_k(pd.DataFrame(rows)).set_index("k")["pass_k"]
    assert table.round(4).to_dict() == {1: 0.75, 2: 0.5833, 3: 0.5, 4: 0.5}
    lacking = [{**r, "success": None if r["task_id"] == "b" and r["trial"] else r["success"]} for r in rows]
    table = measure_pass_k(pd.DataFrame(lacking)).set_index("k")  # b has one scored run, a success
    assert table["pass_k"].tolist() == [1, 1, 1, 1]
    assert table[["n", "n_fewer", "n_incomplete"]].to_numpy().tolist() == [
        [2, 0, 1],
        [1, 1, 0],
        [1, 1, 0],
        [1, 1, 0],
    ]
    flips = measure_flips(pd.DataFrame(rows).assign(simulator="m")).loc[0]
    assert (flips["flips"], flips["n"]) == (
        pytest.approx((0 + 4 / 6) / 2),
        2,
    )  # of b four of six pairs differ
    assert measure_flips(pd.DataFrame(rows[::4]).assign(simulator="m")).empty
    rows += [{**row, "arm": "profile", "success": float(row["task_id"] == "a")} for row in rows]
    rows += [{**row, "task_id": "c"} for row in rows if row["task_id"] == "b"]
    pair = compare_success(pd.DataFrame(rows)).loc[0]
    assert pair["difference"] == pytest.approx(-1 / 3)
    assert pair["tasks_for_3_points"] == 727  # ((1.96 + 0.84) x 0.2887 / 0.03)^2


def test_p_of_a_finding_is_corrected_for_the_arms_that_were_compared():
    rows = [
        {"arm": arm, "task_id": f"t{i}", "success": float(arm == "task_only")}
        for arm in ("task_only", "profile", "demonstrations")
        for i in range(10)
    ]
    pairs = compare_success(pd.DataFrame(rows))
    assert pairs["p"].tolist() == [2 / 2**10] * 2 and pairs["p_holm"].tolist() == [4 / 2**10] * 2
    assert describe_pair(pairs.loc[0].to_dict(), "mock")["p"] == 4 / 2**10


def test_prompts_of_a_simulated_user_are_all_in_what_a_run_is_made_from(monkeypatch):
    used = set()

    def note(name, **values):
        used.add(name)
        return read_prompt(name).template if name == "user_shots" else name

    monkeypatch.setattr(users, "fill_prompt", note)
    chat = [Message(role="user", content="hi"), Message(role="assistant", content="Yes?")]
    users.make_turn_prompt(Persona(), "The user wants it done.", chat)
    assert used == {"user_shots", "user_turn", "user_turn_replied"} and used < {*runner.PROMPTS}


def test_unknown_domain_and_arm_are_named(tmp_path):
    with pytest.raises(ValueError, match="domain 'hotel'"):
        environment.load_tasks("hotel")
    with pytest.raises(ValueError, match="arm 'sleepy'"):
        run(["sleepy"], [], tmp_path)
    with pytest.raises(ValueError, match=r"a message is drawn once; take 'demonstrations'"):
        run(["calibrated_demonstrations"], [], tmp_path)
    with pytest.raises(
        ValueError, match="agent_format 'telepathy' does not exist: expected one of constrained"
    ):
        run(["task_only"], [], tmp_path, agent_format="telepathy")


def test_endpoint_that_goes_down_in_mid_run_is_a_row_and_a_rerun_goes_on_from_there(
    endpoint, tmp_path, quick
):
    answer, is_up = (
        make_reply(itertools.cycle([CALL_CREATE, {"action": "reply", "message": "It is done."}])),
        [],
    )
    mock = endpoint(lambda request: answer(request) if is_up or len(mock.requests) == 1 else 503)
    result = run(["task_only", "oracle"], create_task_1(), tmp_path)
    assert result[0].success is None and "CallFailed: " in result[0].error and result[1].success is True
    assert [m["role"] for m in result[0].messages] == ["assistant", "user"]  # what there was is kept
    asked = len(mock.requests)
    is_up.append(True)
    assert run(["task_only"], create_task_1(), tmp_path)[0].success is True
    assert len(mock.requests) - asked == 3  # the opening came from the cache


def test_empty_reply_and_a_loop_without_end_are_rows(endpoint, tmp_path):
    endpoint(lambda r: "" if "tools" in r else play_user(r, done=False))
    [silent] = run(["task_only"], create_task_1(), tmp_path, agent_format="function_calling")
    assert silent.success is None and "empty" in silent.error
    endpoint(make_reply(itertools.repeat({"action": "reply", "message": "And then?"})))
    (tmp_path / "replies.sqlite").unlink()
    [endless] = run(["task_only"], create_task_1(), tmp_path)
    assert (endless.success, endless.ended_by) == (False, "max_steps")


def test_an_agent_from_outside_that_raises_is_a_row_and_a_defect_of_ours_keeps_its_trace(
    endpoint, tmp_path, monkeypatch
):
    endpoint(lambda request: "I need a task.")
    (tmp_path / "broken_agent.py").write_text("def answer(messages, tools): return {}['reply']")
    monkeypatch.syspath_prepend(tmp_path)
    settings = {"turn_format": "roles", "agent_format": "broken_agent:answer"}
    [broken] = run(["task_only"], create_task_1(), tmp_path, **settings)
    assert broken.success is None and broken.ended_by == "error"
    assert broken.error == "AgentError: broken_agent:answer raised KeyError: 'reply'"
    monkeypatch.setattr(participants, "render_steps", lambda messages: messages.text)
    with pytest.raises(AttributeError, match="text"):
        run(["task_only"], create_task_1(), tmp_path, turn_format="roles")


def test_differences_held_equal_find_a_known_effect_and_say_nothing_where_they_cannot():
    rng, rows = np.random.default_rng(0), []
    for task, (arm, effect) in itertools.product(range(300), [("task_only", 0.0), ("profile", -0.3)]):
        words = int(rng.integers(20, 200))
        won = rng.random() < 0.8 + effect - 0.001 * words
        rows.append(
            {
                "task_id": str(task),
                "trial": 0,
                "arm": arm,
                "simulator": "m",
                "success": won,
                "persona_words": words,
            }
        )
    runs = pd.DataFrame(rows)
    adjusted = adjust_for_covariates(runs, ["persona_words"]).loc["profile"]
    assert adjusted["ci_low"] < -0.3 < adjusted["ci_high"] < 0
    length_is_arm = runs.assign(persona_words=np.where(runs["arm"] == "profile", 100, 8))
    assert adjust_for_covariates(length_is_arm, ["persona_words"])["adjusted"].isna().all()
    assert adjust_for_covariates(runs.head(4), ["persona_words"])["adjusted"].isna().all()


def make_table(*made_from, simulator="a", success=1.0):
    """Three tasks under each of these digests, as in the table of runs."""
    row = {"domain": "mock", "arm": "task_only", "simulator": simulator, "success": success}
    return pd.DataFrame(
        [{**row, "task_id": t, "made_from": f"{made}{t}"} for made in made_from for t in "xyz"]
    )


def test_several_simulators_are_scored_apart_and_pooled():
    runs = pd.concat([make_table("one"), make_table("two", simulator="b", success=0.0)])
    pooled = score_success(pool_runs(runs), by=["scope", "arm"])["success"]
    assert pooled.to_dict() == {("a", "task_only"): 1, ("b", "task_only"): 0, ("pooled", "task_only"): 0.5}


def test_runs_of_three_seeds_are_all_pooled_and_only_true_repeats_dropped():
    seeds = make_table("seed 1, ", "seed 2, ", "seed 3, ")
    pooled = pool_runs(pd.concat([seeds, make_table("seed 2, ", success=0.0)]))
    assert len(pooled) == 9 and pooled["success"].mean() == pytest.approx(2 / 3)
    assert score_success(pooled)["n_runs"].tolist() == [9]


def test_seeds_of_trials_do_not_meet_those_of_other_studies():
    seeds = [runner.derive_seed(seed, trial) for seed in range(50) for trial in range(50)]
    assert len(set(seeds)) == 2500 and max(seeds) < 2**31
    assert [runner.derive_seed(seed, 0) for seed in range(50)] == list(range(50))


def test_whatever_decides_a_run_changes_what_it_is_made_from(monkeypatch):
    run = AgentRun(domain="mock", task_id="t", trial=0, arm="profile", agent="m", simulator="s")
    user = Simulator(None, "s", "transcript", 1)

    def digest(run=run, user=user, agent_format="constrained", max_steps=10):
        return runner.digest_settings(run, user, agent_format, max_steps)

    digests = [digest(), digest(user=replace(user, seed=2)), digest(user=replace(user, turn_format="roles"))]
    digests += [digest(agent_format="function_calling"), digest(max_steps=9)]
    changes = [{"agent": "n"}, {"simulator": "n"}, {"arm": "n"}, {"persona": Persona(instructions=["x"])}]
    digests += [digest(run.model_copy(update=change)) for change in changes]
    monkeypatch.setattr(
        runner, "hash_prompts", lambda: dict.fromkeys([f"{n}.md" for n in runner.PROMPTS], "1")
    )
    digests.append(digest())
    assert len(set(digests)) == 10 and digest() == digest(run.model_copy(update={"success": True}))
