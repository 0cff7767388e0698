"""Masked n-grams: how a person writes, without what about; no command can say it, but it knows the person.

Of each message stay its marks, line breaks and the commonest words; every other word is one sign (``X`` with
a capital, ``x`` without), every number another. ``"Sort the list, please!"`` becomes ``^ X the x , please !
$``. Unmasked n-grams read the topic, which is no manner: never use those.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from functools import partial
from itertools import pairwise

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer

from realusersim_nb.text import split_words

COMMON = 150  # words that stay
COPIED = 5  # words in a row that make a message a copy of another
TOKEN = re.compile(r"\d+|[^\W\d_]+(?:['’][^\W\d_]+)*|\n+|[^\w\s]|_")
SPACED = re.compile(r"\d+|[^\W\d_]+(?:['’][^\W\d_]+)*|\n+|  +| ?(?:[^\w\s]|_)")  # with blanks before marks


def find_common_words(texts: Iterable[str]) -> frozenset[str]:
    """The 150 commonest words of the texts, in lower case."""
    counts = Counter(token.lower() for text in texts for token in TOKEN.findall(text) if token[0].isalpha())
    return frozenset(word for word, _ in counts.most_common(COMMON))


def mask_token(token: str, common: Collection[str]) -> str:
    """A common word or mark as it is; ``X``, ``x``, ``9``, ``¶`` for other words, numbers and line breaks."""
    if token[0].isdigit() or token[0] == "\n":
        return "9" if token[0].isdigit() else "¶"
    if not token[0].isalpha() or token.lower() in common:
        return token
    return "X" if token[0].isupper() else "x"


def list_ngrams(texts: Iterable[str], common: Collection[str]) -> list[str]:
    """The masked tokens of some messages and their pairs, with beginnings ``^`` and ends ``$``."""
    grams = []
    for text in texts:
        tokens = ["^", *(mask_token(token, common) for token in TOKEN.findall(text)), "$"]
        grams += tokens + [f"{one} {two}" for one, two in pairwise(tokens)]
    return grams


def list_marks(texts: Iterable[str]) -> list[str]:
    """Runs of one to three tokens, every word one sign: what stays are marks and blanks, capitals, breaks."""
    grams = []
    for text in texts:
        tokens = ["^", *(mask_word(token) for token in SPACED.findall(text)), "$"]
        grams += [" ".join(tokens[i : i + n]) for n in (1, 2, 3) for i in range(len(tokens) - n + 1)]
    return grams


def mask_word(token: str) -> str:
    """``mask_token`` without common words; one line break and several are two signs, as are blanks."""
    if token[0] == "\n" or token.startswith("  "):
        return "¶" * min(len(token), 2) if token[0] == "\n" else "␣"
    return mask_token(token, ())


def list_ends(texts: Iterable[str], common: Collection[str]) -> list[str]:
    """How messages begin and end: their first and their last one, two and three masked tokens."""
    grams = []
    for text in texts:
        tokens = ["^", *(mask_token(token, common) for token in TOKEN.findall(text)), "$"]
        grams += [" ".join(run) for n in (2, 3, 4) for run in (tokens[:n], tokens[-n:])]
    return grams


def compare_ngrams(known: Sequence[list[str]], unseen: Sequence[list[str]]) -> np.ndarray:
    """Cosine similarity (0..1) of the TF-IDF of masked n-grams: a row a list of unseen messages, a column a
    known one.

    The common words and the weights are those of the known messages.
    """
    tfidf = learn_weights(known)
    return (tfidf.transform(unseen) @ tfidf.transform(known).T).toarray()


def learn_weights(known: Sequence[list[str]]) -> TfidfVectorizer:
    """The TF-IDF of masked n-grams, with the common words of these lists of messages."""
    analyzer = partial(list_ngrams, common=find_common_words(text for texts in known for text in texts))
    tfidf = TfidfVectorizer(analyzer=analyzer, sublinear_tf=True, min_df=2 if len(known) > 50 else 1)
    return tfidf.fit(known)


def mark_copies(unseen: list[str], known: list[str]) -> list[bool]:
    """Of each unseen message whether it has five words in a row in common with a known one."""
    runs = {run for text in known for run in list_runs(text)}
    return [not runs.isdisjoint(list_runs(text)) for text in unseen]


def list_runs(text: str) -> list[tuple[str, ...]]:
    """All runs of five words of a text."""
    words = split_words(text)
    return list(zip(*(words[i:] for i in range(COPIED)), strict=False))
