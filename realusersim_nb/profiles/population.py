"""Who a population of users is: what they write about, and whether task-oriented users are among them."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.sparse import spmatrix
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer

from realusersim_nb import style
from realusersim_nb.corpus.splits import group_by_user
from realusersim_nb.errors import InputError
from realusersim_nb.records import Conversation, Profile

CHAT, REFERENCE = "chat", "reference"
TERMS = 6  # that name a cluster
USER_CHARS = 4000  # of one user
ON_MAP = 1500  # points; more are drawn from


def collect_words(conversations: Sequence[Conversation]) -> dict[str, str]:
    """What each user typed, as one text, by user id."""
    return {
        user: "\n".join(style.typed_text(m) for c in talks for m in c.user_messages)[:USER_CHARS]
        for user, talks in group_by_user(conversations).items()
    }


def find_topics(
    chat: dict[str, str], reference: dict[str, str] | None = None, *, k: int = 12, seed: int = 0
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Topics of the users' words, and how reference texts are spread over them.

    TF-IDF of words, truncated SVD to 100 dimensions, k-means over the chat users. Two tables. One row a text:
    ``user_id, system`` (chat or reference), ``topic``, and ``nearest``, the cosine similarity (0..1) to the
    most similar other chat user. One row a topic: its ``terms``, its ``users``, and the shares of ``chat``
    and ``reference`` texts in it.
    """
    reference, k, n_chat = reference or {}, min(k, len(chat)), len(chat)
    min_df = 2 if n_chat > 50 else 1
    tfidf = TfidfVectorizer(stop_words="english", min_df=min_df, max_features=20_000, sublinear_tf=True)
    words = tfidf.fit(chat.values()).transform([*chat.values(), *reference.values()])
    n_dimensions = min(100, words.shape[1] - 1, n_chat - 1)
    reduce = make_pipeline(TruncatedSVD(n_dimensions, random_state=seed), Normalizer())
    embeddings = reduce.fit(words[:n_chat]).transform(words)
    clusters = KMeans(k, n_init=5, random_state=seed).fit(embeddings[:n_chat])
    systems = [CHAT] * n_chat + [REFERENCE] * len(reference)
    rows = pd.DataFrame({"user_id": [*chat, *reference], "system": systems})
    rows = rows.assign(topic=clusters.predict(embeddings), nearest=find_nearest(words, n_chat))
    counts = CountVectorizer(vocabulary=tfidf.vocabulary_, binary=True).transform(chat.values())
    terms = name_clusters(counts, tfidf.get_feature_names_out(), clusters.labels_)
    topics = pd.DataFrame({"terms": terms, "users": pd.Series(clusters.labels_).value_counts()})
    shares = pd.crosstab(rows["topic"], rows["system"], normalize="columns")
    shares = shares.reindex(columns=[CHAT, REFERENCE])
    return rows, topics.rename_axis("topic").join(shares.fillna(0.0)).sort_values("users", ascending=False)


def name_clusters(counts: spmatrix, terms: np.ndarray, labels: np.ndarray) -> pd.Series:
    """Of each cluster (index) up to six terms that are most surely more frequent in it than elsewhere.

    Log-odds of each term in the cluster against all other texts, with its count in all texts as an
    informative Dirichlet prior, in standard errors (Monroe et al. 2008, doi:10.1093/pan/mpn018), so that the
    chance in rare terms does not count. ``counts`` has a row a text and a column for each of ``terms``.
    """
    total, names = np.asarray(counts.sum(axis=0), dtype=float).ravel(), {}
    for cluster in np.unique(labels):
        inside = np.asarray(counts[labels == cluster].sum(axis=0), dtype=float).ravel()
        z = compute_log_odds(inside, total - inside, prior=total)
        names[int(cluster)] = ", ".join(terms[[i for i in np.argsort(-z)[:TERMS] if z[i] > 0]])
    return pd.Series(names, dtype=object)


def compute_log_odds(inside: np.ndarray, outside: np.ndarray, *, prior: np.ndarray) -> np.ndarray:
    """Standardised difference of each term's log-odds between two counts of all; above 0: more inside."""
    one, other = inside + prior, outside + prior
    odds = [np.log(side / (side.sum() - side)) for side in (one, other)]
    return (odds[0] - odds[1]) / np.sqrt(1 / one + 1 / other)


