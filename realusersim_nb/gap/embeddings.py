"""Embeddings of texts: by TF-IDF and a truncated SVD (``lsa``, no model), by an endpoint, or from a file."""

from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import pandas as pd
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.preprocessing import normalize

from realusersim_nb.errors import InputError, MissingFileError
from realusersim_nb.llm.models import Models
from realusersim_nb.text import check_file

LSA = {"lsa": 2, "words": 1}  # embedders without a model, and the longest run of words that is a term
LSA_SIZE = 256  # dimensions at most
CUT, PCA_VARIANCE = 1024, 0.90  # dimensions of an embedding, and variance, that are kept, as in the paper
WORDS = r"[^\s]+"  # measured facets hold marks inside their words


def embed_by_lsa(texts: list[str], *, longest: int = 2, seed: int = 0) -> np.ndarray:
    """LSA over words and runs of up to ``longest``: one row a text, float32, at most 256 columns.

    Of more than 100 texts, terms of two texts or more.
    """
    options = {"sublinear_tf": True, "min_df": 2 if len(texts) > 100 else 1}
    weights = TfidfVectorizer(token_pattern=WORDS, ngram_range=(1, longest), **options).fit_transform(texts)
    size = min(LSA_SIZE, min(weights.shape) - 1)
    if size < 1:
        return weights.toarray().astype(np.float32)
    return TruncatedSVD(size, random_state=seed).fit_transform(weights).astype(np.float32)


async def embed_texts(
    embedder: str, texts: list[str], index: pd.MultiIndex, *, models: Models | None = None, seed: int = 0
) -> np.ndarray:
    """One row a text: by ``lsa``, ``words`` (LSA of single words), a file, or an endpoint's embedding model.

    A file is .npy (rows in the order of ``index``) or .npz (``points``, ``ids`` as
    ``system/conversation_id``). InputError if its rows do not fit, or for ``embedded``, which embeds nothing.
    """
    if embedder in LSA:
        return embed_by_lsa(texts, longest=LSA[embedder], seed=seed)
    if embedder.endswith((".npy", ".npz")):
        return read_embeddings(Path(embedder), index)
    if embedder == "embedded":
        expected = f"{', '.join(LSA)}, a .npy or .npz file or an embedding model of an endpoint"
        raise InputError(f"embedder 'embedded': that model writes, it does not embed; expected {expected}.")
    return await models.embed(embedder, texts)


def read_embeddings(path: Path, index: pd.MultiIndex) -> np.ndarray:
    """Embeddings from a file, one row a conversation; MissingFileError, or InputError if it does not fit."""
    if not path.exists():
        raise MissingFileError(f"embedder {str(path)!r}: no such file.")
    check_file(path)
    try:
        rows = np.load(path, mmap_mode="r", allow_pickle=False)
        arrays = dict(rows) if path.suffix == ".npz" else {}
    except (ValueError, OSError, EOFError, BadZipFile) as error:
        kinds = "expected arrays of numbers, and of texts with a fixed length for 'ids' (no objects)"
        raise InputError(f"{path}: cannot be read as {path.suffix}: {kinds}; save it so.") from error
    if path.suffix == ".npz":
        if absent := {"points", "ids"} - set(arrays):
            names = " and no ".join(map(repr, sorted(absent)))
            raise InputError(f"{path}: expected arrays 'points' and 'ids', there is no {names}.")
        rows = match_rows(path, arrays["points"], list(map(str, arrays["ids"])), index)
    if rows.ndim != 2 or len(rows) != len(index):
        expected = f"{len(index)} rows, one a conversation in the order of table facets"
        raise InputError(f"{path}: shape {rows.shape}, expected {expected}.")
    return np.asarray(rows, dtype=np.float32)


def match_rows(path: Path, rows: np.ndarray, ids: list[str], index: pd.MultiIndex) -> np.ndarray:
    """The rows in the order of ``index``, by their ids; InputError for ids that are missing or not unique."""
    if len(ids) != len(rows) or len(ids) != len(set(ids)):
        counts = f"{len(ids)} ids ({len(set(ids))} different) of {len(rows)} points"
        raise InputError(f"{path}: {counts}; expected one of each.")
    places = pd.Series(range(len(ids)), ids).reindex(["/".join(key) for key in index])
    absent = places.index[places.isna()]
    if len(absent):
        problem = f"no embedding of {absent[0]!r} nor of {len(absent) - 1} others"
        raise InputError(f"{path}: {problem}; expected one of each conversation in table facets.")
    return rows[places.astype(int)]


def reduce_dimensions(embeddings: np.ndarray, *, seed: int = 0) -> np.ndarray:
    """The paper's steps before clustering: cut to 1,024 dimensions, L2, PCA to 90% of the variance; float32.

    InputError naming the first row with a value that is no number.
    """
    broken = np.flatnonzero(~np.isfinite(embeddings).all(axis=1))
    if len(broken):
        problem = f"the embedding in row {broken[0] + 1} holds something that is no number"
        raise InputError(f"{problem}, {len(broken)} rows do; embed them anew.")
    unit = normalize(embeddings[:, :CUT].astype(np.float32, copy=False))
    if np.ptp(unit, axis=0).max() == 0:  # all conversations are the same: nothing varies
        return unit[:, :1]
    solver = "covariance_eigh" if unit.shape[0] > unit.shape[1] else "full"
    return PCA(PCA_VARIANCE, svd_solver=solver, random_state=seed).fit_transform(unit)


def project_to_plane(embeddings: np.ndarray, *, seed: int = 0) -> np.ndarray:
    """The first two principal components, for a figure; zeros where there are fewer."""
    flat = PCA(min(2, *embeddings.shape), random_state=seed).fit_transform(embeddings)
    return np.pad(flat, [(0, 0), (0, 2 - flat.shape[1])])
