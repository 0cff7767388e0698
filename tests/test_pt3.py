"""Simulated users and PT3 on mock models with known answers."""

import asyncio
import json

import pytest
from conftest import make_conversation
from test_agents import fill

from realusersim_nb import llm, plots, pt3, simulators
from realusersim_nb.cache import Cache
from realusersim_nb.records import Case, Command, Judgement, Message, Profile, Transcript

CONVERSATIONS = [make_conversation("sort a list", f"now by {u}", "thanks a lot for that", user=u) for u in "abc"]
CASES = [
    Case(
        case_id=c.conversation_id,
        user_id=c.user_id,
        goal="You want a sorted list.",
        key_context="none",
        original=c.messages,
    )
    for c in CONVERSATIONS
]
OWN = {
    u: Profile(user_id=u, commands=[Command(dimension="formality", command=f"Be {u}.", examples=[f"old {u}"])])
    for u in "abc"
}


def judgement(arm, value, user="a"):
    verdicts = None if value is None else dict.fromkeys(pt3.DIMENSIONS, value)
    return Judgement(case_id=f"{user}-0", user_id=user, arm=arm, judge="m", verdicts=verdicts)


# --- arms --------------------------------------------------------------------------------------


def test_each_arm_is_told_what_its_name_says():
    told = {arm: simulators.write_personas(arm, CASES, OWN, seed=1) for arm in simulators.ARMS}
    assert "Be a." in told["profile"][0] and "old a" in told["profile"][0]
    assert "Be a." in told["profile_no_examples"][0] and "old a" not in told["profile_no_examples"][0]
    assert "Be " not in told["task_only"][0] + told["placebo"][0] + told["directive"][0]
    for case, persona in zip(CASES, told["shuffled_profile"], strict=True):
        assert f"Be {case.user_id}." not in persona and "Be " in persona


def test_shuffled_profiles_are_a_derangement_for_every_seed():
    users = [str(i) for i in range(7)]
    for seed in range(50):
        given = simulators.assign_others(users, seed=seed)
        assert sorted(given.values()) == users and all(a != b for a, b in given.items())
    with pytest.raises(ValueError, match="at least 2"):
        simulators.assign_others(["a"], seed=0)


# --- roll-outs ---------------------------------------------------------------------------------


def roll_out(tmp_path, **settings):
    async def go():
        async with llm.Models(cache=Cache(tmp_path / "replies.sqlite")) as models:
            return await simulators.roll_out(
                models, CASES[0], "profile", "- Be a.", simulator="user", assistant="helper", **settings
            )

    return asyncio.run(go())


def test_roll_out_ends_after_the_given_number_of_user_messages(endpoint, tmp_path):
    mock = endpoint(lambda r: json.dumps(fill(r, done=False)) if "response_format" in r else "An answer.")
    found = roll_out(tmp_path, max_user_messages=3)
    assert [m.role for m in found.messages] == ["user", "assistant", "user", "assistant", "user"]
    assert found.ended_by == "max_turns" and mock.models["helper"] == 2


def test_roll_out_ends_when_the_user_is_done(endpoint, tmp_path):
    endpoint(lambda r: json.dumps(fill(r, done=True)) if "response_format" in r else "An answer.")
    found = roll_out(tmp_path)
    assert (len(found.messages), found.ended_by) == (2, "close")


def test_roles_format_swaps_roles_and_ends_on_close(endpoint, tmp_path):
    mock = endpoint(
        lambda r: "An answer." if r["model"] == "helper" else "/close" if len(r["messages"]) > 2 else "sort it"
    )
    found = roll_out(tmp_path, turn_format="roles")
    assert [m.content for m in found.messages] == ["sort it", "An answer."] and found.ended_by == "close"
    last = next(r for r in reversed(mock.requests) if r["model"] == "user")["messages"]
    assert [m["role"] for m in last] == ["system", "assistant", "user"]


def test_simulator_never_sees_the_original(endpoint, tmp_path):
    mock = endpoint(lambda r: json.dumps(fill(r, done=False)) if "response_format" in r else "An answer.")
    roll_out(tmp_path)
    sent = json.dumps(mock.requests)
    assert not any(text in sent for text in CONVERSATIONS[0].user_messages)


def test_failed_call_ends_the_roll_out_with_what_there_was(endpoint, tmp_path):
    endpoint(lambda r: json.dumps(fill(r, done=False)) if "response_format" in r else "")
    found = roll_out(tmp_path)
    assert (found.ended_by, found.error, len(found.messages)) == ("error", "empty: nothing was said", 1)


# --- judging -----------------------------------------------------------------------------------


