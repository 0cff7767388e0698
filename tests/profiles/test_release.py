"""The released layout: what is written reads back the same, and what differs from ours can still be read."""

import json

import pandas as pd
import pytest
from conftest import SAMPLE, make_conversation

from realusersim_nb.agents import environment
from realusersim_nb.corpus import loading, splits
from realusersim_nb.errors import InputError
from realusersim_nb.profiles import extraction, persona, release, verification
from realusersim_nb.records import Case, Command, Demographic, JudgePrompt, Profile

CONVERSATIONS = loading.load_corpus(str(SAMPLE)).conversations
FACTS = {"age": Demographic(value="30", source="extracted", confidence=0.9, quote="I am 30")}


def test_profiles_read_back_the_same_and_have_a_card(tmp_path):
    extracted = extraction.extract_measured(CONVERSATIONS)
    extracted[0] = extracted[0].model_copy(update={"demographics": FACTS, "background": "Ünïcode"})
    path = release.export_profiles(extracted, tmp_path, corpus="sample", licence="CC0")
    assert path == tmp_path / "profiles" / "consolidated_user_profiles.jsonl"
    assert list(release.read_profiles(tmp_path)) == extracted
    assert {"user_ip", "demographics", "linguistic_profile"} <= set(
        json.loads(path.read_text(encoding="utf-8").splitlines()[0])
    )
    assert f"{len(extracted):,} executable profiles" in (tmp_path / "README.md").read_text(encoding="utf-8")


def test_profiles_are_there_for_other_tools_too(tmp_path):
    extracted = extraction.extract_measured(CONVERSATIONS)
    release.export_profiles(extracted, tmp_path)
    table = pd.read_csv(tmp_path / "profiles.csv")
    assert len(table) == sum(len(p.commands) for p in extracted)
    assert (
        table.loc[0, "examples"].splitlines() == next(p for p in extracted if p.commands).commands[0].examples
    )
    personas = [json.loads(line)["user_scenario"] for line in (tmp_path / "tau2_personas.jsonl").open()]
    [task] = environment.load_tasks("mock", 1)
    scenario = type(task.user_scenario)(**personas[0], instructions=task.user_scenario.instructions)
    assert scenario.persona == persona.render_profile(extracted[0]) and len(personas) == len(extracted)


def test_the_same_profiles_make_the_same_bytes(tmp_path):
    for name in "ab":
        release.export_profiles(extraction.extract_measured(CONVERSATIONS), tmp_path / name)
    assert (tmp_path / "a" / release.PROFILES).read_bytes() == (
        tmp_path / "b" / release.PROFILES
    ).read_bytes()


@pytest.mark.parametrize(
    "written",
    [
        [{"command": "Be brief.", "examples": ["ok"], "dimension": "FORMALITY"}],
        {"formality": [{"command": "Be brief.", "examples": ["ok"]}]},
        {"commands": [{"dimension": "Formality", "command": "Be brief.", "examples": ["ok"], "rank": 1}]},
    ],
)
def test_commands_are_read_in_other_forms(tmp_path, written):
    row = {
        "user_ip": "u",
        "demographics": {"age": {"value": None}, "gender": {"value": "f"}},
        "linguistic_profile": written,
    }
    (tmp_path / "p.jsonl").write_text(json.dumps(row))
    (profile,) = release.read_profiles(tmp_path / "p.jsonl")
    assert profile.commands == [Command(dimension="formality", command="Be brief.", examples=["ok"])]
    assert list(profile.demographics) == ["gender"]


@pytest.mark.parametrize(
    ("written", "dimension"),
    [
        ("Multi-Turn Behavior", "multi-turn behaviour"),
        ("multi_turn_behaviour", "multi-turn behaviour"),
        ("Filler / Hesitation", "filler/hesitation"),
        ("filler_hesitation", "filler/hesitation"),
        ("filler_and_hesitation", "filler/hesitation"),
        ("MessageLength", "message length"),
        ("requests-for-alternatives", "requests for alternatives"),
    ],
)
def test_spellings_of_a_dimension_are_read_as_it(written, dimension):
    assert release.find_dimension(written) == dimension


