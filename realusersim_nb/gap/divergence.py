"""How far a simulated population is from the real one: divergence between distributions of behaviour.

Each conversation is described by facets (``facets``) and embedded (``embeddings``). As in "the
distributional gap" (arXiv 2605.07847) and its published code, real users are clustered together with **one
system at a time**: L2-normalise, PCA to 90% of the variance, k-means (best of 5, at most 500 iterations).
Then, with P the shares of real conversations in the k clusters and Q those of simulated ones:

    JS       of P and Q as they are, in nats: 0 (alike) to ln 2 = 0.693 (disjoint)
    forward  KL(P'||Q')  large where real behaviour is missed
    backward KL(Q'||P')  large where behaviour is invented

P' and Q' are the shares with alpha = 1/k added to each and normalised again, p' = p/2 + 1/(2k), so that an
empty cluster makes no divergence infinite. Floor and intervals are ours, and so is clustering **all** systems
together (``cluster_embeddings`` of all), by which systems are compared with each other, mixed and browsed.
"""

import warnings
from collections.abc import Callable

import numpy as np
import pandas as pd
from numpy.random import Generator
from scipy.special import rel_entr
from sklearn.cluster import KMeans, kmeans_plusplus
from sklearn.exceptions import ConvergenceWarning

from realusersim_nb import style
from realusersim_nb.errors import InputError
from realusersim_nb.gap.embeddings import reduce_dimensions
from realusersim_nb.gap.facets import REAL
from realusersim_nb.records import Conversation
from realusersim_nb.stats import LEAST, NAN, draw_disjoint, make_generator, resample_sums

FLOOR = "real_floor"
MEASURES = ["js", "kl_forward", "kl_backward"]
RESTARTS, ITERATIONS = 5, 500
BEGIN = 1000  # rows of which the first centres are drawn, at least
DRAWS = 200  # of the floor and of the interval
FEW = 5  # conversations a cluster, below which a gap mostly reflects the number of conversations


