"""Which behaviours a simulator captures, misses and invents: clusters by what real and simulated users do in them."""

from typing import Literal

import numpy as np
import pandas as pd

from realusersim_nb.gap.divergence import smooth
from realusersim_nb.gap.embeddings import make_vectorizer
from realusersim_nb.gap.facets import REAL

BehaviourKind = Literal["captured", "missed", "invented", "rare"]
FOLD = 4  # how many times more often one side shows a behaviour that the other is said to lack
EXPECTED = 5  # conversations that the smaller side should have in a cluster for anything to be said of it
TERMS = 6


def compare_behaviours(labels: pd.Series, system: str, *, k: int) -> pd.DataFrame:
    """One row a cluster: shares ``real`` and ``simulated`` (0..1), ``ratio`` (simulated over real), counts, ``kind``.

    A behaviour is ``missed`` that real users show four times as often or more, ``invented`` the other way round,
    else ``captured``; ``rare`` where fewer than five conversations were to be expected on the smaller side, so that
    chance alone could empty it.
    """
    counts = {
        side: np.bincount(labels.loc[name], minlength=k)
        for side, name in (("real", REAL), ("simulated", system))
    }
    table = pd.DataFrame({side: smooth(own) for side, own in counts.items()})
    table = table.assign(**{f"n_{side}": own for side, own in counts.items()})
    smaller = min(own.sum() for own in counts.values())
    kinds = [name_kind(row, smaller) for row in table.itertuples()]
    return table.assign(ratio=table["simulated"] / table["real"], kind=kinds).rename_axis("cluster")


def compare_all_behaviours(labels: pd.Series, texts: list[str], *, k: int) -> pd.DataFrame:
    """The same for every system, with each cluster's ``terms``: index (system, cluster)."""
    systems = labels.index.unique("system").drop(REAL)
    terms = name_terms(texts, labels.to_numpy())
    frames = {name: compare_behaviours(labels, name, k=k) for name in systems}
    table = pd.concat(frames, names=["system"])
    return table.assign(terms=table.index.get_level_values("cluster").map(terms).fillna(""))


def name_kind(row, smaller: int) -> BehaviourKind:
    """What a system makes of one cluster."""
    if max(row.real, row.simulated) * smaller < EXPECTED:
        return "rare"
    if row.simulated * FOLD <= row.real:
        return "missed"
    return "invented" if row.real * FOLD <= row.simulated else "captured"


def summarise_behaviours(compared: pd.DataFrame) -> pd.DataFrame:
    """Share of real and of simulated conversations in clusters of each kind, and how many clusters: index (system, kind)."""
    return compared.groupby(["system", "kind"]).agg(
        real=("real", "sum"), simulated=("simulated", "sum"), n_clusters=("real", "size")
    )


def name_terms(texts: list[str], labels: np.ndarray) -> dict[int, str]:
    """What sets each cluster's facets apart: the six terms whose mean TF-IDF exceeds that of all conversations most."""
    vectorizer = make_vectorizer(len(texts), longest=1)
    weights = vectorizer.fit_transform(texts)
    names = vectorizer.get_feature_names_out()
    overall = np.asarray(weights.mean(axis=0)).ravel()
    terms = {}
    for cluster in np.unique(labels):
        above = np.asarray(weights[labels == cluster].mean(axis=0)).ravel() - overall
        terms[int(cluster)] = ", ".join(names[np.argsort(above)[::-1][:TERMS]])
    return terms


def find_central_examples(
    points: np.ndarray, labels: pd.Series, cluster: int, *, n: int = 3
) -> pd.MultiIndex:
    """The conversations (system, id) that lie nearest the middle of a cluster."""
    inside = np.flatnonzero(labels.to_numpy() == cluster)
    middle = points[inside].mean(axis=0)
    return labels.index[inside[np.argsort(((points[inside] - middle) ** 2).sum(axis=1))[:n]]]
