"""Measurable style of a user's messages, feature by feature over the eight command dimensions.

One worked record: the message ``"ok now in python"`` after ``"write a sort function"`` gives
``starts_lower=1, ends_stop=0, words=4, opens_with_filler=1, follows_up=0, repeats=0.0, ...``.
A feature that a message cannot show (no letters, no earlier message) is NaN, never 0.

The choice of features is ours: the paper names the dimensions, not how to measure them.
"""

import csv
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.resources import files

import numpy as np
import pandas as pd

from realusersim_nb.corpus.conversations import count_messages, number_users
from realusersim_nb.parallel.batches import run_batches
from realusersim_nb.records import Conversation, Dimension
from realusersim_nb.text import strip_code

Measure = Callable[[str, str | None], float]  # of a message and the one before it (None: there is none)

NAN = float("nan")
SHORT, LONG = 40, 80  # words: a paragraph typed along with a pasted one; a message that may hold a pasted one
WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)*")
GREETING = r"hi|hello|hey|good (?:morning|afternoon|evening)|greetings"
ASKS = re.compile(  # opens like a question: "do you", but not the order "do it"
    r"^\W*(who|whose|what|which|why|how|is|are|was|were|does|did|can|could|would|will|should|has"
    r"|(when|where)\s+(is|are|was|were|do|does|did|can|could|would|will|should)"
    r"|(do|have)\s+(you|we|i|they|people))\b",
    re.IGNORECASE,
)


def typed_text(text: str) -> str:
    """What the person typed of a message, without pasted code and documents.

    Fenced code goes. Of a message of more than 80 words in several paragraphs, only paragraphs of up to 40
    words at its two ends count as typed ("Summarise this:", then the document), as does a line that ends in
    a colon; if there is none, or no second paragraph, all of it. The two lengths are ours.
    """
    text = strip_code(text)
    if len(text.split()) <= LONG:
        return text
    paragraphs = [p for p in re.split(r"\n\s*\n|(?<=:)\s*\n", text) if p.strip()]
    is_short = [len(p.split()) <= SHORT for p in paragraphs]
    if all(is_short) or not (is_short[0] or is_short[-1]):
        return text
    first_long, last_long = is_short.index(False), len(is_short) - 1 - is_short[::-1].index(False)
    return "\n\n".join(paragraphs[:first_long] + paragraphs[last_long + 1 :])


def has(pattern: str, *, later: bool = False) -> Measure:
    """1 if the text holds the pattern as a word, else 0; with ``later``, NaN for a first message."""
    search = re.compile(rf"(?<!\w)(?:{pattern})(?!\w)", re.IGNORECASE).search
    return lambda text, previous: NAN if later and previous is None else float(search(text) is not None)


def opens_with(pattern: str) -> Measure:
    """1 if a later message begins with the pattern; NaN for the first one."""
    match = re.compile(rf"\W*(?:{pattern})\b", re.IGNORECASE).match
    return lambda text, previous: NAN if previous is None else float(match(text) is not None)


def starts_lower(text: str, previous: str | None) -> float:
    """1 if the first letter is lower-case; NaN without a cased letter."""
    first = next((c for c in text if c.isalpha()), "")
    return float(first.islower()) if first.islower() or first.isupper() else NAN


def lower_i(text: str, previous: str | None) -> float:
    """Share of stand-alone I that is written i; NaN without one."""
    letters = re.findall(r"(?<![\w.])[iI](?![\w.])", text)
    return letters.count("i") / len(letters) if letters else NAN


def ends_stop(text: str, previous: str | None) -> float:
    """1 if the message ends in . ? or !; NaN if empty."""
    return float(text.rstrip()[-1] in ".?!") if text.strip() else NAN


def unmarked_question(text: str, previous: str | None) -> float:
    """1 if a message that opens like a question holds no question mark; NaN for others."""
    return float("?" not in text) if ASKS.match(text) else NAN


