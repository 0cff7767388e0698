"""Can a measured profile be trusted: is it stable, and does it tell its user from others?"""

import numpy as np
import pandas as pd

from realusersim_nb import stats
from realusersim_nb.errors import InputError
from realusersim_nb.profiles import style

SIZES = (1, 2, 3, 5, 8, 12, 20)
STABLE = 0.3  # r of two halves from which a feature becomes a command (ours)
MIN_USERS = 30  # fewer make no correlation worth showing
ATTRIBUTION_COLUMNS = ["rate", "ci_low", "ci_high", "chance", "n_users"]


def measure_split_half(
    messages: pd.DataFrame, *, sizes: tuple[int, ...] = SIZES, seed: int = 0
) -> pd.DataFrame:
    """How well one half of a user's messages predicts the other half, by feature and size of the half.

    ``messages`` as from ``style.measure_conversations``. For each size m, every user with at least
    2 m messages gives two random halves of m; ``r`` is Spearman's correlation of the two halves'
    figures over users (1: the feature is a stable trait; 0: it says nothing of the person). Columns
    ``feature, n_messages, n_users, r``; a row needs at least 30 users.
    """
    order = np.random.default_rng(seed).permutation(len(messages))
    shuffled = messages.iloc[order]
    place = shuffled.groupby("user_id").cumcount()
    total = shuffled.groupby("user_id")["turn"].transform("size")
    rows = []
    for m in sizes:
        enough = total >= 2 * m
        first, second = (
            style.summarise_users(shuffled[enough & half])
            for half in (place < m, (place >= m) & (place < 2 * m))
        )
        for feature in style.BY_NAME:
            pair = pd.concat([first[feature], second[feature]], axis=1).dropna()
            if len(pair) >= MIN_USERS and (pair.nunique() > 1).all():
                rows.append((feature, m, len(pair), pair.corr("spearman").iloc[0, 1]))
    return pd.DataFrame(rows, columns=["feature", "n_messages", "n_users", "r"])


def shuffle_users(messages: pd.DataFrame, *, seed: int = 0) -> pd.DataFrame:
    """The same messages dealt out anew, to each user as many: what users would be like if nobody had habits."""
    return messages.assign(user_id=np.random.default_rng(seed).permutation(messages["user_id"]))


def attribute_authorship(
    messages: pd.DataFrame, unseen: pd.DataFrame, *, n_candidates: int = 50, seed: int = 0
) -> pd.DataFrame:
    """Does the nearest measured profile belong to the user whose held-out messages these are?

    Both tables as from ``style.measure_conversations``. Users are drawn into disjoint groups of ``n_candidates``. The held-out messages of each are
    compared with the profiles of the whole group: every feature as its percentile in the
    population, the distance the mean difference over the features both can show, weighted by how
    stable a feature is (``split_half`` at 3 messages). Columns ``top, rate, ci_low, ci_high,
    chance, n_users``: the share of users whose own profile is the nearest, or among the nearest 5,
    with its 95 % interval over users, against chance; no rows with fewer than two candidates. Of profiles that lie
    equally near one is drawn. ValueError with fewer users than candidates.
    """
    if n_candidates < 2:
        return pd.DataFrame(columns=ATTRIBUTION_COLUMNS).rename_axis("top")
    population, unseen = style.summarise_users(messages), style.summarise_users(unseen)
    users = unseen.index.intersection(population.index)
    if len(users) < n_candidates:
        raise InputError(
            f"identify: {len(users)} users have held-out messages, {n_candidates} are needed; raise n_users."
        )
    stable = (
        measure_split_half(messages, sizes=(3,), seed=seed)
        .set_index("feature")["r"]
        .astype(float)
        .clip(lower=0)
    )
    weights = stable.reindex(list(style.BY_NAME)).fillna(0).to_numpy()
    known = style.compute_percentiles(population.loc[users], population).to_numpy()
    asked = style.compute_percentiles(unseen.loc[users], population).to_numpy()
    rng = np.random.default_rng(seed)
    drawn = rng.permutation(len(users))
    ranks = np.concatenate(
        [
            rank_true_author(asked[group], known[group], weights, rng)
            for group in drawn[: len(drawn) // n_candidates * n_candidates].reshape(-1, n_candidates)
        ]
    )
    return pd.DataFrame(
        [
            {
                "top": top,
                **stats.estimate_rate(pd.Series(ranks < top, dtype=float), pd.Series(np.arange(len(ranks)))),
                "chance": top / n_candidates,
                "n_users": len(ranks),
            }
            for top in (1, 5)
        ]
    ).set_index("top")[ATTRIBUTION_COLUMNS]


def rank_true_author(
    asked: np.ndarray, known: np.ndarray, weights: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """For each row of ``asked``, how many profiles lie nearer than that of the same row (0: none), equals in random order."""
    apart = np.abs(asked[:, None, :] - known[None, :, :])
    weight = np.where(np.isnan(apart), 0, weights)
    distance = (np.nan_to_num(apart) * weight).sum(2) / np.maximum(weight.sum(2), 1e-9)
    own = np.diag(distance)[:, None]
    return (distance < own).sum(1) + rng.integers(0, (distance == own).sum(1))
