"""Facets, divergences and the scores beside the gap, on known answers."""

import asyncio
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import make_conversation, with_models

from realusersim_nb.corpus import loading
from realusersim_nb.gap import ablations, calibration, divergence, embeddings, facets, metrics, mixtures
from realusersim_nb.gap.behaviours import compare_all_behaviours, compare_behaviours, name_terms
from realusersim_nb.gap.endings import keep_ended, tabulate_endings
from realusersim_nb.gap.odd_one_out import (
    Answer,
    ask_annotator,
    draw_triplets,
    measure_kappa,
    read_answers,
    save_answer,
    score_answers,
    tabulate_answers,
)
from realusersim_nb.llm.endpoints import EndpointError
from realusersim_nb.style import ngrams
from realusersim_nb.widgets.behaviours import browse_behaviours, find_odd_ones


def test_endings_are_counted_by_what_the_last_message_does_and_the_reply_before_it():
    served = make_conversation("book a table for two", "great, thanks", user="a")
    objects = make_conversation("book a table", "no, that's not what i asked", user="b")
    again = make_conversation("and for three people please", "no, i said three people", user="c")
    again.messages[1].content = "I am sorry, I cannot do that."
    once = make_conversation("just one message", user="d")
    table = tabulate_endings({"real": [served, objects, again, once], "arm": [served]})
    assert table.loc["real", ["n", "n_users", "messages"]].tolist() == [3, 3, 2]
    assert table["unserved"].tolist() == [pytest.approx(2 / 3), 0]
    assert table["closes"].tolist() == [pytest.approx(1 / 3), 1]
    assert table.loc["real", ["after_refusal", "after_answer"]].tolist() == [0.5, 0.5]
    assert table.loc["arm", "disclosed"] == pytest.approx(5 / 7)


def test_piece_that_a_source_continues_elsewhere_has_no_ending():
    pieces = [make_conversation("one", "two", user="a", number=number) for number in range(3)]
    pieces[1].continues = pieces[2].continues = True
    other = make_conversation("three", "four", user="b")
    assert keep_ended([*pieces, other]) == [pieces[2], other]


def test_divergences_of_a_hand_computed_example():
    """Shares 5/8, 3/8, 0 and 1/8, 3/8, 4/8; with alpha = 1/3 they are 23, 17, 8 and 11, 17, 20 of 48."""
    real, simulated = np.array([5, 3, 0]), np.array([1, 3, 4])  # conversations in three clusters
    divergences = divergence.compute_divergences(real, simulated)
    p, q = np.array([23, 17, 8]) / 48, np.array([11, 17, 20]) / 48
    assert (
        divergences["kl_forward"]
        == pytest.approx((p * np.log(p / q)).sum())
        == pytest.approx(0.2007, abs=1e-4)
    )
    assert (
        divergences["kl_backward"]
        == pytest.approx((q * np.log(q / p)).sum())
        == pytest.approx(0.2128, abs=1e-4)
    )
    js = (5 * np.log(5 / 3) + 1 * np.log(1 / 3) + 4 * np.log(4 / 2)) / 8 / 2  # the middle is 3, 3, 2 of 8
    assert divergences["js"] == pytest.approx(js)


def test_identical_samples_have_zero_gap():
    counts = np.repeat([2000, 0], 5)
    assert set(divergence.compute_divergences(counts, counts).values()) == {0.0}


def test_disjoint_samples_have_the_divergences_of_the_published_formula():
    """At k = 500: point masses 3.108 both ways and ln 2; uniform halves 0.549, whatever the counts."""
    one, halves = np.eye(500) * 70, np.repeat(np.eye(2) * 3, 250, axis=1)
    for pair, kl in ((one[:2], 3.108), (halves, 0.549)):
        for divergences in (divergence.compute_divergences(*pair), divergence.compute_divergences(*pair * 9)):
            assert divergences["js"] == pytest.approx(np.log(2))
            assert divergences["kl_forward"] == pytest.approx(kl, abs=5e-4)
            assert divergences["kl_backward"] == pytest.approx(kl, abs=5e-4)


