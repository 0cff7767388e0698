"""PT3 on a folder in the layout of the release, from its files to the index, on a mock model."""

import json

import pytest
from conftest import with_models
from toy import SETS, make_release

from realusersim_nb.profiles import release
from realusersim_nb.pt3 import judges, scores
from realusersim_nb.records import Judgement
from realusersim_nb.simulators import Simulator, roll_out_arms, users, write_personas


@pytest.mark.parametrize("spelling", [("problem_desc", "solution_conditions"), ("user_goal", "key_context")])
def test_six_files_are_600_cases_of_460_users_and_never_twice_as_many(tmp_path, spelling):
    folder = make_release(tmp_path, spelling)
    sets = folder / "evaluation" / "test_sets"
    everything = "\n".join((sets / f"{name}.jsonl").read_text() for name in SETS)
    (sets / "test.jsonl").write_text(everything)  # as a hub split that holds all sets once more
    cases, profile_of, originals, counts = release.draw_released_cases(str(folder), n_cases=10_000, seed=1)
    assert len(cases) == len(originals) == len({c.case_id for c in cases}) == 600
    assert len({c.user_id for c in cases}) == 460
    assert counts.startswith("600 released cases of 460 users, 8 on a conversation counted before")
    assert all(c.goal.startswith("Sort list ") and c.key_context.endswith(" is sorted") for c in cases)
    assert profile_of[cases[0].case_id].commands[0].examples == ["well well"]  # none of its conversation


def test_interval_is_of_the_460_users_and_not_of_the_600_cases(tmp_path):
    cases = release.draw_released_cases(str(make_release(tmp_path)), n_cases=600, seed=1).cases
    said = {c.case_id: dict.fromkeys(judges.DIMENSIONS, int(c.user_id[1:]) % 2 == 0) for c in cases}
    keys = [{"case_id": c.case_id, "user_id": c.user_id, "verdicts": said[c.case_id]} for c in cases]
    by_user = [Judgement(arm="profile", judge="m", **k) for k in keys]
    by_case = [j.model_copy(update={"user_id": j.case_id}) for j in by_user]
    one, other = (
        scores.score_fidelity(scores.tabulate_verdicts(j)).loc["profile"] for j in (by_user, by_case)
    )
    assert one["n_cases"] == other["n_cases"] == 600 and one["rate"] == other["rate"]
    assert one["ci_high"] - one["ci_low"] > 1.05 * (other["ci_high"] - other["ci_low"])


def play(request):
    """A mock of every role; the judge finds a match in D2 only where the simulator was told to mimic."""
    system = request["messages"][0]["content"]
    if "response_format" in request:
        found = "mimicked" in request["messages"][1]["content"]
        verdicts = {key: {"is_matched": False} for key in judges.RELEASED_KEYS.values()}
        return json.dumps(verdicts | {judges.RELEASED_KEYS["D2"]: {"is_matched": found}})
    if system == "Compare the users.":
        return "mimicked" if "so mimic" in request["messages"][1]["content"] else "plain"
    if request["model"] == "helper":
        return "Here it is."
    turn = len(request["messages"])
    return f"so mimic {turn}" if "You mimic one real person" in system else f"please {turn}"


def test_released_study_has_the_published_calls_prompts_and_counts(endpoint, tmp_path):
    mock, n = endpoint(play), 30
    folder = str(make_release(tmp_path))
    cases, profile_of, *_ = release.draw_released_cases(folder, n_cases=n, seed=1)
    settings = judges.JudgeSettings(prompt=release.find_judge_prompt(folder))

    async def work(models):
        simulator = Simulator(models, "user", "roles", assistant="helper")
        transcripts = await roll_out_arms(simulator, cases, ["task_only", "profile"], profile_of)
        return transcripts, await judges.judge_transcripts(models, "judge", cases, transcripts, settings)

    transcripts, judged = with_models(work)
    assert {len(t.user_messages) for t in transcripts} == {5} and {len(t.messages) for t in transcripts} == {
        9
    }
    table = scores.score_fidelity(scores.tabulate_verdicts(judged))
    assert table["rate"].to_dict() == {"task_only": 0, "profile": pytest.approx(0.2)}
    assert table["n_cases"].tolist() == [n, n] and table["n_failed"].tolist() == [0, 0]
    limits = {(r["model"], r["temperature"], r["max_tokens"]) for r in mock.requests}
    assert limits == {
        ("user", 0.7, 1024),
        ("helper", 0.7, 2048),
        ("judge", 0.001, 4096),
        ("judge", 0.001, 1024),
    }
    assert mock.models["judge"] == 2 * n + 2  # the judge said two things, and each was formatted once
    assert not [r for r in mock.requests if r["model"] == "helper" and "is sorted" in json.dumps(r)]


def test_task_only_drops_framing_constraints_demographics_and_commands_and_keeps_the_rest(tmp_path):
    cases, profile_of, *_ = release.draw_released_cases(str(make_release(tmp_path)), n_cases=2, seed=1)
    profile_of[cases[1].case_id].demographics.clear()
    personas = {arm: write_personas(arm, cases, profile_of, seed=1) for arm in ("profile", "task_only")}
    about = cases[0].goal, cases[0].key_context, []
    [system, primer], [bare, _] = (users.make_role_prompt(shown[0], *about) for shown in personas.values())
    full, bare = system["content"], bare["content"]
    places = [
        "You mimic",
        "Do not clean up",
        "other conversations",
        "Use only the information",
        "- age range: 25-34",
    ]
    places += ["- location/nationality: Lyon / French", "- Be brief.", cases[0].goal, cases[0].key_context]
    found = [full.index(text) for text in places]
    assert found == sorted(found) and "gender" not in full and "income" not in full
    assert [text in bare for text in places] == [False] * 3 + [True] + [False] * 3 + [True] * 2
    assert primer == {"role": "user", "content": users.PRIMER}
    nobody = users.make_role_prompt(personas["profile"][1], *about)[0]["content"]
    assert users.NOBODY in nobody and "age range" not in nobody
