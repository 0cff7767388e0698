"""What a message shows of its writer's manner: a measure a feature, over the eight command dimensions.

One worked record: ``"ok now in python"`` after ``"write a sort function"`` gives ``starts_lower=1,
ends_stop=0, words=4, opens_with_filler=1, follows_up=0, repeats=0, ...``. A feature that a message cannot
show (no letters, no earlier message, a script without case or blanks) is NaN, never 0.

The choice of features is ours: the paper names the dimensions, not how to measure them. Of these a profile
says those that hold in conversations that were not seen (``profiles/commands.csv``, notebook 02).
"""

import re
from dataclasses import dataclass
from typing import Literal

from realusersim_nb.records import Dimension
from realusersim_nb.style.expressions import (
    AGAIN,
    ASKS,
    FILLER,
    FOLLOW_UP,
    FRAME,
    FULL,
    HEDGE,
    LETTER,
    MARKED,
    NAN,
    ORDER,
    SHORTHAND,
    THANKS,
    UNMARKED,
    A,
    Measure,
    has,
    holds,
    is_latin,
    opens_with,
    prefers,
)
from realusersim_nb.text import strip_code

PASTED_SHORT, PASTED_LONG = (
    40,
    80,
)  # words: a paragraph typed beside a pasted one; a message that may hold one
SHORT, LONG = 8, 25  # words of a short and of a long message (near the quarters of ShareGPT's)
WORD = re.compile(rf"[^\W\d_]+(?:{A}[^\W\d_]+)*")
UNSPACED = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]")
ARTICLE = re.compile(r"\b(?:the|an?)\b", re.IGNORECASE)
END, QUESTION = ".?!…。！？؟।۔", "?？؟"
CLOSERS = " \t\n\"'”’)]*`»」』"  # may stand after the mark that ends a message


def typed_text(text: str) -> str:
    """What the person typed of a message, without pasted code and documents.

    Fenced code goes. Of a message of more than 80 words in several paragraphs, only paragraphs of up to 40
    words at its two ends count as typed ("Summarise this:", then the document), as does a line that ends in
    a colon; if there is none, or no second paragraph, all of it. The two lengths are ours.
    """
    text = strip_code(text)
    if len(text.split()) <= PASTED_LONG:
        return text
    paragraphs = [p for p in re.split(r"\n\s*\n|(?<=:)\s*\n", text) if p.strip()]
    is_short = [len(p.split()) <= PASTED_SHORT for p in paragraphs]
    if all(is_short) or not (is_short[0] or is_short[-1]):
        return text
    first_long, last_long = is_short.index(False), len(is_short) - 1 - is_short[::-1].index(False)
    return "\n\n".join(paragraphs[:first_long] + paragraphs[last_long + 1 :])


# --- letters -------------------------------------------------------------------------------------


def starts_lower(text: str, previous: str | None) -> float:
    """1 if the first letter is lower-case; NaN if it has no case."""
    first = next((c for c in text if c.isalpha()), "")
    return float(first.islower()) if first.islower() or first.isupper() else NAN


SELF = r"(?<![\w.=(\[+*/<>\-])(?<!for ){}(?=['’][a-z]| (?!in\b|is\b|to\b)[a-z])"  # not the i of code or lists
lower_i = prefers(SELF.format("i"), SELF.format("I"))
lower_sentences = prefers(r"[.?!]\s+[a-z]", r"[.?!]\s+[A-Z]")


def inner_capital(text: str, previous: str | None) -> float:
    """1 if a word after the first, of two letters or more, has a capital; NaN under four words."""
    words = WORD.findall(text)
    if len(words) < 4 or not any(word[0].islower() or word[0].isupper() for word in words):
        return NAN
    return float(any(len(word) > 1 and word[0].isupper() and "'" not in word for word in words[1:]))


# --- marks ---------------------------------------------------------------------------------------


def ends_in(marks: str) -> Measure:
    """1 if the message ends in one of the marks; NaN if it is blank."""

    def measure(text: str, previous: str | None) -> float:
        text = text.rstrip(CLOSERS)
        return float(text[-1] in marks) if text else NAN

    return measure


