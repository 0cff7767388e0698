"""Does the ranking of systems depend on clusters, embeddings, seed or facets? One choice varied at a time."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from sklearn.cluster import AgglomerativeClustering
from sklearn.mixture import GaussianMixture

from realusersim_nb.gap import facets
from realusersim_nb.gap.divergence import (
    FLOOR,
    Clusterer,
    choose_k,
    cluster_embeddings,
    cluster_pairs,
    measure_gap,
)
from realusersim_nb.gap.embeddings import embed_texts
from realusersim_nb.llm.models import Models
from realusersim_nb.parallel.bars import show_bar
from realusersim_nb.stats import make_generator

MOST = 6000  # conversations of all systems together: agglomerative clustering keeps a distance for every two
BASE = "as above"


def cluster_by_mixture(embeddings: np.ndarray, *, k: int, seed: int) -> np.ndarray:
    """Cluster labels by a Gaussian mixture with diagonal covariances."""
    start = {"init_params": "k-means++", "random_state": seed}
    model = GaussianMixture(k, covariance_type="diag", reg_covar=1e-4, **start)
    return model.fit_predict(embeddings.astype(float))


KMEANS = "k-means"
CLUSTERERS: dict[str, Clusterer] = {
    KMEANS: cluster_embeddings,
    "mixture": cluster_by_mixture,
    "agglomerative": lambda embeddings, *, k, seed: AgglomerativeClustering(k).fit_predict(embeddings),
}


@dataclass(frozen=True)
class Choices:
    """What a gap is measured with: the embedder, k clusters, the seed, the way of clustering."""

    embedder: str
    k: int
    seed: int
    clusterer: str = KMEANS


def draw_rows(index: pd.MultiIndex, *, most: int = MOST, seed: int = 0) -> np.ndarray:
    """Row numbers of a seeded draw: of each system an equal share of ``most``, or all it has."""
    systems = pd.Series(range(len(index)), index).groupby(level="system", sort=False)
    n = most // len(systems)
    return np.concatenate(
        [np.sort(make_generator(seed, name).permutation(rows)[:n]) for name, rows in systems]
    )


async def vary_choices(
    listed: pd.DataFrame, described: pd.DataFrame, embeddings: np.ndarray, choices: Choices, *, models: Models
) -> pd.DataFrame:
    """The gap of every system under each other choice: one row a variant and system.

    Columns ``choice`` (what was varied: seed, k, clusterer, embedder, facets) and ``variant`` (to what),
    ``k``, ``js``, ``floor_high``, ``above_floor`` as in ``measure_gap``; the first rows are ``choices``
    themselves. At most 6,000 conversations are drawn, the same for all. ``embeddings`` are of ``described``,
    not yet reduced; where the embedder is a file, single facets are embedded by ``lsa``.
    """
    rows = draw_rows(described.index, seed=choices.seed)
    described, embeddings, seed = described.iloc[rows], embeddings[rows], choices.seed
    users, k, sizes = described["user_id"], choices.k, described.groupby(level="system").size()
    least = sizes[facets.REAL] + sizes.drop(facets.REAL).min()  # that are clustered together
    if k > len(rows) // 10:
        k = min(k, choose_k(sizes))
    base = replace(choices, k=k)
    plan = [("", BASE, {}), *(("seed", str(other), {"seed": other}) for other in range(seed + 1, seed + 6))]
    plan += [("k", str(n), {"k": n}) for n in (k // 2, 2 * k) if 2 <= n <= least]
    plan += [("clusterer", name, {"clusterer": name}) for name in CLUSTERERS if name != KMEANS]
    gaps = {}
    for choice, variant, changed in show_bar(plan, "other choices", leave=False):
        gaps[choice, variant] = measure_variant(embeddings, users, replace(base, **changed))
    for choice, variant, by, texts in list_texts(listed.loc[described.index], described, choices.embedder):
        other = await embed_texts(by, texts, described.index, models=models, seed=seed)
        gaps[choice, variant] = measure_variant(other, users, base)
    return pd.concat(gaps, names=["choice", "variant"]).reset_index([0, 1]).reset_index(drop=True)


def list_texts(listed: pd.DataFrame, described: pd.DataFrame, embedder: str) -> list[tuple]:
    """Other texts or embedders to measure the gap with: choice, variant, embedder, texts."""
    other = "words" if embedder == "lsa" else "lsa"
    by_text = "lsa" if embedder.endswith((".npy", ".npz")) else embedder
    names = facets.list_facets(described)
    variants = [("embedder", other, other, facets.join_facets(described))]
    if len(names) > 1:
        variants += [("facets", f"{name} alone", by_text, described[name].tolist()) for name in names]
    if names != [facets.RAW]:
        variants += [("facets", "raw text", by_text, facets.read_raw(listed)[facets.RAW].tolist())]
    return variants


def measure_variant(embeddings: np.ndarray, users: pd.Series, choices: Choices) -> pd.DataFrame:
    """The gap of every system with these choices: columns ``k, system, js, floor_high, above_floor``."""
    k, seed = choices.k, choices.seed
    pairs = cluster_pairs(embeddings, users.index, k=k, seed=seed, clusterer=CLUSTERERS[choices.clusterer])
    gaps = measure_gap(pairs, users, k=k, seed=seed).drop(FLOOR)
    return gaps.assign(k=k).reset_index()[["k", "system", "js", "floor_high", "above_floor"]]


def compare_ranks(varied: pd.DataFrame) -> pd.DataFrame:
    """How well each variant ranks the systems as the notebook's choices do: one row a variant.

    ``rank_correlation`` (Spearman; 1 the same order, -1 the reverse; NaN with fewer than three systems),
    ``smallest`` and ``largest`` JS, and ``moved``: the mean absolute change of JS.
    """
    wide = varied.pivot_table("js", ["choice", "variant"], "system", sort=False)
    base = wide.loc[("", BASE)]
    with np.errstate(invalid="ignore"):  # of equal JS there is no order
        ranks = wide.rank(axis=1).T.corrwith(base.rank()) if len(base) > 2 else float("nan")
    columns = {"rank_correlation": ranks, "smallest": wide.min(axis=1), "largest": wide.max(axis=1)}
    return pd.DataFrame({**columns, "moved": (wide - base).abs().mean(axis=1)}, index=wide.index)
