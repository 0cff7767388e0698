"""What a gap of so much means: real users against real users of whom a share tidied their messages.

Half of the people stay as they are. Of the conversations of the other half a share p is tidied: every
message begins with a capital and ends in a stop. So JS gets a unit: the share of conversations that differ in
just this.
"""

import re
from collections.abc import Sequence

import numpy as np
import pandas as pd

from realusersim_nb.corpus.splits import split_users
from realusersim_nb.gap import divergence, embeddings, facets, metrics
from realusersim_nb.records import Conversation, Message
from realusersim_nb.stats import make_generator

SHARES = (0, 0.1, 0.25, 0.5, 1)
COLUMNS = ["n", "js", "ci_low", "ci_high", "floor_high", "accuracy"]
MOST = 1500  # conversations of each half
PLAIN, TIDIED = "plain", "tidied"


def tidy(text: str) -> str:
    """A message with a capital at its beginning and in "I", and a stop at its end unless a mark is there."""
    text = re.sub(r"\bi\b(?!\.)", "I", text)
    text = text[:1].upper() + text[1:]
    return text + "." if text[-1:].isalnum() else text


def tidy_conversation(conversation: Conversation) -> Conversation:
    """The conversation with every message of the user tidied."""

    def edit(message: Message) -> Message:
        text = tidy(message.content) if message.role == "user" else message.content
        return message.model_copy(update={"content": text})

    return conversation.model_copy(update={"messages": [edit(m) for m in conversation.messages]})


def calibrate_gap(
    people: list[Conversation], *, k: int, first: int, seed: int, shares: Sequence[float] = SHARES
) -> pd.DataFrame:
    """Gap and probe of measured facets by the share of tidied conversations (index ``share``): a row each.

    Columns ``n`` conversations tidied in part, ``js``, ``ci_low, ci_high``, ``floor_high`` (as in
    ``measure_gap``) and ``accuracy`` of the probe on masked n-grams. Of at most 1,500 conversations of each
    half of the people, with ``k`` clusters and the ``first`` messages of each. Empty for a single person.
    """
    real, others = (list(half[:MOST]) for half in split_users(people, seed=seed))
    if not (real and others):
        return pd.DataFrame(columns=COLUMNS).rename_axis("share")
    sides = {facets.REAL: real, PLAIN: others, TIDIED: [tidy_conversation(c) for c in others]}
    listed, k = facets.list_systems(sides, first=first), min(k, len(real) + len(others))
    described = facets.measure_facets(listed)
    order, rows = make_generator(seed, TIDIED).permutation(len(others)), {}
    for share in shares:
        mixed = [mix_sides(table, order < round(share * len(others))) for table in (listed, described)]
        rows[share] = measure_share(*mixed, k=k, seed=seed)
    return pd.DataFrame.from_dict(rows, orient="index", columns=COLUMNS).rename_axis("share")


def mix_sides(table: pd.DataFrame, is_tidied: np.ndarray) -> pd.DataFrame:
    """The real conversations, and of the others some as they are and some tidied."""
    plain, tidied = table.loc[PLAIN], table.loc[TIDIED]
    mixed = pd.DataFrame(np.where(is_tidied[:, None], tidied, plain), plain.index, plain.columns)
    return pd.concat({facets.REAL: table.loc[facets.REAL], TIDIED: mixed}, names=["system"])


def measure_share(listed: pd.DataFrame, described: pd.DataFrame, *, k: int, seed: int) -> list[float]:
    """One row of ``calibrate_gap``."""
    embedded = embeddings.embed_by_lsa(facets.join_facets(described), seed=seed)
    pairs = divergence.cluster_pairs(embedded, described.index, k=k, seed=seed)
    row = divergence.measure_gap(pairs, described["user_id"], k=k, seed=seed).loc[TIDIED]
    accuracy = metrics.measure_ngram_probe(listed, seed=seed).loc[TIDIED, "accuracy"]
    return [*row[COLUMNS[:-1]], accuracy]


def place_gap(calibrated: pd.DataFrame, js: float) -> float:
    """The share of tidied conversations whose JS is nearest to ``js``, between those measured (0..1)."""
    rising = np.maximum.accumulate(calibrated["js"].to_numpy())
    return float(np.interp(js, rising, calibrated.index))
