"""Scalar scores beside the gap, on the same conversations. Their definitions differ: do not compare values.

probe     how well a linear classifier separates simulated from real conversations of users it has not seen
          (arXiv 2605.07847 reports accuracies of 90.9 to 99.6%)
Dice      per feature, how near the means are (the form used by the User-Sim Index, arXiv 2603.11245; its
          features and human ratings are others)
coverage  how near every real conversation has a simulated one, and the reverse (Chamfer distance)
MAUVE     the area under the curve of both kinds of error, of the gap's histograms (arXiv 2102.01454),
          and the frontier integral, its bounded counterpart (arXiv 2106.07898)
"""

from functools import partial

import numpy as np
import pandas as pd
from scipy.sparse import spmatrix
from scipy.special import rel_entr
from sklearn.base import BaseEstimator, clone
from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import pairwise_distances_argmin_min, roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import normalize

from realusersim_nb import stats
from realusersim_nb.gap.divergence import share
from realusersim_nb.gap.facets import REAL
from realusersim_nb.simulators.conditions import describe_system
from realusersim_nb.style.ngrams import find_common_words, list_ngrams

PROBE = LogisticRegression(max_iter=1000, class_weight="balanced")
PROBE_COLUMNS = "accuracy ci_low ci_high auc p_human p_human_real n".split()
FOLDS = 5
DISTANCES = "real_to_simulated simulated_to_real floor".split()
SCALE = 5  # of MAUVE, as in its paper
DRAWS = 20  # of real users, for coverage and its floor


def measure_probe(embeddings: np.ndarray, users: pd.Series, *, seed: int = 0) -> pd.DataFrame:
    """How well a linear probe separates each system from real users it has not seen: one row a system.

    Cross-validated with all conversations of a user in one fold, and as many real conversations as simulated
    ones (a seeded draw). Columns ``accuracy`` (0.5 chance, 1 always) with its 95% interval by user, ``auc``,
    ``p_human`` and ``p_human_real``, the mean probability (0..1) of being human that the probe gives
    simulated and real conversations, ``n`` conversations of both sides. NaN with fewer than ten users a side.
    """
    return probe_systems(clone(PROBE), embeddings, users, seed=seed)


def measure_ngram_probe(listed: pd.DataFrame, *, seed: int = 0) -> pd.DataFrame:
    """The same by masked n-grams of the messages (``style.ngrams``): how they write and not what about.

    ``listed`` of ``facets.list_systems``. The 150 common words that stay are those of real users.
    """
    texts = listed["messages"]
    common = find_common_words(text for messages in texts.loc[REAL] for text in messages)
    counter = CountVectorizer(analyzer=partial(list_ngrams, common=common), min_df=2, dtype=np.float32)
    model = make_pipeline(TfidfTransformer(sublinear_tf=True), clone(PROBE))
    return probe_systems(model, counter.fit_transform(texts), listed["user_id"], seed=seed)


def probe_systems(
    model: BaseEstimator, rows: np.ndarray | spmatrix, users: pd.Series, *, seed: int
) -> pd.DataFrame:
    """One row a system of ``measure_probe``, by any classifier of what is in ``rows``."""
    systems, table = users.index.get_level_values("system"), {}
    for name in systems.unique().drop(REAL):
        simulated, real = np.flatnonzero(systems == name), np.flatnonzero(systems == REAL)
        real = np.sort(stats.make_generator(seed, name).permutation(real)[: len(simulated)])
        is_simulated, both = np.repeat([0, 1], [len(real), len(simulated)]), np.r_[real, simulated]
        table[name] = evaluate_probe(model, rows[both], is_simulated, users.iloc[both].to_numpy(), seed=seed)
    return pd.DataFrame.from_dict(table, orient="index", columns=PROBE_COLUMNS).rename_axis("system")


def describe_probe(system: str, row: pd.Series) -> dict:
    """A row of ``measure_ngram_probe`` as a finding (see ``Run.add_finding``)."""
    sentence = (
        f"A classifier that sees manner, not subject, labels {row['accuracy']:.0%} of conversations "
        f"correctly as of {describe_system(system)} or of real users it has not seen (chance 50%)"
    )
    words = {"limit": "in what they differ, or that people would notice", "figure": "probe"}
    words |= {"unit": "%", "counted": "conversations"}
    return {"sentence": sentence, "value": row["accuracy"], **row[["ci_low", "ci_high", "n"]], **words}


def evaluate_probe(
    model: BaseEstimator,
    rows: np.ndarray | spmatrix,
    is_simulated: np.ndarray,
    users: np.ndarray,
    *,
    seed: int,
) -> list[float]:
    """One row of ``measure_probe``."""
    if min(len(set(users[is_simulated == side])) for side in (0, 1)) < stats.LEAST:
        return [np.nan] * (len(PROBE_COLUMNS) - 1) + [len(users)]
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed)
    how = {"groups": users, "cv": folds, "method": "predict_proba"}
    scores = cross_val_predict(model, rows, is_simulated, **how)[:, 1]
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

    Columns ``n``, conversations a side, at most 45% of the real ones; ``real_to_simulated``, the mean
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


def measure_frontier(histograms: pd.DataFrame) -> pd.DataFrame:
    """MAUVE and the frontier integral of each system, from ``divergence.count_clusters``: one row a system.

    Columns ``mauve`` (1 alike, near 0 disjoint) and ``frontier_integral`` (0 alike, 1 disjoint). Values of
    other numbers of clusters or conversations are on another scale, as those of the gap are.
    """
    systems = histograms.groupby(level="system", sort=False)
    rows = {name: compute_frontier(table["n_real"], table["n_simulated"]) for name, table in systems}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("system")


def compute_frontier(real: np.ndarray, simulated: np.ndarray) -> dict[str, float]:
    """Both figures from counts or shares of clusters, without smoothing.

    The curve has exp(-5 KL) of each side from the mixtures w P + (1 - w) Q, at 25 weights w. The integral is
    the mean over w of 2 (w KL(P||mixture) + (1 - w) KL(Q||mixture)), which has a closed form.
    """
    p, q = share(real), share(simulated)
    weights = np.linspace(1e-6, 1 - 1e-6, 25)[:, None]
    mixed = weights * p + (1 - weights) * q
    x, y = (np.exp(-SCALE * rel_entr(side, mixed).sum(axis=1)) for side in (q, p))
    both = (p > 0) & (q > 0)
    p, q = p[both], q[both]
    differ = np.where(p == q, 1, p - q)
    common = np.where(p == q, p, p * q * np.log(p / q) / differ)
    area = np.trapezoid(np.r_[1, x, 0], np.r_[0, y, 1])
    return {"mauve": float(area), "frontier_integral": float(1 - common.sum())}
