"""Predictive fit on a model with known log-probabilities: what it has seen typed before is likely."""

import json
import math
import re

import pytest
from conftest import make_conversation, with_models

from realusersim_nb.pt3 import likelihood
from realusersim_nb.records import Case, Demonstration, Persona, Profile

USERS = [f"u{i}" for i in range(12)]
CASES = [
    Case(
        case_id=f"{u}-0",
        user_id=u,
        goal="The user wants a list sorted.",
        key_context="",
        original=make_conversation(f"sort it {u} style", user=u),
    )
    for u in USERS
]
PROFILES = {
    u: Profile(user_id=u, demonstrations=[Demonstration(wanted="The user greets.", typed=f"hi {u}")])
    for u in USERS
}
SEEN, UNSEEN = math.log(0.5), math.log(0.125)  # one bit and three bits


def score_words(request):
    """A word that stands in the text before it costs one bit, any other three."""
    words = list(re.finditer(r"\s*\S+", request["prompt"]))
    texts = [word[0].strip() for word in words]
    scores = [SEEN if text in texts[:i] else UNSEEN for i, text in enumerate(texts)]
    logprobs = {
        "tokens": texts,
        "text_offset": [w.start() for w in words],
        "token_logprobs": [None, *scores[1:]],
    }
    choice = {"text": request["prompt"], "logprobs": logprobs, "finish_reason": "length"}
    return json.dumps(
        {"choices": [choice], "usage": {"prompt_tokens": len(words), "completion_tokens": 0}}
    ).encode()


@pytest.fixture(autouse=True)
def scoring(endpoint):
    return endpoint(score_words)


def measure(arms=("task_only", "demonstrations", "shuffled_demonstrations")):
    return with_models(
        lambda models: likelihood.measure_fit(models, "m", CASES, list(arms), PROFILES, seed=1)
    )


def test_bits_are_those_of_the_model_and_only_the_persons_demonstrations_help():
    fit = measure()

    bits = fit.groupby("arm")["bits"].mean()
    unseen = "sort it U style".split()  # U is in the context of the person's demonstrations only
    assert bits["task_only"] == bits["shuffled_demonstrations"] == 3 and len(unseen) == 4
    assert bits["demonstrations"] == pytest.approx((3 * 3 + 1) / 4)
    compared = likelihood.compare_fit(fit, seed=1).set_index(["arm", "baseline"])
    row = compared.loc["demonstrations", "shuffled_demonstrations"]
    assert (round(row["difference"], 6), row["better"], row["n_pairs"]) == (-0.5, 1, 12) and row["p"] < 0.001
    assert (compared["p_holm"] >= compared["p"]).all()
    assert likelihood.summarise_fit(fit, seed=1).loc["task_only", ["bits", "n"]].tolist() == [3, 12]


def test_sentence_is_the_same_in_every_arm_and_the_message_in_none():
    shown = {arm: Persona() for arm in "ab"}
    shown["b"] = Persona(demonstrations=PROFILES["u1"].demonstrations)
    texts = [likelihood.make_context(persona, CASES[0].goal) for persona in shown.values()]
    assert all(text.endswith("Wanted: The user wants a list sorted.\nTyped:") for text in texts)
    assert "Typed: hi u1" in texts[1] and not any("sort it" in text for text in texts)


def test_arm_whose_calls_all_failed_has_no_difference_and_leaves_the_others_theirs():
    fit = measure()
    fit.loc[fit["arm"] == "task_only", "bits"] = float("nan")
    compared = likelihood.compare_fit(fit, seed=1).set_index("baseline")
    assert compared["n_pairs"].to_dict() == {"task_only": 0, "shuffled_demonstrations": 12}
    assert compared["p_holm"].isna().tolist() == [True, False]
    assert compared.loc["shuffled_demonstrations", "p_holm"] == compared.loc["shuffled_demonstrations", "p"]


def test_messages_are_attributed_to_their_writers():
    table = with_models(
        lambda models: likelihood.attribute_messages(models, "m", CASES, PROFILES, n_candidates=5, seed=1)
    )
    assert table["first"].tolist() == [1] * 12 and set(table["user_id"]) == set(USERS)
