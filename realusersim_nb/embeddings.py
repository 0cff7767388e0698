"""Texts as points: by TF-IDF and a truncated SVD (``lsa``, no model), or as an array that was made elsewhere."""

from pathlib import Path

import numpy as np
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.preprocessing import normalize

LSA = "lsa"
LSA_SIZE = 256  # dimensions at most
PCA_VARIANCE = 0.90  # kept, as in the paper
WORDS = r"[^\s]+"  # measured facets hold marks inside their words


def make_vectorizer(n_texts: int, *, longest: int = 2) -> TfidfVectorizer:
    """TF-IDF over words and runs of up to ``longest``; of more than a hundred texts, those that stand in two at least."""
    return TfidfVectorizer(
        token_pattern=WORDS, ngram_range=(1, longest), sublinear_tf=True, min_df=2 if n_texts > 100 else 1
    )


def embed(texts: list[str], *, seed: int = 0) -> np.ndarray:
    """LSA: one row a text, float32, at most 256 columns."""
    weights = make_vectorizer(len(texts)).fit_transform(texts)
    size = min(LSA_SIZE, min(weights.shape) - 1)
    if size < 1:
        return weights.toarray().astype(np.float32)
    return TruncatedSVD(size, random_state=seed).fit_transform(weights).astype(np.float32)


def make(embedder: str, texts: list[str], *, seed: int = 0) -> np.ndarray:
    """Points of texts by ``lsa`` or from a .npy file. ValueError for anything else."""
    if embedder == LSA:
        return embed(texts, seed=seed)
    if not embedder.endswith(".npy"):
        raise ValueError(f"embedder {embedder!r} does not exist: expected {LSA} or a .npy file.")
    return read_array(Path(embedder), len(texts))


def read_array(path: Path, n: int) -> np.ndarray:
    """Points made elsewhere (.npy), a row a conversation in the order of the facets. ValueError if they do not fit."""
    found = np.load(path, mmap_mode="r")
    if found.ndim != 2 or len(found) != n:
        raise ValueError(
            f"{path}: shape {found.shape}, expected {n} rows, one a conversation in the order of the facets."
        )
    return np.asarray(found, dtype=np.float32)


def reduce(points: np.ndarray, *, seed: int = 0) -> np.ndarray:
    """The paper's steps before clustering: L2, then PCA to 90 % of the variance; float32.

    ValueError naming the first row that holds no number.
    """
    broken = np.flatnonzero(~np.isfinite(points).all(axis=1))
    if len(broken):
        raise ValueError(f"embedding of conversation {broken[0]} holds no number (so do {len(broken) - 1} others).")
    unit = normalize(points.astype(np.float32, copy=False))
    if len(np.unique(unit[:1000], axis=0)) == 1 and (unit == unit[0]).all():
        return unit[:, :1]
    return PCA(PCA_VARIANCE, svd_solver="covariance_eigh" if unit.shape[0] > unit.shape[1] else "full").fit_transform(
        unit
    )
