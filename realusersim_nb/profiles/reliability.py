"""Can a measured profile be trusted: is it stable, and does it identify its user among others?"""

import numpy as np
import pandas as pd

from realusersim_nb import stats
from realusersim_nb.errors import InputError
from realusersim_nb.profiles import style

SIZES = (1, 2, 3, 5, 8, 12, 20)
STABLE = 0.3  # r of two halves from which a feature becomes a command (ours)
MIN_USERS = 30  # for a correlation
TOP_K = (1, 5)
ATTRIBUTION_COLUMNS = "rate ci_low ci_high chance n_users".split()


def measure_split_half(
    messages: pd.DataFrame, *, sizes: tuple[int, ...] = SIZES, seed: int = 0
) -> pd.DataFrame:
    """How well one half of a user's messages predicts the other half, by feature and size of the half.

    ``messages`` of ``style.measure_conversations``. For each size m, every user with at least 2 m messages
    gives two random halves of m; ``r`` is Spearman's correlation of the two halves' figures over users (1: a
    stable trait; 0: chance). Columns ``feature, n_messages, n_users, r``; a row needs at least 30 users.
    """
    drawn, starts, counts = shuffle_by_user(messages["user_id"], seed=seed)
    rows = []
    for m in sizes:
        enough = starts[counts >= 2 * m]
        groups = np.repeat(np.arange(len(enough), dtype=np.int32), m)
        halves = [drawn[(enough[:, None] + range(k, k + m)).ravel()] for k in (0, m)]
        for feature in style.FEATURES:
            values, how = messages[feature.name].to_numpy(), {"median": feature.is_count}
            sides = [style.average_groups(values[half], groups, len(enough), **how) for half in halves]
            pair = pd.DataFrame(dict(enumerate(sides))).dropna()
            if len(pair) >= MIN_USERS and (pair.nunique() > 1).all():
                rows.append((feature.name, m, len(pair), pair.corr("spearman").iloc[0, 1]))
    return pd.DataFrame(rows, columns=["feature", "n_messages", "n_users", "r"])


def shuffle_by_user(users: pd.Series, *, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows in random order, but user by user; where each user begins in it, and how many rows each has."""
    numbers = pd.factorize(users)[0].astype(np.int32)
    order = np.random.default_rng(seed).permutation(len(users)).astype(np.int32)
    by_user = np.argsort(numbers[order], kind="stable")
    counts = np.bincount(numbers)
    starts = np.cumsum(counts) - counts
    as_met = np.argsort(by_user[starts])
    return order[by_user], starts[as_met], counts[as_met]


def shuffle_users(messages: pd.DataFrame, *, seed: int = 0) -> pd.DataFrame:
    """The same messages assigned to users at random, to each as many: users without habits."""
    return messages.assign(user_id=np.random.default_rng(seed).permutation(messages["user_id"]))


def attribute_authorship(
    messages: pd.DataFrame, unseen: pd.DataFrame, *, n_candidates: int = 50, seed: int = 0
) -> pd.DataFrame:
    """Top-k accuracy of authorship attribution: is the true author's profile nearest to held-out messages?

    Both tables of ``style.measure_conversations``. Users are drawn into disjoint groups of ``n_candidates``;
    held-out messages are compared with every profile of the group. The distance is the mean difference of
    percentiles over the features that both show, weighted by ``measure_split_half`` at 3 messages; ties are
    drawn. Index ``top`` (1, 5); columns ``rate`` (0..1) with its 95 % interval over users, ``chance``,
    ``n_users``. No rows with fewer than two candidates; InputError with fewer users than candidates.
    """
    if n_candidates < 2:
        return pd.DataFrame(columns=ATTRIBUTION_COLUMNS).rename_axis("top")
    halves = measure_split_half(messages, sizes=(3,), seed=seed).set_index("feature")["r"].astype(float)
    population, unseen = style.summarise_users(messages), style.summarise_users(unseen)
    users = unseen.index.intersection(population.index)
    if len(users) < n_candidates:
        expected = f"{n_candidates} are needed; raise n_users"
        raise InputError(f"{len(users)} users have held-out messages, {expected}.")
    weights = halves.clip(lower=0).reindex(list(style.BY_NAME)).fillna(0).to_numpy()
    profiles, queries = (
        style.compute_percentiles(table.loc[users], population).to_numpy() for table in (population, unseen)
    )
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(users))
    groups = order[: len(order) // n_candidates * n_candidates].reshape(-1, n_candidates)
    ranks = np.concatenate([rank_true_author(queries[g], profiles[g], weights, rng) for g in groups])
    rows = {}
    for top in TOP_K:
        is_right, user = pd.Series(ranks < top, dtype=float), pd.Series(np.arange(len(ranks)))
        accuracy = stats.estimate_rate(is_right, user, seed=seed)
        rows[top] = {**accuracy, "chance": top / n_candidates, "n_users": len(ranks)}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("top")[ATTRIBUTION_COLUMNS]


def rank_true_author(
    queries: np.ndarray, profiles: np.ndarray, weights: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """For each query, how many profiles are nearer than its row's (0: none), equals in random order."""
    differences = np.abs(queries[:, None, :] - profiles[None, :, :])
    weight = np.where(np.isnan(differences), 0, weights)
    distance = (np.nan_to_num(differences) * weight).sum(2) / np.maximum(weight.sum(2), 1e-9)
    true = np.diag(distance)[:, None]
    return (distance < true).sum(1) + rng.integers(0, (distance == true).sum(1))
