"""How far a simulated population is from the real one: divergence between behaviour distributions.

Each conversation is described by facets (``facets``), which become points (``embeddings``); all
systems are clustered together, and the cluster histograms compared, as in "the distributional gap"
(arXiv 2605.07847): L2-normalise, PCA to 90 % of the variance, joint k-means, Laplace smoothing with
alpha = 1/k, KL both ways and Jensen-Shannon. Floor and intervals are ours.

    P real, Q simulated
    forward  KL(P||Q)  large where real behaviour is missed
    backward KL(Q||P)  large where behaviour is invented
    JS                 0 (alike) to ln 2 = 0.693 (disjoint), in nats
"""

import warnings

import numpy as np
import pandas as pd
from scipy.special import rel_entr
from sklearn.cluster import KMeans, kmeans_plusplus
from sklearn.exceptions import ConvergenceWarning

from realusersim_nb.errors import InputError
from realusersim_nb.gap.facets import REAL
from realusersim_nb.profiles import style
from realusersim_nb.records import Conversation

FLOOR = "real_floor"
MEASURES = ["js", "kl_forward", "kl_backward"]
RESTARTS, ITERATIONS = 5, 500
DRAWS = 200  # of the floor and of the interval
FEW = 5  # conversations a cluster, below which a gap is mostly a matter of n


