"""How often a user does something, how sure that is, and whether it sets them apart: empirical Bayes.

The users' true rates of a feature are taken to follow one distribution, fitted to all users by maximum
likelihood: a beta distribution of shares (counts k of n: beta-binomial), a normal one of mean logarithms of
counts. Of each user this prior makes a posterior: their rate, shrunk towards the population by as much as few
messages ask for, with an interval, and the probability that it lies in the lowest or highest fifth of the
population's true rates.

One worked record: 3 messages of 3 begin in lower case; the population's prior is beta(0.28, 0.44), so the
rate is 3.28 / 3.72 = 0.88 (95% interval 0.44 to 1.00).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.optimize import minimize
from scipy.special import betainc, betaincinv, betaln, ndtr, ndtri

from realusersim_nb import style
from realusersim_nb.style import Feature

OUTER = 0.2  # the share of the population at each end that counts as apart
SURENESS = 0.9  # the posterior probability of lying there from which a profile says so
SEEN = 2  # messages that must show what a command asks for
HABITS = "user feature is_high sureness value low high n shown population percentile".split()


class Prior(NamedTuple):
    """The true rates of a feature over a population, as two parameters, and the ends of its outer fifths.

    Of shares ``one, two`` are those of a beta distribution; of counts they are mean and standard deviation of
    the users' mean logarithms, and ``within`` is the standard deviation of one user's messages around theirs.
    ``mean`` is the middle of the population, ``low`` and ``high`` are the 20% and 80% points.
    """

    one: float
    two: float
    within: float
    mean: float
    low: float
    high: float


Population = dict[str, Prior]  # by feature; without those of which too little is known


def count_users(values: np.ndarray, users: np.ndarray, n_users: int, *, is_count: bool) -> np.ndarray:
    """Of each user, by number, the sum and the number of their known values (of counts: of logarithms)."""
    known = np.isfinite(values)
    values = values[known].astype(float)
    values = np.log(values) if is_count else values
    return np.stack([np.bincount(users[known], w, minlength=n_users) for w in (values, np.ones(len(values)))])


def fit_shares(k: np.ndarray, n: np.ndarray) -> Prior | None:
    """The beta distribution of the users' rates by maximum likelihood; None if nothing differs."""
    table = pd.DataFrame({"k": k, "n": n})[n > 0].value_counts()
    (k, n), weight = np.array(table.index.tolist()).reshape(-1, 2).T, table.to_numpy()
    if not 0 < (weight * k).sum() < (weight * n).sum():
        return None

    def measure_loss(x: np.ndarray) -> float:
        one, two = np.exp(x[1]) / (1 + np.exp(-x[0])), np.exp(x[1]) / (1 + np.exp(x[0]))
        return -(weight * (betaln(k + one, n - k + two) - betaln(one, two))).sum()

    share = (weight * k).sum() / (weight * n).sum()
    begin = np.log(share / (1 - share))
    fits = [
        minimize(measure_loss, [begin, s], method="L-BFGS-B", bounds=[(-12, 12), (-4, 8)]) for s in (0, 3)
    ]
    mean, scale = min(fits, key=lambda fit: fit.fun).x
    one, two = np.exp(scale) / (1 + np.exp(-mean)), np.exp(scale) / (1 + np.exp(mean))
    return Prior(one, two, 0.0, one / (one + two), *betaincinv(one, two, [OUTER, 1 - OUTER]))


def fit_counts(total: np.ndarray, n: np.ndarray, squares: float) -> Prior | None:
    """The normal distribution of the users' mean logarithms; None if no user has two messages.

    ``squares``: the sum of squared logarithms of all messages.
    """
    total, n = total[n > 0], n[n > 0]
    if n.sum() <= len(n):
        return None
    means, within = total / n, max((squares - (total**2 / n).sum()) / (n.sum() - len(n)), 1e-6)

    def measure_loss(x: np.ndarray) -> float:
        variance = np.exp(2 * x[1]) + within / n
        return 0.5 * (np.log(variance) + (means - x[0]) ** 2 / variance).sum()

    mean, spread = minimize(
        measure_loss, [means.mean(), 0.0], method="L-BFGS-B", bounds=[(-5, 12), (-6, 3)]
    ).x
    spread = np.exp(spread)
    return Prior(mean, spread, np.sqrt(within), mean, *(mean + spread * ndtri([OUTER, 1 - OUTER])))


