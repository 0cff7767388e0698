"""Features of style: messages of the kinds people write, each with its right value, and other scripts."""

import csv
import math
from pathlib import Path

import pytest
from conftest import make_conversation

from realusersim_nb import style

with (Path(__file__).parent / "expressions.csv").open(encoding="utf-8", newline="") as table:
    ROWS = [tuple(row.values()) for row in csv.DictReader(table)]


@pytest.mark.parametrize(("feature", "previous", "text", "value"), ROWS)
def test_message_has_its_known_value(feature, previous, text, value):
    measured = style.BY_NAME[feature].measure(text, previous or None)
    assert math.isnan(measured) if value == "" else measured == float(value)


def test_expressions_are_many_and_of_all_kinds():
    assert len(ROWS) >= 100 and len({feature for feature, *_ in ROWS}) >= 30


def test_what_a_message_cannot_show_is_missing_not_zero():
    row = style.measure_messages(["123 !!!"]).iloc[0]
    missing = (
        "starts_lower lower_i repeats follows_up unmarked_question is_question please later_words".split()
    )
    assert row[missing].isna().all()


def test_first_message_and_later_ones_are_apart():
    talk = make_conversation("one two three", "one two")
    later = talk.model_copy(update={"continues": True})
    table = style.measure_conversations([talk, later])
    assert table["is_opening"].tolist() == [True, False, False, False]
    assert table["first_words"].dropna().tolist() == [3]
    assert table["later_words"].dropna().tolist() == [2, 3, 2]
    assert table["follows_up"].isna().tolist() == [True, False, False, False]


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
    talks = [make_conversation("a " * n, user=str(n)) for n in (1, 2, 3, 4)]
    users = style.summarise_users(style.measure_conversations(talks))
    assert style.compute_percentiles(users, users)["words"].tolist() == [0.125, 0.375, 0.625, 0.875]


def test_features_are_labelled_by_words_and_other_names_stay_as_they_are():
    labels = {feature.name: style.label_feature(feature.name) for feature in style.FEATURES}
    assert not [label for label in labels.values() if "_" in label] and len({*labels.values()}) == len(labels)
    assert style.label_feature("starts_lower:always") == "starts in lower case: always"
    assert style.label_feature("a_system: b") == "a_system: b"
