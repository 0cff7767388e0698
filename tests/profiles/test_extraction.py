"""Style features and profiles: known answers, and nothing in a profile that the user did not write."""

import asyncio
import weakref

import numpy as np
import pytest
from conftest import SAMPLE, make_conversation
from toy import LOWER, mixed_users

from realusersim_nb import style
from realusersim_nb.corpus import conversations, loading, splits
from realusersim_nb.profiles import examples, extraction, persona, verification
from realusersim_nb.records import Command, Conversation, Profile
from realusersim_nb.runs.folders import Run
from realusersim_nb.text import cut_at_word


def people():
    """Users who mix their habits, one who never uses a capital and one who says please."""
    lower = [f"make the {thing} longer" for thing in "list table title story poem end text page".split()]
    polite = [f"Please make the {thing} longer" for thing in "list table title story poem end".split()]
    apart = (
        make_conversation(*lower, user="lower"),
        make_conversation(*polite, "Stop", "Go on", user="polite"),
    )
    return [*mixed_users(), *apart]


def test_only_what_surely_sets_a_user_apart_becomes_a_command():
    extracted = {p.user_id: p for p in extraction.extract_measured(people())}
    lower, polite = extracted["lower"].commands, extracted["polite"].commands
    assert "Begin your messages with a lower-case letter: in about 7 of 10 messages." in {
        c.command for c in lower
    }
    assert "Say please: in about 7 of 10 messages." in {c.command for c in polite}
    for command in [*lower, *polite]:
        assert command.evidence["sureness"] >= 0.9 and command.evidence["n"] >= 2
        assert command.evidence["low"] <= command.evidence["value"] <= command.evidence["high"]


def test_population_is_what_users_are_compared_with_and_not_what_profiles_are_made_of():
    known, held_out = LOWER[:3] * 2, ["Please, Sir, do go on."]
    mine = make_conversation(*known, user="new")
    others = [*people(), make_conversation(*held_out, user="new", number=1)]
    [profile], _ = asyncio.run(extraction.extract_profiles([mine], population=others))
    assert profile.user_id == "new" and profile.source_conversations == [mine.conversation_id]
    quoted = [e for c in profile.commands for e in (*c.examples, *c.without)]
    assert quoted and all(any(e in text for text in known) for e in quoted)
    assert {c.evidence["n"] for c in profile.commands} <= set(range(7))
    [alone], _ = asyncio.run(extraction.extract_profiles([mine], population=people()))  # has no such user
    assert alone.user_id == "new"


def test_examples_do_what_their_command_says_and_none_is_used_twice():
    conversations = people()
    for profile in extraction.extract_measured(conversations):
        used = [example for c in profile.commands for example in (*c.examples, *c.without)]
        assert len(used) == len(set(used))
        for command in profile.commands:
            feature = style.BY_NAME[command.evidence["feature"]]
            if feature.is_count:
                continue  # what is usual stands in the command
            measure = feature.measure
            is_high = float(command.evidence["percentile"] > 0.5)
            assert {measure(example, "") for example in command.examples} <= {is_high}
            assert {measure(example, "") for example in command.without} <= {1 - is_high}


def test_what_is_done_in_fewer_than_half_of_messages_is_shown_with_and_without():
    messages = [examples.Written(text, "") for text in ("do it, now", "stop, here", "go on", "fine")]
    commas = style.BY_NAME["commas"]
    measured = np.array([[commas.measure(*message)] for message in messages])
    rare, frequent = (
        examples.choose_examples(messages, measured, [examples.Trait(commas, 1, 1, is_rare)])
        for is_rare in (True, False)
    )
    assert rare == [(["do it, now"], ["go on"])] and frequent == [(["do it, now", "stop, here"], [])]


def test_example_is_cut_around_its_trait():
    text = "Word " * 60 + "and here it is. Is it a question? " + "More words " * 20
    question = examples.Trait(style.BY_NAME["is_question"], 1, 1, False)
    piece = examples.find_piece(examples.Written(text, ""), question, True)
    assert piece in text and "Is it a question?" in piece and len(piece) <= examples.CHARS
    stop = examples.Trait(style.BY_NAME["ends_period"], 1, 1, False)
    assert examples.find_piece(examples.Written(text + "End.", ""), stop, True).endswith("words End.")


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
    cut = cut_at_word(text, examples.CHARS)
    assert cut in text and len(cut) <= examples.CHARS and cut.endswith("word")
    assert cut_at_word("x" * 500, examples.CHARS) == "x" * examples.CHARS


def test_profile_without_examples_holds_none():
    profile = Profile(
        user_id="u", commands=[Command(dimension="formality", command="Be brief.", examples=["abc def"])]
    )
    assert "abc def" in persona.render_profile(profile)
    assert "abc def" not in persona.render_profile(profile, examples=False)


def test_profiles_of_a_corpus_on_disk_are_those_of_its_list_and_not_held(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    talks, seen = people(), []
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
    assert messages.memory_usage().sum() <= 130 * len(messages) and "text" not in messages
    assert messages["lower_i"][:3].tolist() == [1, 1, 0] and messages["words"][:3].tolist() == [4, 5, 3]
    assert style.summarise_users(messages)["lower_i"].iloc[0] == pytest.approx(2 / 3, abs=1e-15)
