"""Simulated users and PT3 on mock models with known answers."""

import json

import pytest
from conftest import make_conversation, with_models
from toy import fill

from realusersim_nb.corpus import splits
from realusersim_nb.llm.cache import Cache
from realusersim_nb.plots import fidelity
from realusersim_nb.pt3 import agreement, formalism, judges, labels
from realusersim_nb.pt3.cases import (
    draw_cases,
    draw_reference_arms,
    list_judged_messages,
    make_case,
    measure_leaks,
    split_by_domain,
)
from realusersim_nb.pt3.scores import compare_fidelity, pd, score_fidelity, tabulate_verdicts
from realusersim_nb.records import Case, Command, Judgement, JudgePrompt, Message, Profile, Transcript
from realusersim_nb.simulators import conditions, role_breaks, rollouts
from realusersim_nb.simulators.users import Simulator
from realusersim_nb.text import list_copied_runs, measure_longest_copy, measure_overlap
from realusersim_nb.widgets.cases import show_case, show_pair

CONVERSATIONS = [
    make_conversation("sort a list", f"now by {u}", "thanks a lot for that", user=u) for u in "abc"
]
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
    u: Profile(
        user_id=u, commands=[Command(dimension="formality", command=f"Be {u}.", examples=[f"old {u}"])]
    )
    for u in "abc"
}


def judgement(arm, value, user="a"):
    verdicts = None if value is None else dict.fromkeys(judges.DIMENSIONS, value)
    return Judgement(case_id=f"{user}-0", user_id=user, arm=arm, judge="m", verdicts=verdicts)


# --- arms --------------------------------------------------------------------------------------


def test_corpus_whose_users_never_come_back_gives_no_case_and_says_so():
    with pytest.raises(
        ValueError, match=r"no user of this corpus has two.*give a corpus whose users come back"
    ):
        draw_cases([], n_cases=4, seed=1)


def test_each_arm_is_told_what_its_name_says():
    told = {arm: conditions.write_personas(arm, CASES, OWN, seed=1) for arm in conditions.ARMS}
    assert "Be a." in told["profile"][0] and "old a" in told["profile"][0]
    assert "Be a." in told["profile_no_examples"][0] and "old a" not in told["profile_no_examples"][0]
    assert len(told["placebo"][0]) == len(told["profile"][0])
    assert "Be " not in told["task_only"][0] + told["placebo"][0] + told["directive"][0]
    for case, persona in zip(CASES, told["shuffled_profile"], strict=True):
        assert f"Be {case.user_id}." not in persona and "Be " in persona


def test_shuffled_profiles_are_a_derangement_for_every_seed():
    users = [str(i) for i in range(7)]
    for seed in range(50):
        given = splits.assign_others(users, seed=seed)
        assert sorted(given.values()) == users and all(a != b for a, b in given.items())
    with pytest.raises(ValueError, match="needs another one"):
        splits.assign_others(["a"], seed=0)


# --- roll-outs ---------------------------------------------------------------------------------


def roll_out(tmp_path, turn_format="transcript", **settings):
    def work(models):
        player = Simulator(models, "user", turn_format)
        return rollouts.roll_out(player, "helper", CASES[0], "profile", "- Be a.", **settings)

    return with_models(work, cache=Cache(tmp_path / "replies.sqlite"))


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
        lambda r: (
            "An answer." if r["model"] == "helper" else "/close" if len(r["messages"]) > 2 else "sort it"
        )
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
    assert (found.ended_by, found.error, len(found.messages)) == ("error", "empty: the reply has no text", 1)


# --- judging -----------------------------------------------------------------------------------


def test_judge_sees_user_messages_of_the_first_nine_without_close():
    messages = [Message(role=r, content=f"{r} {i}") for i in range(6) for r in ("user", "assistant")]
    messages[4] = Message(role="user", content=" /close ")
    assert list_judged_messages(messages) == ["user 0", "user 1", "user 3", "user 4"]


def judge_all(tmp_path, transcripts, **settings):
    return with_models(
        lambda models: judges.judge_transcripts(models, "judge", CASES, transcripts, **settings),
        cache=Cache(tmp_path / "replies.sqlite"),
    )


def judging_by_eye(request):
    """A mock judge that finds a match only where both lists are the same text."""
    schema, prompt = request["response_format"]["json_schema"]["name"], request["messages"][-1]["content"]
    if schema == "Verdicts":
        return json.dumps(dict.fromkeys(judges.DIMENSIONS, "no match" not in prompt))
    a, b = prompt.split("Messages A:\n")[1].split("\n\nBoth lists")[0].split("\n\nMessages B:\n")
    finding = "The two lists are a match." if a == b else "The two lists are no match."
    told = {"finding": finding, "match": a == b} if schema == "Judged" else finding
    return json.dumps(dict.fromkeys(judges.DIMENSIONS, told))


