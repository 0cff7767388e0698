"""Which behaviours (clusters) a simulator captures, misses and invents, compared with real users."""

from typing import Literal

import numpy as np
import pandas as pd
from sklearn.feature_extraction.text import CountVectorizer

from realusersim_nb.gap.embeddings import WORDS
from realusersim_nb.gap.facets import REAL
from realusersim_nb.profiles.population import name_clusters

BehaviourKind = Literal["captured", "missed", "invented", "rare"]
FOLD = 4  # how many times more often one side shows a behaviour that the other counts as lacking
EXPECTED = 5  # conversations expected of the smaller side, below which a cluster is rare


def compare_behaviours(labels: pd.Series, system: str, *, k: int) -> pd.DataFrame:
    """One row a cluster: shares ``real, simulated`` (0..1), ``n_real, n_simulated``, ``ratio``, ``kind``.

    A behaviour that real users show four times as often or more is ``missed``, the other way round
    ``invented``, else ``captured``; ``rare`` where fewer than five conversations were to be expected on the
    smaller side, so that chance alone could empty it. ``ratio`` is simulated over real.
    """
    real, simulated = (np.bincount(labels.loc[name], minlength=k) for name in (REAL, system))
    p, q = ((counts + 1 / k) / (counts.sum() + 1) for counts in (real, simulated))  # none is 0
    expected = np.maximum(p, q) * min(real.sum(), simulated.sum())
    cases = [expected < EXPECTED, q * FOLD <= p, p * FOLD <= q]
    kind = np.select(cases, ["rare", "missed", "invented"], "captured")
    columns = {"real": p, "simulated": q, "n_real": real, "n_simulated": simulated, "ratio": q / p}
    return pd.DataFrame({**columns, "kind": kind}).rename_axis("cluster")


def compare_all_behaviours(labels: pd.Series, texts: list[str], *, k: int) -> pd.DataFrame:
    """The same for every system, with each cluster's ``terms``: index (system, cluster)."""
    systems = labels.index.unique("system").drop(REAL)
    terms = name_terms(texts, labels.to_numpy())
    table = pd.concat({name: compare_behaviours(labels, name, k=k) for name in systems}, names=["system"])
    return table.assign(terms=table.index.get_level_values("cluster").map(terms).fillna(""))


def summarise_behaviours(compared: pd.DataFrame) -> pd.DataFrame:
    """Shares of ``real`` and ``simulated`` conversations and ``n_clusters`` by kind: index (system, kind)."""
    columns = {"real": ("real", "sum"), "simulated": ("simulated", "sum"), "n_clusters": ("real", "size")}
    return compared.groupby(["system", "kind"]).agg(**columns)


def name_terms(texts: list[str], labels: np.ndarray) -> pd.Series:
    """The terms that distinguish each cluster's facets (see ``population.name_clusters``)."""
    vectorizer = CountVectorizer(token_pattern=WORDS, binary=True)
    return name_clusters(vectorizer.fit_transform(texts), vectorizer.get_feature_names_out(), labels)


def find_central_examples(embeddings: np.ndarray, labels: pd.Series, cluster: int, *, n: int = 3) -> pd.Index:
    """The conversations (system, id) nearest to the mean of a cluster."""
    inside = np.flatnonzero(labels.to_numpy() == cluster)
    middle = embeddings[inside].mean(axis=0)
    return labels.index[inside[np.argsort(((embeddings[inside] - middle) ** 2).sum(axis=1))[:n]]]
