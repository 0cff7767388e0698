"""Reliability of profiles, on users whose traits are known."""

import numpy as np
import pandas as pd
import pytest
from conftest import make_conversation

from realusersim_nb import style
from realusersim_nb.profiles import population, reliability


def make_users(n_users: int, n_messages: int, *, number: int = 0, like_themselves: bool = True):
    """Users who write in lower case or with "please" by chances of each user, or of nobody."""
    conversations = []
    for user in range(n_users):
        chances = np.random.default_rng(user).random(2) if like_themselves else [0.5, 0.5]
        draw = np.random.default_rng([user, number, 1])
        texts = [
            ("do it now" if draw.random() < chances[0] else "Do it now")
            + (" please" if draw.random() < chances[1] else "")
            for _ in range(n_messages)
        ]
        conversations.append(make_conversation(*texts, user=f"u{user}", number=number))
    return conversations


def test_stable_traits_agree_more_the_more_messages_and_chance_does_not():
    curve = reliability.measure_split_half(style.measure_conversations(make_users(80, 24)), sizes=(1, 4, 12))
    lower = curve[curve["feature"] == "starts_lower"].set_index("n_messages")["r"]
    assert lower[1] < lower[4] < lower[12] and lower[12] > 0.8
    nobody = reliability.measure_split_half(
        style.measure_conversations(make_users(80, 24, like_themselves=False)), sizes=(12,)
    )
    assert nobody["r"].abs().max() < 0.35


def identify(*sides, **settings):
    likeness = reliability.compare_features(*map(style.measure_conversations, sides))
    return reliability.attribute_authorship(likeness, **settings)


def test_likeliest_writer_is_the_user_above_chance_and_not_where_users_are_alike():
    table = identify(make_users(60, 40), make_users(60, 40, number=1), n_candidates=30)
    assert table.loc[1, "ci_low"] > table.loc[1, "chance"] == 1 / 30
    assert table.loc[5, "rate"] > table.loc[1, "rate"]
    alike = [make_users(60, 40, number=n, like_themselves=False) for n in (0, 1)]
    table = identify(*alike, n_candidates=30)
    assert table.loc[1, "ci_low"] <= table.loc[1, "chance"]


def test_strangers_nearest_in_topic_are_five():
    likeness = pd.DataFrame(np.eye(12))
    table = reliability.attribute_authorship(likeness, likeness)
    assert table.index.tolist() == [1] and table.loc[1, "chance"] == 1 / 6 and table.loc[1, "rate"] == 1


def test_of_few_users_the_first_five_are_all_of_them():
    assert reliability.attribute_authorship(pd.DataFrame(np.eye(3)), n_candidates=3)["chance"].max() == 1


def test_finding_names_as_many_people_as_were_candidates():
    """Of 50 users, 35 repeat themselves in what is held out: they have no message left to attribute."""
    copied = ["translate this whole text into simple French now"] * 3
    talks = [
        make_conversation(*(copied if user < 35 else [f"do {number}", f"it {user}", "go"]), user=f"u{user}")
        for user in range(50)
        for number in range(2)
    ]
    table = reliability.identify_users(talks, n_candidates=50, seed=1).reset_index()
    row = table.query("split == 'matched positions' and top == 1").iloc[0]
    sentence = population.describe_identification(row.to_dict())["sentence"]
    assert row["n_users"] == 15 and "among 15 people" in sentence and "chance 7%" in sentence


def test_commands_of_people_hold_and_those_of_nobody_are_chance():
    known, unseen = (style.measure_conversations(make_users(80, 20, number=n)) for n in (0, 1))
    table = reliability.tabulate_holding(reliability.measure_holding(known, unseen))
    assert table.loc["all", "ci_low"] > 2 * table.loc["all", "stranger"]
    assert reliability.measure_false_discovery(known).loc["all", "rate"] < 0.05
    alike = style.measure_conversations(make_users(80, 20, like_themselves=False))
    assert reliability.measure_false_discovery(alike).loc["all", "commands"] <= 1


def test_of_people_without_unseen_messages_no_command_is_tried():
    messages = style.measure_conversations(make_users(30, 12))
    table = reliability.measure_holding(messages, messages.iloc[:0])
    assert table.empty and {"holds", "stranger", "user_id"} <= {*table.columns}
    assert reliability.tabulate_holding(table, "feature")["n_commands"].tolist() == [0]


def test_copies_of_known_messages_are_marked_of_their_user_only():
    template = "translate this text into simple French"
    known = [make_conversation(template, user="a"), make_conversation("no", user="b")]
    unseen = [make_conversation(template, "now stop", user="a"), make_conversation(template, user="b")]
    assert reliability.find_copies(known, unseen).tolist() == [True, False, False]


def test_interval_of_authorship_attribution_is_drawn_by_the_seed(monkeypatch):
    def give_seed(values, clusters, *, seed=None):
        return dict.fromkeys(["rate", "ci_low", "ci_high"], seed)

    monkeypatch.setattr(reliability.stats, "estimate_rate", give_seed)
    table = reliability.attribute_authorship(pd.DataFrame(np.eye(40)), n_candidates=40, seed=7)
    assert table["ci_low"].tolist() == [7, 7]


def test_too_few_users_are_an_error():
    with pytest.raises(ValueError, match="3 users have held-out messages, 50 are needed"):
        reliability.attribute_authorship(pd.DataFrame(np.eye(3)))
