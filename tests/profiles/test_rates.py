"""Rates: priors are recovered, few messages are shrunk, and doses are said in words."""

import numpy as np
import pandas as pd
import pytest

from realusersim_nb.profiles import commands, rates


def test_prior_of_shares_is_recovered_and_chance_has_none():
    draw = np.random.default_rng(0)
    n = np.full(3000, 8)
    prior = rates.fit_shares(draw.binomial(n, draw.beta(0.5, 1.5, 3000)).astype(float), n)
    assert [prior.one, prior.two] == pytest.approx(
        [0.5, 1.5], rel=0.15
    ) and prior.low < prior.mean < prior.high
    alike = rates.fit_shares(draw.binomial(n, 0.3).astype(float), n)
    assert alike.high - alike.low < 0.05
    assert rates.fit_shares(np.zeros(9), np.ones(9)) is None


def test_prior_of_counts_is_recovered():
    draw = np.random.default_rng(0)
    logs = draw.normal(2.5, 0.6, (2000, 1)) + draw.normal(0, 0.9, (2000, 5))
    prior = rates.fit_counts(logs.sum(axis=1), np.full(2000, 5.0), (logs**2).sum())
    assert [prior.one, prior.two, prior.within] == pytest.approx([2.5, 0.6, 0.9], rel=0.08)
    assert rates.fit_counts(np.ones(5), np.ones(5), 5.0) is None


def test_few_messages_are_shrunk_more_than_many():
    prior = rates.Prior(1.0, 3.0, 0.0, 0.25, 0.08, 0.4)
    one, two = rates.update_prior(prior, np.array([3.0, 30.0]), np.array([3.0, 30.0]))
    figures = rates.describe_posteriors(prior, one, two)
    assert figures["value"] == pytest.approx([4 / 7, 31 / 34])
    assert (figures["low"] < figures["value"]).all() and figures["low"][0] < figures["low"][1]


@pytest.mark.parametrize(
    ("share", "words"),
    [
        (0.99, "nearly always"),
        (0.88, "in about 9 of 10 messages"),
        (0.31, "in about 3 of 10 messages"),
        (0.09, "in about 1 of 10 messages"),
        (0.05, "in about 1 of 20 messages"),
        (0.02, "in about 1 of 50 messages"),
    ],
)
def test_dose_is_said_in_words(share, words):
    assert commands.word_share(share) == words


def test_length_is_said_with_what_is_usual():
    prior = rates.Prior(2.5, 0.6, 0.9, 2.5, 2.0, 3.0)
    habit = {"feature": "later_words", "is_high": True, "value": 12.0}
    text = commands.word_command(habit, prior)
    assert text == "Keep follow-up messages to about 12 words, mostly 4 to 38."


def test_command_says_the_share_of_what_it_asks_for():
    prior = rates.Prior(1.0, 1.0, 0.0, 0.5, 0.2, 0.8)
    habit = pd.Series({"feature": "starts_lower", "is_high": False, "value": 0.1})
    assert (
        commands.word_command(habit, prior)
        == "Begin your messages with a capital letter: in about 9 of 10 messages."
    )
