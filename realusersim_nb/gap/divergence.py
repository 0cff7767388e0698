"""How far a simulated population is from the real one: divergence between distributions of behaviour.

Each conversation is described by facets (``facets``) and embedded (``embeddings``); all systems are
clustered together and their shares of the clusters compared, as in "the distributional gap"
(arXiv 2605.07847): L2-normalise, PCA to 90 % of the variance, joint k-means, Laplace smoothing with
alpha = 1/k, KL both ways and Jensen-Shannon. Floor, intervals and mixtures are ours.

    P real, Q simulated
    forward  KL(P||Q)  large where real behaviour is missed
    backward KL(Q||P)  large where behaviour is invented
    JS                 0 (alike) to ln 2 = 0.693 (disjoint), in nats
"""

import warnings
from itertools import combinations

import numpy as np
import pandas as pd
from numpy.random import Generator
from pandas.util import hash_array
from scipy.optimize import minimize
from scipy.special import rel_entr
from sklearn.cluster import KMeans, kmeans_plusplus
from sklearn.exceptions import ConvergenceWarning

from realusersim_nb import style
from realusersim_nb.errors import InputError
from realusersim_nb.gap.facets import REAL
from realusersim_nb.records import Conversation
from realusersim_nb.stats import NAN, draw_disjoint, make_generator, resample_sums

FLOOR = "real_floor"
MEASURES = ["js", "kl_forward", "kl_backward"]
RESTARTS, ITERATIONS = 5, 500
DRAWS = 200  # of the floor and of the interval
FEW = 5  # conversations a cluster, below which a gap mostly reflects the number of conversations


def choose_k(sizes: pd.Series) -> int:
    """Number of clusters: a tenth of the smallest system (MAUVE's practice), from 10 to the paper's 500."""
    return max(10, min(500, int(sizes.min()) // 10))


def cluster_embeddings(embeddings: np.ndarray, *, k: int, seed: int, restarts: int = RESTARTS) -> np.ndarray:
    """Cluster label of each row: k-means of all systems, best of 5 restarts. InputError if k > rows.

    k-means++ tries one candidate a centre: with many clusters, the usual several take most of the time.
    """
    if k > len(embeddings):
        raise InputError(f"k = {k} clusters need {k} conversations, there are {len(embeddings)}; lower k.")

    def draw(rows: np.ndarray, k: int, random_state: np.random.RandomState) -> np.ndarray:
        return kmeans_plusplus(rows, k, random_state=random_state, n_local_trials=1)[0]

    model = KMeans(k, init=draw, n_init=restarts, max_iter=ITERATIONS, random_state=seed)
    with warnings.catch_warnings():  # of fewer different rows than clusters: some stay empty
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit_predict(embeddings)


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
    js = (rel_entr(p, middle).sum(axis=-1) + rel_entr(q, middle).sum(axis=-1)) / 2
    return {"js": js, "kl_forward": rel_entr(p, q).sum(axis=-1), "kl_backward": rel_entr(q, p).sum(axis=-1)}


def measure_gap(labels: pd.Series, users: pd.Series, *, k: int, seed: int) -> pd.DataFrame:
    """The gap of every system, and the floor: what real users show against each other at the same n.

    ``labels`` and ``users`` are of every conversation, index (system, conversation_id). One row a system and
    one for ``real_floor`` (n of the smallest system). Columns: ``n``, the three divergences, ``ci_low`` and
    ``ci_high`` of JS (95 %, users of both sides resampled; the bias of resampling is subtracted), ``floor``
    and ``floor_high`` (mean and 97.5th percentile of ``draw_floor`` at that n), ``above_floor`` (js - floor).
    A system's row is the same whatever other systems there are.
    """
    counts = {s: count_by_user(labels.loc[s], users.loc[s], k) for s in labels.index.unique("system")}
    real = counts.pop(REAL)
    sizes = {name: int(simulated.sum()) for name, simulated in counts.items()}
    people = labels.loc[REAL], users.loc[REAL]
    floors = {
        n: draw_floor(*people, k=k, n=n, rng=make_generator(seed, f"{FLOOR} {n}"))
        for n in sorted(set(sizes.values()))
    }
    rows = {
        name: describe_gap(real, counts[name], floors[n], rng=make_generator(seed, name))
        for name, n in sizes.items()
    }
    smallest, floor = next(iter(floors.items()))  # sorted by n
    rows[FLOOR] = {"n": smallest, **floor.mean(), **describe_floor(floor), "above_floor": 0.0}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("system")


def describe_gap(real: np.ndarray, simulated: np.ndarray, floor: pd.DataFrame, *, rng: Generator) -> dict:
    """One row of ``measure_gap`` from counts by user."""
    sides = real, simulated
    gap = compute_divergences(*(smooth(side.sum(axis=0)) for side in sides))
    low, high = NAN, NAN
    if min(map(len, sides)) > 1:
        drawn = (smooth(resample_sums(side, len(side), rng, draws=DRAWS)) for side in sides)
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
    return pd.DataFrame(compute_divergences(smooth(rest), smooth(drawn)))


def warn_of_size(sizes: pd.Series, *, k: int) -> str | None:
    """A sentence if systems have too few conversations for so many clusters; None if all have enough."""
    few = ", ".join(f"{name} has {n}" for name, n in sizes[sizes < FEW * k].items())
    if not few:
        return None
    needed = f"With k = {k} clusters a system should have {FEW * k} conversations at least"
    return f"{needed}: {few}. Read such gaps against their floor only."


def compare_systems(labels: pd.Series, *, k: int) -> pd.DataFrame:
    """JS between every two systems: a symmetric table, 0 on the diagonal."""
    names = labels.index.unique("system")
    shares = smooth(np.array([np.bincount(labels.loc[name], minlength=k) for name in names]))
    return pd.DataFrame([compute_divergences(p, shares)["js"] for p in shares], names, list(names))


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


# --- mixtures of systems -------------------------------------------------------------------------


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
        {name: smooth(np.bincount(half.get_group(name), minlength=k)) for name in names} for half in halves
    ]


def find_weights(real: np.ndarray, systems: np.ndarray) -> np.ndarray:
    """The weights (0..1, sum 1) of systems (rows of shares) whose mixture has the least JS from ``real``."""

    def measure(weights: np.ndarray) -> tuple[float, np.ndarray]:
        mixed = weights @ systems
        slope = np.log(2 * mixed / (real + mixed)) / 2
        return float(compute_divergences(real, mixed)["js"]), systems @ slope

    n = len(systems)
    sums_to_one = {"type": "eq", "fun": lambda w: w.sum() - 1, "jac": lambda w: np.ones(n)}
    limits = {"bounds": [(0, 1)] * n, "constraints": sums_to_one}
    weights = np.clip(minimize(measure, np.full(n, 1 / n), jac=True, method="SLSQP", **limits).x, 0, 1)
    return weights / weights.sum()
