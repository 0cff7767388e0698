"""PT3 on mock models with known answers."""

import json
import re

import pandas as pd
import pytest
from conftest import make_conversation, with_models
from toy import CONVERSATIONS, make_case_of

from realusersim_nb.llm.cache import Cache
from realusersim_nb.plots import fidelity
from realusersim_nb.pt3 import agreement, findings, formalism, judges, labels, scores
from realusersim_nb.pt3.cases import (
    cut_case,
    draw_cases,
    draw_reference_arms,
    list_judged_messages,
    make_case,
    measure_leaks,
    simulate_cases,
    split_by_domain,
    tag_cases,
)
from realusersim_nb.pt3.judges import JudgeSettings
from realusersim_nb.pt3.scores import compare_fidelity, list_pairs, score_fidelity, tabulate_verdicts
from realusersim_nb.records import Conversation, Judgement, JudgePrompt
from realusersim_nb.simulators import role_breaks
from realusersim_nb.simulators.users import Simulator
from realusersim_nb.text import list_copied_runs, measure_longest_copy, measure_overlap
from realusersim_nb.widgets.cases import render_cases, show_case, show_pair

CASES = list(map(make_case_of, CONVERSATIONS))
KEYS_OF_CASE = {"case_id": "a-0", "user_id": "a", "arm": "profile", "judge": "m"}


def judgement(arm, value, user="a"):
    verdicts = None if value is None else dict.fromkeys(judges.DIMENSIONS, value)
    return Judgement(case_id=f"{user}-0", user_id=user, arm=arm, judge="m", verdicts=verdicts)


def test_corpus_whose_users_never_come_back_gives_no_case_and_says_so():
    with pytest.raises(
        ValueError, match=r"no user of this corpus has two.*give a corpus whose users come back"
    ):
        draw_cases([], n_cases=4, seed=1)


# --- judging -----------------------------------------------------------------------------------


def test_judge_sees_user_messages_of_the_first_nine_without_close():
    conversation = make_conversation("user 0", "user 1", " /close ", "user 3", "user 4", "user 5")
    assert list_judged_messages(conversation) == ["user 0", "user 1", "user 3", "user 4"]


def under(arm, case, *texts, **more):
    """What a case has under an arm: the original's messages, or a user who writes these texts."""
    messages = make_conversation(*texts).messages if texts else case.original.messages
    keys = {"conversation_id": f"{case.case_id}/{arm}", "case_id": case.case_id, "user_id": case.user_id}
    return Conversation(**keys, arm=arm, messages=messages, **more)


def judge_all(tmp_path, transcripts, **settings):
    chosen = JudgeSettings(**settings)
    return with_models(
        lambda models: judges.judge_transcripts(models, "judge", CASES, transcripts, chosen),
        cache=Cache(tmp_path / "replies.sqlite"),
    )


def judging_by_eye(request):
    """A mock judge that finds a match only where both lists are the same text."""
    schema, prompt = request["response_format"]["json_schema"]["name"], request["messages"][-1]["content"]
    if schema == "Verdicts":
        return json.dumps(dict.fromkeys(judges.DIMENSIONS, "no match" not in prompt))
    a, b = prompt.split("Messages A:\n")[1].split("\n\nBoth lists")[0].split("\n\nMessages B:\n")
    finding = "The two lists are a match." if a == b else "The two lists are no match."
    answer = {"finding": finding, "match": a == b} if schema == "Judged" else finding
    return json.dumps(dict.fromkeys(judges.DIMENSIONS, answer))


@pytest.mark.parametrize("settings", [{}, {"calls": 1}, {"order": "simulated_first"}, {"trial": 1}], ids=str)
def test_perfect_simulator_gets_100_per_cent_and_a_stranger_0(endpoint, tmp_path, settings):
    endpoint(judging_by_eye)
    perfect = [under("perfect", case) for case in CASES]
    stranger = [under("stranger", case, "Hello.") for case in CASES]
    scores = score_fidelity(tabulate_verdicts(judge_all(tmp_path, perfect + stranger, **settings)))
    assert scores["rate"].to_dict() == {"perfect": 1.0, "stranger": 0.0}