def test_real_users_are_clustered_with_one_system_at_a_time():
    """Two real behaviours; a system with a third takes a cluster only in its own pair."""
    middles = {"real": [0, 1], "a": [0, 1], "b": [0, 2]}
    rows = [(name, f"{name}{i}", m) for name, ms in middles.items() for i in range(20) for m in [ms[i % 2]]]
    table = pd.DataFrame(rows, columns=["system", "conversation_id", "m"]).set_index(
        ["system", "conversation_id"]
    )
    points = np.eye(3)[table["m"]] + np.random.default_rng(0).normal(0, 0.01, (60, 3))
    pairs = divergence.cluster_pairs(points, table.index, k=3, seed=0)
    assert list(pairs) == ["a", "b"] and set(pairs["a"].index.unique("system")) == {"real", "a"}
    counted = divergence.count_clusters(pairs, k=3)
    assert sorted(counted.loc["b"].to_numpy().tolist()) == [[0, 10], [10, 0], [10, 10]]
    alone = divergence.cluster_pairs(points[:40], table.index[:40], k=3, seed=0)
    assert alone["a"].equals(pairs["a"])


def make_labels(systems):
    """Labels and users of systems that are given as {name: [conversations in cluster 0, 1, ...]}."""
    rows = [
        (name, f"{name}{c}-{i}", c)
        for name, counts in systems.items()
        for c, n in enumerate(counts)
        for i in range(n)
    ]
    table = pd.DataFrame(rows, columns=["system", "conversation_id", "label"]).set_index(
        ["system", "conversation_id"]
    )
    users = pd.Series(table.index.get_level_values("conversation_id"), table.index)
    return table["label"], users


def pair_up(labels):
    """The labels of real users and each system, as if they had been clustered in pairs."""
    systems = labels.index.unique("system").drop("real")
    return {name: labels[labels.index.isin(["real", name], level="system")] for name in systems}


def test_gap_has_an_interval_a_floor_and_both_sides_of_the_divergence():
    labels, users = make_labels({"real": [300] * 4, "alike": [75] * 4, "half": [150, 150, 0, 0]})
    gaps = divergence.measure_gap(pair_up(labels), users, k=4, seed=0)
    assert gaps.loc["alike", "js"] <= gaps.loc["alike", "floor_high"] < gaps.loc["half", "ci_low"]
    assert gaps.loc["half", "ci_low"] < gaps.loc["half", "js"] < gaps.loc["half", "ci_high"]
    p, q = np.full(4, 1 / 4), np.array([3, 3, 1, 1]) / 8  # smoothed by alpha = 1/4
    assert gaps.loc["half", "kl_forward"] == pytest.approx((p * np.log(p / q)).sum())
    assert gaps.loc["real_floor", "n"] == 300
    labels_alike, users_alike = make_labels({"real": [75] * 4, "alike": [75] * 4})
    as_many = divergence.measure_gap(pair_up(labels_alike), users_alike, k=4, seed=0).loc["alike"]
    assert as_many["js"] <= as_many["floor_high"] and as_many["floor"] == pytest.approx(
        gaps.loc["alike", "floor"], rel=1
    )
    table = divergence.compare_systems(labels, k=4)
    assert (np.diag(table) == 0).all() and table.equals(table.T)


def test_a_planted_missing_mode_is_missed_and_an_invented_one_invented():
    labels, _ = make_labels({"real": [300, 300, 300, 100, 0], "simulated": [350, 300, 250, 0, 100]})
    compared = compare_behaviours(labels, "simulated", k=5)
    assert compared["kind"].tolist() == ["captured"] * 3 + ["missed", "invented"]
    few, _ = make_labels({"real": [300, 300, 300, 100, 0], "simulated": [5, 5, 4, 0, 0]})
    assert compare_behaviours(few, "simulated", k=5)["kind"].tolist()[3:] == ["rare", "rare"]


