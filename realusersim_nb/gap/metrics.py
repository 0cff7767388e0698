"""Can a linear probe tell real users from simulated ones? (arXiv 2605.07847 reports 90.9 to 99.6 %.)"""

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import pairwise_distances_argmin_min, roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from sklearn.preprocessing import normalize

from realusersim_nb import stats
from realusersim_nb.gap.facets import REAL

# DOC """Scalar scores beside the gap, on the same conversations. Their definitions differ: do not read one for another.
# DOC
# DOC Dice      per feature, how near the means lie (the form used by the User-Sim Index, arXiv 2603.11245; its
# DOC           features and human ratings are others)
# DOC coverage  how near every real conversation has a simulated one, and the other way round (Chamfer)
# DOC """

FOLDS, LEAST = 5, 10  # folds; users a side, below which nothing is learnt


def measure_probe(points: np.ndarray, users: pd.Series, *, seed: int = 0) -> pd.DataFrame:
    """How well a linear probe tells each system from real users it has not seen: one row a system.

    Cross-validated with a user's conversations together, real and simulated, and as many real conversations as
    simulated ones (a seeded draw). Columns ``accuracy`` (0.5 chance, 1 always) with its 95 % interval by user, ``auc``,
    ``p_human`` and ``p_human_real``, the mean probability of being human that the probe gives simulated and real
    conversations (0..1; alike where it cannot tell), ``n`` conversations of both sides. Empty figures with fewer than
    ten users a side.
    """
    systems, rows = users.index.get_level_values("system"), {}
    rng = np.random.default_rng(seed)
    for name in systems.unique().drop(REAL):
        simulated, real = np.flatnonzero(systems == name), np.flatnonzero(systems == REAL)
        real = np.sort(rng.choice(real, min(len(real), len(simulated)), replace=False))
        rows[name] = evaluate_probe(
            points[[*real, *simulated]],
            np.repeat([0, 1], [len(real), len(simulated)]),
            users.iloc[[*real, *simulated]],
        )
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("system")


def evaluate_probe(points: np.ndarray, is_simulated: np.ndarray, users: pd.Series) -> dict[str, float]:
    """One row of ``measure``."""
    groups = users.to_numpy()
    if min(len(set(groups[is_simulated == side])) for side in (0, 1)) < LEAST:
        return dict.fromkeys(["accuracy", "ci_low", "ci_high", "auc", "p_human", "p_human_real"], np.nan) | {
            "n": len(points)
        }
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=0)
    model = LogisticRegression(max_iter=1000, class_weight="balanced")
    scores = cross_val_predict(model, points, is_simulated, groups=groups, cv=folds, method="predict_proba")[
        :, 1
    ]
    right = pd.Series((scores > 0.5) == is_simulated)
    found = stats.estimate_rate(right, pd.Series(groups))
    return {
        "accuracy": found["rate"],
        "ci_low": found["ci_low"],
        "ci_high": found["ci_high"],
        "auc": roc_auc_score(is_simulated, scores),
        "p_human": 1 - scores[is_simulated == 1].mean(),
        "p_human_real": 1 - scores[is_simulated == 0].mean(),
        "n": len(points),
    }


DRAWS = 20  # of real users, for coverage and its floor


def measure_dice(features: pd.DataFrame) -> pd.DataFrame:
    """How near each feature's mean lies to that of real users: index feature, a column a system, last row ``mean``.

    Dice 2 min(a, b) / (a + b): 1 alike, 0 one side never shows it; NaN where no side does. ``features`` as of
    ``divergence.compare_features``.
    """
    means = features.pivot_table("mean", "feature", "system", sort=False)
    real, others = means[REAL], means.drop(columns=REAL)
    both = others.add(real, axis=0)
    dice = 2 * others.clip(upper=real, axis=0) / both.where(both > 0)
    return pd.concat([dice, dice.mean().to_frame("mean").T]).rename_axis("feature")


def measure_coverage(points: np.ndarray, users: pd.Series, *, seed: int = 0) -> pd.DataFrame:
    """Chamfer distances between real and simulated conversations at the same n: one row a system.

    Columns ``n``, conversations a side, at most 45 % of the real ones; ``real_to_simulated``, the mean distance of a real conversation to the nearest simulated one (large
    where real behaviour is not covered); ``simulated_to_real``, the reverse (large where behaviour is made up); and
    ``floor``, real to real between users drawn apart, all means of 20 draws. Distances lie between points of length 1: 0
    the same direction, 1.41 nothing in common, 2 opposite. ``points`` as of ``embeddings.embed_texts``. NaN where real users do
    not suffice for two draws apart.
    """
    unit, rng, rows = normalize(points), np.random.default_rng(seed), {}
    systems = users.index.get_level_values("system")
    real = np.flatnonzero(systems == REAL)
    for name in systems.unique().drop(REAL):
        simulated, found = np.flatnonzero(systems == name), []
        n = min(
            len(simulated), int(0.45 * len(real))
        )  # a user whose conversations would lie on both sides is left out
        for _ in range(DRAWS if n else 0):
            one, other = draw_apart(real, users.to_numpy()[real], n=n, rng=rng)
            drawn = unit[rng.choice(simulated, n, replace=False)]
            if len(other) == n:
                found.append(
                    (
                        measure_nearest(unit[one], drawn),
                        measure_nearest(drawn, unit[one]),
                        measure_nearest(unit[one], unit[other]),
                    )
                )
        columns = ["real_to_simulated", "simulated_to_real", "floor"]
        rows[name] = {"n": n, **pd.DataFrame(found, columns=columns, dtype=float).mean()}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("system")


def draw_apart(
    rows: np.ndarray, users: np.ndarray, *, n: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Two draws of n rows without a user in common; the second is shorter where there are too few."""
    codes = pd.factorize(users)[0]
    order = np.argsort(rng.permutation(codes.max() + 1)[codes], kind="stable")
    last = codes[order[min(n, len(order)) - 1]]
    rest = [i for i in order[n:] if codes[i] != last]
    return rows[order[:n]], rows[rest[:n]]


def measure_nearest(one: np.ndarray, other: np.ndarray) -> float:
    """Mean distance of the points of one side to the nearest of the other."""
    return float(pairwise_distances_argmin_min(one, other)[1].mean())