@pytest.mark.parametrize("settings", [{}, {"calls": 1}], ids=str)
def test_verdict_that_contradicts_the_analysis_is_unscored_and_counted(endpoint, tmp_path, settings):
    def reply(request):
        answers = json.loads(judging_by_eye(request))
        if "finding" in str(answers.get("D1")):
            answers["D1"]["match"] = False
        return json.dumps(answers | ({"D1": False} if isinstance(answers["D1"], bool) else {}))

    endpoint(reply)
    [judged] = judge_all(tmp_path, [under("profile", CASES[0])], **settings)
    assert judged.contradicted == ["D1"] and judged.verdicts == dict.fromkeys(["D2", "D3", "D4", "D5"], True)
    texts = ["It is no match.", "They do not match.", "A clear match in tone.", "Both are terse."]
    assert [judges.read_finding(text) for text in texts] == [False, False, True, None]
    doubts = ["There is no clear match.", "They don't really match.", "A partial match in tone."]
    assert [judges.read_finding(text) for text in doubts] == [None, None, None]
    assert judges.read_finding("Neither uses capitals, not even once: match.")
    every = judges.make_judgement(
        KEYS_OF_CASE, dict.fromkeys(judges.DIMENSIONS, "a match"), dict.fromkeys(judges.DIMENSIONS, False)
    )
    assert every.verdicts is None and every.error == "its verdicts contradict its analysis"


def test_failed_and_empty_transcripts_are_counted_never_scored_0(endpoint, tmp_path):
    mock = endpoint(judging_by_eye)
    failed = under("profile", CASES[0], error="empty reply", ended_by="error")
    judged = judge_all(tmp_path, [failed, under("profile", CASES[0], "/close")])
    assert [j.verdicts for j in judged] == [None, None] and not mock.requests
    scores = score_fidelity(tabulate_verdicts([*judged, judgement("profile", True, "b")]))
    assert scores.loc["profile", ["rate", "n_cases", "n_failed"]].tolist() == [1.0, 1, 1]


def test_reference_arms_are_another_conversation_of_the_user_and_one_of_somebody_else():
    known = [make_conversation(f"i am {u}", user=u, number=1) for u in "ab"] + CONVERSATIONS
    drawn = draw_reference_arms(CASES, known, first=5, seed=1)
    messages = {(t.arm, t.user_id): t.messages for t in drawn}
    assert messages["same_user", "a"] == known[0].messages
    assert messages["same_user", "b"] == known[1].messages
    assert ("same_user", "c") not in messages  # of whom nothing else is known
    for case in CASES:
        of_this_user = case.original.messages, messages.get(("same_user", case.user_id))
        assert messages["other_user", case.user_id] not in of_this_user
    assert {t.ended_by for t in drawn} == {"real"} and drawn[0].conversation_id == "a-0/same_user"


def test_original_is_cut_at_its_nth_user_message():
    case = CASES[0]
    assert cut_case(case, 2).original.user_messages == case.original.user_messages[:2]
    assert cut_case(case, 2).original.messages[-1].role == "user" and cut_case(case, 9) == case


def test_index_leaves_out_d3_where_it_says_so():
    verdicts = {"D1": False, "D2": False, "D3": True, "D4": False, "D5": True}
    judged = judgement("profile", False).model_copy(update={"verdicts": verdicts})
    scores = score_fidelity(tabulate_verdicts([judged]))
    assert scores.loc["profile", ["rate", "without_D3"]].tolist() == [0.4, 0.25]


def test_arms_are_compared_on_the_users_both_have():
    verdicts = tabulate_verdicts(
        [judgement(arm, arm == "profile", u) for u in "abc" for arm in ("profile", "task_only")]
    )
    row = compare_fidelity(verdicts).set_index("baseline").loc["task_only"]
    assert (row["difference"], row["n_pairs"], row["p"]) == (1.0, 3, 0.25)


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