def choose_k(sizes: pd.Series) -> int:
    """Number of clusters: a tenth of the smallest system (MAUVE's practice), from 10 to the paper's 500."""
    return max(10, min(500, int(sizes.min()) // 10))


def cluster_points(points: np.ndarray, *, k: int, seed: int, restarts: int = RESTARTS) -> np.ndarray:
    """Cluster label of each point: k-means over all systems together, best of 5 restarts. ValueError for too large a k.

    Centres are drawn by k-means++ with one trial each: of many clusters, the usual several trials take most of the time.
    """
    if k > len(points):
        raise InputError(f"k = {k} clusters need at least as many conversations, there are {len(points)}.")

    def draw(points: np.ndarray, k: int, random_state: np.random.RandomState) -> np.ndarray:
        return kmeans_plusplus(points, k, random_state=random_state, n_local_trials=1)[0]

    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", ConvergenceWarning
        )  # fewer different points than clusters: the rest stays empty
        return KMeans(k, init=draw, n_init=restarts, max_iter=ITERATIONS, random_state=seed).fit_predict(
            points
        )


def count_by_user(labels: pd.Series, users: pd.Series, k: int) -> np.ndarray:
    """How many conversations each user has in each cluster: one row a user."""
    codes, names = pd.factorize(users)
    counts = np.zeros((len(names), k), dtype=np.float32)
    np.add.at(counts, (codes, labels.to_numpy()), 1)
    return counts


def smooth(counts: np.ndarray) -> np.ndarray:
    """Shares of clusters from their counts (last axis), Laplace-smoothed with alpha = 1/k."""
    counts = counts + 1 / counts.shape[-1]
    return counts / counts.sum(axis=-1, keepdims=True)


def compute_divergences(p: np.ndarray, q: np.ndarray) -> dict[str, np.ndarray]:
    """Divergences in nats between shares of clusters (last axis): real ``p``, simulated ``q``."""
    middle = (p + q) / 2
    return {
        "js": (rel_entr(p, middle).sum(axis=-1) + rel_entr(q, middle).sum(axis=-1)) / 2,
        "kl_forward": rel_entr(p, q).sum(axis=-1),
        "kl_backward": rel_entr(q, p).sum(axis=-1),
    }


def measure_gap(labels: pd.Series, users: pd.Series, *, k: int, seed: int) -> pd.DataFrame:
    """The gap of every system, beside the floor that real users themselves have at the same n.

    ``labels`` and ``users`` are of every conversation, index (system, conversation_id). One row a system and one for
    ``real_floor``. Columns: ``n``, the three divergences, ``ci_low, ci_high`` of JS (95 %, users of both sides
    resampled; what resampling adds by itself is taken off), ``floor`` and ``floor_high`` (mean and 97.5th percentile
    of JS between real users at these sizes, see ``draw_floor``), and ``above_floor`` (js - floor; what is left once
    sampling noise is taken off). ``real_floor`` is that draw at the size of the smallest system.
    """
    rng = np.random.default_rng(seed)
    counts = {
        name: count_by_user(labels.loc[name], users.loc[name], k) for name in labels.index.unique("system")
    }
    real = counts.pop(REAL)
    sizes = {name: int(found.sum()) for name, found in counts.items()}
    floors = {n: draw_floor(real, n=n, rng=rng) for n in sorted({*sizes.values()})}
    rows = {name: describe_gap(real, found, floors[sizes[name]], rng=rng) for name, found in counts.items()}
    smallest = floors[min(sizes.values())]
    rows[FLOOR] = {
        "n": min(sizes.values()),
        **smallest[MEASURES].mean(),
        **describe_floor(smallest),
        "above_floor": 0.0,
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("system")


def describe_gap(
    real: np.ndarray, simulated: np.ndarray, floor: pd.DataFrame, *, rng: np.random.Generator
) -> dict:
    """One row of ``measure``."""
    found = {
        name: float(v)
        for name, v in compute_divergences(smooth(real.sum(axis=0)), smooth(simulated.sum(axis=0))).items()
    }
    low, high = float("nan"), float("nan")
    if min(len(real), len(simulated)) > 1:
        drawn = compute_divergences(
            smooth(resample_users(real, rng)), smooth(resample_users(simulated, rng))
        )["js"]
        low, high = np.clip(np.quantile(drawn, [0.025, 0.975]) - (drawn.mean() - found["js"]), 0, np.log(2))
    above = found["js"] - floor["js"].mean()
    return {
        "n": int(simulated.sum()),
        **found,
        "ci_low": low,
        "ci_high": high,
        **describe_floor(floor),
        "above_floor": above,
    }


def describe_floor(floor: pd.DataFrame) -> dict[str, float]:
    """Mean and 97.5th percentile of the floor's draws."""
    return {"floor": floor["js"].mean(), "floor_high": floor["js"].quantile(0.975)}


def resample_users(counts: np.ndarray, rng: np.random.Generator, *, n_users: int | None = None) -> np.ndarray:
    """Counts of clusters over users drawn with replacement (as many as there are, or ``n_users``), 200 times: one row a draw."""
    shares = np.full(len(counts), 1 / len(counts))
    return rng.multinomial(n_users or len(counts), shares, size=DRAWS).astype(np.float32) @ counts


def draw_floor(counts: np.ndarray, *, n: int, rng: np.random.Generator) -> pd.DataFrame:
    """Divergences that real users show among themselves, 200 draws at the sizes of the comparison.

    n conversations of some users against those of all others; the last user drawn gives as many as are missing. Where
    real conversations do not suffice for that, both sides are users drawn with replacement, about n conversations
    against as many as there are. One row of NaN with a single user.
    """
    sizes, rows = counts.sum(axis=1), []
    if len(counts) < 2:
        return pd.DataFrame([dict.fromkeys(MEASURES, float("nan"))])
    if 2 * n > sizes.sum() - sizes.max():
        n_users = max(round(n / sizes.mean()), 1)
        return pd.DataFrame(
            compute_divergences(
                smooth(resample_users(counts, rng)), smooth(resample_users(counts, rng, n_users=n_users))
            )
        )
    for _ in range(DRAWS):
        order = rng.permutation(len(counts))
        reached = np.cumsum(sizes[order])
        last = int(np.searchsorted(reached, n))
        inside = counts[order[:last]].sum(axis=0) + draw_some(
            counts[order[last]], int(n - (reached[last - 1] if last else 0)), rng
        )
        rows.append(compute_divergences(smooth(counts[order[last + 1 :]].sum(axis=0)), smooth(inside)))
    return pd.DataFrame(rows)


def draw_some(counts: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """n of one user's conversations, as counts of clusters."""
    return rng.multivariate_hypergeometric(counts.astype(int), n)


def warn_of_size(sizes: pd.Series, *, k: int) -> str | None:
    """A sentence where a system has too few conversations for so many clusters; None where all have enough."""
    few = sizes[sizes < FEW * k]
    if few.empty:
        return None
    told = ", ".join(f"{name} has {n}" for name, n in few.items())
    return f"With k = {k} clusters a system should have {FEW * k} conversations at least: {told}. Read such gaps against their floor only."


def compare_systems(labels: pd.Series, *, k: int) -> pd.DataFrame:
    """JS between every two systems: a symmetric table, 0 on the diagonal."""
    shares = {
        name: smooth(np.bincount(labels.loc[name], minlength=k)) for name in labels.index.unique("system")
    }
    rows = [[float(compute_divergences(p, q)["js"]) for q in shares.values()] for p in shares.values()]
    return pd.DataFrame(rows, index=pd.Index(shares, name="system"), columns=list(shares))


def compare_features(systems: dict[str, list[Conversation]], *, first: int) -> pd.DataFrame:
    """Mean of each style feature by system, and how far it lies from real users in their standard deviations."""
    frames = {
        name: style.summarise_users(
            style.measure_conversations(conversations, first=first), by="conversation_id"
        )
        for name, conversations in systems.items()
    }
    values = pd.concat(frames, names=["system"])
    means = values.groupby(level="system", sort=False).mean()
    spread = values.loc[REAL].std().replace(0, np.nan)
    long = means.rename_axis(columns="feature").stack().rename("mean").reset_index()
    long["shift"] = (long["mean"] - long["feature"].map(means.loc[REAL])) / long["feature"].map(spread)
    return long
