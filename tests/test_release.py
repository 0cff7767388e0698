"""The released layout: what is written reads back the same, and what differs from ours can still be read."""

import json

import pytest
from conftest import SAMPLE, make_conversation

from realusersim_nb import corpus, profiles, release, verification
from realusersim_nb.records import Case, Command, Demographic, Profile

CONVERSATIONS = corpus.load(str(SAMPLE)).conversations
FACTS = {"age": Demographic(value="30", source="extracted", confidence=0.9, quote="I am 30")}


def test_profiles_read_back_the_same_and_have_a_card(tmp_path):
    found = profiles.extract_measured(CONVERSATIONS)
    found[0] = found[0].model_copy(update={"demographics": FACTS, "background": "Ünïcode"})
    path = release.export(found, tmp_path, corpus="sample", licence="CC0")
    assert path == tmp_path / "profiles" / "consolidated_user_profiles.jsonl"
    assert list(release.read_profiles(tmp_path)) == found
    assert {"user_ip", "demographics", "linguistic_profile"} <= set(json.loads(path.read_text().splitlines()[0]))
    assert f"{len(found):,} executable profiles" in (tmp_path / "README.md").read_text()


def test_the_same_profiles_make_the_same_bytes(tmp_path):
    for name in "ab":
        release.export(profiles.extract_measured(CONVERSATIONS), tmp_path / name)
    assert (tmp_path / "a" / release.PROFILES).read_bytes() == (tmp_path / "b" / release.PROFILES).read_bytes()


@pytest.mark.parametrize(
    "told",
    [[{"command": "Be brief.", "examples": ["ok"]}], {"formality": [{"command": "Be brief.", "examples": ["ok"]}]},
     {"commands": [{"dimension": "Formality", "command": "Be brief.", "examples": ["ok"], "rank": 1}]}],
)  # fmt: skip
def test_commands_are_read_in_other_forms(tmp_path, told):
    row = {
        "user_ip": "u",
        "demographics": {"age": {"value": None}, "gender": {"value": "f"}},
        "linguistic_profile": told,
    }
    (tmp_path / "p.jsonl").write_text(json.dumps(row))
    (profile,) = release.read_profiles(tmp_path / "p.jsonl")
    assert profile.commands == [Command(dimension="formality", command="Be brief.", examples=["ok"])]
    assert list(profile.demographics) == ["gender"]


def test_cases_read_back_the_same_and_are_a_corpus_too(tmp_path):
    talk = make_conversation("how do i sort a list", "now do it in reverse please", "and what of a tuple")
    case = Case(
        case_id="t1",
        user_id="u",
        goal="Sort.",
        key_context="none",
        domain="it",
        task_type="code",
        original=talk.messages,
    )
    path = release.write_cases([case], [Profile(user_id="u", extractor="released")], tmp_path)
    assert release.read_cases(tmp_path) == ([case], [Profile(user_id="u", extractor="released")])
    assert corpus.load(str(path)).conversations[0].user_messages == talk.user_messages


def test_line_that_is_none_is_named(tmp_path):
    (tmp_path / "p.jsonl").write_text('{"user_ip": "u"}\n')
    with pytest.raises(ValueError, match=r"p.jsonl, line 1: expected user_ip"):
        list(release.read_profiles(tmp_path / "p.jsonl"))


def test_profile_can_forget_a_conversation():
    talk = make_conversation("ok do it", "so what now")
    profile = Profile(
        user_id="u", commands=[Command(dimension="formality", command="x", examples=["ok do it", "well well"])]
    )
    assert verification.forget(profile, talk).commands[0].examples == ["well well"]


def test_halves_share_no_user_and_overlap_is_a_share_of_word_triples():
    first, second = corpus.split_users(CONVERSATIONS, seed=1)
    assert len(first) + len(second) == len(CONVERSATIONS)
    assert not {c.user_id for c in first} & {c.user_id for c in second}
    assert corpus.measure_overlap("sort the long list", ["please SORT the long row"]) == 0.5
    assert corpus.measure_overlap("sort", ["sort"]) != corpus.measure_overlap("sort", ["sort"])  # NaN: too short