def is_question(text: str, previous: str | None) -> float:
    """1 if the message opens like a question or holds a question mark."""
    return float("?" in text or ASKS.match(text) is not None)


def repeats(text: str, previous: str | None) -> float:
    """Share of the different words of >= 4 letters that the previous message also holds."""
    if previous is None:
        return NAN
    words = {w.lower() for w in WORD.findall(text) if len(w) >= 4}
    return len(words & {w.lower() for w in WORD.findall(previous)}) / len(words) if words else NAN


asks_again = has(  # for another version, or for more
    r"another|alternatives?|different|other (?:one|option|way|idea|version|example|name)s?|\d+ more"
    r"|more (?:option|idea|example|version|name|suggestion)s?|instead|again|re-?write|redo|rephrase",
    later=True,
)
SHORTHAND = (
    r"u|ur|pls|plz|thx|gonna|wanna|gimme|dont|doesnt|didnt|cant|wont|isnt|im|ive|whats|thats|idk"
    r"|btw|lol|bc|cuz|ya|yeah|yep|nah"
)
FILLER = r"ok|okay|so|well|hmm+|um+|uh+|alright|oh|ah|great|cool|nice|perfect|good|now"
HEDGE = r"maybe|perhaps|i think|i guess|kind of|sort of|probably|not sure|i mean|you know|i believe"
FOLLOW_UP = r"and|also|but|then|next|what about|how about|what if|can you also"


with (files("realusersim_nb.profiles") / "commands.csv").open(encoding="utf-8", newline="") as table:
    COMMANDS = {row["feature"]: (row["high"], row["low"] or None) for row in csv.DictReader(table)}
"""The commands for users at the high and low end of each feature (``commands.csv``); None where that end
is no trait (most people never say "please"). ``{value}`` stands for the user's figure."""


@dataclass(frozen=True)
class Feature:
    """One measurable trait: a share (0..1) of a user's messages or, if ``is_count``, a median count.

    ``min_messages`` must be able to show it before a user's figure is trusted: the least number at which two
    halves of a user's messages agree with r >= 0.3 over the users of ShareGPT
    (``reliability.measure_split_half``, notebook 01), at least 3.
    """

    name: str
    dimension: Dimension
    measure: Measure
    min_messages: int = 3
    is_count: bool = False


FEATURES = [
    Feature("starts_lower", "capitalization", starts_lower),
    Feature("lower_i", "capitalization", lower_i),
    Feature("ends_stop", "punctuation", ends_stop),
    Feature("unmarked_question", "punctuation", unmarked_question),
    Feature("words", "message length", lambda text, previous: float(len(text.split())), is_count=True),
    Feature("please", "formality", has("please|kindly")),
    Feature("thanks", "formality", has("thanks?|thank you|thx"), 8),
    Feature("shorthand", "formality", has(SHORTHAND), 12),
    Feature("opens_with_filler", "filler/hesitation", opens_with(FILLER), 8),
    Feature("hedges", "filler/hesitation", has(HEDGE), 8),
    Feature("repeats", "repetition", repeats),
    Feature("follows_up", "multi-turn behaviour", opens_with(FOLLOW_UP), 8),
    Feature("is_question", "multi-turn behaviour", is_question),
    Feature("asks_again", "requests for alternatives", asks_again, 8),
]
BY_NAME = {feature.name: feature for feature in FEATURES}
PRECISION = dict.fromkeys(BY_NAME, np.float32) | {"lower_i": np.float64, "repeats": np.float64}
"""Of the table of many messages: 32 bits hold 0, 1 and counts exactly, but not shares of its words."""


def describe_features() -> pd.DataFrame:
    """One row a feature (index): its dimension, the commands at its two ends, the messages it needs."""
    ends = [[(end or "(none)").replace("{value:.0f}", "N") for end in COMMANDS[name]] for name in BY_NAME]
    rows = [(f.dimension, *pair, f.min_messages) for f, pair in zip(FEATURES, ends, strict=True)]
    columns = ["dimension", "command at the high end", "at the low end", "messages needed"]
    return pd.DataFrame(rows, pd.Index(BY_NAME, name="feature"), columns)


