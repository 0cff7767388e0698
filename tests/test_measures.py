"""Statistics and divergences on known answers."""

import asyncio
import json

import numpy as np
import pandas as pd
import pytest
from conftest import make_conversation, with_models

from realusersim_nb import behaviours, embeddings, facets, gap, mixtures, probe, stats


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
    real, simulated = np.array([5, 3, 0]), np.array([1, 3, 4])  # conversations in three clusters
    p, q = (real + 1 / 3) / 9, (simulated + 1 / 3) / 9  # 16, 10, 1 and 4, 10, 13 of 27
    found = gap.diverge(gap.smooth(real), gap.smooth(simulated))
    assert found["kl_forward"] == pytest.approx((p * np.log(p / q)).sum())
    assert found["kl_backward"] == pytest.approx((q * np.log(q / p)).sum())
    m = (p + q) / 2
    assert found["js"] == pytest.approx(((p * np.log(p / m)).sum() + (q * np.log(q / m)).sum()) / 2)
    assert (found["kl_forward"], found["js"]) == (pytest.approx(0.7265, abs=1e-4), pytest.approx(0.1844, abs=1e-4))


def test_identical_samples_have_zero_gap_and_disjoint_ones_ln_2():
    counts = np.repeat([2000, 0], 5)
    assert gap.diverge(gap.smooth(counts), gap.smooth(counts))["js"] == 0
    assert gap.diverge(gap.smooth(counts), gap.smooth(counts[::-1]))["js"] == pytest.approx(np.log(2), abs=0.01)


def make_labels(systems):
    """Labels of clusters and users of systems that are given as counts, {name: [conversations in cluster 0, 1, ...]}."""
    rows = [(name, f"{name}{c}-{i}", c) for name, counts in systems.items() for c, n in enumerate(counts) for i in range(n)]  # fmt: skip
    table = pd.DataFrame(rows, columns=["system", "conversation_id", "label"]).set_index(["system", "conversation_id"])
    users = pd.Series(table.index.get_level_values("conversation_id"), table.index)
    return table["label"], users


def test_gap_has_an_interval_a_floor_and_both_sides_of_the_divergence():
    labels, users = make_labels({"real": [300] * 4, "alike": [75] * 4, "half": [150, 150, 0, 0]})
    found = gap.measure(labels, users, k=4, seed=0)
    assert found.loc["alike", "js"] <= found.loc["alike", "floor_high"] < found.loc["half", "ci_low"]
    assert found.loc["half", "ci_low"] < found.loc["half", "js"] < found.loc["half", "ci_high"]
    assert found.loc["half", "kl_forward"] > 2 * found.loc["half", "kl_backward"]  # real behaviour is missed
    assert found.loc["real_floor", "n"] == 300
    table = gap.compare_systems(labels, k=4)
    assert (np.diag(table) == 0).all() and table.equals(table.T)


def test_a_planted_missing_mode_is_missed_and_an_invented_one_invented():
    labels, _ = make_labels({"real": [300, 300, 300, 100, 0], "simulated": [350, 300, 250, 0, 100]})
    found = behaviours.compare(labels, "simulated", k=5)
    assert found["kind"].tolist() == ["captured"] * 3 + ["missed", "invented"]
    few, _ = make_labels({"real": [300, 300, 300, 100, 0], "simulated": [5, 5, 4, 0, 0]})
    assert behaviours.compare(few, "simulated", k=5)["kind"].tolist()[3:] == ["rare", "rare"]


def test_mixing_two_halves_of_the_real_population_comes_down_to_the_floor():
    labels, users = make_labels(
        {"real": [400] * 4, "left": [200, 200, 0, 0], "right": [0, 0, 200, 200], "odd": [50] * 4}
    )
    found = mixtures.mix(labels, users, k=4, seed=0).set_index("systems")
    pair = found.loc["left + right"]
    assert pair["weights"] == "0.50 + 0.50" or abs(float(pair["weights"][:4]) - 0.5) < 0.05
    assert pair["js"] < gap.measure(labels, users, k=4, seed=0).loc["left", "floor_high"] < pair["best_alone"]
    assert found.index[0] in ("left + right", "left + odd", "right + odd", "left + right + odd")