@pytest.mark.parametrize("settings", [{}, {"calls": 1}, {"order": "simulated_first"}, {"trial": 1}], ids=str)
def test_perfect_simulator_gets_100_per_cent_and_a_stranger_0(endpoint, tmp_path, settings):
    endpoint(judging_by_eye)
    perfect = [
        Transcript(case_id=c.case_id, user_id=c.user_id, arm="perfect", messages=c.original) for c in CASES
    ]
    stranger = [
        t.model_copy(update={"arm": "stranger", "messages": [Message(role="user", content="Hello.")]})
        for t in perfect
    ]
    scores = score_fidelity(tabulate_verdicts(judge_all(tmp_path, perfect + stranger, **settings)))
    assert scores["rate"].to_dict() == {"perfect": 1.0, "stranger": 0.0}


def test_failed_and_empty_transcripts_are_counted_never_scored_0(endpoint, tmp_path):
    mock = endpoint(judging_by_eye)
    about = {"case_id": "a-0", "user_id": "a", "arm": "profile"}
    close = [Message(role="user", content="/close")]
    found = judge_all(
        tmp_path,
        [Transcript(**about, error="empty reply", ended_by="error"), Transcript(**about, messages=close)],
    )
    assert [j.verdicts for j in found] == [None, None] and not mock.requests
    scores = score_fidelity(tabulate_verdicts([*found, judgement("profile", True, "b")]))
    assert scores.loc["profile", ["rate", "n_cases", "n_failed"]].tolist() == [1.0, 1, 1]


def test_bounds_are_the_users_own_and_somebody_elses_other_conversation():
    known = [make_conversation(f"i am {u}", user=u, number=1) for u in "ab"] + CONVERSATIONS
    bounds = {(t.arm, t.user_id): t.messages for t in draw_reference_arms(CASES, known, first=5, seed=1)}
    assert bounds["same_user", "a"] == known[0].messages and bounds["same_user", "b"] == known[1].messages
    assert ("same_user", "c") not in bounds  # of whom nothing else is known
    assert all(
        bounds["other_user", c.user_id] not in (c.original, bounds.get(("same_user", c.user_id)))
        for c in CASES
    )


def test_index_leaves_out_d3_where_it_says_so():
    found = judgement("profile", False).model_copy(
        update={"verdicts": {"D1": False, "D2": False, "D3": True, "D4": False, "D5": True}}
    )
    scores = score_fidelity(tabulate_verdicts([found]))
    assert scores.loc["profile", ["rate", "without_D3"]].tolist() == [0.4, 0.25]


def test_arms_are_compared_on_the_users_both_have():
    verdicts = tabulate_verdicts(
        [judgement(arm, arm == "profile", u) for u in "abc" for arm in ("profile", "task_only")]
    )
    found = compare_fidelity(verdicts).set_index("baseline").loc["task_only"]
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
    found = rollouts.tabulate_rollouts([t], examples={"a": ["old a"]}).loc["profile"]
    assert found["repeated"] == 0.5 and found["copied"] == pytest.approx(1 / 3)


def test_when_every_judgement_failed_the_tables_and_figures_say_so():
    arms = ["task_only", "profile", "same_user", "other_user"]
    failed = [
        Judgement(case_id=str(i), user_id=str(i), arm=arm, judge="m", error="x")
        for arm in arms
        for i in range(3)
    ]
    verdicts = tabulate_verdicts(failed)
    scores = score_fidelity(verdicts)
    assert (scores["n_failed"] == 3).all() and scores["rate"].isna().all()
    fidelity.plot_dimensions(
        score_fidelity(verdicts, ["judge", "arm", "dimension"]).reset_index(), judges.DIMENSIONS
    )
    fidelity.plot_rates(score_fidelity(verdicts, ["judge", "arm"]), "rate", "n_cases", title="Fidelity")
    assert (compare_fidelity(verdicts)["n_pairs"] == 0).all()


# --- lapses ------------------------------------------------------------------------------------


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
        (["how would old mates in a manner of speaking put it"], None),
    ],
)
def test_lapses_are_told_by_kind(texts, kind):
    persona = '- Always write in the manner of a very old captain at sea. For instance, about other things: "how would old mates in a manner of speaking put it"'
    assert role_breaks.find_role_break(texts, persona) == kind


