"""Arms, rollouts and role breaks on a mock model with known answers."""

import json

import pytest
from conftest import make_conversation, with_models
from toy import CONVERSATIONS, fill, make_case_of

from realusersim_nb.corpus import formats, splits
from realusersim_nb.llm.cache import Cache
from realusersim_nb.records import Command, Conversation, Persona, Profile
from realusersim_nb.simulators import conditions, role_breaks, rollouts
from realusersim_nb.simulators.users import Simulator

CASES = list(map(make_case_of, CONVERSATIONS))
PROFILES = {
    user: Profile(
        user_id=user,
        commands=[Command(dimension="formality", command=f"Be {user}.", examples=[f"old {user}"])],
    )
    for user in "abc"
}
CHATTING = "An answer."


# --- arms --------------------------------------------------------------------------------------


def test_each_arm_has_the_persona_that_its_name_promises():
    personas = {arm: conditions.write_personas(arm, CASES, PROFILES, seed=1) for arm in conditions.ARMS}
    texts = {arm: [persona.render() for persona in written] for arm, written in personas.items()}
    assert texts["profile"][0] == '- Be a. For instance, about other things: "old a"'
    assert texts["profile_no_examples"][0] == "- Be a."
    assert len(texts["placebo"][0]) == len(texts["profile"][0])
    assert "Be " not in texts["task_only"][0] + texts["placebo"][0] + texts["directive"][0]
    for case, text in zip(CASES, texts["shuffled_profile"], strict=True):
        assert f"Be {case.user_id}." not in text and "Be " in text


def test_persona_keeps_instructions_and_examples_apart():
    [persona, *_] = conditions.write_personas("profile", CASES, PROFILES, seed=1)
    assert (persona.instructions, persona.examples) == (["- Be a."], [["old a"]])
    assert Persona(instructions=["- Be a."], examples=[["two\nlines", "x"]]).render() == (
        '- Be a. For instance, about other things: "two lines" / "x"'
    )


def test_shuffled_profiles_are_a_derangement_for_every_seed():
    users = [str(i) for i in range(7)]
    for seed in range(50):
        given = splits.assign_others(users, seed=seed)
        assert sorted(given.values()) == users and all(a != b for a, b in given.items())
    with pytest.raises(ValueError, match="there is only one"):
        splits.assign_others(["a"], seed=0)


# --- rollouts ----------------------------------------------------------------------------------


def roll_out(tmp_path, turn_format="transcript", **settings):
    def work(models):
        simulator = Simulator(models, "user", turn_format, assistant="helper", **settings)
        return rollouts.roll_out(simulator, CASES[0], "profile", Persona(instructions=["- Be a."]))

    return with_models(work, cache=Cache(tmp_path / "replies.sqlite"))


def test_rollout_ends_after_the_given_number_of_user_messages(endpoint, tmp_path):
    mock = endpoint(lambda r: json.dumps(fill(r, done=False)) if "response_format" in r else CHATTING)
    transcript = roll_out(tmp_path, max_user_messages=3)
    assert [m.role for m in transcript.messages] == ["user", "assistant", "user", "assistant", "user"]
    assert transcript.ended_by == "max_turns" and mock.models["helper"] == 2


def test_rollout_ends_when_the_user_is_done(endpoint, tmp_path):
    endpoint(lambda r: json.dumps(fill(r, done=True)) if "response_format" in r else CHATTING)
    transcript = roll_out(tmp_path)
    assert (len(transcript.messages), transcript.ended_by) == (2, "close")


def test_roles_format_swaps_roles_and_ends_on_close(endpoint, tmp_path):
    def reply(request):
        if request["model"] == "helper":
            return CHATTING
        return "/close" if len(request["messages"]) > 3 else "sort it"

    mock = endpoint(reply)
    transcript = roll_out(tmp_path, turn_format="roles")
    assert [m.content for m in transcript.messages] == ["sort it", CHATTING]
    assert transcript.ended_by == "close"
    last = next(r for r in reversed(mock.requests) if r["model"] == "user")["messages"]
    assert [m["role"] for m in last] == ["system", "user", "assistant", "user"]