def population(n, text, user):
    return [make_conversation(text, f"{text} {i}", user=f"{user}{i}") for i in range(n)]


CASUAL, FORMAL = "ok do it", "Could you please explain that in detail?"
SYSTEMS = {
    "real": population(60, CASUAL, "a") + population(60, FORMAL, "b"),
    "alike": population(20, CASUAL, "c") + population(20, FORMAL, "d"),
    "unlike": population(40, "Thank you. I would like to know more about that, please.", "e"),
}


@pytest.mark.parametrize("writer", ["measured", "raw"])
def test_a_system_unlike_real_users_lies_above_the_floor_and_a_like_one_within(writer):
    listed = facets.list_systems(SYSTEMS, first=5)
    described = asyncio.run(facets.make(writer, listed, models=None))
    points = embeddings.reduce(embeddings.embed(facets.join(described)))
    labels = pd.Series(gap.cluster(points, k=10, seed=0), described.index)
    found = gap.measure(labels, described["user_id"], k=10, seed=0)
    assert found.loc["alike", "js"] <= found.loc["alike", "floor_high"] or writer == "raw"
    assert found.loc["unlike", "js"] > 5 * found.loc["unlike", "floor_high"]
    probed = probe.measure(points, described["user_id"])
    assert probed.loc["unlike", "accuracy"] > 0.95 and (writer == "raw" or probed.loc["alike", "accuracy"] < 0.7)


def test_measured_facets_are_words_for_what_a_person_does():
    texts = ["hi, how do i sort a list?", "ok thanks, and backwards?", "no"]
    assert facets.describe_acts(texts) == "first-greet first-ask then-thank then-accept then-ask then-reject"
    assert facets.describe_pace(texts) == "opens-short short>short short>tiny"
    assert "starts_lower:always" in facets.describe_style(texts)


def test_terms_of_a_cluster_say_what_sets_it_apart():
    found = behaviours.name_terms(["a b", "a b", "a c", "a c"], np.array([0, 0, 1, 1]))
    assert found[0].startswith("b") and found[1].startswith("c")


def test_model_writes_six_facets_and_a_reading_that_fails_is_a_row(endpoint):
    whole = dict.fromkeys(facets.ConversationFacets.model_fields, "a description of it")
    acts = {"messages": [{"damsl": "open question", "sgd": "request"}, {"damsl": "thanking", "sgd": "thank you"}]}
    replies = iter([whole, acts])
    endpoint(lambda r: json.dumps(next(replies, "broken")))
    listed = facets.list_systems({"real": population(2, CASUAL, "a")}, first=2)
    found = with_models(lambda m: facets.describe(m, "m", listed), max_concurrency=1)
    assert list(found.columns) == ["user_id", *facets.SIX, "error"]
    assert found.iloc[0][["damsl", "sgd"]].tolist() == ["open-question thanking", "request thank-you"]
    assert (
        found.iloc[0]["error"] is None
        and "CallFailed" not in found.iloc[1]["error"]
        and found.iloc[1]["requests"] == ""
    )


def test_bad_systems_points_and_clusters_are_refused_in_a_sentence(tmp_path):
    real = population(3, "x y", "a")
    with pytest.raises(ValueError, match="'nobody': no conversation"):
        facets.list_systems({"real": real, "nobody": []}, first=5)
    with pytest.raises(ValueError, match="no system is named 'real'"):
        facets.list_systems({"gpt": real}, first=5)
    with pytest.raises(ValueError, match="k = 9"):
        gap.cluster(np.zeros((3, 2)), k=9, seed=0)
    with pytest.raises(ValueError, match="embedding of conversation 1 holds no number"):
        embeddings.reduce(np.array([[1.0, 2], [np.nan, 1]]))
    np.save(tmp_path / "points.npy", np.zeros((2, 4)))
    with pytest.raises(ValueError, match="expected 3 rows"):
        embeddings.make(str(tmp_path / "points.npy"), ["a", "b", "c"])
    with pytest.raises(ValueError, match="embedder 'word2vec' does not exist"):
        embeddings.make("word2vec", ["a"])
    assert "system should have 500" in gap.warn_of_size(pd.Series({"real": 900, "small": 40}), k=100)
    assert len(facets.list_systems({"real": [*real, *real]}, first=5).index.unique()) == 6