def test_role_break_is_counted_and_kept_out_of_the_rates(endpoint, tmp_path):
    mock = endpoint(judging_by_eye)
    empty = under("profile", CASES[0], "/close", ended_by="close", role_break="says nothing")
    fine = under("profile", CASES[1], ended_by="max_turns")
    judged = judge_all(tmp_path, [empty, fine])
    assert [j.error for j in judged] == ["role break: says nothing", None] and len(mock.requests) == 2
    scores = score_fidelity(tabulate_verdicts(judged))
    assert scores.loc["profile", ["rate", "n_cases", "n_failed"]].tolist() == [1.0, 1, 1]
    table = role_breaks.tabulate_role_breaks([empty, fine, under("same_user", CASES[1])])
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
    first = CASES[0].original.user_messages
    arms = [t for case in CASES for t in (under("x", case), under("y", case, *first))]
    swapped = [t.model_copy(update={"arm": {"x": "y", "y": "x"}[t.arm]}) for t in arms]
    straight, crossed = (score_fidelity(tabulate_verdicts(judge_all(tmp_path, ts))) for ts in (arms, swapped))
    assert straight.loc["x"].equals(crossed.loc["y"].rename("x")) and straight.loc["x", "rate"] == 1


def test_one_call_judge_keeps_finding_raw_reply_order_and_hash_and_its_order_bias_is_seen(endpoint, tmp_path):
    mock = endpoint(judging_by_side)
    short = [under("profile", case, "x") for case in CASES]
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


RELEASED = JudgePrompt(system="Compare.", formatting="Give JSON.")


def judge_as_released(endpoint, tmp_path, said):
    """The requests and the judgement, where the formatter says this of the five keys."""
    mock = endpoint(lambda r: json.dumps(said) if "response_format" in r else "They match.")
    [judged] = judge_all(tmp_path, [under("profile", CASES[0], "sort it", 'by "name" ü')], prompt=RELEASED)
    return mock.requests, judged


def test_released_prompt_is_followed(endpoint, tmp_path):
    said = {key: {"is_matched": d != "D3"} for d, key in judges.RELEASED_KEYS.items()}
    (first, second), judged = judge_as_released(endpoint, tmp_path, said)
    system, asked = first["messages"]
    assert system == {"role": "system", "content": "Compare."}
    original = json.dumps(CASES[0].original.user_messages, indent=2)
    assert asked["content"] == f'USER1:\n{original}\n\nUSER2:\n[\n  "sort it",\n  "by \\"name\\" ü"\n]'
    assert [m["content"] for m in second["messages"]] == ["Give JSON.", "They match."]
    assert [(r["max_tokens"], r["temperature"]) for r in (first, second)] == [(4096, 0.001), (1024, 0.001)]
    asked_for = second["response_format"]["json_schema"]["schema"]
    assert asked_for["required"] == list(judges.RELEASED_KEYS.values())
    assert judged.analysis == "They match." and judged.verdicts == dict.fromkeys(judges.DIMENSIONS, True) | {
        "D3": False
    }


def test_missing_or_non_boolean_key_of_the_released_formatter_is_unscored_and_never_no_match(
    endpoint, tmp_path
):
    keys = list(judges.RELEASED_KEYS.values())
    said = {
        keys[0]: {"is_matched": True},
        keys[1]: {"is_matched": "true"},
        keys[2]: True,
        keys[3]: {"is_matched": 0},
    }
    _, judged = judge_as_released(endpoint, tmp_path, said)
    assert judged.verdicts == {"D1": True} and judged.error is None
    table = tabulate_verdicts([judged]).set_index("dimension")["match"]
    assert table["D1"] == 1 and table[["D2", "D3", "D4", "D5"]].isna().all()


def test_formatter_without_any_key_is_a_failed_judgement(endpoint, tmp_path):
    _, judged = judge_as_released(endpoint, tmp_path, {"D1": True})
    assert judged.verdicts is None and judged.error == "none of the five keys is a boolean"