def test_mixing_two_halves_of_the_real_population_comes_down_to_the_floor():
    labels, users = make_labels(
        {"real": [400] * 4, "left": [200, 200, 0, 0], "right": [0, 0, 200, 200], "odd": [50] * 4}
    )
    mixed = mixtures.measure_mixtures(labels, users, k=4, seed=0).set_index("systems")
    pair = mixed.loc["left + right"]
    assert pair["weights"] == "0.50 + 0.50" or abs(float(pair["weights"][:4]) - 0.5) < 0.05
    assert (
        pair["js"]
        < divergence.measure_gap(pair_up(labels), users, k=4, seed=0).loc["left", "floor_high"]
        < pair["best_alone"]
    )
    assert mixed.index[0] in ("left + right", "left + odd", "right + odd", "left + right + odd")


def measure_all(labels, users, *, seed):
    """What is measured of systems with a seed; the point of a conversation depends on its id alone."""
    points = np.array([np.random.default_rng(list(name.encode())).normal(size=2) for _, name in labels.index])
    return {
        "gap": divergence.measure_gap(pair_up(labels), users, k=3, seed=seed),
        "mixtures": mixtures.measure_mixtures(labels, users, k=3, seed=seed).set_index("systems"),
        "probe": metrics.measure_probe(points, users, seed=seed),
        "coverage": metrics.measure_coverage(points, users, seed=seed),
    }


@pytest.fixture
def few_draws(monkeypatch):
    monkeypatch.setattr(metrics, "DRAWS", 2)


TALKS = {"more": [10, 6, 8], "real": [30, 20, 25], "a": [12, 4, 8], "b": [4, 12, 8]}


def test_a_system_more_leaves_the_rows_of_the_others_as_they_are(few_draws):
    labels, users = make_labels(TALKS)
    users = users.str.replace(r"^\D+", "", regex=True)  # some people are in all systems
    is_kept = labels.index.get_level_values("system") != "more"
    with_more = measure_all(labels, users, seed=1)
    for name, table in measure_all(labels[is_kept], users[is_kept], seed=1).items():
        pd.testing.assert_frame_equal(with_more[name].loc[table.index], table)


def test_another_seed_draws_anew_and_the_same_one_alike(few_draws):
    labels, users = make_labels(TALKS)
    answers = pd.DataFrame({"annotator": "a", "triplet_id": range(12), "right": np.arange(12) / 12})
    one, again, other = (
        measure_all(labels, users, seed=seed) | {"odd one out": score_answers(answers, seed=seed)}
        for seed in (1, 1, 2)
    )
    for name in one:
        pd.testing.assert_frame_equal(one[name], again[name])
        assert not one[name].equals(other[name]), name


def test_a_person_is_in_one_half_of_a_mixture_in_all_systems():
    """Real users all in cluster 0 or 1 by person; simulated ones do the same: then each half's gap is zero."""
    people = [f"u{i}" for i in range(40)]
    systems = ["real", "a", "b"]
    index = pd.MultiIndex.from_product([systems, people], names=["system", "conversation_id"])
    users = pd.Series(index.get_level_values("conversation_id"), index)
    labels = pd.Series(np.tile(np.random.default_rng(0).permutation(40), 3) % 4, index)
    halves = mixtures.split_shares(labels, users, k=4, seed=3)
    for half in halves:
        assert (half["real"] == half["a"]).all() and (half["real"] == half["b"]).all()
    assert (halves[0]["real"] != halves[1]["real"]).any()
    assert mixtures.measure_mixtures(labels, users, k=4, seed=3)["js"].max() == pytest.approx(0, abs=1e-9)


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
    described = asyncio.run(facets.make_facets(writer, listed, models=None))
    embedded = embeddings.embed_by_lsa(facets.join_facets(described))
    points = embeddings.reduce_dimensions(embedded)
    pairs = divergence.cluster_pairs(embedded, described.index, k=10, seed=0)
    gaps = divergence.measure_gap(pairs, described["user_id"], k=10, seed=0)
    assert gaps.loc["alike", "js"] <= gaps.loc["alike", "floor_high"] or writer == "raw"
    assert gaps.loc["unlike", "js"] > 5 * gaps.loc["unlike", "floor_high"]
    probed = metrics.measure_probe(points, described["user_id"])
    assert probed.loc["unlike", "accuracy"] > 0.95 and (
        writer == "raw" or probed.loc["alike", "accuracy"] < 0.7
    )


