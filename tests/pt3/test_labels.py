"""Verdicts of people in released files are judgements like any other judge's."""

import json

import pandas as pd
import pytest

from realusersim_nb.pt3 import agreement, judges, labels


def write_lines(path, rows):
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return str(path)


def compare(question, judge, winner, models=("one", "two")):
    sides = {"model_a": models[0], "model_b": models[1], "conversation_a": [], "conversation_b": []}
    return {"question_id": question, "turn": 1, "judge": judge, "winner": winner, **sides}


def test_judge_is_compared_with_the_majority_of_people(tmp_path):
    rows = []
    for n in range(12):
        people = ["model_a"] * 3 if n < 9 else ["model_a", "model_b", "tie"]
        rows += [compare(n, f"expert_{i}", winner) for i, winner in enumerate(people)]
        rows.append(compare(n, ["gpt-4", "pair"], "model_a" if n % 3 else "model_b"))
    rows.append(compare(0, "expert_9", "model_b", ("two", "one")))  # the same side, seen in the other place
    path = write_lines(tmp_path / "verdicts.jsonl", rows)
    [row] = agreement.compare_readers(labels.read_verdicts(path)).to_dict("records")
    assert (row["one"], row["other"], row["n"], row["agree"]) == (
        "people",
        "gpt-4 pair",
        9,
        pytest.approx(6 / 9),
    )
    apart = labels.read_verdicts(path, pooled=False)
    assert {j.judge for j in apart} == {"expert_0", "expert_1", "expert_2", "expert_9", "gpt-4 pair"}


def test_ratings_are_verdicts_above_a_cut_for_the_conversations_of_the_corpus(tmp_path):
    rows = [
        {"workerId": f"w{n}", "user_queries": ["hi"], "ai_responses": ["ok"], "overall_interaction_rating": n}
        for n in (2, 8, 9)
    ]
    path = write_lines(tmp_path / "a.jsonl", rows)
    values = {
        cut: [j.verdicts["interaction rating"] for j in labels.read_verdicts(path, cut=cut)]
        for cut in (None, 9)
    }
    assert values == {None: [False, True, True], 9: [False, False, True]}
    assert [j.case_id for j in labels.read_verdicts(path)] == ["a.jsonl/0", "a.jsonl/1", "a.jsonl/2"]


def test_file_without_verdicts_is_a_sentence(tmp_path):
    with pytest.raises(ValueError, match="no verdict of people was found; expected `winner`"):
        labels.read_verdicts(write_lines(tmp_path / "a.jsonl", [{"messages": []}]))


def label(pair="p1", candidate=("Sort it.",), **more):
    row = {"pair_id": pair, "original": ["sort it"], "candidate": list(candidate), "verdicts": {"D2": False}}
    return row | more


def test_pairs_from_elsewhere_are_judged_and_compared_with_their_labels(tmp_path):
    rows = [label(), label(labeller="ann"), label("p2", ["sort it"], verdicts={"D2": True, "D5": True})]
    path = write_lines(tmp_path / "pairs.jsonl", rows)
    cases, transcripts, people = labels.read_pairs(path)
    assert labels.holds_pairs(path) and not labels.holds_pairs(tmp_path / "none.jsonl")

    def same_text(originals, candidates):
        return pd.DataFrame({"D2": [float(a == b) for a, b in zip(originals, candidates, strict=True)]})

    readings = judges.judge_by_rule("same text", same_text, cases, transcripts)
    table = agreement.compare_readers([*readings, *people]).set_index(["one", "other"])
    row = table.loc[("same text", "human somebody")]
    assert (len(cases), len(people), row["n"], row["agree"]) == (2, 3, 2, 1)
    assert table.loc[("same text", "human ann"), "n"] == 1


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        ([label(verdicts={"D9": True})], "pair 'p1' has a verdict on 'D9'; expected some of D1"),
        ([label(), label(candidate=["another"])], "pair 'p1' is there twice, with other messages"),
        ([label(candidate=[])], "line 1: expected a LabelledPair"),
    ],
)
def test_pair_that_does_not_fit_is_a_sentence(tmp_path, rows, problem):
    with pytest.raises(ValueError, match=problem):
        labels.read_pairs(write_lines(tmp_path / "pairs.jsonl", rows))