@pytest.mark.parametrize("fields", [{"dimension": "emoji use"}, {}])
def test_command_of_no_known_dimension_is_named_with_its_line(tmp_path, fields):
    rows = [
        {"user_ip": "u", "demographics": {}, "linguistic_profile": [{"command": "Be brief.", **each}]}
        for each in ({"dimension": "formality"}, fields)
    ]
    (tmp_path / "p.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    wanted = (
        rf"p.jsonl, line 2: .*{fields.get('dimension', '')!r}, expected one of capitalization, .*alternatives"
    )
    with pytest.raises(InputError, match=wanted):
        list(release.read_profiles(tmp_path / "p.jsonl"))


def test_cases_read_back_the_same_and_are_a_corpus_too(tmp_path):
    talk = make_conversation("how do i sort a list", "now do it in reverse please", "and what of a tuple")
    case = Case(
        case_id="t1",
        user_id="u",
        goal="Sort.",
        key_context="none",
        domain="it",
        task_type="code",
        original=talk.model_copy(update={"conversation_id": "t1"}),
    )
    path = release.write_cases([case], {"u": Profile(user_id="u", extractor="released")}, tmp_path)
    assert release.read_cases(tmp_path) == ([case], [Profile(user_id="u", extractor="released")])
    assert loading.load_corpus(str(path)).conversations[0].user_messages == talk.user_messages


def test_line_that_is_none_is_named(tmp_path):
    (tmp_path / "p.jsonl").write_text('{"user_ip": "u"}\n')
    with pytest.raises(ValueError, match=r"p.jsonl, line 1: expected user_ip"):
        list(release.read_profiles(tmp_path / "p.jsonl"))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1"])
def test_file_of_another_encoding_is_one_sentence_and_a_mark_before_it_is_nothing(tmp_path, encoding):
    row = {"user_ip": "Zoë", "demographics": {}, "linguistic_profile": {}}
    (tmp_path / "p.jsonl").write_text(json.dumps(row, ensure_ascii=False), encoding=encoding)
    if encoding == "latin-1":
        with pytest.raises(InputError, match=r"p.jsonl, line 1: not JSON"):
            list(release.read_profiles(tmp_path / "p.jsonl"))
    else:
        assert [p.user_id for p in release.read_profiles(tmp_path / "p.jsonl")] == ["Zoë"]


def test_profile_can_forget_a_conversation():
    talk = make_conversation("ok do it", "so what now")
    profile = Profile(
        user_id="u",
        commands=[Command(dimension="formality", command="x", examples=["ok do it", "well well"])],
    )
    assert verification.remove_examples(profile, talk).commands[0].examples == ["well well"]


def test_halves_share_no_user():
    first, second = splits.split_users(CONVERSATIONS, seed=1)
    assert len(first) + len(second) == len(CONVERSATIONS)
    assert not {c.user_id for c in first} & {c.user_id for c in second}


def test_released_cases_and_judge_prompt_are_taken_and_doubles_are_counted(tmp_path):
    talks = [make_conversation(f"how do i sort {u}", "now in reverse", user=u) for u in "abb"]
    cases = [
        Case(case_id=f"t{i}", user_id=t.user_id, goal="Sort.", key_context="", original=t)
        for i, t in enumerate(talks)
    ]
    leaky = [Command(dimension="formality", command="x", examples=["now in reverse", "well well"])]
    profile_of = {
        f"t{i}": Profile(user_id=t.user_id, background=f"of t{i}", commands=leaky, extractor="released")
        for i, t in enumerate(talks)
    }
    release.write_cases(cases, profile_of, tmp_path)
    (tmp_path / release.JUDGE_PROMPT).write_text(
        "## SYSTEM PROMPT ##\nCompare {a}.\n\n## FORMATTING PROMPT ##\nGive JSON.\n"
    )
    taken, profiles_of, originals, counts = release.draw_released_cases(str(tmp_path), n_cases=9, seed=1)
    assert {c.case_id for c in taken} == {"t0", "t1", "t2"} and len(originals) == 3
    assert all(profiles_of[c.case_id].background == f"of {c.case_id}" for c in taken)
    assert all(profiles_of[c.case_id].commands[0].examples == ["well well"] for c in taken)
    assert "3 released cases of 2 users, 1 on a conversation counted before; 3 examples" in counts
    assert release.find_judge_prompt(str(tmp_path)) == JudgePrompt(
        system="Compare {a}.", formatting="Give JSON."
    )
    (tmp_path / release.JUDGE_PROMPT).write_text("Compare.")
    with pytest.raises(
        ValueError, match="expected the sections SYSTEM PROMPT and FORMATTING PROMPT, found none"
    ):
        release.find_judge_prompt(str(tmp_path))