def test_judge_sees_user_messages_of_the_first_nine_without_close():
    messages = [Message(role=r, content=f"{r} {i}") for i in range(6) for r in ("user", "assistant")]
    messages[4] = Message(role="user", content=" /close ")
    assert pt3.prepare(messages) == ["user 0", "user 1", "user 3", "user 4"]


def judge_all(tmp_path, transcripts):
    async def go():
        async with llm.Models(cache=Cache(tmp_path / "replies.sqlite")) as models:
            return await pt3.judge_all(models, "judge", CASES, transcripts)

    return asyncio.run(go())


def judging_by_eye(request):
    """A mock judge that finds a match only where both lists are the same text."""
    schema, prompt = request["response_format"]["json_schema"]["name"], request["messages"][0]["content"]
    if schema == "Verdicts":
        return json.dumps(dict.fromkeys(pt3.DIMENSIONS, "no match" not in prompt))
    a, b = prompt.split("Messages A:\n")[1].split("\n\nBoth lists")[0].split("\n\nMessages B:\n")
    return json.dumps(
        dict.fromkeys(pt3.DIMENSIONS, "The two lists are a match." if a == b else "The two lists are no match.")
    )


def test_perfect_simulator_gets_100_per_cent_and_a_stranger_0(endpoint, tmp_path):
    endpoint(judging_by_eye)
    perfect = [Transcript(case_id=c.case_id, user_id=c.user_id, arm="perfect", messages=c.original) for c in CASES]
    stranger = [
        t.model_copy(update={"arm": "stranger", "messages": [Message(role="user", content="Hello.")]}) for t in perfect
    ]
    scores = pt3.score(pt3.tabulate(judge_all(tmp_path, perfect + stranger)))
    assert scores["rate"].to_dict() == {"perfect": 1.0, "stranger": 0.0}


def test_failed_and_empty_transcripts_are_counted_never_scored_0(endpoint, tmp_path):
    mock = endpoint(judging_by_eye)
    about = {"case_id": "a-0", "user_id": "a", "arm": "profile"}
    close = [Message(role="user", content="/close")]
    found = judge_all(
        tmp_path, [Transcript(**about, error="empty reply", ended_by="error"), Transcript(**about, messages=close)]
    )
    assert [j.verdicts for j in found] == [None, None] and not mock.requests
    scores = pt3.score(pt3.tabulate([*found, judgement("profile", True, "b")]))
    assert scores.loc["profile", ["rate", "n_cases", "n_failed"]].tolist() == [1.0, 1, 1]


def test_bounds_are_the_users_own_and_somebody_elses_conversation():
    bounds = pt3.draw_bounds(CASES, CONVERSATIONS, seed=1)
    assert [t.arm for t in bounds] == ["same_user"] * 3 + ["other_user"] * 3
    for case, same, other in zip(CASES, bounds[:3], bounds[3:], strict=True):
        assert same.messages == case.original and other.messages != case.original


def test_index_leaves_out_d3_where_it_says_so():
    found = judgement("profile", False).model_copy(
        update={"verdicts": {"D1": False, "D2": False, "D3": True, "D4": False, "D5": True}}
    )
    scores = pt3.score(pt3.tabulate([found]))
    assert scores.loc["profile", ["rate", "without_D3"]].tolist() == [0.4, 0.25]


def test_arms_are_compared_on_the_users_both_have():
    verdicts = pt3.tabulate([judgement(arm, arm == "profile", u) for u in "abc" for arm in ("profile", "task_only")])
    found = pt3.compare_arms(verdicts).set_index("baseline").loc["task_only"]
    assert (found["difference"], found["n_pairs"], found["p"]) == (1.0, 3, 0.25)


def test_repeats_and_copies_of_examples_are_counted():
    texts = ["sort it", "sort it", "old a"]
    t = Transcript(
        case_id="a-0",
        user_id="a",
        arm="profile",
        messages=[Message(role="user", content=x) for x in texts],
        ended_by="max_turns",
    )
    found = pt3.describe_transcripts([t], examples={"a": ["old a"]}).loc["profile"]
    assert found["repeated"] == 0.5 and found["copied"] == pytest.approx(1 / 3)


def test_when_every_judgement_failed_the_tables_and_figures_say_so():
    arms = ["task_only", "profile", "same_user", "other_user"]
    failed = [
        Judgement(case_id=str(i), user_id=str(i), arm=arm, judge="m", error="x") for arm in arms for i in range(3)
    ]
    verdicts = pt3.tabulate(failed)
    scores = pt3.score(verdicts)
    assert (scores["n_failed"] == 3).all() and scores["rate"].isna().all()
    plots.plot_dimensions(pt3.score_dimensions(verdicts), pt3.DIMENSIONS)
    assert (pt3.compare_arms(verdicts)["n_pairs"] == 0).all()
