"""Statistics and divergences on known answers."""

import numpy as np
import pandas as pd
import pytest
from conftest import make_conversation

from realusersim_nb import gap, stats


def test_rate_is_the_mean_and_its_interval_holds_it():
    values = pd.Series([1, 1, 0, 0, 1, 0])
    found = stats.rate(values, pd.Series(list("aabbcc")))
    assert found["rate"] == 0.5 and found["ci_low"] < 0.5 < found["ci_high"]
    assert found["n"] == 6


def test_repeating_a_users_answers_does_not_narrow_the_interval():
    values, users = pd.Series([1, 0, 1, 0, 1, 1]), pd.Series(list("abcdef"))
    once = stats.rate(values, users)
    often = stats.rate(pd.concat([values] * 50), pd.concat([users] * 50))
    assert often["ci_high"] - often["ci_low"] == pytest.approx(once["ci_high"] - once["ci_low"])


def test_unanimous_clusters_do_not_give_certainty():
    found = stats.rate(pd.Series([1, 1, 1, 1]), pd.Series(list("abcd")))
    assert (found["rate"], found["ci_high"]) == (1.0, 1.0)
    assert found["ci_low"] == pytest.approx(0.398, abs=0.001)  # Clopper-Pearson, 4 of 4


def test_one_cluster_has_no_interval():
    assert np.isnan(stats.rate(pd.Series([1, 0]), pd.Series(["a", "a"]))["ci_low"])


def test_paired_difference_ignores_units_seen_once():
    table = pd.DataFrame(
        {"arm": ["x", "y", "x", "y", "x"], "user": [1, 1, 2, 2, 3], "match": [1.0, 0.0, 1.0, 0.0, 0.0]}
    )
    found = stats.difference(table, "match", arm="x", baseline="y", pair_by="user")
    assert (found["difference"], found["n_pairs"], found["p"]) == (1.0, 2, 0.5)


def test_pairs_that_all_agree_give_a_difference_without_an_interval():
    table = pd.DataFrame({"arm": ["x", "y"] * 3, "user": [1, 1, 2, 2, 3, 3], "match": [1.0] * 6})
    found = stats.difference(table, "match", arm="x", baseline="y", pair_by="user")
    assert found["difference"] == 0 and found["p"] == 1 and np.isnan(found["ci_low"])


def test_sign_flip_p_is_exact():
    assert stats.flip_signs(np.array([1.0, 1.0, 1.0])) == 0.25  # 2 of 8 labellings are as extreme
    assert stats.flip_signs(np.array([1.0, -1.0])) == 1.0


def test_divergences_of_a_hand_computed_example():
    real, simulated = np.array([0, 0, 1]), np.array([0, 1, 1])
    p, q = np.array([2.5, 1.5]) / 4, np.array([1.5, 2.5]) / 4
    found = gap.diverge(real, simulated, k=2)
    assert found["kl_forward"] == pytest.approx((p * np.log(p / q)).sum())
    assert found["kl_backward"] == pytest.approx((q * np.log(q / p)).sum())


def test_identical_samples_have_zero_gap_and_disjoint_ones_ln_2():
    labels = np.repeat(np.arange(5), 2000)
    assert gap.diverge(labels, labels, k=5)["js"] == 0
    assert gap.diverge(labels, labels + 5, k=10)["js"] == pytest.approx(np.log(2), abs=0.01)


def population(n, text, user):
    return [make_conversation(text, f"{text} {i}", user=f"{user}{i}") for i in range(n)]


def test_a_system_unlike_real_users_lies_above_the_floor_and_a_like_one_within():
    casual, formal = "ok do it", "Could you please explain that in detail?"
    mixed = population(60, casual, "a") + population(60, formal, "b")
    systems = {
        "real": mixed,
        "alike": population(20, casual, "c") + population(20, formal, "d"),
        "unlike": population(40, formal.upper(), "e"),
    }
    found = gap.measure(gap.describe(systems, first=5), k=10, seed=0)
    assert found.loc["alike", "js"] <= found.loc["alike", "floor_high"]
    assert found.loc["unlike", "js"] > 5 * found.loc["unlike", "floor_high"]


def test_empty_system_and_too_many_clusters_are_refused():
    with pytest.raises(ValueError, match="'nobody'"):
        gap.describe({"real": population(3, "x y", "a"), "nobody": []}, first=5)
    with pytest.raises(ValueError, match="k = 9"):
        gap.cluster(np.zeros((3, 2)), k=9, seed=0)