def test_measured_facets_are_words_for_what_a_person_does():
    texts = ["hi, how do i sort a list?", "ok thanks, and backwards?", "no"]
    assert facets.describe_acts(texts) == "first-greet first-ask then-thank then-accept then-ask then-reject"
    assert facets.describe_pace(texts) == "opens-short short>short short>tiny"
    assert "starts_lower:always" in facets.describe_style(texts)


def test_terms_of_a_cluster_say_what_sets_it_apart():
    terms = name_terms(["a b", "a b", "a c", "a c"], np.array([0, 0, 1, 1]))
    assert terms[0].startswith("b") and terms[1].startswith("c")


def test_a_term_that_is_rare_everywhere_does_not_come_first_in_a_name():
    """``odd`` is in one cluster alone but seen once; ``often`` is seen in both, five times as often in one."""
    texts = ["often common"] * 20 + ["odd common"] + ["common"] * 17 + ["often common"] * 4
    terms = name_terms(texts, np.repeat([0, 1], 21))
    assert terms[0].split(", ")[0] == "often" and terms[1].split(", ")[0] == "common"


FACETS = {"UserFacets": ["requests", "context", "communication_style"], "ResponseFacets": ["responses"]}


def answer_facets(request):
    """A model that describes everything, but breaks at a message that says so."""
    prompt, form = request["messages"][0]["content"], request["response_format"]["json_schema"]["name"]
    if "BREAK" in prompt.split("The person's message:")[-1]:
        return "broken"
    if form == "UtteranceActs":
        thanks = "thanks" in prompt.split("The person's message:")[1]
        acts = ("thanking", "thank you") if thanks else ("open question", "request")
        return json.dumps(dict(zip(("damsl", "sgd"), acts, strict=True)))
    return json.dumps(dict.fromkeys(FACETS[form], "- points on it"))


def test_model_sees_for_each_facet_what_the_paper_shows_it_and_a_missing_one_is_counted_and_left_out(
    endpoint,
):
    mock = endpoint(answer_facets)
    talks = [make_conversation("what is it", "thanks", "and more", user="a")]
    systems = {"real": [*talks, make_conversation("BREAK", user="c")], "other": population(1, FORMAL, "b")}
    listed = facets.list_systems(systems, first=2, writer="m")
    described = with_models(lambda m: facets.describe_with_model(m, "m", listed), max_concurrency=1)
    assert list(described.columns) == ["user_id", *facets.SIX, "error"]
    assert described.iloc[0][["damsl", "sgd"]].tolist() == ["open-question thanking", "request thank-you"]
    prompts = [r["messages"][0]["content"] for r in mock.requests[:4]]
    alone, responses, first, second = prompts
    assert (
        "1. what is it\n2. thanks" in alone and "ok" not in alone.split("in order;")[1].split("They are")[0]
    )
    assert "User: what is it\nAssistant: ok\nUser: thanks" in responses and "and more" not in "".join(prompts)
    assert "Before this message:\n(nothing)" in first and "Assistant: ok" in second
    assert all(r["temperature"] == 0.7 for r in mock.requests)
    assert described.iloc[1]["error"] and described.iloc[1]["requests"] == ""
    kept = facets.drop_failed(described)
    assert len(kept) == 2 and facets.join_facets(kept)[0].startswith(
        "requests:\n- points on it\nresponses:\n"
    )
    assert len(facets.drop_failed(pd.concat([kept, kept.iloc[[0]].assign(context="")]))) == 2


def test_embeddings_are_cut_to_1024_dimensions_before_they_are_scaled():
    rng = np.random.default_rng(0)
    kept = rng.normal(size=(30, 1024)).astype(np.float32)
    long = np.hstack([kept, 100 * rng.normal(size=(30, 200)).astype(np.float32)])
    assert np.allclose(embeddings.reduce_dimensions(long), embeddings.reduce_dimensions(kept))


def cluster_texts(systems, k):
    """From conversations to clusters by measured facets: labels, listed, described, texts, embeddings."""
    listed = facets.list_systems(systems, first=5)
    described = facets.measure_facets(listed)
    texts = facets.join_facets(described)
    embedded = embeddings.embed_by_lsa(texts)
    labels = pd.Series(
        divergence.cluster_embeddings(embeddings.reduce_dimensions(embedded), k=k, seed=0), described.index
    )
    return labels, listed, described, texts, embedded


