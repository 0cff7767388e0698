"""The authorship-verification judge, on people whose habits are known."""

import numpy as np
import pytest
from conftest import make_conversation
from toy import make_case_of

from realusersim_nb.pt3 import authorship, judges
from realusersim_nb.pt3.scores import normalise_fidelity, pd, score_fidelity, tabulate_verdicts
from realusersim_nb.records import Conversation


def write(user: int, number: int, *, like_themselves: bool = True):
    """A conversation of somebody who has a case, a full stop and a length that is theirs, or nobody's."""
    habits = np.random.default_rng(user).random(3) if like_themselves else np.array([0.5, 0.5, 0.5])
    draw = np.random.default_rng([user, number])
    texts = [
        ("do it" if draw.random() < habits[0] else "Do it")
        + " now" * int(1 + 20 * habits[2] + draw.integers(0, 3))
        + f" topic{user % 7}"
        + ("." if draw.random() < habits[1] else "")
        for _ in range(5)
    ]
    return make_conversation(*texts, user=f"u{user}", number=number)


def people(n, **more):
    return [write(user, number, **more) for user in range(n) for number in (0, 1)]


PEOPLE = people(200)


def test_people_with_habits_are_verified_and_people_without_are_not():
    table = authorship.evaluate_authorship(authorship.learn_authorship(PEOPLE, seed=0), seed=0)
    assert table.loc["D2", "ci_low"] > 0.6 and table.loc["D5", "ci_low"] > 0.6
    assert min(table.loc["delta", "auc"], table.loc["D2", "auc_topic"]) > 0.6
    assert table.loc["D2", "same_user"] > table.loc["D2", "other_user"]
    alike = authorship.evaluate_authorship(
        authorship.learn_authorship(people(200, like_themselves=False), seed=0), seed=0
    )
    assert alike.loc["D2", "ci_low"] < 0.5 < alike.loc["D2", "ci_high"]


def test_ones_own_words_match_and_swapping_the_sides_changes_nothing():
    judge = authorship.learn_authorship(PEOPLE, seed=0)
    one, other = (write(user, 7).user_messages for user in (3, 9))
    found = judge([one, one, other], [one, other, one])
    assert found.loc[0].min() >= 0.5 and found.loc[0, "D2"] > found.loc[1, "D2"]
    assert found.loc[1].equals(found.loc[2])


def test_perfect_simulator_scores_all_a_stranger_less_and_a_failure_nothing():
    judge = authorship.learn_authorship(PEOPLE, seed=0)
    talks = {user: write(user, 5) for user in range(200, 260)}
    cases = list(map(make_case_of, talks.values()))
    strangers = [*list(talks.values())[1:], talks[200]]
    transcripts = []
    for case, stranger in zip(cases, strangers, strict=True):
        keys = {"conversation_id": case.case_id, "case_id": case.case_id, "user_id": case.user_id}
        same = keys | {"messages": case.original.messages}
        transcripts += [
            Conversation(**same, arm="profile"),
            Conversation(**keys, messages=stranger.messages, arm="other_user"),
            Conversation(**same, arm="task_only", error="cut"),
        ]
    verdicts = tabulate_verdicts(judges.judge_by_rule("measured", judge, cases, transcripts))
    scores = score_fidelity(verdicts)
    assert scores.loc["profile", "rate"] == 1 and scores.loc["other_user", "rate"] < 0.7
    assert scores.loc["task_only", "n_failed"] == 60
    assert set(verdicts.dropna()["dimension"]) == {"D2", "D4", "D5"}


def test_messages_are_given_to_who_writes_like_that_and_copies_are_left_out():
    known = [
        make_conversation("so what !!", "well, yes, no", user="a"),
        make_conversation("Do it. Do it.", user="b"),
    ]
    known += [make_conversation("why? why? how?", "one two three four five six", user="c")]
    system = [make_conversation("then what !!", user="a"), make_conversation("So. Do it.", user="b")]
    system += [make_conversation("one two three four five", user="c")]  # a copy
    table = authorship.attribute_transcripts(
        {"mine": system, "swapped": [system[0].model_copy(update={"user_id": "b"})]}, known
    )
    assert table[["arm", "user_id", "first"]].to_numpy().tolist() == [
        ["mine", "a", 1],
        ["mine", "b", 1],
        ["swapped", "b", 0],
    ]
    assert table["place"].tolist()[:2] == [1, 1]


def test_too_few_people_is_said():
    with pytest.raises(ValueError, match="3 users have two conversations, 100 are needed"):
        authorship.learn_authorship(people(3), seed=0)


def test_index_is_placed_between_the_reference_arms():
    rows = [
        {"judge": "j", "user_id": u, "case_id": u, "arm": arm, "dimension": "D2", "match": match}
        for u in "abcdefghijkl"
        for arm, match in (("same_user", 1.0), ("other_user", 0.0), ("profile", float(u in "abcdefghi")))
    ]
    table = normalise_fidelity(pd.DataFrame(rows))
    assert table.loc[("j", "profile"), "normalised"] == 0.75 and table.loc[("j", "profile"), "ci_low"] < 0.75
    flat = pd.DataFrame([{**row, "match": 1.0} for row in rows])
    assert np.isnan(normalise_fidelity(flat).loc[("j", "profile"), "normalised"])


def test_stranger_nearest_in_topic_is_somebody_else():
    sides = pd.DataFrame({"texts": [["red apples"], ["blue cars"], ["apples red"]]}, index=list("abc"))
    assert authorship.find_nearest(sides, sides)[0][[0, 2]].tolist() == [2, 0]


def test_more_messages_tell_people_apart_better_and_all_rows_are_of_the_same_users():
    talks = [write(user, number) for user in range(120) for number in range(2)]
    power = authorship.measure_power(talks, counts=(1, 5, 8), seed=0).set_index(["reader", "n_messages"])
    assert set(power["n_users"]) == {120} and power.index.unique("n_messages").tolist() == [1, 5]
    assert power.loc[("measured", 5), "auc"] > power.loc[("measured", 1), "auc"] > 0.5
    assert authorship.measure_power(talks[:50], seed=0).empty
