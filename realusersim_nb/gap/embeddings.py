"""Texts as points: by TF-IDF and a truncated SVD (``lsa``, no model), by an endpoint, or from a file made elsewhere."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.preprocessing import normalize

from realusersim_nb.errors import InputError, MissingFileError
from realusersim_nb.llm.models import Models

LSA = {"lsa": 2, "words": 1}  # embedders without a model, and the longest run of words that they see
LSA_SIZE = 256  # dimensions at most
PCA_VARIANCE = 0.90  # kept, as in the paper
WORDS = r"[^\s]+"  # measured facets hold marks inside their words


def make_vectorizer(n_texts: int, *, longest: int = 2) -> TfidfVectorizer:
    """TF-IDF over words and runs of up to ``longest``; of more than a hundred texts, those that stand in two at least."""
    return TfidfVectorizer(
        token_pattern=WORDS, ngram_range=(1, longest), sublinear_tf=True, min_df=2 if n_texts > 100 else 1
    )


def embed_by_lsa(texts: list[str], *, longest: int = 2, seed: int = 0) -> np.ndarray:
    """LSA over words and runs of up to ``longest``: one row a text, float32, at most 256 columns."""
    weights = make_vectorizer(len(texts), longest=longest).fit_transform(texts)
    size = min(LSA_SIZE, min(weights.shape) - 1)
    if size < 1:
        return weights.toarray().astype(np.float32)
    return TruncatedSVD(size, random_state=seed).fit_transform(weights).astype(np.float32)


async def embed_texts(
    embedder: str, texts: list[str], index: pd.MultiIndex, *, models: Models | None = None, seed: int = 0
) -> np.ndarray:
    """Points of texts, a row each: by ``lsa``, ``words`` (LSA of single words), a file, or a model of an endpoint.

    A file is .npy (rows in the order of ``index``) or .npz (``points``, and ``ids`` as ``system/conversation_id``).
    ValueError if its rows do not fit, or for ``local_server``, which is no embedding model.
    """
    if embedder in LSA:
        return embed_by_lsa(texts, longest=LSA[embedder], seed=seed)
    if embedder.endswith((".npy", ".npz")):
        return read_embeddings(Path(embedder), index)
    if embedder == "embedded":
        raise InputError(
            f"embedder 'embedded': that model writes, it does not embed; expected {', '.join(LSA)}, a .npy or .npz file or an embedding model of an endpoint."
        )
    return await models.embed(embedder, texts)


def read_embeddings(path: Path, index: pd.MultiIndex) -> np.ndarray:
    """Points made elsewhere, a row a conversation. FileNotFoundError or ValueError say what is wrong with the file."""
    if not path.exists():
        raise MissingFileError(f"embedder {str(path)!r}: no such file.")
    found = np.load(path, mmap_mode="r", allow_pickle=False)
    if path.suffix == ".npz":
        if absent := {"points", "ids"} - set(found):
            raise InputError(
                f"{path}: expected arrays 'points' and 'ids', there is no {' and no '.join(map(repr, sorted(absent)))}."
            )
        names, points = [f"{system}/{conversation}" for system, conversation in index], found["points"]
        ids = [str(name) for name in found["ids"]]
        if len(ids) != len(points) or len(ids) != len(set(ids)):
            raise InputError(
                f"{path}: {len(ids)} ids ({len(set(ids))} different) of {len(points)} points; expected one of each."
            )
        rows = pd.Series(range(len(ids)), ids).reindex(names)
        if rows.isna().any():
            raise InputError(
                f"{path}: no embedding of {rows.index[rows.isna()][0]!r} nor of {rows.isna().sum() - 1} others; expected one of each conversation in table facets."
            )
        found = points[rows.astype(int)]
    if found.ndim != 2 or len(found) != len(index):
        raise InputError(
            f"{path}: shape {found.shape}, expected {len(index)} rows, one a conversation in the order of table facets."
        )
    return np.asarray(found, dtype=np.float32)


def reduce_dimensions(points: np.ndarray, *, seed: int = 0) -> np.ndarray:
    """The paper's steps before clustering: L2, then PCA to 90 % of the variance; float32.

    ValueError naming the first row that holds no number.
    """
    broken = np.flatnonzero(~np.isfinite(points).all(axis=1))
    if len(broken):
        raise InputError(
            f"the embedding in row {broken[0] + 1} holds something that is no number, {len(broken)} rows do; embed them anew."
        )
    unit = normalize(points.astype(np.float32, copy=False))
    if np.ptp(unit, axis=0).max() == 0:  # one and the same conversation: nothing varies
        return unit[:, :1]
    solver = "covariance_eigh" if unit.shape[0] > unit.shape[1] else "full"
    return PCA(PCA_VARIANCE, svd_solver=solver, random_state=seed).fit_transform(unit)


def project_to_plane(points: np.ndarray, *, seed: int = 0) -> tuple[np.ndarray, str]:
    """Two columns to look at, and how they were made: by UMAP if ``umap-learn`` is installed, else the first two of PCA."""
    if find_spec("umap") and len(points) > 15:
        from umap import UMAP  # slow to import, and not among our dependencies

        return UMAP(random_state=seed, n_jobs=1).fit_transform(points), "UMAP"
    flat = PCA(min(2, *points.shape), random_state=seed).fit_transform(points)
    return np.pad(flat, [(0, 0), (0, 2 - flat.shape[1])]), "PCA"
