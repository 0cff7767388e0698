"""Arms, rollouts and role breaks on a mock model with known answers."""

import asyncio
import json
from pathlib import Path

import pandas as pd
import pytest
from conftest import make_conversation, with_models
from toy import CONVERSATIONS, fill, make_case_of

from realusersim_nb.corpus import splits
from realusersim_nb.corpus.layouts.rows import parse_row
from realusersim_nb.llm.cache import Cache
from realusersim_nb.llm.errors import CallFailed
from realusersim_nb.records import Command, Conversation, Demonstration, Message, Persona, Profile
from realusersim_nb.simulators import (
    calibration,
    conditions,
    demonstrations,
    role_breaks,
    rollouts,
    sentences,
)
from realusersim_nb.simulators.users import Simulator, make_turn_prompt, split_close

CASES = list(map(make_case_of, CONVERSATIONS))
PROFILES = {
    user: Profile(
        user_id=user,
        commands=[Command(dimension="formality", command=f"Be {user}.", examples=[f"old {user}"])],
        demonstrations=[Demonstration(wanted="The user greets.", typed=f"hey {user}")],
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
    shown = {arm: [d.typed for d in personas[arm][0].demonstrations] for arm in personas}
    assert shown["demonstrations"] == shown["profile_demonstrations"] == ["hey a"] and shown["profile"] == []
    assert "Be a." in texts["profile_demonstrations"][0] and "Be a." not in texts["demonstrations"][0]
    assert shown["shuffled_demonstrations"] in (["hey b"], ["hey c"])
    for case, text in zip(CASES, texts["shuffled_profile"], strict=True):
        assert f"Be {case.user_id}." not in text and "Be " in text


def test_prompt_of_the_readers_own_is_an_arm(tmp_path, endpoint):
    file = tmp_path / "mine.txt"
    file.write_text("You are a customer: {goal}\nLike {profile} or {examples}, never {json}.")
    arm = f"prompt:{file}"
    conditions.check_arms([arm, "task_only"])
    [persona, *_] = conditions.write_personas(arm, CASES, PROFILES, seed=1)
    mock = endpoint(lambda r: "/close" if len(r["messages"]) > 2 else "sort it")
    with_models(lambda models: rollouts.roll_out(Simulator(models, "m"), CASES[0], arm, persona))
    [system, _] = mock.requests[0]["messages"]
    assert system["content"].startswith("You are a customer: You want a sorted list.\nnone\nLike - Be a.")
    assert system["content"].endswith("or - hey a, never {json}.")
    file.write_text("no goal")
    for wrong, reason in (
        (arm, "has no {goal}"),
        ("prompt:nowhere.txt", "cannot be read"),
        ("x", "does not exist"),
    ):
        with pytest.raises(ValueError, match=reason):
            conditions.check_arms([wrong])
    with pytest.raises(ValueError, match="has no demonstrations"):
        conditions.show_messages(Profile(user_id="z"))


def test_demonstrations_are_turns_of_a_chat_before_what_is_wanted():
    [persona, *_] = conditions.write_personas("demonstrations", CASES, PROFILES, seed=1)
    system, *chat = make_turn_prompt(persona, "The user wants a list.", [])
    assert [(m["role"], m["content"]) for m in chat] == [
        ("user", "The user greets."),
        ("assistant", "hey a"),
        ("user", "The user wants a list."),
    ]
    assert "hey a" not in system["content"]
    plain = make_turn_prompt(Persona(instructions=["- Be a."]), "The user wants a list.", [])
    assert [m["role"] for m in plain] == ["system", *["user", "assistant"] * 3, "user"]
    assert plain[2]["content"] == "What is the capital of Peru?" and "- Be a." in plain[0]["content"]
    talk = make_conversation("hi").messages
    first, *_, last = make_turn_prompt(persona, "The user wants a list.", talk)
    assert last["content"] == "The user wants a list." and first["content"].endswith(': "ok"')


def test_demonstrations_are_the_users_messages_with_a_neutral_sentence_each(endpoint, tmp_path):
    endpoint(
        lambda r: the_user(
            "wants something." if "sort" in r["messages"][0]["content"][-20:] else "eats bread."
        )
    )
    talks = [make_conversation("sort it", "```x```", "sort it", "bye now", user="a")]
    shown = with_models(
        lambda models: demonstrations.add_demonstrations(
            models, "m", {"a": PROFILES["a"]}, talks, n=6, seed=1
        )
    )
    assert shown["a"].demonstrations == [Demonstration(wanted="The user wants something.", typed="sort it")]
    assert demonstrations.draw_messages([f"text {i}" for i in range(9)], 3, seed=1) == sorted(
        demonstrations.draw_messages([f"text {i}" for i in range(9)], 3, seed=1)
    )


def test_cases_are_of_users_with_enough_messages_elsewhere():
    held_out, profiled = [make_conversation("a", user=u, number=1) for u in "abd"], CONVERSATIONS[:2]
    kept = demonstrations.keep_demonstrable(held_out, profiled, n=3)
    assert [c.user_id for c in kept] == ["a", "b"]
    with pytest.raises(ValueError, match="has 4 messages in others; lower n_demonstrations"):
        demonstrations.keep_demonstrable(held_out, profiled, n=4)


# --- sentences ---------------------------------------------------------------------------------


def the_user(text):
    return json.dumps({"the_user": text})


def state(message):
    return with_models(lambda models: sentences.state_request(models, "m", message, seed=1))


def test_sentence_that_copies_the_person_is_asked_for_again_and_the_better_one_kept(endpoint, tmp_path):
    mock = endpoint(
        lambda r: (
            the_user("wants numbers ordered.")
            if len(r["messages"]) > 1
            else the_user("wants to sort this long list of numbers.")
        )
    )
    assert state("could you sort this long list of numbers") == ("The user wants numbers ordered.", True)
    assert "sort this long list of numbers" in mock.requests[1]["messages"][-1]["content"]


def test_sentence_with_words_of_the_prompts_examples_is_drawn_again_and_then_fails(endpoint, tmp_path):
    assert all(
        word in sentences.fill_prompt("neutral_sentence", message="").lower() for word in sentences.SHOT_WORDS
    )
    endpoint(
        lambda r: the_user("asks about sourdough." if r["temperature"] < 0.1 else "The user asks for cars.")
    )
    assert state("cars pls") == ("The user asks for cars.", False)
    assert state("is sourdough good") == ("The user asks about sourdough.", False)
    endpoint(lambda r: the_user("asks about sourdough."))
    with pytest.raises(CallFailed, match="words of the prompt's examples"):
        state("boats pls")


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
    endpoint(lambda r: "" if r["model"] == "helper" else CHATTING)
    transcript = roll_out(tmp_path)
    outcome = transcript.ended_by, transcript.error, len(transcript.messages)
    assert outcome == ("error", "empty: the reply has no text", 1)


def test_steps_are_asked_one_by_one_and_then_the_user_closes(endpoint, tmp_path):
    mock = endpoint(lambda r: CHATTING if r["model"] == "helper" else r["messages"][-1]["content"][-8:])
    case = CASES[0].model_copy(update={"steps": ["The user wants tea now", "The user wants a cup"]})
    transcript = with_models(
        lambda models: rollouts.roll_out(
            Simulator(models, "u", assistant="helper"), case, "task_only", Persona()
        )
    )
    assert (transcript.user_messages, transcript.ended_by) == (["tea now", "ts a cup"], "close")
    assert all("response_format" not in r for r in mock.requests)
    assert "has just written this" in mock.requests[2]["messages"][0]["content"]


def test_message_with_a_role_break_is_drawn_again(endpoint, tmp_path):
    endpoint(lambda r: "sort it" if r["seed"] > 0 else "Sure! Here is the list:")
    transcript = roll_out(tmp_path, max_user_messages=1)
    assert (transcript.user_messages, transcript.role_break) == (["sort it"], None)
    endpoint(lambda r: "Sure! Here is the list:" if r["model"] == "user" else CHATTING)
    transcript = roll_out(tmp_path / "again", max_user_messages=1)
    assert transcript.role_break == "answers as the assistant"


def test_chosen_message_brings_the_user_nearest_to_the_persons_rates(endpoint, tmp_path):
    shown = ["do it now", "Do it now.", "and then that", "And then that."]  # half of them lower-case
    tidy, careless = "Sort the list.", "sort the list"
    assert calibration.choose_candidate([tidy, careless], ["Do it now."], shown) == careless
    assert calibration.choose_candidate([tidy, careless], ["do it now"], shown) == tidy
    drawn = iter([tidy, "Sure! Here is the list:", careless, tidy])
    endpoint(lambda r: next(drawn))
    persona = Persona(demonstrations=[Demonstration(wanted="x", typed=t) for t in shown[::2]], n_candidates=2)
    case = CASES[0].model_copy(update={"steps": ["The user wants a list."]})
    simulator = {"max_user_messages": 1}
    transcript = with_models(lambda m: rollouts.roll_out(Simulator(m, "u", **simulator), case, "x", persona))
    assert transcript.user_messages == [careless]


@pytest.mark.parametrize(
    "second", ["/close", '""', "Sure! Here is the list:", CallFailed("empty", "no text")]
)
def test_further_candidate_that_is_no_message_ends_no_conversation(monkeypatch, second):
    drawn = iter(["sort the list", *[second] * 9])

    async def write(simulator, **about):
        text = next(drawn)
        if isinstance(text, CallFailed):
            raise text
        return text.strip('"')

    monkeypatch.setattr(Simulator, "write", write)
    persona, user = Persona(n_candidates=2), Simulator(None, "u", max_user_messages=1)
    transcript = asyncio.run(rollouts.roll_out(user, CASES[0], "x", persona))
    assert (transcript.user_messages, transcript.ended_by) == (["sort the list"], "max_turns")


def test_close_ends_only_at_the_end_and_text_beside_it_is_kept():
    assert split_close("/close") == ("", True) and split_close("thanks!\n/close.") == ("thanks!", True)
    assert split_close("ok ###STOP###") == ("ok", True) and split_close("###STOP### it") == (
        "###STOP### it",
        False,
    )
    assert split_close("/close the window") == ("/close the window", False)


def test_user_who_only_closes_has_a_role_break(endpoint, tmp_path):
    endpoint(lambda r: "/close")
    transcript = roll_out(tmp_path, turn_format="roles")
    assert (transcript.role_break, transcript.ended_by) == ("says nothing", "close")


def test_saved_rollout_is_read_as_a_record_and_as_a_chat(endpoint, tmp_path):
    endpoint(lambda r: json.dumps(fill(r, done=True)) if "response_format" in r else CHATTING)
    transcript = roll_out(tmp_path)
    line = transcript.model_dump(mode="json")
    assert Conversation.model_validate(line) == transcript
    chat = parse_row(line)
    assert (chat.conversation_id, chat.user_id) == (transcript.conversation_id, "a") == ("a-0/profile", "a")
    assert chat.messages == transcript.messages
    assert parse_row(CONVERSATIONS[0].model_dump(mode="json")).conversation_id == "a-0"


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
    texts = ["no", "do it", "now do it", "please do it now, ok?", "do it now ok"]
    copied = [rollouts.is_copy(text, "I know: do it now, ok") for text in texts]
    assert copied == [False, False, False, False, True] and rollouts.is_copy(texts[3], "Do it now, OK?")
    assert row[["n", "close", "max_turns", "error", "messages"]].tolist() == [1, 0, 1, 0, 3]


# --- role breaks -------------------------------------------------------------------------------


CAPTAIN = Persona(
    instructions=["- Always write in the manner of a very old captain at sea."],
    examples=[["how would old mates in a manner of speaking put it"]],
    demonstrations=[Demonstration(wanted="The user wants fish.", typed="gimme all the fish")],
)


@pytest.mark.parametrize(
    ("texts", "kind"),
    [
        ([], "says nothing"),
        (["ok", "word " * 10_000], "writes too much"),
        (["Reply with the message as this person types it: the message alone"], "recites its prompt"),
        (["sort it", "Always write in the manner of a very old captain at sea please"], "recites its prompt"),
        (["The user wants the list in reverse."], "recites its prompt"),
        (["As an AI language model I cannot sort."], "answers as the assistant"),
        (["Sure! Here is the sorted list: 1, 2"], "answers as the assistant"),
        (["Sure, here's the text:\nDear all"], "answers as the assistant"),
        (["To sort a list, you can use sorted()."], "answers as the assistant"),
        (["how would old mates in a manner of speaking put it"], "copies an example"),
        (["Gimme all the fish!"], "copies an example"),
        (["The user is asking about lists."], "recites its prompt"),
        (["I'm sorry, but I can't assist with that."], "answers as the assistant"),
        (["Sure, I can help you create a school."], "answers as the assistant"),
        (["Certainly. What would you like to discuss?"], "answers as the assistant"),
        (['The user types: "sort it"'], "recites its prompt"),
        (["Thinking Process:\n1. the list"], "thinks aloud"),
        (["<think>hm</think> sort it"], "thinks aloud"),
        (["now sort it once more", "Now sort it once more."], "repeats itself"),
        (["sort it", "sort it"], None),
        (["can you help me sort", "sure, now in reverse"], None),
        (["here is my list: 3 1 2, sort it"], None),
    ],
)
def test_role_breaks_are_classified_by_kind(texts, kind):
    assert role_breaks.find_role_break(texts, CAPTAIN) == kind


@pytest.mark.parametrize(
    ("text", "wanted", "replied", "kind"),
    [
        (
            "ORM stands for Object-Relational Mapping.",
            "The user asks what ORM is.",
            "",
            "answers as the assistant",
        ),
        ("ORM stands for Object-Relational Mapping.", "The user explains what ORM is.", "", None),
        ("what is ORM", "The user asks what ORM is.", "", None),
        ("i think the list is wrong", "The user asks for a check of the list.", "", None),
        ("The user acknowledged that.", "The user acknowledged", "", "recites its prompt"),
        ("ok thanks", "The user acknowledged", "", None),
        (
            "A list of ten plants for a shady garden is:",
            "",
            "A list of ten plants for a shady garden is: 1",
            "copies the reply",
        ),
        (
            "shorten 'a list of ten plants for a shady garden'",
            "",
            "A list of ten plants for a shady garden",
            None,
        ),
    ],
)
def test_message_is_held_against_its_sentence_and_the_last_reply(text, wanted, replied, kind):
    assert role_breaks.find_break(text, [], Persona(), wanted=wanted, replied=replied) == kind


def test_reply_that_is_written_again_is_a_role_break_of_the_conversation():
    reply = "To sort a list the sorted function is used in most programs."
    talk = [Message(role="user", content="how do i sort"), Message(role="assistant", content=reply)]
    talk.append(Message(role="user", content=reply))
    assert role_breaks.find_conversation_break(talk, Persona()) == "copies the reply"
    assert role_breaks.find_conversation_break(talk[:2], Persona()) is None


def test_role_breaks_with_their_sentence_and_reply_are_seen():
    """Messages that the embedded model wrote as a user, labelled by hand before the detector was run."""
    table = pd.read_csv(Path(__file__).parent / "role_breaks_in_context.csv").fillna("")
    seen = [
        role_breaks.find_break(row.message, [], Persona(), wanted=row.wanted, replied=row.replied) is not None
        for row in table.itertuples()
    ]
    right = table["is_break"] == 1
    assert right[seen].all() and pd.Series(seen)[right].mean() >= 0.8


def test_role_breaks_of_a_small_model_are_seen_and_good_messages_are_left_alone():
    """126 messages that the embedded model wrote as a user, labelled by hand."""
    table = pd.read_csv(Path(__file__).parent / "role_breaks.csv")
    seen = [role_breaks.find_break(text, [], Persona()) is not None for text in table["message"]]
    right = table["is_break"] == 1
    assert len(table) >= 100 and right[seen].mean() >= 0.95 and pd.Series(seen)[right].mean() >= 0.75
