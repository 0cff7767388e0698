"""Mixing simulators: what one misses another may do. Weights are found on one half of the users, judged on the other."""

from itertools import combinations

import numpy as np
import pandas as pd
from scipy.optimize import minimize

from realusersim_nb.gap.divergence import compute_divergences, count_by_user, smooth
from realusersim_nb.gap.facets import REAL

Shares = dict[str, np.ndarray]


def split_shares(labels: pd.Series, users: pd.Series, *, k: int, seed: int) -> tuple[Shares, Shares]:
    """Shares of clusters of every system in two halves of its users; a user's conversations stay together."""
    rng, halves = np.random.default_rng(seed), ({}, {})
    for name in labels.index.unique("system"):
        counts = count_by_user(labels.loc[name], users.loc[name], k)
        order = rng.permutation(len(counts))
        for half, inside in zip(halves, np.array_split(order, 2), strict=True):
            half[name] = smooth(counts[inside].sum(axis=0))
    return halves


def find_weights(real: np.ndarray, systems: np.ndarray) -> np.ndarray:
    """The weights (0..1, sum 1) of systems (rows of shares) whose mixture has the least JS from ``real``."""

    def measure(weights: np.ndarray) -> tuple[float, np.ndarray]:
        mixed = weights @ systems
        slope = np.log(2 * mixed / (real + mixed)) / 2
        return float(compute_divergences(real, mixed)["js"]), systems @ slope

    n = len(systems)
    sums_to_one = {"type": "eq", "fun": lambda w: w.sum() - 1, "jac": lambda w: np.ones(n)}
    found = minimize(
        measure, np.full(n, 1 / n), jac=True, bounds=[(0, 1)] * n, constraints=sums_to_one, method="SLSQP"
    )
    return np.clip(found.x, 0, 1) / np.clip(found.x, 0, 1).sum()


def measure_mixtures(labels: pd.Series, users: pd.Series, *, k: int, seed: int) -> pd.DataFrame:
    """All mixtures of two systems and that of all: one row each, the best first.

    Columns ``systems`` and ``weights`` (as text), ``js`` of the mixture and ``best_alone``, the lower JS of its parts,
    both on the half of the users that chose no weight; ``gain`` = best_alone - js. Empty with fewer than two systems.
    """
    chosen_on, judged_on = split_shares(labels, users, k=k, seed=seed)
    names = [name for name in chosen_on if name != REAL]
    groups = [*combinations(names, 2), *([tuple(names)] if len(names) > 2 else [])]
    rows = []
    for group in groups:
        weights = find_weights(chosen_on[REAL], np.stack([chosen_on[name] for name in group]))
        mixed = weights @ np.stack([judged_on[name] for name in group])
        alone = min(float(compute_divergences(judged_on[REAL], judged_on[name])["js"]) for name in group)
        told = {"systems": " + ".join(group), "weights": " + ".join(f"{w:.2f}" for w in weights)}
        js = float(compute_divergences(judged_on[REAL], mixed)["js"])
        rows.append({**told, "js": js, "best_alone": alone, "gain": alone - js})
    columns = ["systems", "weights", "js", "best_alone", "gain"]
    return pd.DataFrame(rows, columns=columns).sort_values("js", ignore_index=True)
