"""Would the systems be ranked alike with other clusters, points, seeds or facets? One choice varied at a time."""

from collections.abc import Callable

import numpy as np
import pandas as pd
from scipy.stats import spearmanr
from sklearn.cluster import AgglomerativeClustering
from sklearn.mixture import GaussianMixture

from realusersim_nb.gap import divergence, embeddings, facets
from realusersim_nb.llm.models import Models
from realusersim_nb.parallel.bars import show_bar

MOST = 6000  # conversations of all systems together: agglomerative clustering keeps a distance for every two
BASE = "as above"


def cluster_mixture(points: np.ndarray, *, k: int, seed: int) -> np.ndarray:
    """Cluster labels by a Gaussian mixture with diagonal covariances."""
    model = GaussianMixture(
        k, covariance_type="diag", reg_covar=1e-4, init_params="k-means++", random_state=seed
    )
    return model.fit_predict(points.astype(float))


def cluster_agglomerative(points: np.ndarray, *, k: int, seed: int) -> np.ndarray:
    """Cluster labels by Ward's agglomerative clustering, in which nothing is drawn by chance."""
    return AgglomerativeClustering(k).fit_predict(points)


CLUSTERERS: dict[str, Callable[..., np.ndarray]] = {
    "k-means": divergence.cluster_points,
    "mixture": cluster_mixture,
    "agglomerative": cluster_agglomerative,
}


def draw_rows(index: pd.MultiIndex, *, most: int = MOST, seed: int = 0) -> np.ndarray:
    """Rows of a seeded draw in which every system has as many conversations as it can, ``most`` together at most."""
    rows, rng = pd.Series(range(len(index)), index), np.random.default_rng(seed)
    parts = [own.to_numpy() for _, own in rows.groupby(level="system", sort=False)]
    share = most // len(parts)
    return np.concatenate(
        [np.sort(rng.choice(own, share, replace=False)) if len(own) > share else own for own in parts]
    )


async def vary_choices(
    listed: pd.DataFrame,
    described: pd.DataFrame,
    points: np.ndarray,
    *,
    embedder: str,
    k: int,
    seed: int,
    models: Models,
) -> pd.DataFrame:
    """The gap of every system under each other choice: one row a variant and system.

    Columns ``choice`` (what was varied: seed, k, clusterer, embedder, facets) and ``variant`` (to what), ``k``, ``js``,
    ``floor_high``, ``above_floor`` as in ``divergence.measure_gap``; the first rows are those of the notebook's own choice, on the
    same conversations. ``points`` are of ``described``, not yet reduced; without a model for others, facets alone are
    embedded by ``lsa``. At most 6,000 conversations are drawn, alike for all variants.
    """
    rows = draw_rows(described.index, seed=seed)
    own, points = described.iloc[rows], points[rows]
    other = "words" if embedder == "lsa" else "lsa"
    by_text = "lsa" if embedder.endswith((".npy", ".npz")) else embedder
    k = min(k, divergence.choose_k(own.groupby(level="system").size())) if k > len(own) // 10 else k

    async def embed(texts: list[str], by: str) -> np.ndarray:
        return await embeddings.embed_texts(by, texts, own.index, models=models, seed=seed)

    plan = [{"choice": "", "variant": BASE}]
    plan += [{"choice": "seed", "variant": str(seed + i), "seed": seed + i} for i in range(1, 6)]
    plan += [{"choice": "k", "variant": str(n), "k": n} for n in (k // 2, 2 * k) if 2 <= n <= len(own)]
    plan += [{"choice": "clusterer", "variant": name} for name in CLUSTERERS if name != "k-means"]
    found = [
        measure_variant(own, points, **{"k": k, "seed": seed, **varied})
        for varied in show_bar(plan, "other choices", leave=False)
    ]
    texts = await embed(facets.join_facets(own), other)
    found += [measure_variant(own, texts, choice="embedder", variant=other, k=k, seed=seed)]
    names = facets.list_facets(own)
    for name in names if len(names) > 1 else []:
        alone = await embed(own[name].tolist(), by_text)
        found += [measure_variant(own, alone, choice="facets", variant=f"{name} alone", k=k, seed=seed)]
    if names != [facets.RAW]:
        raw = await embed(facets.read_raw(listed.loc[own.index])[facets.RAW].tolist(), by_text)
        found += [measure_variant(own, raw, choice="facets", variant="raw text", k=k, seed=seed)]
    return pd.concat(found, ignore_index=True)


def measure_variant(
    described: pd.DataFrame, points: np.ndarray, *, choice: str, variant: str, k: int, seed: int
) -> pd.DataFrame:
    """The rows of one variant."""
    cluster = CLUSTERERS[variant if choice == "clusterer" else "k-means"]
    labels = pd.Series(
        cluster(embeddings.reduce_dimensions(points, seed=seed), k=k, seed=seed), described.index
    )
    gaps = divergence.measure_gap(labels, described["user_id"], k=k, seed=seed).drop(divergence.FLOOR)
    kept = gaps.reset_index()[["system", "js", "floor_high", "above_floor"]]
    return pd.DataFrame({"choice": choice, "variant": variant, "k": k}, index=kept.index).join(kept)


def compare_ranks(varied: pd.DataFrame) -> pd.DataFrame:
    """How well each variant ranks the systems as the notebook's own choice does: one row a variant.

    ``rank_correlation`` (Spearman; 1 the same order, -1 the reverse; NaN with fewer than three systems), ``smallest``
    and ``largest`` JS, and ``moved``: the mean absolute change of JS.
    """
    wide = varied.pivot_table("js", ["choice", "variant"], "system", sort=False)
    base = wide.loc[("", BASE)]
    enough = len(base) > 2 and base.nunique() > 1
    ranks = [
        spearmanr(base, row).statistic if enough and row.nunique() > 1 else float("nan")
        for _, row in wide.iterrows()
    ]
    return pd.DataFrame(
        {
            "rank_correlation": ranks,
            "smallest": wide.min(axis=1),
            "largest": wide.max(axis=1),
            "moved": (wide - base).abs().mean(axis=1),
        }
    )