def find_nearest(words: spmatrix, n_chat: int) -> np.ndarray:
    """Cosine similarity of each text to the nearest of the first ``n_chat``, except itself."""
    distances, _ = NearestNeighbors(n_neighbors=2, metric="cosine").fit(words[:n_chat]).kneighbors(words)
    return 1 - np.where(np.arange(words.shape[0]) < n_chat, distances[:, 1], distances[:, 0])


def measure_topic_coverage(rows: pd.DataFrame) -> pd.Series:
    """How well the chat users' words cover the reference texts.

    ``chat, reference``: median similarity to the nearest other chat user. ``covered``: share of reference
    texts with a chat user at least as near as the median chat user has (0.5: as the chat users themselves).
    """
    chat, reference = (rows.loc[rows["system"] == system, "nearest"] for system in (CHAT, REFERENCE))
    covered = (reference >= chat.median()).mean() if len(reference) else float("nan")
    medians = {CHAT: chat.median(), REFERENCE: reference.median()}
    return pd.Series({**medians, "covered": covered, "n_reference": len(reference)})


def map_users(users: pd.DataFrame, *, seed: int = 0) -> pd.DataFrame:
    """The two main components of users' percentiles (unknown: 0.5), a map of style of at most 1,500 users.

    Index: user id; columns ``x, y`` (without unit). InputError for fewer than 5 users.
    """
    if len(users) < 5:
        raise InputError(f"a map needs at least 5 users, there are {len(users)}; raise n_users.")
    shown = users.sample(min(ON_MAP, len(users)), random_state=seed)
    percentiles = style.compute_percentiles(shown, users).fillna(0.5).to_numpy()
    components = PCA(2, random_state=seed).fit_transform(percentiles)
    return pd.DataFrame(components, index=shown.index, columns=["x", "y"])


def count_demographics(profiles: list[Profile]) -> pd.DataFrame:
    """How many profiles have each demographic fact: one row a fact; columns extracted, inferred."""
    rows = [(name, fact.source) for p in profiles for name, fact in p.demographics.items()]
    table = pd.DataFrame(rows, columns=["fact", "source"]).value_counts().unstack("source", fill_value=0)
    return table.reindex(columns=["extracted", "inferred"], fill_value=0)


def describe_holding(holding: pd.DataFrame, all_unseen: pd.DataFrame, fresh: pd.DataFrame) -> dict:
    """The row ``all`` of ``reliability.tabulate_holding`` as a finding; ``holding`` has its users."""
    row, rest = all_unseen.loc["all"], fresh.loc["all"]
    sentence = (
        f"{row['rate']:.0%} of a profile's commands hold in conversations that it was not made from; "
        f"in a stranger's messages {row['stranger']:.0%} do"
    )
    limit = (
        f"habits alone: without messages that repeat known ones, such as templates, {rest['rate']:.0%} hold"
    )
    words = {"limit": limit, "figure": "holding", "unit": "%", "counted": "people"}
    ends = {name: row[name] for name in ("ci_low", "ci_high")}
    return {"sentence": sentence, "value": row["rate"], "n": holding["user_id"].nunique(), **ends, **words}


def describe_identification(row: dict) -> dict:
    """A row of ``reliability.identify_users`` (``top`` 1) as a finding (see ``Run.add_finding``)."""
    is_shown = row["ci_low"] > row["chance"]
    sentence = (
        f"{'People' if is_shown else 'It is not shown that people'} can be recognised by how they write: by "
        f"{row['by']}, the writer of unseen messages is found among {1 / row['chance']:.0f} people in "
        f"{row['rate']:.0%} of cases (chance {row['chance']:.0%})"
    )
    words = {
        "limit": "that a model can write like that",
        "figure": "identification",
        "unit": "%",
        "counted": "people",
    }
    ends = {name: row[name] for name in ("ci_low", "ci_high")}
    return {"sentence": sentence, "value": row["rate"], "n": row["n_users"], **ends, **words}
