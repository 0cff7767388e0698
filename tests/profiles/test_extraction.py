"""Style features and profiles: known answers, and nothing in a profile that the user did not write."""

import asyncio
import math
import weakref

import numpy as np
import pytest
from conftest import SAMPLE, make_conversation
from toy import LOWER, population

from realusersim_nb.corpus import conversations, loading, splits
from realusersim_nb.profiles import extraction, persona, style, verification
from realusersim_nb.records import Command, Conversation, Profile
from realusersim_nb.runs.folders import Run
from realusersim_nb.text import cut_at_word


def measure(text, previous=None):
    row = style.measure_messages([text] if previous is None else [previous, text]).iloc[-1]
    return row.to_dict()


@pytest.mark.parametrize(
    ("text", "feature", "value"),
    [
        ("ok now in python", "starts_lower", 1),
        ("Write it", "starts_lower", 0),
        ("i think I can", "lower_i", 0.5),
        ("really?", "ends_stop", 1),
        ("do it", "ends_stop", 0),
        ("how does it work", "unmarked_question", 1),
        ("how does it work?", "unmarked_question", 0),
        ("one two three", "words", 3),
        ("Please do", "please", 1),
        ("pleased to do", "please", 0),
        ("dont do it", "shorthand", 1),
        ("maybe not", "hedges", 1),
        ("do it", "is_question", 0),
    ],
)
def test_feature_has_its_known_value(text, feature, value):
    assert measure(text)[feature] == value


@pytest.mark.parametrize(
    ("text", "feature", "value"),
    [
        ("sort that list again", "repeats", 2 / 4),
        ("ok now in python", "opens_with_filler", 1),
        ("and in java", "follows_up", 1),
        ("give me 5 more", "asks_again", 1),
        ("a different one", "asks_again", 1),
        ("explain it", "asks_again", 0),
    ],
)
def test_feature_of_a_later_message_has_its_known_value(text, feature, value):
    assert measure(text, previous="sort this list in python")[feature] == value


def test_what_a_message_cannot_show_is_missing_not_zero():
    row = measure("123 !!!")
    assert all(
        math.isnan(row[name])
        for name in ("starts_lower", "lower_i", "repeats", "follows_up", "unmarked_question")
    )


LETTER = (
    "Dear sir, " + "the goods that we ordered have not come and we would like to know why that is so. " * 5
)


@pytest.mark.parametrize(
    ("text", "typed"),
    [
        ("make it shorter", "make it shorter"),
        ("fix\n```\nnot mine\n```", "fix\n "),
        (f"fix this letter:\n{LETTER}", "fix this letter:"),
        (f"{LETTER}\n\nmake it shorter", "make it shorter"),
        (f"fix this\n\n{LETTER}\n\nin german pls", "fix this\n\nin german pls"),
        (LETTER, LETTER),
        (f"{LETTER}\n\n{LETTER}", f"{LETTER}\n\n{LETTER}"),
    ],
)
def test_what_was_pasted_and_what_was_typed_are_separated(text, typed):
    assert style.typed_text(text) == typed


def test_percentiles_are_middle_ranks():
    users = style.summarise_users(
        style.measure_conversations([make_conversation("a " * n, user=str(n)) for n in (1, 2, 3, 4)])
    )
    assert style.compute_percentiles(users, users)["words"].tolist() == [0.125, 0.375, 0.625, 0.875]


def test_only_what_sets_a_user_apart_becomes_a_command():
    extracted = {p.user_id: p for p in extraction.extract_measured(population())}
    assert "Begin your messages with a lower-case letter." in {c.command for c in extracted["low"].commands}
    assert "Say please when you ask for something." in {c.command for c in extracted["formal"].commands}
    for command in extracted["low"].commands:
        assert command.evidence["percentile"] <= 0.2 or command.evidence["percentile"] >= 0.8
        assert command.evidence["n"] >= 3


def test_every_example_of_a_measured_profile_is_verbatim():
    conversations = loading.load_corpus(str(SAMPLE)).conversations
    talks_of = splits.group_by_user(conversations)
    for profile in extraction.extract_measured(conversations):
        verified, checks = verification.verify_profile(profile, talks_of[profile.user_id])
        assert verified == profile and (checks["written"] == checks["verbatim"]).all()


def test_examples_that_the_user_did_not_write_are_removed():
    command = Command(
        dimension="formality", command="x", examples=["now make it faster", "Now make it faster", ""]
    )
    verified, checks = verification.verify_profile(
        Profile(user_id="low", commands=[command]), [make_conversation(*LOWER)]
    )
    assert verified.commands[0].examples == ["now make it faster"] and checks["written"].tolist() == [3]


def test_long_examples_are_cut_at_a_word_and_stay_verbatim():
    text = "word " * 100
    cut = cut_at_word(text, extraction.EXAMPLE_CHARS)
    assert cut in text and len(cut) <= extraction.EXAMPLE_CHARS and cut.endswith("word")
    assert cut_at_word("x" * 500, extraction.EXAMPLE_CHARS) == "x" * extraction.EXAMPLE_CHARS


def test_profile_without_examples_holds_none():
    profile = Profile(
        user_id="u", commands=[Command(dimension="formality", command="Be brief.", examples=["abc def"])]
    )
    assert "abc def" in persona.render_profile(profile)
    assert "abc def" not in persona.render_profile(profile, examples=False)


def test_profiles_of_a_corpus_on_disk_are_those_of_its_list_and_not_held(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    talks, seen = population(), []
    path = Run("r", "00_x").folder / "talks.jsonl"
    Run("r", "00_x").save_records("talks", talks)
    places = np.zeros(len(talks), conversations.FIELDS)
    places["start"] = conversations.Records.from_file(path, Conversation).places["start"]
    places["user"], places["n"] = range(len(talks)), [len(talk.user_messages) for talk in talks]
    on_disk = conversations.Conversations([path], places, np.array([talk.user_id for talk in talks], object))

    def save(made):
        def watch(profile):
            assert sum(ref() is not None for ref in seen) <= 1  # the one before is being written
            seen.append(weakref.ref(profile))
            return profile

        return Run("r", "01_x").save_profiles(map(watch, made), made_from={})

    saved, checks = asyncio.run(extraction.extract_profiles(on_disk, save=save))
    expected, of_list = asyncio.run(extraction.extract_profiles(talks))
    assert list(saved) == expected and len(seen) == len(talks) and checks.equals(of_list)


def test_table_of_messages_is_small_and_exact():
    talks = [make_conversation("i think I am", "i I i am here", "Sure I am", user=f"u{i}") for i in range(50)]
    messages = style.measure_conversations(talks)
    assert messages.memory_usage().sum() <= 100 * len(messages) and "text" not in messages
    assert messages["lower_i"][:3].tolist() == [1 / 2, 2 / 3, 0]
    assert style.summarise_users(messages)["lower_i"].iloc[0] == pytest.approx((1 / 2 + 2 / 3) / 3, abs=1e-15)