def update_prior(prior: Prior, total: np.ndarray, n: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The posteriors of users, as two parameters like the prior's (sums and numbers of ``count_users``)."""
    if not prior.within:
        return prior.one + total, prior.two + n - total
    variance = 1 / (1 / prior.two**2 + n / prior.within**2)
    return variance * (prior.one / prior.two**2 + total / prior.within**2), np.sqrt(variance)


def measure_below(prior: Prior, one: np.ndarray, two: np.ndarray, limit: float | np.ndarray) -> np.ndarray:
    """The probability (0..1) that the rate of a posterior, or of the prior itself, is below a limit."""
    return ndtr((limit - one) / two) if prior.within else betainc(one, two, limit)


def find_quantile(prior: Prior, one: np.ndarray, two: np.ndarray, share: float) -> np.ndarray:
    """The rate below which a posterior, or the prior itself, lies with this probability."""
    return one + two * ndtri(share) if prior.within else betaincinv(one, two, share)


def describe_posteriors(prior: Prior, one: np.ndarray, two: np.ndarray) -> dict[str, np.ndarray]:
    """Of posteriors the mean as ``value``, the 95% interval ``low, high``, beside the ``population``'s
    middle, and the ``percentile`` (0..1), the share of the population below the value. Counts are in words.
    """
    value = one if prior.within else one / (one + two)
    low, high = (find_quantile(prior, one, two, share) for share in (0.025, 0.975))
    figures = {"value": value, "low": low, "high": high, "population": np.full(np.shape(value), prior.mean)}
    figures = {name: np.exp(figure) for name, figure in figures.items()} if prior.within else figures
    return figures | {"percentile": measure_below(prior, prior.one, prior.two, value)}


def fit_population(messages: pd.DataFrame) -> Population:
    """The priors of all features, from the messages of a population (``style.measure_conversations``)."""
    users, names = pd.factorize(messages["user_id"])
    population = {}
    for feature in style.FEATURES:
        values = messages[feature.name].to_numpy()
        total, n = count_users(values, users, len(names), is_count=feature.is_count)
        squares = np.nansum(np.log(values.astype(float)) ** 2) if feature.is_count else 0.0
        prior = fit_counts(total, n, squares) if feature.is_count else fit_shares(total, n)
        population |= {feature.name: prior} if prior else {}
    return population


def find_habits(
    messages: pd.DataFrame, population: Population, features: Sequence[Feature], *, sureness: float = SURENESS
) -> pd.DataFrame:
    """The features in which users are surely apart, one row a user and feature, the surest first.

    ``user`` (number of the user in order of first appearance), ``feature``, ``is_high`` (apart at the high
    end), ``sureness`` (0..1), ``value`` with its 95% interval ``low, high`` and the ``population``'s middle
    (rates 0..1; of counts words), ``n`` messages that can show it, ``shown`` that do what a command would
    say, and ``percentile`` (0..1), the place of the value. What fewer than two messages do is not said.
    """
    users, names = pd.factorize(messages["user_id"])
    tables = [pd.DataFrame(columns=HABITS)]
    for feature in (f for f in features if f.name in population):
        values, prior = messages[feature.name].to_numpy(), population[feature.name]
        total, n = count_users(values, users, len(names), is_count=feature.is_count)
        one, two = update_prior(prior, total, n)
        is_low, is_high = (
            measure_below(prior, one, two, prior.low),
            1 - measure_below(prior, one, two, prior.high),
        )
        for sure, shown, end in ((is_high, total, True), (is_low, n - total, False)):
            shown = n if feature.is_count else shown
            rows = np.flatnonzero((sure >= sureness) & (shown >= SEEN))
            table = {
                "user": rows,
                "feature": feature.name,
                "is_high": end,
                "sureness": sure[rows],
                "n": n[rows],
            }
            table |= {"shown": shown[rows]} | describe_posteriors(prior, one[rows], two[rows])
            tables += [pd.DataFrame(table)] if len(rows) else []
    habits = pd.concat(tables[1:] or tables)[HABITS].astype({"n": int, "shown": int, "user": int})
    return habits.sort_values("sureness", ascending=False, kind="stable", ignore_index=True)


def describe_user(messages: pd.DataFrame, population: Population) -> pd.DataFrame:
    """What is known of one user, from their messages: a row a feature (index) of the population.

    The figures of ``find_habits`` that go for both ends (``value low high population percentile n``), and the
    posterior probabilities ``is_low, is_high`` (of the outer fifths) and ``above`` (of the upper half).
    """
    rows, nobody = {}, np.zeros(len(messages), dtype=int)
    for name, prior in population.items():
        [total], [n] = count_users(messages[name].to_numpy(), nobody, 1, is_count=prior.within > 0)
        posterior = update_prior(prior, total, n)
        ends = prior.low, prior.high, find_quantile(prior, prior.one, prior.two, 0.5)
        is_low, *below = (float(measure_below(prior, *posterior, end)) for end in ends)
        chances = {"n": n, "is_low": is_low, "is_high": 1 - below[0], "above": 1 - below[1]}
        rows[name] = describe_posteriors(prior, *posterior) | chances
    return pd.DataFrame.from_dict(rows, orient="index", dtype=float).rename_axis("feature")
