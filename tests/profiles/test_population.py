"""Topics, coverage and maps on users whose subjects are known; what a browser shows."""

import numpy as np
import pandas as pd
import pytest
from conftest import make_conversation

from realusersim_nb import style
from realusersim_nb.corpus.splits import group_by_user
from realusersim_nb.profiles import extraction, population
from realusersim_nb.records import Demographic, Profile
from realusersim_nb.widgets import profiles

COOKING = ["bake bread flour oven", "oven bread yeast", "flour yeast dough bake"]
CODE = ["python function error loop", "loop function variable", "python variable error"]
CHAT = {
    f"{name}{i}": text for name, texts in (("cook", COOKING), ("code", CODE)) for i, text in enumerate(texts)
}


def test_topics_are_found_and_named_and_reference_falls_where_its_words_are():
    rows, topics = population.find_topics(CHAT, {"task": "bake dough in the oven"}, k=2)
    of = rows.set_index("user_id")["topic"]
    assert (
        of["cook0"] == of["cook1"] == of["cook2"] == of["task"] != of["code0"] == of["code1"] == of["code2"]
    )
    assert "python" in topics.loc[of["code0"], "terms"] and topics.loc[of["task"], "reference"] == 1
    assert topics["chat"].sum() == pytest.approx(1) and topics["users"].sum() == 6


def test_coverage_is_whole_for_texts_of_the_chat_and_none_for_foreign_ones():
    same, _ = population.find_topics(CHAT, {"copy": COOKING[0]}, k=2)
    other, _ = population.find_topics(CHAT, {"foreign": "flights airports luggage"}, k=2)
    assert population.measure_topic_coverage(same)["covered"] == 1
    assert population.measure_topic_coverage(other)["covered"] == 0
    assert np.isnan(population.measure_topic_coverage(population.find_topics(CHAT, k=2)[0])["covered"])


def test_map_has_a_place_for_each_user_and_is_the_same_again():
    talks = [make_conversation("do it " * n, "And then? " * n, "ok", user=f"u{n}") for n in range(1, 13)]
    users = style.summarise_users(style.measure_conversations(talks))
    placed = population.map_users(users, seed=1)
    assert placed.index.sort_values().equals(users.index.sort_values()) and placed.notna().all().all()
    pd.testing.assert_frame_equal(placed, population.map_users(users, seed=1))
    with pytest.raises(ValueError, match="at least 5 users, there are 2"):
        population.map_users(users.head(2))


def test_demographics_are_counted_by_source():
    fact = {"value": "x", "confidence": 1.0}
    extracted = [
        Profile(
            user_id="u",
            demographics={
                "age": Demographic(source="extracted", **fact),
                "gender": Demographic(source="inferred", **fact),
            },
        )
    ]
    assert population.count_demographics(extracted).loc["age"].tolist() == [1, 0]
    assert population.count_demographics([Profile(user_id="u")]).empty


# --- the browser -------------------------------------------------------------------------------

TALKS = [
    make_conversation("<b>now</b> do it", "ok and again", "so it goes", user="low"),
    *[make_conversation("Do it.", "Then that.", "Now this.", user=f"u{i}") for i in range(9)],
]


def test_browser_escapes_what_people_wrote_and_marks_the_evidence(capsys):
    extracted = extraction.extract_measured(TALKS)
    page = profiles.show_profiles(extracted[:1], group_by_user(TALKS))
    assert "<b>now" not in page and "&lt;b&gt;now" in page
    assert "<mark>" in page and "more than" in page and "the prompt, to copy" in page
    profiles.browse_profiles(extracted, group_by_user(TALKS))


def test_browser_filters_by_dimension_and_word():
    extracted, users = extraction.extract_measured(TALKS), group_by_user(TALKS)
    assert [p.user_id for p in profiles.filter_profiles(extracted, users, word="SO IT")] == ["low"]
    assert "low" in {
        p.user_id for p in profiles.filter_profiles(extracted, users, dimension="capitalization")
    }
    assert profiles.filter_profiles(extracted, users, word="nobody says this") == []
    assert [p.user_id for p in profiles.filter_profiles(extracted, users, word="U3")] == ["u3"]


def test_browser_says_that_nobody_matches_and_lists_so_many(monkeypatch):
    shown = []
    monkeypatch.setattr("realusersim_nb.widgets.page.show_widgets", lambda w, **static: shown.append(w))
    monkeypatch.setattr(profiles, "N_LISTED", 4)
    profiles.browse_profiles(extraction.extract_measured(TALKS), group_by_user(TALKS))
    [(controls, page)] = shown
    _, word, first, second, count = controls.children
    assert len(first.options) == 4 and count.value.startswith("10 of 10 users; the first 4 are listed")
    second.value = "u8"  # not listed
    assert page.value.count("(3 messages)") == 2
    second.value = "u99"
    assert "No user has the id &#39;u99&#39;" in page.value
    second.value, word.value = "", "nobody says this"
    assert "Nobody uses" in page.value and count.value == "0 of 10 users"


@pytest.mark.parametrize(("low", "claimed"), [(0.1, True), (0.01, False), (np.nan, False)])
def test_people_are_recognised_only_where_the_interval_is_above_chance(low, claimed):
    row = {"by": "features", "rate": 0.2, "chance": 0.02, "ci_low": low, "ci_high": 0.5, "n_users": 10}
    sentence = population.describe_identification(row)["sentence"]
    assert (
        sentence.startswith("People can be recognised") == claimed and "20% of cases (chance 2%)" in sentence
    )