def test_simulator_never_sees_the_original(endpoint, tmp_path):
    mock = endpoint(lambda r: json.dumps(fill(r, done=False)) if "response_format" in r else CHATTING)
    roll_out(tmp_path)
    sent = json.dumps(mock.requests)
    assert not any(text in sent for text in CONVERSATIONS[0].user_messages)


def test_failed_call_ends_the_rollout_with_the_messages_so_far(endpoint, tmp_path):
    endpoint(lambda r: json.dumps(fill(r, done=False)) if "response_format" in r else "")
    transcript = roll_out(tmp_path)
    outcome = transcript.ended_by, transcript.error, len(transcript.messages)
    assert outcome == ("error", "empty: the reply has no text", 1)


def test_user_who_only_closes_has_a_role_break(endpoint, tmp_path):
    endpoint(lambda r: "/close")
    transcript = roll_out(tmp_path, turn_format="roles")
    assert (transcript.role_break, transcript.ended_by) == ("says nothing", "close")


def test_saved_rollout_is_read_as_a_record_and_as_a_chat(endpoint, tmp_path):
    endpoint(lambda r: json.dumps(fill(r, done=True)) if "response_format" in r else CHATTING)
    transcript = roll_out(tmp_path)
    line = transcript.model_dump(mode="json")
    assert Conversation.model_validate(line) == transcript
    chat = formats.parse_row(line)
    assert (chat.conversation_id, chat.user_id) == (transcript.conversation_id, "a") == ("a-0/profile", "a")
    assert chat.messages == transcript.messages
    assert formats.parse_row(CONVERSATIONS[0].model_dump(mode="json")).conversation_id == "a-0"


def test_arms_group_simulated_conversations_that_have_messages():
    keys = {"conversation_id": "x", "user_id": "a", "arm": "profile"}
    messages = make_conversation("hi").messages
    kept = Conversation(**keys, messages=messages, ended_by="close")
    others = [
        Conversation(**keys, messages=messages),
        Conversation(**keys, ended_by="close"),
        Conversation(**keys, messages=messages, ended_by="error", error="empty"),
    ]
    assert rollouts.group_by_arm([kept, *others]) == {"profile": [kept]}


def test_repeats_and_copies_of_examples_are_counted():
    conversation = make_conversation("sort it", "sort it", "old a", user="a")
    transcript = conversation.model_copy(update={"arm": "profile", "ended_by": "max_turns"})
    row = rollouts.tabulate_rollouts([transcript], examples={"a": ["old a"]}).loc["profile"]
    assert row["repeated"] == 0.5 and row["copied"] == pytest.approx(1 / 3)
    assert row[["n", "close", "max_turns", "error", "messages"]].tolist() == [1, 0, 1, 0, 3]


# --- role breaks -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("texts", "kind"),
    [
        ([], "says nothing"),
        (["ok", "word " * 10_000], "writes too much"),
        (
            ["Then write the same request, with the same content, as this person types it"],
            "recites its prompt",
        ),
        (["sort it", "Always write in the manner of a very old captain at sea please"], "recites its prompt"),
        (["As an AI language model I cannot sort."], "answers as the assistant"),
        (["Sure! Here is the sorted list: 1, 2"], "answers as the assistant"),
        (["sort it", "sort it", "sort it"], "repeats itself"),
        (["sort it", "sort it"], None),
        (["can you help me sort", "sure, now in reverse"], None),
    ],
)
def test_role_breaks_are_classified_by_kind(texts, kind):
    instructions = ["- Always write in the manner of a very old captain at sea."]
    assert role_breaks.find_role_break(texts, instructions) == kind


def test_copied_example_is_no_role_break():
    text = "how would old mates in a manner of speaking put it"
    persona = Persona(instructions=["- Write like a captain."], examples=[[text]])
    assert role_breaks.find_role_break([text], persona.instructions) is None
