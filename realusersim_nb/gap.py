"""How far a simulated population is from the real one: divergence between behaviour distributions.

Each conversation is described by measured facets (the style features of its user's messages),
the facets are embedded, all systems are clustered together, and the cluster histograms compared,
as in "the distributional gap" (arXiv 2605.07847): L2-normalise, PCA to 90 % of the variance,
joint k-means, Laplace smoothing with alpha = 1/k, KL both ways and Jensen-Shannon. The facets
written by a model are not used here; the measured ones are ours.

    P real, Q simulated
    forward  KL(P||Q)  large where real behaviour is missed
    backward KL(Q||P)  large where behaviour is invented
    JS                 0 (alike) to ln 2 = 0.693 (disjoint), in nats
"""

import numpy as np
import pandas as pd
from scipy.spatial.distance import jensenshannon
from scipy.stats import entropy
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer, StandardScaler

from realusersim_nb import style
from realusersim_nb.records import Conversation

REAL = "real"
FLOOR = "real_floor"
MEASURES = ["js", "kl_forward", "kl_backward"]
PCA_VARIANCE = 0.90
RESTARTS, ITERATIONS = 5, 500
FLOOR_DRAWS = 200


def choose_k(facets: pd.DataFrame) -> int:
    """Number of clusters: a tenth of the smallest system (MAUVE's practice), from 10 to the paper's 500."""
    return max(10, min(500, int(facets.groupby(level="system").size().min()) // 10))


def describe(systems: dict[str, list[Conversation]], *, first: int) -> pd.DataFrame:
    """Facets of every conversation: index (system, conversation_id), ``user_id`` and one column a feature.

    Only the first so many user messages are described, so that length alone does not separate
    real from simulated. A feature that no message could show is set to the real median.
    Raises ValueError for a system without conversations.
    """
    frames = {}
    for name, conversations in systems.items():
        if not conversations:
            raise ValueError(f"system {name!r}: no conversation to describe; check its file or its roll-outs.")
        messages = style.measure_conversations(conversations, first=first)
        frames[name] = style.summarise(messages, by=["conversation_id", "user_id"]).reset_index("user_id")
    facets = pd.concat(frames, names=["system"])
    return facets.fillna(facets.loc[REAL].drop(columns="user_id").median()).fillna(0.0)


def embed(facets: pd.DataFrame) -> np.ndarray:
    """Coordinates of each conversation (rows as in ``facets``): standardised, L2, PCA to 90 %."""
    values = facets.drop(columns="user_id").assign(words=np.log1p(facets["words"]))
    steps = make_pipeline(StandardScaler(), Normalizer(), PCA(PCA_VARIANCE, svd_solver="full"))
    return steps.fit_transform(values)


def cluster(points: np.ndarray, *, k: int, seed: int) -> np.ndarray:
    """Cluster label of each point: k-means over all systems, best of 5 restarts."""
    if k > len(points):
        raise ValueError(f"k = {k} clusters need at least as many conversations, there are {len(points)}.")
    return KMeans(k, n_init=RESTARTS, max_iter=ITERATIONS, random_state=seed).fit_predict(points)


def diverge(real: np.ndarray, simulated: np.ndarray, *, k: int) -> dict[str, float]:
    """Divergences between two sets of cluster labels, in nats, smoothed with alpha = 1/k."""
    p, q = (histogram(labels, k) for labels in (real, simulated))
    return {
        "js": float(jensenshannon(p, q) ** 2),
        "kl_forward": float(entropy(p, q)),
        "kl_backward": float(entropy(q, p)),
    }


def histogram(labels: np.ndarray, k: int) -> np.ndarray:
    """Share of each cluster, Laplace-smoothed with alpha = 1/k."""
    counts = np.bincount(labels, minlength=k) + 1 / k
    return counts / counts.sum()


def measure(facets: pd.DataFrame, *, k: int, seed: int) -> pd.DataFrame:
    """The gap of every system, beside the floor that real users themselves have at the same n.

    One row a system and one for ``real_floor``. Columns: ``n``, the three divergences, ``floor``
    and ``floor_high`` (mean and 97.5th percentile of JS between the real population and as many
    real conversations, drawn by user and kept out of the other side), and ``above_floor``
    (js - floor; what is left once sampling noise is taken off). ``real_floor`` is that same draw
    at the size of the smallest system.
    """
    labels = pd.Series(cluster(embed(facets), k=k, seed=seed), index=facets.index)
    real, users = labels.loc[REAL], facets.loc[REAL, "user_id"]
    sizes = labels.groupby(level="system", sort=False).size().drop(REAL)
    rng = np.random.default_rng(seed)
    floors = {n: draw_floor(real, users, n=n, k=k, rng=rng) for n in sorted(set(sizes))}
    rows = {name: describe_gap(diverge(real, labels.loc[name], k=k), floors[n], n=n) for name, n in sizes.items()}
    smallest = sizes.min()
    rows[FLOOR] = describe_gap(floors[smallest][MEASURES].mean().to_dict(), floors[smallest], n=smallest)
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("system")


def describe_gap(divergences: dict[str, float], floor: pd.DataFrame, *, n: int) -> dict:
    """One row of ``measure``."""
    low, high = floor["js"].mean(), floor["js"].quantile(0.975)
    return {"n": int(n), **divergences, "floor": low, "floor_high": high, "above_floor": divergences["js"] - low}


def draw_floor(labels: pd.Series, users: pd.Series, *, n: int, k: int, rng: np.random.Generator) -> pd.DataFrame:
    """Divergences between n real conversations of some users and those of all other users, many times."""
    codes, names = pd.factorize(users)
    values = labels.to_numpy()
    rows = []
    for _ in range(FLOOR_DRAWS):
        rank = rng.permutation(len(names))
        by_user = np.argsort(rank[codes], kind="stable")
        inside = by_user[:n]
        outside = by_user[rank[codes[by_user]] > rank[codes[inside[-1]]]]
        rows.append(diverge(values[outside], values[inside], k=k))
    return pd.DataFrame(rows)


def compare_features(facets: pd.DataFrame) -> pd.DataFrame:
    """Mean of each feature by system, and how far it lies from real users in their standard deviations."""
    values = facets.drop(columns="user_id")
    means = values.groupby(level="system", sort=False).mean()
    spread = values.loc[REAL].std().replace(0, np.nan)
    long = means.rename_axis(columns="feature").stack().rename("mean").reset_index()
    long["shift"] = (long["mean"] - long["feature"].map(means.loc[REAL])) / long["feature"].map(spread)
    return long
