"""Pages and browsers on toy records: what they show, what they escape, what is shown where no widget runs."""

import re
import subprocess
import sys

import pytest
from conftest import make_conversation
from ipywidgets import Button

from realusersim_nb.errors import InputError
from realusersim_nb.pt3.labels import read_labels
from realusersim_nb.records import AgentRun, Case, Command, Judgement, Profile
from realusersim_nb.widgets import agent_runs, cases, page, profiles

MESSAGES = [
    {"role": "user", "content": "<script>hi"},
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"name": "get_order", "arguments": {"id": "<b>7"}}],
    },
    {"role": "tool", "content": "none", "error": True},
]
RUN = AgentRun(
    task_id="t", trial=0, arm="profile", agent="m", simulator="s", success=False, messages=MESSAGES
)


@pytest.fixture
def shown(monkeypatch):
    """What is displayed: bundles of MIME types."""
    bundles = []
    monkeypatch.setattr(page, "display", lambda bundle, raw: bundles.append(bundle))
    return bundles


def test_headless_run_shows_static_pages_alone(shown, monkeypatch):
    for variable in ("", "1"):
        monkeypatch.setenv("REALUSERSIM_HEADLESS", variable)
        agent_runs.browse_runs([RUN, RUN.model_copy(update={"simulator": None})], [], [])
    lab, headless = shown
    assert set(headless) == {"text/html"} and "application/vnd.jupyter.widget-view+json" in lab
    assert "1 of 1 runs are shown." in headless["text/html"] and headless["text/html"].count("<summary>") == 1


def test_run_is_shown_without_tau2():
    code = f"""if True:
        import sys
        sys.modules["tau2"] = None  # as if not installed
        from realusersim_nb import records, widgets
        print(widgets.show_run(records.AgentRun(**{RUN.model_dump()!r})))"""
    html = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "<b>failed</b>" in html and "&lt;script&gt;hi" in html and "tool, refused" in html
    assert "<code>get_order({&#34;id&#34;: &#34;&lt;b&gt;7&#34;})</code>" in html


def test_template_with_a_value_missing_raises():
    with pytest.raises(Exception, match="'question' is undefined"):
        page.render("sides", sides={})


def test_answer_that_is_refused_is_asked_for_again(monkeypatch):
    asked, saved = [], []
    monkeypatch.setattr(page, "show_widgets", lambda widgets, **static: asked.extend(widgets))

    def save(index, button):
        if button is refused:
            raise InputError("no verdict on D1.")
        saved.append(index)

    refused, accepted = Button(), Button()
    page.ask_one_by_one(["one", "two"], save, buttons=[refused, accepted])
    html, _, problem = asked
    refused.click()
    assert (html.value, problem.value, saved) == ("one", "no verdict on D1.", [])
    accepted.click()
    assert (html.value, problem.value, saved) == ("two", "", [0])
    accepted.click()
    assert "last one" in html.value and accepted.disabled


def test_evidence_says_on_which_side_of_users_somebody_is():
    figure = {"feature": "please", "value": 0.25, "n": 12}
    sides = {0.9: "more than 90% of users", 0.1: "less than 90% of users"}
    for percentile, words in sides.items():
        command = Command(
            dimension="formality", command="Say <please>.", evidence=figure | {"percentile": percentile}
        )
        html = profiles.show_growth(["a"], [Profile(user_id="u", commands=[command])], 1)
        assert f"(please 0.25, {words}, 12 messages)" in html and "<mark>Say &lt;please&gt;.</mark>" in html


def make_pair():
    """A case, and a simulated conversation of it."""
    original = make_conversation("<b>sort it", "in reverse")
    case = Case(case_id="c", user_id="u", goal="a <list>", key_context="", original=original)
    simulated = original.model_copy(update={"case_id": "c", "arm": "profile", "conversation_id": "c/profile"})
    return case, simulated


def test_case_is_shown_with_the_verdicts_of_the_chosen_arm(shown):
    case, simulated = make_pair()
    reading = Judgement(
        case_id="c", user_id="u", arm="profile", judge="m", verdicts={"D1": True, "D2": False}
    )
    other = reading.model_copy(update={"arm": "task_only", "judge": "other"})
    cases.browse_cases([case], [simulated], [reading, other])
    html = shown[0]["text/html"]
    assert "a &lt;list&gt;" in html and html.count("&lt;b&gt;sort it") == 2
    table = " ".join(re.sub("<[^>]*>", " ", html).split())
    assert "(D1) match" in table and "(D2) no match" in table and "other" not in html
    assert html.count('<p class="assistant">ok') == 4  # the assistant's replies, too


def test_cases_are_listed_by_score_and_searched():
    case, simulated = make_pair()
    second = case.model_copy(update={"case_id": "d"})
    talks = [simulated, simulated.model_copy(update={"case_id": "d"})]
    talks.append(simulated.model_copy(update={"case_id": "c", "arm": "task_only"}))
    reading = Judgement(
        case_id="c", user_id="u", arm="profile", judge="m", verdicts={"D1": True, "D2": False}
    )
    worse = reading.model_copy(update={"case_id": "d", "verdicts": {"D1": False, "D2": False}})
    by_id = {"c": case, "d": second}
    listed = cases.list_cases(by_id, "profile", talks, [reading, worse])
    assert listed == [("0.00  d", "d"), ("0.50  c", "c")]
    assert cases.list_cases(by_id, "task_only", talks, [reading]) == [("unscored  c", "c")]
    assert cases.list_cases(by_id, "profile", talks, [], word="REVERSE") and not cases.list_cases(
        by_id, "profile", talks, [], word="nowhere"
    )


def test_pair_is_labelled_once_every_dimension_has_a_verdict(monkeypatch, tmp_path):
    asked, (case, simulated) = [], make_pair()
    monkeypatch.setattr(page, "show_widgets", lambda widgets, **static: asked.extend(widgets))
    cases.label_pairs([(case, simulated, "real_first")], tmp_path / "labels.jsonl", labeller="me")
    html, name, *choices, buttons, problem = asked
    button, every, back, skip, progress = buttons.children
    choices[0].value = "match"
    button.click()
    assert (
        "no verdict on linguistic style and mechanics (D2)" in problem.value and "Pair 1 of 1" in html.value
    )
    for choice in choices:
        choice.value = "no match"
    button.click()
    [label] = read_labels(tmp_path / "labels.jsonl", [case])
    assert not any(label.verdicts.values()) and label.judge == "human me" and problem.value == ""
    assert choices[0].value is None and "last one" in html.value and progress.value == "1 of 1 answered"
    back.click()  # to look again
    every.click()
    name.value = "you"  # who has labelled nothing yet
    assert "Pair 1 of 1" in html.value and progress.value == "0 of 1 answered" and not skip.disabled
    every.click()
    by_name = {label.judge: label.verdicts for label in read_labels(tmp_path / "labels.jsonl", [case])}
    assert list(by_name) == ["human me", "human you"] and all(all(v.values()) for v in by_name.values())
