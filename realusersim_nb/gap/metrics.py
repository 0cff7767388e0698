"""Scalar scores beside the gap, on the same conversations. Their definitions differ: do not compare values.

probe     how well a linear classifier separates simulated from real conversations of users it has not seen
          (arXiv 2605.07847 reports accuracies of 90.9 to 99.6 %)
Dice      per feature, how near the means are (the form used by the User-Sim Index, arXiv 2603.11245; its
          features and human ratings are others)
coverage  how near every real conversation has a simulated one, and the reverse (Chamfer distance)
"""

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import pairwise_distances_argmin_min, roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from sklearn.preprocessing import normalize

from realusersim_nb import stats
from realusersim_nb.gap.facets import REAL

PROBE_COLUMNS = "accuracy ci_low ci_high auc p_human p_human_real n".split()
FOLDS, LEAST = 5, 10  # folds; users a side, below which no probe is trained
DISTANCES = "real_to_simulated simulated_to_real floor".split()
DRAWS = 20  # of real users, for coverage and its floor


def measure_probe(embeddings: np.ndarray, users: pd.Series, *, seed: int = 0) -> pd.DataFrame:
    """How well a linear probe separates each system from real users it has not seen: one row a system.

    Cross-validated with all conversations of a user in one fold, and as many real conversations as simulated
    ones (a seeded draw). Columns ``accuracy`` (0.5 chance, 1 always) with its 95 % interval by user, ``auc``,
    ``p_human`` and ``p_human_real``, the mean probability (0..1) of being human that the probe gives
    simulated and real conversations, ``n`` conversations of both sides. NaN with fewer than ten users a side.
    """
    systems, rows = users.index.get_level_values("system"), {}
    for name in systems.unique().drop(REAL):
        simulated, real = np.flatnonzero(systems == name), np.flatnonzero(systems == REAL)
        real = np.sort(stats.make_generator(seed, name).permutation(real)[: len(simulated)])
        is_simulated, both = np.repeat([0, 1], [len(real), len(simulated)]), np.r_[real, simulated]
        rows[name] = evaluate_probe(embeddings[both], is_simulated, users.iloc[both].to_numpy(), seed=seed)
    return pd.DataFrame.from_dict(rows, orient="index", columns=PROBE_COLUMNS).rename_axis("system")


def describe_probe(system: str, row: pd.Series) -> dict:
    """A row of ``measure_probe`` as a finding (see ``Run.add_finding``)."""
    sentence = (
        f"a probe classifies {row['accuracy']:.0%} of conversations of {system} and of unseen real users "
        "correctly (chance 50 %); it may go by what they are about, and does not say how they differ"
    )
    return {"sentence": sentence, "value": row["accuracy"], **row[["ci_low", "ci_high", "n"]]}


def evaluate_probe(
    embeddings: np.ndarray, is_simulated: np.ndarray, users: np.ndarray, *, seed: int
) -> list[float]:
    """One row of ``measure_probe``."""
    if min(len(set(users[is_simulated == side])) for side in (0, 1)) < LEAST:
        return [np.nan] * (len(PROBE_COLUMNS) - 1) + [len(users)]
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed)
    model = LogisticRegression(max_iter=1000, class_weight="balanced")
    how = {"groups": users, "cv": folds, "method": "predict_proba"}
    scores = cross_val_predict(model, embeddings, is_simulated, **how)[:, 1]
    right = pd.Series((scores > 0.5) == is_simulated)
    accuracy, low, high, n = stats.estimate_rate(right, pd.Series(users), seed=seed).values()
    p_human = [1 - scores[is_simulated == side].mean() for side in (1, 0)]
    return [accuracy, low, high, roc_auc_score(is_simulated, scores), *p_human, n]


def measure_dice(features: pd.DataFrame) -> pd.DataFrame:
    """How near each feature's mean is to real users': a row a feature, last ``mean``; a column a system.

    Dice 2 min(a, b) / (a + b): 1 alike, 0 one side never shows it; NaN where no side does. ``features`` are
    of ``divergence.compare_features``.
    """
    means = features.pivot_table("mean", "feature", "system", sort=False)
    real, others = means[REAL], means.drop(columns=REAL)
    both = others.add(real, axis=0)
    dice = 2 * others.clip(upper=real, axis=0) / both.where(both > 0)
    return pd.concat([dice, dice.mean().to_frame("mean").T]).rename_axis("feature")


def measure_coverage(embeddings: np.ndarray, users: pd.Series, *, seed: int = 0) -> pd.DataFrame:
    """Chamfer distances between real and simulated conversations at the same n: one row a system (20 draws).

    Columns ``n``, conversations a side, at most 45 % of the real ones; ``real_to_simulated``, the mean
    distance of a real conversation to the nearest simulated one (large where real behaviour is not covered);
    ``simulated_to_real``, the reverse (large where behaviour is invented); ``floor``, real to real between
    disjoint draws of users. Embeddings are scaled to length 1: 0 is the same direction, 1.41 nothing in
    common, 2 opposite. NaN where real users do not suffice for two disjoint draws.
    """
    unit, rows = normalize(embeddings), {}
    systems = users.index.get_level_values("system")
    real, codes = unit[systems == REAL], pd.factorize(users[systems == REAL])[0]
    for name in systems.unique().drop(REAL):
        simulated, distances, rng = unit[systems == name], [], stats.make_generator(seed, name)
        n = min(len(simulated), int(0.45 * len(real)))  # below half: the last user may be on neither side
        for _ in range(DRAWS if n else 0):
            drawn, rest = stats.draw_disjoint(codes, n, rng)
            one, invented = real[drawn], simulated[rng.choice(len(simulated), n, replace=False)]
            if len(rest) >= n:
                pairs = (one, invented), (invented, one), (one, real[rest[:n]])
                distances.append([pairwise_distances_argmin_min(*pair)[1].mean() for pair in pairs])
        rows[name] = {"n": n, **pd.DataFrame(distances, columns=DISTANCES, dtype=float).mean()}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("system")