def choose_k(sizes: pd.Series) -> int:
    """Number of clusters: a tenth of the smallest system (MAUVE's practice), from 10 to the paper's 500."""
    return max(10, min(500, int(sizes.min()) // 10))


def cluster_embeddings(embeddings: np.ndarray, *, k: int, seed: int, restarts: int = RESTARTS) -> np.ndarray:
    """Cluster label of each row: k-means, best of 5 restarts. InputError if k > rows.

    k-means++ begins with rows of a draw, two a cluster and 1,000 at least: of all rows it would take longer
    than what follows, and come to no tighter clusters.
    """
    if k > len(embeddings):
        raise InputError(f"k = {k} clusters need {k} conversations, there are {len(embeddings)}; lower k.")

    def draw(rows: np.ndarray, k: int, random_state: np.random.RandomState) -> np.ndarray:
        rows = rows[random_state.permutation(len(rows))[: max(BEGIN, 2 * k)]]
        return kmeans_plusplus(rows, k, random_state=random_state, n_local_trials=1)[0]

    model = KMeans(k, init=draw, n_init=restarts, max_iter=ITERATIONS, random_state=seed)
    with warnings.catch_warnings():  # of fewer different rows than clusters: some stay empty
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit_predict(embeddings)


Clusterer = Callable[..., np.ndarray]  # (embeddings, *, k, seed) -> labels


def cluster_pairs(
    embeddings: np.ndarray,
    index: pd.MultiIndex,
    *,
    k: int,
    seed: int,
    clusterer: Clusterer = cluster_embeddings,
) -> dict[str, pd.Series]:
    """Of each system the cluster labels of real users and of itself, reduced and clustered together: by name.

    ``embeddings`` are not yet reduced, a row for each (system, conversation_id) of ``index``. No system has a
    part in the labels of another, so each is measured alike whatever others there are.
    """
    names, pairs = index.get_level_values("system"), {}
    for name in names.unique().drop(REAL):
        rows = np.flatnonzero(names.isin([REAL, name]))
        reduced = reduce_dimensions(embeddings[rows], seed=seed)
        pairs[name] = pd.Series(clusterer(reduced, k=k, seed=seed), index[rows])
    return pairs


def count_clusters(pairs: dict[str, pd.Series], *, k: int) -> pd.DataFrame:
    """The histograms from which a gap is computed: ``n_real, n_simulated`` by (system, cluster)."""

    def count(labels: pd.Series, name: str) -> np.ndarray:
        return np.bincount(labels.loc[name], minlength=k)

    tables = {
        name: pd.DataFrame({"n_real": count(labels, REAL), "n_simulated": count(labels, name)})
        for name, labels in pairs.items()
    }
    return pd.concat(tables, names=["system", "cluster"])


def count_by_user(labels: pd.Series, users: pd.Series, k: int) -> np.ndarray:
    """How many conversations each user has in each cluster: one row a user."""
    codes, names = pd.factorize(users)
    counts = np.zeros((len(names), k), dtype=np.float32)
    np.add.at(counts, (codes, labels.to_numpy()), 1)
    return counts


def share(counts: np.ndarray) -> np.ndarray:
    """Shares of clusters (last axis, sum 1) from counts, or from shares."""
    counts = np.asarray(counts, dtype=float)
    return counts / counts.sum(axis=-1, keepdims=True)


def smooth(counts: np.ndarray) -> np.ndarray:
    """Shares of clusters with alpha = 1/k added to each and normalised again: p' = p/2 + 1/(2k)."""
    return share(share(counts) + 1 / np.shape(counts)[-1])


def compute_divergences(real: np.ndarray, simulated: np.ndarray) -> dict[str, np.ndarray]:
    """Divergences in nats from counts or shares of clusters (last axis): JS as they are, KL smoothed."""
    p, q = share(real), share(simulated)
    middle = (p + q) / 2
    js = (rel_entr(p, middle).sum(axis=-1) + rel_entr(q, middle).sum(axis=-1)) / 2
    p, q = smooth(p), smooth(q)
    return {"js": js, "kl_forward": rel_entr(p, q).sum(axis=-1), "kl_backward": rel_entr(q, p).sum(axis=-1)}


def measure_gap(pairs: dict[str, pd.Series], users: pd.Series, *, k: int, seed: int) -> pd.DataFrame:
    """The gap of every system, and the floor: what real users show against each other at the same n.

    ``pairs`` of ``cluster_pairs``; ``users`` of every conversation, index (system, conversation_id). One row
    a system and one for ``real_floor`` (that of the smallest system). Columns: ``n``, the three divergences,
    ``ci_low`` and ``ci_high`` of JS (95%, users of both sides resampled; the bias of resampling is
    subtracted), ``floor`` and ``floor_high`` (mean and 97.5th percentile of ``draw_floor`` at that n),
    ``above_floor`` (js - floor). A system's row is the same whatever other systems there are.
    """
    rows, floors = {}, {}
    for name, labels in pairs.items():
        real, simulated = (count_by_user(labels.loc[side], users.loc[side], k) for side in (REAL, name))
        n, rng = int(simulated.sum()), make_generator(seed, f"{FLOOR} {name}")
        floors[name] = draw_floor(labels.loc[REAL], users.loc[REAL], k=k, n=n, rng=rng)
        rows[name] = describe_gap(real, simulated, floors[name], rng=make_generator(seed, name))
    smallest = min(rows, key=lambda name: (rows[name]["n"], name))
    floor = floors[smallest]
    rows[FLOOR] = {"n": rows[smallest]["n"], **floor.mean(), **describe_floor(floor), "above_floor": 0.0}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("system")


def describe_gap(real: np.ndarray, simulated: np.ndarray, floor: pd.DataFrame, *, rng: Generator) -> dict:
    """One row of ``measure_gap`` from counts by user."""
    sides = real, simulated
    gap = compute_divergences(*(side.sum(axis=0) for side in sides))
    low, high = NAN, NAN
    if min(map(len, sides)) >= LEAST:
        drawn = (resample_sums(side, len(side), rng, draws=DRAWS) for side in sides)
        js = compute_divergences(*drawn)["js"]
        low, high = np.clip(np.quantile(js, [0.025, 0.975]) - (js.mean() - gap["js"]), 0, np.log(2))
    row = {"n": int(simulated.sum()), **{name: float(value) for name, value in gap.items()}}
    row |= {"ci_low": low, "ci_high": high, **describe_floor(floor)}
    return row | {"above_floor": row["js"] - row["floor"]}


def describe_floor(floor: pd.DataFrame) -> dict[str, float]:
    """Mean and 97.5th percentile of the floor's draws."""
    return {"floor": floor["js"].mean(), "floor_high": floor["js"].quantile(0.975)}


def draw_floor(labels: pd.Series, users: pd.Series, *, k: int, n: int, rng: Generator) -> pd.DataFrame:
    """Divergences of n conversations of some real users from all those of others: 200 draws, one row each.

    ``labels`` and ``users`` are of real conversations only. Where these do not suffice, both sides are users
    drawn with replacement, about n conversations and as many as there are. One row of NaN for a single user.
    """
    codes = pd.factorize(users)[0]
    sizes = np.bincount(codes)
    if len(sizes) < 2:
        return pd.DataFrame([dict.fromkeys(MEASURES, NAN)])
    if 2 * n > len(codes) - sizes.max():
        counts, n_users = count_by_user(labels, users, k), max(round(n / sizes.mean()), 1)
        rest, drawn = (resample_sums(counts, size, rng, draws=DRAWS) for size in (len(counts), n_users))
    else:
        order = rng.permutation(len(codes))  # so that the user drawn last gives random conversations
        codes, clusters = codes[order], labels.to_numpy()[order]
        pairs = (draw_disjoint(codes, n, rng) for _ in range(DRAWS))
        counts = [[np.bincount(clusters[rows], minlength=k) for rows in pair] for pair in pairs]
        drawn, rest = np.array(counts).swapaxes(0, 1)
    return pd.DataFrame(compute_divergences(rest, drawn))


def warn_of_size(sizes: pd.Series, *, k: int) -> str | None:
    """A sentence if systems have too few conversations for so many clusters; None if all have enough."""
    few = ", ".join(f"{name} has {n}" for name, n in sizes[sizes < FEW * k].items())
    if not few:
        return None
    needed = f"With k = {k} clusters a system should have {FEW * k} conversations at least"
    return f"{needed}: {few}. Read such gaps against their floor only."


def compare_systems(labels: pd.Series, *, k: int) -> pd.DataFrame:
    """JS between every two systems, clustered all together: a symmetric table, 0 on the diagonal."""
    names = labels.index.unique("system")
    counts = np.array([np.bincount(labels.loc[name], minlength=k) for name in names])
    return pd.DataFrame([compute_divergences(p, counts)["js"] for p in counts], names, list(names))


def compare_features(systems: dict[str, list[Conversation]], *, first: int) -> pd.DataFrame:
    """Mean of each style feature by system, and its ``shift`` from real users, in their standard deviations.

    Columns ``system, feature, mean, shift``; only the ``first`` user messages of a conversation count.
    """
    measured = {name: style.measure_conversations(rows, first=first) for name, rows in systems.items()}
    by_conversation = {name: style.summarise_users(m, by="conversation") for name, m in measured.items()}
    values = pd.concat(by_conversation, names=["system"])[style.COMPARED]
    means = values.groupby(level="system", sort=False).mean()
    spread = values.loc[REAL].std().replace(0, np.nan)
    long = means.rename_axis(columns="feature").stack().rename("mean").reset_index()
    long["shift"] = (long["mean"] - long["feature"].map(means.loc[REAL])) / long["feature"].map(spread)
    return long