ends_stop, ends_period, ends_question = ends_in(END), ends_in(".…。।۔"), ends_in(QUESTION)


def is_question(text: str, previous: str | None) -> float:
    """1 if the message opens like a question or holds a question mark; NaN if it can show neither."""
    if any(mark in text for mark in QUESTION):
        return 1.0
    return float(ASKS.match(text) is not None) if is_latin(text) else NAN


def unmarked_question(text: str, previous: str | None) -> float:
    """1 if a message that opens like a question holds no question mark; NaN for others."""
    return float(not any(mark in text for mark in QUESTION)) if ASKS.match(text) else NAN


def unmarked_order(text: str, previous: str | None) -> float:
    """1 if a message that is no question ends without a mark; NaN for a question."""
    return 1 - ends_stop(text, previous) if is_question(text, previous) == 0 else NAN


def no_marks(text: str, previous: str | None) -> float:
    """1 if the message holds no mark but apostrophes and hyphens; NaN if it is blank."""
    return float(re.search(rf"[^\w\s{A[1:-1]}-]", text) is None) if text.strip() else NAN


# --- length --------------------------------------------------------------------------------------


def count_words(text: str, previous: str | None) -> float:
    """Words between blanks; NaN in a script that has none between words, and for no word at all."""
    if not text.isascii() and 5 * len(UNSPACED.findall(text)) > len(LETTER.findall(text)):
        return NAN
    return float(len(text.split())) or NAN


def when(opening: bool, measure: Measure) -> Measure:
    """The measure of messages that open a conversation, or of all others; else NaN."""
    return lambda text, previous: measure(text, previous) if (previous is None) == opening else NAN


def within(low: float, high: float) -> Measure:
    """1 if the message has from ``low`` to ``high`` words; NaN as in ``count_words``."""

    def measure(text: str, previous: str | None) -> float:
        n = count_words(text, previous)
        return NAN if n != n else float(low <= n <= high)

    return measure


several_sentences = holds(r"[.?!…]+[)\"'”’]?\s+\S|[。！？؟।]\s*\S")

# --- beside other messages -----------------------------------------------------------------------


def list_words(text: str) -> set[str]:
    """The different words of at least four letters, in lower case."""
    return {w.lower() for w in WORD.findall(text) if len(w) >= 4}


def repeats(text: str, previous: str | None) -> float:
    """1 if a third or more of the words of >= 4 letters are in the previous message; NaN without any."""
    words = list_words(text) if previous else set()
    return float(3 * len(words & list_words(previous)) >= len(words)) if words else NAN


def same_opening(text: str, previous: str | None) -> float:
    """1 if the message begins with the same word as the previous one; NaN if one of them has no word."""
    one, other = WORD.search(text), WORD.search(previous or "")
    return float(one[0].lower() == other[0].lower()) if one and other else NAN


def pastes(text: str, previous: str | None) -> float:
    """1 if more than a third of the words of the whole message are pasted; NaN if it is blank."""
    n = len(text.split())
    return float(3 * len(typed_text(text).split()) < 2 * n) if n else NAN


def drops_articles(text: str, previous: str | None) -> float:
    """1 if a message of four words or more holds no article; NaN for shorter ones and other scripts."""
    return float(ARTICLE.search(text) is None) if len(text.split()) >= 4 and is_latin(text) else NAN


Place = Literal["start", "end", "any", "whole", "none"]


@dataclass(frozen=True)
class Feature:
    """One measurable trait: of each message 1 or 0 or, if ``is_count``, a number; of a user a rate or an
    average.

    ``place``: where in a message it shows, so that an example can be cut to it (``whole``: it cannot be cut,
    ``none``: no line can show it).
    ``raw``: measured on the whole message, with what was pasted.
    """

    name: str
    dimension: Dimension
    measure: Measure
    place: Place = "any"
    is_count: bool = False
    raw: bool = False


def opening(name: str, words: str) -> Feature:
    """The feature of beginning with some words."""
    return Feature(name, "multi-turn behaviour", opens_with(words, later=False), "start")