def test_modes_planted_in_conversations_are_detected_and_named():
    ways = {
        "casual": "ok do it",
        "formal": FORMAL,
        "angry": "no that is wrong",
        "thankful": "Thank you very much, dear friend.",
    }

    def mix(name, **counts):
        return [c for way, n in counts.items() for c in population(n, ways[way], f"{name}{way}")]

    systems = {
        "real": mix("r", casual=300, formal=250, angry=60),
        "simulated": mix("s", casual=200, formal=200, thankful=60),
    }
    labels, _, _, texts, _ = cluster_texts(systems, k=6)
    compared = compare_all_behaviours(labels, texts, k=6).loc["simulated"]
    kinds = labels.map(compared["kind"])
    users = kinds.index.get_level_values("conversation_id").str
    assert set(kinds[users.startswith("rangry")]) == {"missed"}
    assert set(kinds[users.startswith("sthankful")]) == {"invented"}
    assert set(kinds[users.startswith("rcasual") | users.startswith("scasual")]) == {"captured"}
    assert "reject" in " ".join(compared.loc[compared["kind"] == "missed", "terms"])
    assert "thank" in " ".join(compared.loc[compared["kind"] == "invented", "terms"])


def test_scores_beside_the_gap_have_known_ends():
    means = pd.DataFrame(
        {"system": ["real", "real", "a", "a"], "feature": ["x", "y"] * 2, "mean": [0.2, 0.5, 0.6, 0.5]}
    )
    dice = metrics.measure_dice(means)
    assert dice["a"].to_dict() == {"x": pytest.approx(0.5), "y": 1.0, "mean": pytest.approx(0.75)}
    _, _, described, _, embedded = cluster_texts(SYSTEMS, k=4)
    coverage = metrics.measure_coverage(embedded, described["user_id"])
    assert coverage.loc["alike", "real_to_simulated"] == pytest.approx(
        coverage.loc["alike", "floor"], abs=0.05
    )
    assert (
        coverage.loc["unlike", ["real_to_simulated", "simulated_to_real"]].min()
        > coverage.loc["unlike", "floor"] + 0.3
    )
    probed = metrics.measure_probe(embedded, described["user_id"])
    assert probed.loc["unlike", "p_human"] < 0.2 < 0.8 < probed.loc["unlike", "p_human_real"]


def test_mauve_and_frontier_integral_have_known_ends():
    one, other = np.array([4, 6, 0, 0]), np.array([0, 0, 9, 1])
    assert metrics.compute_frontier(one, 3 * one) == {
        "mauve": pytest.approx(1),
        "frontier_integral": pytest.approx(0),
    }
    disjoint = metrics.compute_frontier(
        one, other
    )  # the curve is w^5 over (1 - w)^5, which has an area of 1/252
    assert disjoint == {"mauve": pytest.approx(1 / 252, abs=5e-4), "frontier_integral": pytest.approx(1)}
    half = metrics.compute_frontier(np.array([1, 0]), np.array([1, 1]))  # 1 - 1/2 ln 2 / (1/2)
    assert half["frontier_integral"] == pytest.approx(1 - np.log(2))
    counted = divergence.count_clusters(
        pair_up(make_labels({"real": [5, 5], "a": [5, 5], "b": [0, 9]})[0]), k=2
    )
    table = metrics.measure_frontier(counted)
    assert table.index.tolist() == ["a", "b"] and table["mauve"].tolist() == sorted(table["mauve"])[::-1]
    assert table.loc["a", "mauve"] == pytest.approx(1)


def test_probe_on_masked_ngrams_knows_the_manner_and_not_the_subject(monkeypatch):
    """All write the same words; one system puts capitals and stops in, the other only talks of other things."""
    monkeypatch.setattr(ngrams, "COMMON", 5)  # of this small corpus: so, what, is, a, then
    texts = {"real": "so what is a {} then", "tidy": "So what is a {} then.", "alike": "so what is a {} then"}
    nouns = {"real": "dog", "tidy": "dog", "alike": "car"}
    systems = {
        name: [
            make_conversation(text.format(f"{nouns[name]}{'x' * (i % 7)}"), user=f"{name}{i}")
            for i in range(30)
        ]
        for name, text in texts.items()
    }
    listed = facets.list_systems(systems, first=3)
    probed = metrics.measure_ngram_probe(listed, seed=0)
    assert probed.loc["tidy", "accuracy"] > 0.95 and probed.loc["alike", "accuracy"] < 0.7


