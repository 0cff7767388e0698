"""Can a linear probe tell real users from simulated ones? (arXiv 2605.07847 reports 90.9 to 99.6 %.)"""

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict

from realusersim_nb import stats
from realusersim_nb.facets import REAL

FOLDS, LEAST = 5, 10  # folds; users a side, below which nothing is learnt


def measure(points: np.ndarray, users: pd.Series, *, seed: int = 0) -> pd.DataFrame:
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
        rows[name] = try_probe(
            points[[*real, *simulated]], np.repeat([0, 1], [len(real), len(simulated)]), users.iloc[[*real, *simulated]]
        )
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("system")


def try_probe(points: np.ndarray, is_simulated: np.ndarray, users: pd.Series) -> dict[str, float]:
    """One row of ``measure``."""
    groups = users.to_numpy()
    if min(len(set(groups[is_simulated == side])) for side in (0, 1)) < LEAST:
        return dict.fromkeys(["accuracy", "ci_low", "ci_high", "auc", "p_human", "p_human_real"], np.nan) | {"n": len(points)}  # fmt: skip
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=0)
    model = LogisticRegression(max_iter=1000, class_weight="balanced")
    scores = cross_val_predict(model, points, is_simulated, groups=groups, cv=folds, method="predict_proba")[:, 1]
    right = pd.Series((scores > 0.5) == is_simulated)
    found = stats.rate(right, pd.Series(groups))
    return {"accuracy": found["rate"], "ci_low": found["ci_low"], "ci_high": found["ci_high"], "auc": roc_auc_score(is_simulated, scores), "p_human": 1 - scores[is_simulated == 1].mean(), "p_human_real": 1 - scores[is_simulated == 0].mean(), "n": len(points)}  # fmt: skip
