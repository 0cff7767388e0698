"""Intervals, paired differences and random draws on known answers."""

import numpy as np
import pandas as pd
import pytest

from realusersim_nb import stats


def test_rate_is_the_mean_and_its_interval_holds_it():
    values = pd.Series([1, 1, 0, 0, 1, 0] * 4)
    rate = stats.estimate_rate(values, pd.Series(list("aabbccddeeffgghhiijjkkll")))
    assert rate["rate"] == 0.5 and rate["ci_low"] < 0.5 < rate["ci_high"]
    assert rate["n"] == 24


def test_repeating_a_users_answers_does_not_narrow_the_interval():
    values, users = pd.Series([1, 0, 1, 0, 1, 1] * 2), pd.Series(list("abcdefghijkl"))
    once = stats.estimate_rate(values, users)
    often = stats.estimate_rate(pd.concat([values] * 50), pd.concat([users] * 50))
    assert often["ci_high"] - often["ci_low"] == pytest.approx(once["ci_high"] - once["ci_low"])


def test_unanimous_clusters_do_not_give_certainty():
    rate = stats.estimate_rate(pd.Series([1] * 10), pd.Series(list("abcdefghij")))
    assert (rate["rate"], rate["ci_high"]) == (1.0, 1.0)
    assert rate["ci_low"] == pytest.approx(0.692, abs=0.001)  # Clopper-Pearson, 10 of 10


@pytest.mark.parametrize("values", [[1, 0], [1, 0] * 4 + [1], [1] * 9])
def test_fewer_than_ten_clusters_have_no_interval(values):
    rate = stats.estimate_rate(pd.Series(values), pd.Series(range(len(values))))
    assert np.isnan([rate["ci_low"], rate["ci_high"]]).all() and rate["rate"] == np.mean(values)


def test_paired_difference_ignores_units_seen_once():
    table = pd.DataFrame(
        {"arm": ["x", "y", "x", "y", "x"], "user": [1, 1, 2, 2, 3], "match": [1.0, 0.0, 1.0, 0.0, 0.0]}
    )
    pair = stats.compare_paired(table, "match", arm="x", baseline="y", pair_by="user")
    assert (pair["difference"], pair["n_pairs"], pair["p"]) == (1.0, 2, 0.5)
    assert list(pair) == stats.PAIRED_COLUMNS


def test_pairs_that_all_agree_give_a_difference_without_an_interval():
    table = pd.DataFrame({"arm": ["x", "y"] * 3, "user": [1, 1, 2, 2, 3, 3], "match": [1.0] * 6})
    pair = stats.compare_paired(table, "match", arm="x", baseline="y", pair_by="user")
    assert pair["difference"] == 0 and pair["p"] == 1 and np.isnan(pair["ci_low"])


def test_sign_flip_p_is_exact():
    assert stats.compute_permutation_p(np.array([1.0, 1.0, 1.0])) == 0.25  # 2 of 8 labellings are as extreme
    assert stats.compute_permutation_p(np.array([1.0, -1.0])) == 1.0


def test_minimum_detectable_effect_of_25_pairs_of_spread_1():
    """(t(0.975, 24) + t(0.8, 24)) / 5 = (2.064 + 0.857) / 5."""
    gaps = np.tile([-1.0, 1.0], 13)[:25]
    effect = stats.find_minimum_detectable_effect(gaps / np.std(gaps, ddof=1))
    assert effect == pytest.approx(0.584, abs=0.001)


def test_pairs_that_all_differ_alike_are_not_called_equal():
    assert stats.describe_power(0.12) == "differences below 12 points"
    limit = stats.describe_power(stats.find_minimum_detectable_effect(np.ones(12)))
    assert limit == "how much pairs differ: all are alike"


def test_disjoint_samples_share_no_cluster():
    clusters, rng = np.array([0, 0, 0, 1, 1, 2, 3, 3, 3, 3]), np.random.default_rng(0)
    for n in range(1, 11):
        one, other = stats.draw_disjoint(clusters, n, rng)
        assert len(one) == n and not set(clusters[one]) & set(clusters[other])
        left_out = set(range(10)) - {*one, *other}
        assert len(set(clusters[list(left_out)])) <= 1  # of the cluster that reaches n only


def test_clusters_are_resampled_whole():
    sums = stats.resample_sums(np.array([[3.0, 0], [0, 2]]), 5, np.random.default_rng(0), draws=100)
    assert (sums[:, 0] / 3 + sums[:, 1] / 2 == 5).all() and sums[:, 0].mean() == pytest.approx(7.5, abs=1)
