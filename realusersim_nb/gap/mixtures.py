"""Mixtures of simulated populations, since what one system misses another may do.

All systems are clustered together here, or one could not be mixed with another.
"""

from itertools import combinations

import numpy as np
import pandas as pd
from pandas.util import hash_array
from scipy.optimize import minimize

from realusersim_nb.gap.divergence import compute_divergences, share
from realusersim_nb.gap.facets import REAL

TINY = 1e-9


def measure_mixtures(labels: pd.Series, users: pd.Series, *, k: int, seed: int) -> pd.DataFrame:
    """All mixtures of two systems and that of all systems, since what one misses another may do: best first.

    Weights are fitted on one half of the people, the mixture is tested on the other. Columns ``systems`` and
    ``weights`` (as text), ``js`` of the mixture, ``best_alone`` (the lowest JS of its systems) and ``gain``
    (best_alone - js). Empty with fewer than two systems that have people in both halves.
    """
    fitted, tested = split_shares(labels, users, k=k, seed=seed)
    names, rows = [name for name in fitted if name != REAL and REAL in fitted], []
    for group in [*combinations(names, 2), *([tuple(names)] if len(names) > 2 else [])]:
        weights = find_weights(fitted[REAL], np.stack([fitted[name] for name in group]))
        alone = np.stack([tested[name] for name in group])
        *each, js = compute_divergences(tested[REAL], np.vstack([alone, weights @ alone]))["js"]
        texts = " + ".join(group), " + ".join(f"{weight:.2f}" for weight in weights)
        rows.append((*texts, js, min(each), min(each) - js))
    columns = ["systems", "weights", "js", "best_alone", "gain"]
    return pd.DataFrame(rows, columns=columns).sort_values("js", ignore_index=True)


def split_shares(labels: pd.Series, users: pd.Series, *, k: int, seed: int) -> list[dict[str, np.ndarray]]:
    """Shares of clusters of every system in two halves of all people; one that lacks a half is left out.

    A person's half depends on the seed and the person's name alone, so it is the same in all systems.
    """
    sides = hash_array(users.to_numpy(), hash_key=f"{seed:016}") % 2
    halves = [labels[sides == side].groupby(level="system") for side in (0, 1)]
    names = [name for name in labels.index.unique("system") if all(name in half.groups for half in halves)]
    return [
        {name: share(np.bincount(half.get_group(name), minlength=k)) for name in names} for half in halves
    ]


def find_weights(real: np.ndarray, systems: np.ndarray) -> np.ndarray:
    """The weights (0..1, sum 1) of systems (rows of shares) whose mixture has the least JS from ``real``."""

    def measure(weights: np.ndarray) -> tuple[float, np.ndarray]:
        mixed = np.maximum(weights @ systems, TINY)  # an empty cluster has no finite slope
        slope = np.log(2 * mixed / (real + mixed)) / 2
        return float(compute_divergences(real, mixed)["js"]), systems @ slope

    n = len(systems)
    sums_to_one = {"type": "eq", "fun": lambda w: w.sum() - 1, "jac": lambda w: np.ones(n)}
    limits = {"bounds": [(0, 1)] * n, "constraints": sums_to_one}
    weights = np.clip(minimize(measure, np.full(n, 1 / n), jac=True, method="SLSQP", **limits).x, 0, 1)
    return weights / weights.sum()