def test_user_who_only_closes_has_a_lapse_is_counted_and_kept_out_of_the_rates(endpoint, tmp_path):
    mock = endpoint(lambda r: "/close" if r["model"] == "user" else judging_by_eye(r))
    nothing = roll_out(tmp_path, turn_format="roles")
    assert (nothing.lapse, nothing.ended_by) == ("says nothing", "close")
    fine = Transcript(
        case_id="b-0", user_id="b", arm="profile", messages=CASES[1].original, ended_by="max_turns"
    )
    asked = len(mock.requests)
    found = judge_all(tmp_path, [nothing, fine])
    assert [j.error for j in found] == ["lapse: says nothing", None] and len(mock.requests) == asked + 2
    scores = score_fidelity(tabulate_verdicts(found))
    assert scores.loc["profile", ["rate", "n_cases", "n_failed"]].tolist() == [1.0, 1, 1]
    table = role_breaks.tabulate_role_breaks(
        [nothing, fine, fine.model_copy(update={"arm": "same_user", "ended_by": "real"})]
    )
    assert table.loc["profile", ["n", "says nothing", "any"]].tolist() == [2, 1, 1]
    assert table.loc["same_user", "any"] == 0


# --- readings ----------------------------------------------------------------------------------


def judging_by_side(request):
    """A mock judge with an order bias: it finds a match only where the longer list comes first."""
    schema, prompt = request["response_format"]["json_schema"]["name"], request["messages"][0]["content"]
    a, b = prompt.split("Messages A:\n")[1].split("\n\nBoth lists")[0].split("\n\nMessages B:\n")
    finding = {"finding": "The two lists are compared.", "match": len(a) > len(b)}
    assert schema == "Judged"
    return json.dumps(dict.fromkeys(judges.DIMENSIONS, finding))


def test_label_swap_changes_nothing_but_the_label(endpoint, tmp_path):
    endpoint(judging_by_eye)
    arms = [
        Transcript(
            case_id=c.case_id,
            user_id=c.user_id,
            arm=arm,
            messages=c.original if arm == "x" else CASES[0].original,
        )
        for c in CASES
        for arm in ("x", "y")
    ]
    swapped = [t.model_copy(update={"arm": {"x": "y", "y": "x"}[t.arm]}) for t in arms]
    straight, crossed = (score_fidelity(tabulate_verdicts(judge_all(tmp_path, ts))) for ts in (arms, swapped))
    assert straight.loc["x"].equals(crossed.loc["y"].rename("x")) and straight.loc["x", "rate"] == 1


def test_one_call_judge_keeps_finding_raw_reply_order_and_hash_and_its_order_bias_is_seen(endpoint, tmp_path):
    mock = endpoint(judging_by_side)
    short = [
        Transcript(
            case_id=c.case_id, user_id=c.user_id, arm="profile", messages=[Message(role="user", content="x")]
        )
        for c in CASES
    ]
    straight, crossed = (
        judge_all(tmp_path, short, calls=1, order=o) for o in ("real_first", "simulated_first")
    )
    assert len(mock.requests) == 6
    assert (
        json.loads(straight[0].replies[0])["D1"]["match"] is True
        and "D1: The two lists" in straight[0].analysis
    )
    assert len(straight[0].prompt_hash) == 64 and straight[0].prompt_hash != crossed[0].prompt_hash
    table = agreement.compare_readers(straight + crossed).iloc[0]
    assert (table["agree"], table["more_matches"], table["n"]) == (0.0, -1.0, 15)


def test_released_prompt_is_followed(endpoint, tmp_path):
    mock = endpoint(lambda r: judging_by_eye(r) if "response_format" in r else "They match.")
    same = [
        Transcript(case_id=c.case_id, user_id=c.user_id, arm="profile", messages=c.original)
        for c in CASES[:1]
    ]
    found = judge_all(tmp_path, same, prompt=JudgePrompt(system="Compare.", formatting="Give JSON."))
    first, second = (r["messages"] for r in mock.requests)
    assert first[0] == {"role": "system", "content": "Compare."} and "- sort a list" in first[1]["content"]
    assert second[0]["content"] == "Give JSON." and second[1]["content"] == "They match."
    assert found[0].analysis == "They match." and all(found[0].verdicts.values())


def test_alpha_of_the_textbook_and_kappa_of_chance():
    """Krippendorff (2011), example B: two observers, ten units, alpha 0.095."""
    one, two = [0, 1, 0, 0, 0, 0, 0, 0, 1, 0], [1, 1, 1, 0, 0, 1, 0, 0, 0, 0]
    assert agreement.measure_alpha(pd.DataFrame({"a": one, "b": two})) == pytest.approx(0.095, abs=0.0005)
    assert agreement.measure_alpha(pd.DataFrame({"a": one, "b": one})) == 1


