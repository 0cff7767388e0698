"""Widgets of the first notebook, clicked without a browser, on replies recorded from the embedded model.

REALUSERSIM_RECORD=1 records data/replies.jsonl.gz anew, which notebook 00 uses where no model is installed.
"""

import asyncio
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import SAMPLE, make_conversation, with_models
from recorded import MODE, RECORDING

from realusersim_nb import records, style
from realusersim_nb.corpus import loading, splits
from realusersim_nb.llm import cache, client
from realusersim_nb.llm.replies import read_fields, write_replies
from realusersim_nb.profiles import extraction
from realusersim_nb.pt3 import cases, judges
from realusersim_nb.simulators import conditions, demonstrations, users
from realusersim_nb.widgets.profiles import show_growth
from realusersim_nb.widgets.stage import OTHER, Stage, show_beside

ROOT = Path(__file__).parents[2]
REPLIES = ROOT / "data" / "replies.jsonl.gz"


async def click(button, stage) -> asyncio.Task:
    """Click, and give what that set going."""
    button.click()
    await asyncio.sleep(0)  # until the loop takes the click
    return stage.task


async def play_all(models) -> dict[str, tuple[str, str]]:
    """What notebook 00 does, and then every arm played and judged: page and verdict by arm."""
    real = loading.load_corpus(str(SAMPLE))
    profiled, held_out = splits.hold_out(real.conversations, seed=1)
    messages = style.measure_conversations(profiled)
    profile_of = {p.user_id: p for p in extraction.extract_measured(profiled, messages)}
    known = messages["user_id"].value_counts()
    enough = [u for u, p in profile_of.items() if len(p.commands) >= 3 and known[u] >= min(8, known.max())]
    eligible = [c for c in held_out if c.user_id in enough] or held_out
    chosen = cases.draw_cases(eligible, n_cases=1, seed=1)[0]
    case = await cases.make_case(models, "embedded", chosen, first=3, seed=1)
    other = next(p for p in profile_of.values() if p.user_id != chosen.user_id and p.commands)
    shown = {p.user_id: p for p in (profile_of[chosen.user_id], other)}
    shown = await demonstrations.add_demonstrations(models, "embedded", shown, profiled, n=6, seed=1)
    arms = ("task_only", "profile", "demonstrations", "shuffled_demonstrations")
    personas = {arm: conditions.ARMS[arm](*shown.values()) for arm in arms}
    simulator = users.Simulator(models, "embedded", seed=1)
    openings = await simulator.open(case, personas)
    judge, left_out = judges.make_judges(None, "embedded", [], seed=1)
    assert list(judge) == ["embedded"] and "0 users have two conversations" in left_out[0]
    stage = Stage(case=case, personas=personas, openings=openings, simulator=simulator, judge=judge)
    pages = {}
    for arm in arms:
        stage.arm.value = arm
        await (await click(stage.begin, stage))
        page = stage.page.value
        stage.verdict.value = OTHER
        await (await click(stage.ask, stage))
        pages[arm] = page, stage.result.value
    return pages


def test_stage_plays_every_arm_from_recorded_replies(tmp_path):
    """The file that notebook 00 falls back on has all that its stage can ask for."""
    kept = cache.Cache(str(tmp_path / "replies.sqlite"))
    if not RECORDING:
        kept.load(REPLIES)

    async def work(models):
        pages = await play_all(models)
        if RECORDING:
            write_replies(REPLIES, [reply for reply in models.cache.get(sorted(models.used)) if reply])
        return pages

    pages = with_models(work, cache=kept, llm_mode=MODE)
    for arm, (page, verdicts) in pages.items():
        assert f"<b>{arm}</b><p" in page and "nobody has written yet" not in page.lower()
        assert "The judge gives no verdict: role break" in verdicts or (
            "You: <b>somebody else</b>" in verdicts and "The judge (embedded)" in verdicts
        )


CASE = records.Case(
    case_id="c", user_id="u", goal="a cake", key_context="", original=make_conversation("<b>hi</b>")
)


def test_reply_is_shown_while_it_comes_and_kept_like_any_other(endpoint):
    mock = endpoint(lambda request: "five words of an answer")

    async def work(models):
        seen = []
        with client.watch_replies(seen.append):
            text = await models.ask("m", "say something")
        again = await models.ask("m", "say something")
        return seen, text, again, models.usage

    seen, text, again, usage = with_models(work)
    assert text == again == "five words of an answer" and (usage.live, usage.cached) == (1, 1)
    assert [len(text.split()) for text in seen] == [1, 2, 3, 4, 5] and usage.completion_tokens == 5
    assert [request.get("stream") for request in mock.requests] == [True]


def test_endpoint_that_refuses_to_stream_is_asked_without(endpoint):
    mock = endpoint(lambda request: 400 if request.get("stream") else "whole")

    async def work(models):
        with client.watch_replies(print):
            return await models.ask("m", "say something")

    assert with_models(work) == "whole" and len(mock.requests) == 2