def test_the_more_is_tidied_the_wider_the_gap_and_nothing_tidied_is_within_the_floor():
    texts = [["how do i sort this", "ok thanks"], ["what is it", "no, again"], ["Explain this.", "and why"]]
    people = [make_conversation(*texts[i % 3], user=f"u{i}") for i in range(240)]
    table = calibration.calibrate_gap(people, k=10, first=5, seed=0, shares=(0, 0.5, 1))
    js = table["js"]
    assert js[0] <= table["floor_high"][0] < js[0.5] < js[1]
    assert table["accuracy"][0] < 0.6 < table["accuracy"][1] and table["n"].eq(120).all()
    assert calibration.tidy("how do i sort this") == "How do I sort this."
    assert calibration.tidy("Why?") == "Why?" and calibration.tidy("see ```x``` ") == "See ```x``` "
    nearest = calibration.place_gap(table, (js[0.5] + js[1]) / 2)
    assert nearest == pytest.approx(0.75)


def test_systems_keep_their_order_whatever_is_varied():
    near = (
        population(20, CASUAL, "n")
        + population(12, FORMAL, "n2")
        + population(8, "No, wrong. Do that again!", "n3")
    )
    systems = {**SYSTEMS, "between": near}
    _, listed, described, _, embedded = cluster_texts(systems, k=4)
    choices = ablations.Choices("lsa", k=4, seed=0)
    varied = asyncio.run(ablations.vary_choices(listed, described, embedded, choices, models=None))
    assert set(varied["choice"]) == {"", "seed", "k", "clusterer", "embedder", "facets"}
    by_variant = varied.pivot_table("js", "variant", "system")
    assert (by_variant["unlike"] >= by_variant["alike"]).all()
    ranks = ablations.compare_ranks(varied)
    assert ranks.loc[("", "as above"), "rank_correlation"] == pytest.approx(1)
    assert ranks.loc[("clusterer", "agglomerative"), "rank_correlation"] == pytest.approx(1)
    assert (ranks["smallest"] <= ranks["largest"]).all()
    few = ablations.draw_rows(described.index, most=40, seed=0)
    assert described.iloc[few].groupby(level="system").size().eq(10).all()


def test_triplets_hold_two_of_one_cluster_and_answers_are_kept(tmp_path):
    labels, listed, *_ = cluster_texts(SYSTEMS, k=3)
    triplets = draw_triplets(labels, listed, n=9, seed=0)
    assert len({c for t in triplets for c in t.conversations}) == 27
    for triplet in triplets:
        clusters = [labels[tuple(c.split("/", 1))] for c in triplet.conversations]
        same = [c for i, c in enumerate(clusters) if i != triplet.odd]
        assert same[0] == same[1] != clusters[triplet.odd]
    path = tmp_path / "answers.jsonl"
    for triplet in triplets[:6]:
        save_answer(path, Answer(triplet_id=triplet.triplet_id, annotator="a", chosen=triplet.odd))
        save_answer(path, Answer(triplet_id=triplet.triplet_id, annotator="b", chosen=0))
    save_answer(path, Answer(triplet_id=triplets[0].triplet_id, annotator="b", chosen=triplets[0].odd))
    table = tabulate_answers(triplets, read_answers(path, triplets))
    assert len(table) == 12 and score_answers(table).loc["a", "rate"] == 1
    assert -1 < measure_kappa(table) < 1
    assert np.isnan(measure_kappa(table[table["annotator"] == "a"]))
    again = pd.concat(
        [table[table["annotator"] == "a"], table[table["annotator"] == "a"].assign(annotator="c")]
    )
    assert measure_kappa(again) == pytest.approx(1)
    assert draw_triplets(labels * 0, listed, n=3, seed=0) == []