def test_kappa_is_0_by_chance_and_undefined_where_both_always_agree():
    def read(judge, values):
        verdicts = dict(zip(judges.DIMENSIONS, values, strict=False))
        return judgement("profile", True).model_copy(update={"judge": judge, "verdicts": verdicts})

    one, other, same = (
        read(name, values) for name, values in (("a", [1, 1, 0, 0]), ("b", [1, 0, 1, 0]), ("c", [1, 1, 0, 0]))
    )
    table = agreement.compare_readers([one, other, same]).set_index(["one", "other"])
    assert table["kappa"].to_dict() == {("a", "b"): 0, ("a", "c"): 1, ("b", "c"): 0}
    always = [read(name, [1, 1, 1, 1]) for name in "ab"]
    assert agreement.compare_readers(always)["kappa"].isna().all()


def test_judge_that_separates_people_has_an_auc_and_one_that_always_matches_has_none():
    judged = [judgement(arm, arm == "same_user", u) for u in "abcd" for arm in ("same_user", "other_user")]
    blind = [
        j.model_copy(update={"judge": "blind", "verdicts": dict.fromkeys(judges.DIMENSIONS, True)})
        for j in judged
    ]
    table = agreement.measure_validity(tabulate_verdicts(judged + blind)).set_index(["judge", "dimension"])[
        "auc"
    ]
    assert table["m", "index"] == 1 and table["blind", "index"] == 0.5


def test_judge_that_is_always_right_is_kept_once_there_are_enough_users():
    def examine(users):
        judged = [judgement(arm, arm == "same_user", u) for u in users for arm in ("same_user", "other_user")]
        verdicts = tabulate_verdicts(judged)
        validity = agreement.measure_validity(verdicts)
        [row] = validity[validity["dimension"] == "index"].to_dict("records")
        return (row["ci_low"], row["ci_high"]), agreement.leave_out_judges(verdicts, validity)[1]

    ends, sentences = examine("abcdefghij")
    assert ends == (pytest.approx(0.692, abs=0.001), 1) and sentences == []  # Clopper-Pearson, 10 of 10
    assert "AUC 1.00, too few for an interval, 4 users" in examine("abcd")[1][0]


def test_blind_labels_are_kept_and_feed_the_agreement(tmp_path):
    path = tmp_path / "labels.jsonl"
    transcripts = [under("profile", case) for case in CASES]
    pairs = labels.draw_label_pairs(CASES, transcripts, n=2, seed=1)
    shown = "".join(show_pair(*pair) for pair in pairs)
    assert len(pairs) == 2 and "profile" not in shown and "real" not in shown
    for value in (False, True):  # who changes their mind is believed
        labels.save_label(path, pairs[0][1], verdicts=dict.fromkeys(judges.DIMENSIONS, value), labeller="A")
    with pytest.raises(ValueError, match=r"no verdict on .*\(D2\), .*\(D5\)"):
        labels.save_label(path, pairs[1][1], verdicts={"D1": True}, labeller="A")
    (label,) = labels.read_labels(path, CASES)
    machine = judgement("profile", True, label.user_id)
    table = agreement.compare_readers([label, machine]).iloc[0]
    assert set(table[["one", "other"]]) == {"human A", "m"} and table["agree"] == 1


def test_case_page_escapes_what_people_and_models_wrote():
    case = make_case_of(make_conversation("<script>alert(1)</script>", user="a"))
    judged = judgement("profile", True).model_copy(update={"analysis": "<b>x</b>"})
    page = show_case(case, "profile", [], [judged])
    assert "<script>" not in page and "<b>x</b>" not in page
    assert re.search(r"\(D1\)</th>\s*<td>match</td>", page)


def test_each_case_of_each_arm_has_an_address_on_the_page_of_cases():
    talks = [under(arm, case) for arm in ("profile", "task_only") for case in CASES]
    judged = [judgement("profile", index > 0, case.user_id) for index, case in enumerate(CASES)]
    page = render_cases(CASES, talks, judged)
    addresses = re.findall(r'<section id="([^"]+)">', page)
    assert len(set(addresses)) == len(talks) and set(re.findall(r'href="#([^"]+)"', page)) == set(addresses)
    assert addresses[0] == f"profile_{CASES[0].case_id}"  # the lowest first