def test_judge_that_tells_people_apart_has_an_auc_and_one_that_always_matches_has_none():
    judged = [judgement(arm, arm == "same_user", u) for u in "abcd" for arm in ("same_user", "other_user")]
    blind = [
        j.model_copy(update={"judge": "blind", "verdicts": dict.fromkeys(judges.DIMENSIONS, True)})
        for j in judged
    ]
    table = agreement.measure_validity(tabulate_verdicts(judged + blind)).set_index(["judge", "dimension"])[
        "auc"
    ]
    assert table["m", "index"] == 1 and table["blind", "index"] == 0.5


def test_blind_labels_are_kept_and_feed_the_agreement(tmp_path):
    path = tmp_path / "labels.jsonl"
    transcripts = [
        Transcript(case_id=c.case_id, user_id=c.user_id, arm="profile", messages=c.original) for c in CASES
    ]
    pairs = labels.draw_label_pairs(CASES, transcripts, n=2, seed=1)
    shown = "".join(show_pair(*pair) for pair in pairs)
    assert len(pairs) == 2 and "profile" not in shown and "real" not in shown
    for value in (False, True):  # who changes their mind is believed
        labels.save_label(path, *pairs[0][:2], verdicts=dict.fromkeys(judges.DIMENSIONS, value), labeller="A")
    with pytest.raises(ValueError, match="no verdict on D2, D3, D4, D5"):
        labels.save_label(path, *pairs[1][:2], verdicts={"D1": True}, labeller="A")
    (label,) = labels.read_labels(path, CASES)
    machine = judgement("profile", True, label.user_id)
    table = agreement.compare_readers([label, machine]).iloc[0]
    assert set(table[["one", "other"]]) == {"human A", "m"} and table["agree"] == 1


def test_case_page_escapes_what_people_and_models_wrote():
    case = CASES[0].model_copy(
        update={"original": [Message(role="user", content="<script>alert(1)</script>")]}
    )
    told = judgement("profile", True).model_copy(update={"analysis": "<b>x</b>"})
    page = show_case(case, "profile", [], [told])
    assert "<script>" not in page and "<b>x</b>" not in page and "D1 match" in page


# --- goals -------------------------------------------------------------------------------------


def test_goal_that_copies_the_person_is_asked_for_again_and_the_better_one_kept(endpoint, tmp_path):
    talk = make_conversation("could you sort this long list of numbers", "now in reverse", "thanks a lot")
    step = {"action": "sort", "about": "numbers", "details": ""}
    rest = {"facts": "none", "domain": "technology_it", "task_type": "write or mend code"}
    copied = step | {"about": "sort this long list of numbers"}
    mock = endpoint(
        lambda r: json.dumps({"steps": [step if "still" in r["messages"][0]["content"] else copied], **rest})
    )

    case = with_models(lambda models: make_case(models, "helper", talk))
    assert (case.goal, case.rewritten, case.domain) == ("1. sort: numbers", True, "technology_it")
    assert "- sort this long list of numbers" in mock.requests[1]["messages"][0]["content"]
    assert measure_leaks([case])["longest"].tolist() == [1]
    assert {name: len(own) for name, own in split_by_domain([case]).items()} == {
        "mixed_domain": 1,
        "technology_it": 1,
    }


def test_copied_runs_are_found_whatever_the_case_and_the_stops():
    assert list_copied_runs("Please SORT, the long list now", ["sort the long list!"], at_least=3) == [
        "sort the long list"
    ]
    assert measure_longest_copy("a b c d e", ["x b c d", "e"]) == 3 and measure_longest_copy("a", ["b"]) == 0
    assert measure_overlap("sort the long list", ["please SORT the long row"]) == 0.5
    assert measure_overlap("sort", ["sort"]) != measure_overlap("sort", ["sort"])  # NaN: too short


def test_formal_users_are_told_from_real_ones_by_the_table():
    formal = [make_conversation("Hello, please sort it.", "Thank you.", user=u) for u in "ab"]
    table = formalism.measure_formalism({"formal": formal, "real": CONVERSATIONS})
    wide = formalism.pivot_formalism(table)
    assert wide.loc[
        "formal", ["starts lower-case", "ends in . ? !", "please", "thanks", "opens with a greeting"]
    ].tolist() == [0, 1, 0.5, 0.5, 0.5]
    assert wide.loc["real", "starts lower-case"] == 1 and wide.loc["real", "users"] == 3
    fidelity.plot_formalism(table)