def measure_texts(texts: Iterable[str]) -> list[list[float]]:
    """The features of one conversation's user messages, one list a message, in the order of FEATURES."""
    typed = [typed_text(text) for text in texts]
    return [
        [feature.measure(text, previous) for feature in FEATURES]
        for text, previous in zip(typed, [None, *typed], strict=False)
    ]


def measure_messages(messages: Iterable[str]) -> pd.DataFrame:
    """Features of one conversation's user messages: one row a message, one column a feature.

    Only what was typed is measured (``typed_text``). Shares lie in 0..1, ``words`` is a count.
    """
    return pd.DataFrame(measure_texts(messages), columns=list(BY_NAME))


def measure_conversations(conversations: Sequence[Conversation], *, first: int | None = None) -> pd.DataFrame:
    """Features of every user message, one row a message, without its text.

    Columns ``user_id``, ``conversation`` (its position among these), ``turn`` (among its user messages) and
    the features. ``first`` measures only so many user messages of each conversation, so that real and
    simulated conversations of different length can be compared.
    """
    n, (numbers, users) = count_messages(conversations), number_users(conversations)
    n = n if first is None else np.minimum(n, first)
    conversation, ends = np.repeat(np.arange(len(n), dtype=np.int32), n), np.cumsum(n)
    turn = np.arange(len(conversation), dtype=np.int32)
    turn -= (ends - n).astype(np.int32)[conversation]
    columns, row = {name: np.empty(len(turn), PRECISION[name]) for name in BY_NAME}, 0
    for measured in run_batches(partial(measure_batch, first=first), conversations, "measuring"):
        for name, values in zip(BY_NAME, measured.T, strict=True):
            columns[name][row : row + len(values)] = values
        row += len(measured)
    keys = {"user_id": users[numbers][conversation], "conversation": conversation, "turn": turn}
    return pd.DataFrame(keys | columns, copy=False)


def measure_batch(conversations: Sequence[Conversation], *, first: int | None) -> np.ndarray:
    """The features of all messages of some conversations, a row a message."""
    rows = [
        row for conversation in conversations for row in measure_texts(conversation.user_messages[:first])
    ]
    return np.array(rows, dtype=float).reshape(-1, len(FEATURES))


def summarise_users(messages: pd.DataFrame, by: str = "user_id") -> pd.DataFrame:
    """One row a user (or conversation): mean of the shares, median of the word counts."""
    numbers, names = pd.factorize(messages[by])
    numbers = numbers.astype(np.int32)
    figures = {  # one after the other, since the table of a large corpus is too large to be copied
        f.name: average_groups(messages[f.name], numbers, len(names), median=f.is_count) for f in FEATURES
    }
    return pd.DataFrame(figures, index=pd.Index(names, name=by))


def average_groups(
    values: np.ndarray | pd.Series, numbers: np.ndarray, n: int, *, median: bool
) -> np.ndarray:
    """Mean or median of the known values of each of n groups, by their group's number; NaN without one."""
    groups = pd.Categorical.from_codes(numbers, categories=range(n))
    grouped = pd.Series(np.asarray(values, dtype=float)).groupby(groups, observed=False)
    return (grouped.median() if median else grouped.mean()).to_numpy()


def compute_percentiles(users: pd.DataFrame, population: pd.DataFrame) -> pd.DataFrame:
    """Percentile (0..1, ties share the middle) of every user's features in a population; NaN stays NaN."""

    def rank_feature(values: pd.Series) -> pd.Series:
        known = np.sort(population[values.name].dropna())
        below, not_above = (np.searchsorted(known, values, side=side) for side in ("left", "right"))
        return pd.Series((below + not_above) / 2 / max(len(known), 1), values.index).where(values.notna())

    return users.apply(rank_feature)