# --- goals -------------------------------------------------------------------------------------


def test_goal_has_one_neutral_sentence_a_message_and_leaks_are_measured(endpoint, tmp_path):
    talk = make_conversation("could you sort this long list of numbers", "now in reverse", "thanks a lot")
    tags = {"domain": "technology_it", "task_type": "write or mend code"}

    def reply(request):
        if request["response_format"]["json_schema"]["name"] == "CaseTags":
            return json.dumps(tags)
        asked = request["messages"][0]["content"].split('Message: """')[-1]
        text = "wants this long list of numbers ordered." if "sort" in asked else "objects."
        return json.dumps({"the_user": text})

    endpoint(reply)

    async def work(models):
        return await tag_cases(models, "helper", [await make_case(models, "helper", talk, first=2)], seed=1)

    [case] = with_models(work)
    assert case.steps == ["The user wants this long list of numbers ordered.", "The user objects."]
    assert (case.goal, case.rewritten, case.domain) == ("\n".join(case.steps), True, "technology_it")
    assert measure_leaks([case])["longest"].tolist() == [5] and measure_leaks([case])["too_long"].all()
    sets = split_by_domain([case])
    assert {name: len(cases) for name, cases in sets.items()} == {"mixed_domain": 1, "technology_it": 1}


def test_copied_runs_are_found_whatever_the_case_and_the_stops():
    assert list_copied_runs("Please SORT, the long list now", ["sort the long list!"], at_least=3) == [
        "sort the long list"
    ]
    assert measure_longest_copy("a b c d e", ["x b c d", "e"]) == 3 and measure_longest_copy("a", ["b"]) == 0
    assert measure_overlap("sort the long list", ["please SORT the long row"]) == 0.5
    assert measure_overlap("sort", ["sort"]) != measure_overlap("sort", ["sort"])  # NaN: too short


def test_formal_users_differ_from_real_ones_in_the_table():
    formal = [make_conversation("Hello, please sort it.", "Thank you.", user=u) for u in "ab"]
    table = formalism.measure_formalism({"formal": formal, "real": CONVERSATIONS})
    wide = formalism.pivot_formalism(table)
    assert wide.loc[
        "formal", ["starts in lower case", "ends in a stop", "please", "thanks", "opens with a greeting"]
    ].tolist() == [0, 1, 0.5, 0.5, 0.5]
    assert wide.loc["real", "starts in lower case"] == 1 and wide.loc["real", "users"] == 3
    fidelity.plot_formalism(table)


def test_finding_is_of_the_judge_that_separates_people_best():
    table = pd.DataFrame(
        {"judge": ["a", "b", "b"], "dimension": ["index", "index", "D1"], "auc": [0.5, 0.8, 1]}
    )
    assert agreement.choose_best_judge(table, ["a", "b"]) == "b"
    assert agreement.choose_best_judge(table[:0], ["a", "b"]) == "a"


def test_judge_that_cannot_tell_people_apart_is_one_sentence():
    verdicts = pd.DataFrame({"judge": ["a", "b", "c"]})
    rows = {"judge": ["a", "b"], "auc": [0.55, 0.8], "ci_low": [0.4, 0.7], "ci_high": [0.7, 0.9]}
    validity = pd.DataFrame(rows).assign(dimension="index", n_users=30)
    kept, sentences = agreement.leave_out_judges(verdicts, validity)
    assert kept["judge"].tolist() == ["b"]
    assert sentences == [
        "a cannot tell the same person from another (AUC 0.55, 0.40 to 0.70, 30 users): "
        "it is left out of the tables on arms.",
        "c cannot tell the same person from another (without verdicts on both reference arms): "
        "it is left out of the tables on arms.",
    ]
    kept, [sentence, _] = agreement.leave_out_judges(verdicts[verdicts["judge"] != "b"], validity)
    assert kept["judge"].tolist() == ["a"] and "it stays, as no judge can" in sentence