FEATURES = [
    Feature("starts_lower", "capitalization", starts_lower, "start"),
    Feature("lower_i", "capitalization", lower_i),
    Feature("lower_sentences", "capitalization", lower_sentences),
    Feature("inner_capital", "capitalization", inner_capital),
    Feature("ends_stop", "punctuation", ends_stop, "end"),
    Feature("ends_period", "punctuation", ends_period, "end"),
    Feature("ends_question", "punctuation", ends_question, "end"),
    Feature("unmarked_question", "punctuation", unmarked_question, "whole"),
    Feature("unmarked_order", "punctuation", unmarked_order, "end"),
    Feature("no_marks", "punctuation", no_marks, "whole"),
    Feature("commas", "punctuation", holds(r"[,，、،]")),
    Feature("colons", "punctuation", holds(r":(?=\s|$)|：")),
    Feature("quotes", "punctuation", holds(r"[\"“”«»「]|(?<!\w)['‘][^'’]+['’](?!\w)")),
    Feature("brackets", "punctuation", holds(r"\([^()]+\)|（")),
    Feature("digits", "punctuation", holds(r"\d")),
    Feature("words", "message length", count_words, "whole", is_count=True),
    Feature("first_words", "message length", when(True, count_words), "whole", is_count=True),
    Feature("later_words", "message length", when(False, count_words), "whole", is_count=True),
    Feature("short", "message length", when(False, within(1, SHORT)), "whole"),
    Feature("long", "message length", when(False, within(LONG, float("inf"))), "whole"),
    Feature("sentences", "message length", several_sentences),
    Feature("line_breaks", "message length", holds(r"\S\s*\n\s*\S"), "none"),
    Feature("blank_lines", "message length", holds(r"\S\s*\n\s*\n\s*\S"), "none"),
    Feature("please", "formality", has("please|pls|plz|kindly")),
    Feature("thanks", "formality", has(THANKS)),
    Feature("asks_politely", "formality", has("(?:can|could|would|will) you")),
    Feature("shorthand", "formality", has(SHORTHAND)),
    Feature("contracts", "formality", prefers(f"{MARKED}|{UNMARKED}", FULL, flags=re.IGNORECASE)),
    Feature("drops_apostrophe", "formality", prefers(UNMARKED, MARKED, flags=re.IGNORECASE)),
    Feature("drops_articles", "formality", drops_articles, "whole"),
    Feature("self", "formality", has(rf"i|my|me|i{A}\w+|im")),
    Feature("we", "formality", has(rf"we|our|us|we{A}\w+")),
    Feature("addresses", "formality", has(rf"you|your|you{A}\w+|u|ur")),
    Feature("opens_with_filler", "filler/hesitation", opens_with(FILLER), "start"),
    Feature("hedges", "filler/hesitation", has(HEDGE)),
    Feature("repeats", "repetition", repeats, "whole"),
    Feature("same_opening", "repetition", same_opening, "start"),
    Feature("follows_up", "multi-turn behaviour", opens_with(FOLLOW_UP), "start"),
    Feature("refers", "multi-turn behaviour", has("it|this|that|these|those|above|previous", later=True)),
    Feature("is_question", "multi-turn behaviour", is_question),
    opening("orders", f"{FRAME}(?:{ORDER})"),
    opening("opens_what", f"{FRAME}what(?:{A}?s)?"),
    opening("opens_how", f"{FRAME}how"),
    opening("opens_self", rf"{FRAME}(?:i|my|i{A}\w+|im|we|our)"),
    opening("opens_write", f"{FRAME}(?:write|create|make|generate|draft|compose|design|build)"),
    opening("opens_tell", f"{FRAME}(?:give|tell|show|list|provide|explain|describe)"),
    Feature("pastes", "multi-turn behaviour", pastes, "none", raw=True),
    Feature("asks_again", "requests for alternatives", has(AGAIN, later=True)),
]
BY_NAME = {feature.name: feature for feature in FEATURES}
COMPARED = (
    "starts_lower lower_i ends_stop unmarked_question words please thanks shorthand opens_with_filler hedges"
    " repeats follows_up is_question asks_again"
).split()
"""The features by which populations are compared (``gap``): few, since each may be a difference by chance."""
asks_again = BY_NAME["asks_again"].measure
