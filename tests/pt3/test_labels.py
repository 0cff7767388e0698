"""Verdicts of people in released files are judgements like any other judge's."""

import json

import pytest

from realusersim_nb.pt3 import agreement, labels


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