def test_contradicted_verdicts_are_counted_by_judge():
    given = judgement("profile", True).model_copy(update={"replies": ["x"], "contradicted": ["D1"]})
    given = given.model_copy(update={"verdicts": {"D2": True, "D3": False, "D4": True}})
    row = scores.tabulate_contradictions([given, judgement("profile", True)]).loc["m"]
    assert row.to_dict() == {"n": 1, "verdicts": 4, "contradicted": 1, "share": 0.25}


def test_grounded_arms_are_compared_with_none_and_with_their_control():
    present = ["task_only", "profile", "demonstrations", "shuffled_demonstrations", "same_user", "other_user"]
    assert list_pairs(present) == [
        ("demonstrations", "task_only"),
        ("demonstrations", "shuffled_demonstrations"),
        ("profile", "task_only"),
        ("same_user", "other_user"),
    ]
    assert list_pairs(["task_only", "demonstrations", "calibrated_demonstrations"])[1:3] == [
        ("calibrated_demonstrations", "task_only"),
        ("calibrated_demonstrations", "demonstrations"),
    ]


def test_formal_users_are_compared_with_the_real_ones_by_user():
    formal = [under("task_only", case, "Please sort it.", "Thank you.") for case in CASES]
    rows = {row["feature"]: row for row in formalism.compare_formalism(formal, CONVERSATIONS)}
    row = rows["starts in lower case"]
    assert (row["share"], row["real"], row["difference"], row["n_pairs"]) == (0, 1, -1, 3)
    finding = findings.describe_ceiling(row)
    assert (
        finding["value"] == -1
        and finding["sentence"]
        == "'Starts in lower case' is true of 0% of the messages of users given nothing about the person, "
        "and of 100% of the same people's real messages"
    )


def test_real_users_without_a_simulated_one_are_in_no_figure_of_the_comparison():
    one, *_ = formal = [under("task_only", case, "please sort it") for case in CASES[:1]]
    rows = formalism.compare_formalism(
        formal, [make_conversation("Sort it.", user=one.user_id), *CONVERSATIONS[1:]]
    )
    row = rows[0]
    assert (row["share"], row["real"], row["difference"], row["n_pairs"]) == (1, 0, 1, 1)
    assert formalism.compare_formalism([], CONVERSATIONS) == []


def test_arm_without_a_message_to_attribute_has_no_finding():
    table = pd.DataFrame({"arm": ["task_only", "real"], "user_id": ["a", "a"], "first": [0.0, 1.0]})
    finding = findings.describe_givings(table, "profile", seed=1)
    assert finding["n"] == 0 and pd.isna(finding["value"])


def test_person_without_a_message_to_show_is_in_no_case_and_stops_nobody_else(endpoint, tmp_path):
    reply = {"the_user": "asks for something."}
    endpoint(lambda r: json.dumps(reply) if "response_format" in r else "sort it")
    texts = {u: ["sort a list", f"now by {u}"] for u in "abc"} | {"d": ["```x = 1```", "```y = 2```"]}
    talks = [make_conversation(*t, user=u, number=n) for u, t in texts.items() for n in range(2)]
    settings = {"extractor": "measured", "arms": ["demonstrations"], "n_cases": 4, "n_demonstrations": 2}
    made = with_models(lambda m: simulate_cases(Simulator(m, "m", max_user_messages=1), talks, **settings))
    assert sorted(t.user_id for t in made) == ["a", "b", "c"]


def test_dimension_that_is_unscored_under_one_arm_counts_under_neither():
    easy = {"D3": True, "D2": False}  # D3 nearly always matches
    judged = [
        judgement(arm, True, user).model_copy(update={"verdicts": {d: easy[d] for d in scored}})
        for user in "ab"
        for arm, scored in (("profile", ["D3"]), ("task_only", ["D3", "D2"]))
    ]
    row = compare_fidelity(tabulate_verdicts(judged)).iloc[0]
    assert (row["arm"], row["difference"], row["n_pairs"]) == ("profile", 0, 2)