def test_a_model_stands_in_for_people_under_its_name(endpoint):
    replies = iter([json.dumps({"why": "it asks in full", "odd_one": 2}), "whatever"])
    endpoint(lambda r: next(replies, "whatever"))
    labels, listed, *_ = cluster_texts(SYSTEMS, k=3)
    triplets = draw_triplets(labels, listed, n=2, seed=0)
    first, second = with_models(lambda m: ask_annotator(m, "m", triplets, seed=0), max_concurrency=1)
    assert (first.annotator, first.chosen, second.chosen) == ("m", 1, None) and "prose" in second.error
    table = tabulate_answers(triplets, [first, second])
    assert score_answers(table).loc["m", ["n", "n_failed"]].tolist() == [1, 1]


def test_who_clicks_the_odd_one_goes_on_where_they_stopped(tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr(
        "realusersim_nb.widgets.page.show_widgets", lambda widgets, **static: shown.append(widgets)
    )
    labels, listed, *_ = cluster_texts(SYSTEMS, k=3)
    triplets = draw_triplets(labels, listed, n=3, seed=0)
    for _ in range(2):
        find_odd_ones(triplets, tmp_path / "new" / "answers.jsonl", annotator="me")
        page, name, buttons, _ = shown[-1]
        buttons.children[2].click()
    assert "3 of 3" in page.value
    name.value = "you"
    assert "1 of 3" in page.value
    kept = read_answers(tmp_path / "new" / "answers.jsonl", triplets)
    assert [(a.triplet_id, a.chosen) for a in kept] == [(t.triplet_id, 2) for t in triplets[:2]]


def test_behaviours_can_be_browsed_by_system_and_kind(monkeypatch):
    shown = []
    monkeypatch.setattr(
        "realusersim_nb.widgets.page.show_widgets",
        lambda widgets, static, note: shown.append((widgets, str(static))),
    )
    systems = {
        **SYSTEMS,
        "unlike": population(40, "<b>Thank you.</b> I would like to know more, please.", "e"),
    }
    labels, listed, _, texts, embedded = cluster_texts(systems, k=3)
    compared = compare_all_behaviours(labels, texts, k=3)
    browse_behaviours(compared, embeddings.reduce_dimensions(embedded), labels, listed, system="unlike")
    (controls, page), static = shown[0]
    which, kind, chosen = controls.children
    kind.value = "invented"
    assert "nobody" in page.value and "&lt;b&gt;Thank you" in page.value and "<b>Thank" not in static
    which.value, kind.value = "alike", "captured"
    assert chosen.options and all(name.startswith("captured") and "alike" in name for name in chosen.options)


def test_endpoint_embeds_in_batches_that_are_kept(endpoint):
    mock = endpoint(lambda r: [[float(len(text)), 1.0] for text in r["input"]])
    texts = ["x" * (i + 1) for i in range(100)]
    for asked in (2, 2):
        rows = with_models(lambda m: m.embed("e", texts))
        assert rows.shape == (100, 2) and rows[:, 0].tolist() == [i + 1 for i in range(100)]
        assert len(mock.requests) == asked and {len(r["input"]) for r in mock.requests} == {64, 36}


def test_embeddings_that_do_not_come_are_a_sentence_and_what_came_is_kept(endpoint):
    mock = endpoint(lambda r: [[1.0, 2.0]] * 64 if len(r["input"]) == 64 else 413)
    for asked in (2, 3):
        with pytest.raises(EndpointError, match="no embeddings of texts 65 to 70"):
            with_models(lambda m: m.embed("e", ["x"] * 70))
        assert len(mock.requests) == asked


def embed(embedder, n=3):
    index = pd.MultiIndex.from_tuples(
        [("real", str(i)) for i in range(n)], names=["system", "conversation_id"]
    )
    return asyncio.run(embeddings.embed_texts(embedder, ["a b", "c", "a c"][:n], index))


def test_points_from_a_file_are_matched_by_id(tmp_path):
    ids = np.array(["real/2", "real/0", "real/1", "other/0"])
    np.savez(tmp_path / "points.npz", points=np.array([[2.0], [0], [1], [9]]), ids=ids)
    assert embed(str(tmp_path / "points.npz"))[:, 0].tolist() == [0, 1, 2]
    np.savez(tmp_path / "few.npz", points=np.zeros((1, 2)), ids=ids[:1])
    with pytest.raises(ValueError, match="no embedding of 'real/0' nor of 1 others"):
        embed(str(tmp_path / "few.npz"))
    np.savez(tmp_path / "twice.npz", points=np.zeros((2, 2)), ids=ids[[0, 0]])
    with pytest.raises(ValueError, match="expected one of each"):
        embed(str(tmp_path / "twice.npz"))
    np.savez(tmp_path / "odd.npz", points=np.zeros((2, 2)))
    with pytest.raises(ValueError, match="there is no 'ids'"):
        embed(str(tmp_path / "odd.npz"))


def test_bad_systems_points_and_clusters_are_refused_in_a_sentence(tmp_path):
    real = population(3, "x y", "a")
    with pytest.raises(ValueError, match="'nobody': no conversation"):
        facets.list_systems({"real": real, "nobody": []}, first=5)
    with pytest.raises(ValueError, match="no system is named 'real'"):
        facets.list_systems({"gpt": real}, first=5)
    with pytest.raises(ValueError, match="there are only real users"):
        facets.list_systems({"real": real}, first=5)
    with pytest.raises(ValueError, match="the name 'real' is taken"):
        loading.read_systems({"real": "x.jsonl"}, beside={"real": real})
    with pytest.raises(ValueError, match="k = 9"):
        divergence.cluster_embeddings(np.zeros((3, 2)), k=9, seed=0)
    with pytest.raises(ValueError, match="embedding in row 2 holds something that is no number"):
        embeddings.reduce_dimensions(np.array([[1.0, 2], [np.nan, 1]]))
    np.save(tmp_path / "points.npy", np.zeros((2, 4)))
    with pytest.raises(ValueError, match="expected 3 rows"):
        embed(str(tmp_path / "points.npy"))
    with pytest.raises(FileNotFoundError, match="no such file"):
        embed("nowhere.npy")
    with pytest.raises(ValueError, match="it does not embed"):
        embed("embedded")
    assert "system should have 500" in divergence.warn_of_size(pd.Series({"real": 900, "small": 40}), k=100)
    assert len(facets.list_systems({"real": [*real, *real], "a": real}, first=5).index.unique()) == 9
    described = pd.DataFrame(
        {"user_id": "u", "requests": "", "error": "too long"}, listed_index("real", "real")
    )
    with pytest.raises(ValueError, match="could describe none of its conversations"):
        facets.drop_failed(described)


def listed_index(*systems):
    return pd.MultiIndex.from_arrays(
        [systems, [str(i) for i in range(len(systems))]], names=["system", "conversation_id"]
    )


def test_conversations_of_one_message_are_described():
    listed = facets.list_systems({"real": [make_conversation("hi")], "a": [make_conversation("hi")]}, first=5)
    row = facets.measure_facets(listed).iloc[0]
    assert (row["acts"], row["pace"]) == ("first-greet", "opens-tiny") and "starts_lower:always" in row[
        "style"
    ]


SHARED = Path(__file__).parents[3] / "shared" / "data"


@pytest.mark.skipif(not SHARED.exists(), reason="no real conversations beside the project")
def test_gpt_4o_as_an_airline_customer_is_far_above_the_floor_and_the_terms_say_why():
    real = loading.load_corpus(str(SHARED / "realsim"), skip_steps=["assistant is GPT-4o"]).conversations
    systems = {"real": real, **loading.read_systems({"gpt4o": str(SHARED / "taubench")})}
    labels, _, described, texts, _ = cluster_texts(systems, k=10)
    gap = divergence.measure_gap(pair_up(labels), described["user_id"], k=10, seed=0).loc["gpt4o"]
    assert gap["ci_low"] > 10 * gap["floor_high"]
    compared = compare_all_behaviours(labels, texts, k=10).loc["gpt4o"]
    terms = compared.groupby("kind")["terms"].agg(" ".join)
    assert "first-greet" in terms["invented"] and "first-greet" not in terms["missed"]