def test_message_is_read_from_half_a_reply():
    reply = json.dumps({"plan": "the price", "written": "how much is it"})
    assert read_fields(reply[:16]) == {"plan": "the pr"}
    assert read_fields(reply[:-4])["written"] == "how much is "
    assert read_fields("plain words") == {}


def test_what_a_model_or_a_person_writes_is_escaped_on_the_stage():
    page = show_beside(CASE, "profile", [records.Message(role="user", content="<script>")], "<i>more")
    assert "&lt;b&gt;hi" in page and "&lt;script&gt;" in page and "&lt;i&gt;more" in page


def test_profile_grows_into_what_all_messages_give():
    talks = loading.load_corpus(str(SAMPLE)).conversations
    messages = style.measure_conversations(talks)
    whole = {p.user_id: p for p in extraction.extract_measured(talks)}
    for user, profile in whole.items():
        grown = extraction.grow_profiles(talks, messages, user)
        assert grown[-1].commands == profile.commands and len(grown) == (messages["user_id"] == user).sum()
    assert len(grown[0].commands) <= len(grown[-1].commands)  # one message shows little


def test_stage_shows_what_stopped_it_in_one_sentence(endpoint):
    endpoint(lambda request: 401)

    async def work(models):
        roles = {"simulator": users.Simulator(models, "m"), "judge": {"m": None}}
        stage = Stage(case=CASE, personas={"profile": records.Persona()}, openings={"profile": "hi"}, **roles)
        await (await click(stage.begin, stage))
        return stage

    stage = with_models(work)
    assert "check the key in the environment variable" in stage.result.value and not stage.begin.disabled
    assert "key-of-the-test" not in stage.result.value


def test_stage_has_a_stop_of_its_own_and_begins_again(endpoint):
    waits = iter([5, 0, 0, 0, 0, 0, 0, 0])
    endpoint(lambda request: time.sleep(next(waits)) or "yes")

    async def stop(models):
        simulator = users.Simulator(models, "m")
        about = {"personas": {"profile": records.Persona()}, "openings": {}, "judge": {}}
        stage = Stage(case=CASE, simulator=simulator, **about)
        task, begun = await click(stage.begin, stage), time.monotonic()
        await asyncio.sleep(0.2)
        assert not stage.halt.disabled and stage.begin.disabled
        stage.halt.click()
        await task
        assert time.monotonic() - begun < 2 and "Stopped" in stage.result.value
        assert stage.halt.disabled and not stage.begin.disabled

    with_models(stop)


def test_clicks_may_come_from_another_thread(endpoint):
    """As those of JupyterLab do: the work is still the loop's that the stage was made in."""
    waits = iter([5, 0, 0, 0, 0, 0, 0, 0])
    endpoint(lambda request: time.sleep(next(waits)) or "yes")

    async def stop_and_begin(models):
        simulator = users.Simulator(models, "m")
        about = {"personas": {"profile": records.Persona()}, "openings": {}, "judge": {}}
        stage = Stage(case=CASE, simulator=simulator, **about)
        for _ in range(2):  # the second one waits for the call that the first one began
            await asyncio.to_thread(stage.begin.click)
            await asyncio.sleep(0.2)
            await asyncio.to_thread(stage.halt.click)
            await asyncio.wait_for(stage.task, 2)
            assert "Stopped" in stage.result.value and not stage.begin.disabled

    with_models(stop_and_begin)


@pytest.mark.parametrize("n", [1, 2])
def test_newest_command_is_marked(n):
    one = records.Command(dimension="formality", command="Say please.", examples=[])
    grown = [
        records.Profile(user_id="u", commands=[one][: 2 - n]),
        records.Profile(user_id="u", commands=[one]),
    ]
    assert ("<mark>Say please.</mark>" in show_growth(["a", "b"], grown, 2)) == (n == 2)


def test_first_notebook_runs_from_recorded_replies_where_no_model_is_installed(tmp_path):
    for name in ("notebooks", "data"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "sitecustomize.py").write_text(
        'import sys\nsys.modules["openvino_genai"] = None  # as if not installed\n'
    )
    command = [sys.executable, "-m", "realusersim_nb", "run", "00", "--run-name", "recorded"]
    surroundings = os.environ | {"PYTHONPATH": str(tmp_path), "REALUSERSIM_HOME": str(tmp_path / "home")}
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=surroundings)
    assert done.returncode == 0, done.stderr[-3000:]
    page = (tmp_path / "outputs/recorded/00_start_here.html").read_text(encoding="utf-8")
    assert "No model here" in page and "recorded from the embedded model" in page
    assert 'alt="Who wrote them?' in page
    calls = json.loads((tmp_path / "outputs/recorded/summary.json").read_text(encoding="utf-8"))["calls"]
    assert calls["live"] == calls["failed"] == 0 and calls["cached"] >= 4
