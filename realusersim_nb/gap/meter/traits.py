"""What is compared: traits of how a user writes and acts, each a figure a message or a conversation.

A trait of messages is 1, 0 or not to be seen (NaN), of length a number of words. Those of whole
conversations say how a user goes through one: what is disclosed at once, how it ends.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd

from realusersim_nb import style
from realusersim_nb.gap.facets import ACTS
from realusersim_nb.gap.meter.sides import Side
from realusersim_nb.parallel.batches import map_batches
from realusersim_nb.style import typed_text

CLOSING = style.has(r"thanks?|thank you|thx|bye|goodbye|cheers|great|perfect|that(?:['’]s| is) all")


@dataclass(frozen=True)
class Trait:
    """One line of the comparison: its ``label`` in words, and whether it is a number of words."""

    name: str
    label: str
    is_count: bool = False


MESSAGES = [
    Trait("starts_lower", "begins in lower case"),
    Trait("lower_i", "writes “i” for “I”"),
    Trait("ends_stop", "ends in a mark (. ? !)"),
    Trait("unmarked_question", "question without a question mark"),
    Trait("words", "words a message", is_count=True),
    Trait("first_words", "words of the first message", is_count=True),
    Trait("line_breaks", "several lines"),
    Trait("please", "says please"),
    Trait("thanks", "thanks"),
    Trait("asks_politely", "“could you”, “would you”"),
    Trait("shorthand", "shorthand (u, pls, gonna)"),
    Trait("contracts", "contracts (don’t, I’m)"),
    Trait("hedges", "hedges (maybe, I think)"),
    Trait("opens_with_filler", "opens with a filler (ok, so, well)"),
    Trait("is_question", "asks a question"),
    Trait("repeats", "repeats the words of the last message"),
    Trait("asks_again", "asks for it again, or otherwise"),
    Trait("rejects", "objects or corrects"),
]
"""Of messages; ``rejects`` is an act of the gap's facets, the others are features of style."""
CONVERSATIONS = [
    Trait("disclosed", "share of their words in the first message"),
    Trait("ends_closing", "ends with thanks or a closing"),
    Trait("ends_unserved", "ends with an objection or a request again"),
]
"""Of conversations; how they end, of those of which the last message is known to be the last."""
TRAITS = [*MESSAGES, *CONVERSATIONS]
BY_NAME = {trait.name: trait for trait in TRAITS}


def measure_traits(side: Side) -> pd.DataFrame:
    """Sums and counts of each trait by conversation: columns (trait, ``sum`` or ``n``), one row each.

    All but how a conversation ends is of the ``first`` messages of each; word counts are logarithms.
    """
    pairs = list(zip(side.texts, side.first, strict=True))
    rows = map_batches(measure_batch, pairs, "traits")
    columns = pd.MultiIndex.from_product([[t.name for t in TRAITS], ["sum", "n"]])
    table = pd.DataFrame(np.array(rows, dtype=float).reshape(-1, len(columns)), columns=columns)
    table.loc[~side.is_whole, ["ends_closing", "ends_unserved"]] = 0
    return table


def measure_batch(pairs: list[tuple[list[str], int]]) -> list[np.ndarray]:
    """The rows of some conversations."""
    return [measure_conversation(*pair) for pair in pairs]


def measure_conversation(texts: list[str], first: int) -> np.ndarray:
    """Sum and count of each trait of one conversation, in the order of TRAITS."""
    measured = style.measure_messages(texts[:first])
    measured["rejects"] = [ACTS["reject"](text, before) for before, text in pairwise([None, *texts[:first]])]
    values = measured[[trait.name for trait in MESSAGES]].to_numpy(dtype=float)
    counts = [column for column, trait in enumerate(MESSAGES) if trait.is_count]
    values[:, counts] = np.log(values[:, counts])
    known, whole = np.isfinite(values), np.array(measure_whole(texts, first), dtype=float)
    sums = np.r_[np.where(known, values, 0).sum(axis=0), np.nan_to_num(whole)]
    return np.stack([sums, np.r_[known.sum(axis=0), np.isfinite(whole)]], axis=1).ravel()


def measure_whole(texts: list[str], first: int) -> list[float]:
    """The traits of a conversation, in the order of CONVERSATIONS; NaN where there is one message."""
    if first < 2:
        return [np.nan] * len(CONVERSATIONS)
    n_words, (before, last) = [len(typed_text(text).split()) for text in texts[:first]], texts[-2:]
    disclosed = n_words[0] / sum(n_words) if sum(n_words) else np.nan
    return [disclosed, CLOSING(last, before), is_unserved(last, before)]


def is_unserved(last: str, before: str) -> float:
    """1 if a user's last message objects, or asks again for what the one before asked for; else 0."""
    return float(np.nanmax([ACTS["reject"](last, before), style.asks_again(last, before), 0.0]))
