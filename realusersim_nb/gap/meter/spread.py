"""How behaviour is distributed: divergence by facet above its floor, and how much users differ."""

import numpy as np
import pandas as pd
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import TfidfTransformer

from realusersim_nb.gap import divergence, embeddings, facets
from realusersim_nb.gap.meter.probe import count_ngrams
from realusersim_nb.gap.meter.sides import Side
from realusersim_nb.gap.meter.subjects import Subjects, compute_p, estimate_effect
from realusersim_nb.parallel.batches import map_batches
from realusersim_nb.stats import draw_disjoint, make_generator

FACETS = {"style": "style", "acts": "what messages do", "pace": "lengths, one after the other"}
COLUMNS = "facet system floor floor_high excess by_subject p".split()
DRAWS, MASKED_DRAWS = 200, 100  # of people, for the floor of JS and of diversity
MOST = 1500  # conversations a side; as many of all people, for the subjects


def compare_facets(people: Side, system: Side, subjects: Subjects, *, seed: int) -> pd.DataFrame:
    """JS of each measured facet, one row each.

    ``system`` is JS in nats (0 to 0.693), ``floor`` and ``floor_high`` that of people against people (mean,
    97.5th percentile), ``excess`` system - floor, ``by_subject`` what the difference of subjects comes to.
    """
    rng = make_generator(seed, "facets")
    rows = rng.permutation(len(subjects.people))[:MOST]
    sides = [side.take(rng.permutation(len(side))[:MOST]) for side in (people, system)]
    sides.append(subjects.people.take(rows))
    inside = [np.flatnonzero(np.isin(rows, of_subject)) for of_subject in subjects.rows]
    described = [row for side in sides for row in map_batches(facets.measure_batch, side.messages, "facets")]
    ends = np.cumsum([len(side) for side in sides])[:2]
    k = divergence.choose_k(pd.Series([len(side) for side in sides[:2]]))
    table = []
    for facet, label in FACETS.items():
        embedded = embeddings.embed_by_lsa([row[facet] or "-" for row in described], seed=seed)
        reduced = embeddings.reduce_dimensions(embedded, seed=seed)
        labels = divergence.cluster_embeddings(reduced, k=min(k, len(reduced)), seed=seed)
        ours, theirs, everybody = np.split(labels, ends)
        floor = draw_floor(ours, sides[0].users, len(theirs), rng, k=k)
        by_subject = [compare_one_subject(everybody, of_subject, rng, k=k) for of_subject in inside]
        effect = subjects.shift * estimate_effect(np.array(by_subject), np.zeros(len(by_subject)))
        js, mean = measure_js(ours, theirs, k=k), floor.mean()
        p = compute_p(js - mean, floor.std(), effect, len(inside)) if js > mean else 1.0
        table.append([label, js, mean, np.quantile(floor, 0.975), js - mean, effect, p])
    return pd.DataFrame(table, columns=COLUMNS)


def measure_js(one: np.ndarray, other: np.ndarray, *, k: int) -> float:
    """JS (nats) of two sides' cluster labels."""
    counts = (np.bincount(side, minlength=k) for side in (one, other))
    return float(divergence.compute_divergences(*counts)["js"])


def draw_floor(
    labels: np.ndarray, users: np.ndarray, n: int, rng: np.random.Generator, *, k: int
) -> np.ndarray:
    """JS of ``n`` conversations of some people from those of others, one value a draw that leaves others."""
    n = min(n, int(0.45 * len(labels)))
    pairs = (draw_disjoint(users, n, rng) for _ in range(DRAWS))
    return np.array([measure_js(labels[rest], labels[drawn], k=k) for drawn, rest in pairs if len(rest)])


def compare_one_subject(labels: np.ndarray, inside: np.ndarray, rng: np.random.Generator, *, k: int) -> float:
    """How much further people on one subject are from all others than as many people at random."""
    rest = np.setdiff1d(np.arange(len(labels)), inside)
    drawn = rng.choice(rest, min(len(inside), len(rest)), replace=False)
    one, chance = (measure_js(labels[rows], labels[rest], k=k) for rows in (inside, drawn))
    return one - chance


def compare_diversity(people: Side, system: Side, subjects: Subjects, *, seed: int) -> dict[str, float]:
    """How unlike each other users write, beside people: mean distance between two of them (0..1).

    The distance is 1 - cosine of masked n-grams between conversations of different users. ``system`` and
    ``people`` with ``people_low, people_high`` (95% of as many other people), ``by_subject`` and ``p``.
    """
    rng = make_generator(seed, "diversity")
    counts = count_ngrams(subjects.people, people, system)
    weights = TfidfTransformer(sublinear_tf=True).fit(counts[2])
    ours, theirs, everybody = (weights.transform(table) for table in counts)
    n = min(MOST, len(system), int(0.45 * len(people)))
    drawn = [draw_disjoint(people.users, n, rng)[0] for _ in range(MASKED_DRAWS)]
    draws = np.array([measure_distance(ours[rows], people.users[rows]) for rows in drawn])
    rows = rng.permutation(len(system))[:n]
    measured = measure_distance(theirs[rows], system.users[rows])
    users = subjects.people.users
    whole = measure_distance(everybody, users)
    by_subject = np.array([measure_distance(everybody[r], users[r]) - whole for r in subjects.rows])
    effect = subjects.shift * estimate_effect(by_subject, np.zeros(len(by_subject)))
    # Draws from few people share some: other people, and these people's mean, vary by more than the draws do.
    spread = draws.std(ddof=1) * np.sqrt((1 / n + 1 / len(people)) / (1 / n - 1 / len(people)))
    p = compute_p(measured - draws.mean(), spread, effect, len(by_subject))
    figures = [measured, draws.mean(), *(draws.mean() + np.array([-1.96, 1.96]) * spread), effect, p]
    return dict(zip("system people people_low people_high by_subject p".split(), figures, strict=True))


def measure_distance(vectors: csr_matrix, users: np.ndarray) -> float:
    """Mean of 1 - cosine over all pairs of conversations of different users, without making the pairs."""
    by_user = sum_by_user(vectors, users)
    pairs = len(users) ** 2 - (np.bincount(np.unique(users, return_inverse=True)[1]) ** 2).sum()
    within, whole = by_user.multiply(by_user).sum(), np.asarray(by_user.sum(axis=0))
    return float(1 - ((whole**2).sum() - within) / pairs) if pairs else float("nan")


def sum_by_user(rows: csr_matrix, users: np.ndarray) -> csr_matrix:
    """The sum of each user's rows, one row a user."""
    codes = np.unique(users, return_inverse=True)[1]
    return csr_matrix((np.ones(len(codes)), (codes, np.arange(len(codes))))) @ rows
