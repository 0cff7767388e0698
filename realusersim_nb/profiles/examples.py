"""Examples of a user's habits: verbatim pieces of their messages that do what the command says, by its own
measure.

A piece is cut to where the trait shows (a beginning, an end, a sentence); a trait of whole messages is shown
by whole messages only. No message is used twice in a profile. What a user does in fewer than half of their
messages is shown by one example that does it and one that does not.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from realusersim_nb import style
from realusersim_nb.style import Feature, typed_text
from realusersim_nb.text import cut_at_word

EXAMPLES, CHARS, WHOLE_CHARS = 2, 160, 320  # of a command; of a piece; of a message that cannot be cut
HALF = 0.5  # rate from which all examples show the trait
SENTENCE = re.compile(r"(?:^|(?<=[.?!…\n]))\s*(?=\S)")


class Written(NamedTuple):
    """A user message and the typed text before it (None: it opens the conversation, "": not known)."""

    text: str
    previous: str | None


class Trait(NamedTuple):
    """What an example shows: the feature from ``low`` to ``high``; ``is_rare``: in under half of messages."""

    feature: Feature
    low: float
    high: float
    is_rare: bool

    def shows(self, value: float) -> bool:
        """Whether a message of this value does what the command says."""
        return self.low <= value <= self.high


def choose_examples(
    messages: Sequence[Written], measured: np.ndarray, traits: Sequence[Trait]
) -> list[tuple[list[str], list[str]]]:
    """Of each trait the pieces that show it and those that do not; ``measured``: a row a message, a column a
    trait.

    Messages that show most of the traits come first. Each trait gets one example before any gets a second
    one.
    """
    shown = np.array([[t.shows(v) for t, v in zip(traits, row, strict=True)] for row in measured], dtype=bool)
    order = np.argsort(-shown.sum(axis=1), kind="stable").tolist()
    chosen, used = [([], []) for _ in traits], set()
    for round_number in range(EXAMPLES):
        for column, trait in enumerate(traits):
            wanted = not (trait.is_rare and round_number)
            rows = [i for i in order if shown[i, column] == wanted and np.isfinite(measured[i, column])]
            pieces = (
                (i, find_piece(messages[i], trait, wanted)) for i in rows if not used & {i, messages[i].text}
            )
            if choice := next(((i, piece) for i, piece in pieces if piece and piece not in used), None):
                used |= {*choice, messages[choice[0]].text}
                chosen[column][not wanted].append(choice[1])
    return chosen


def find_piece(message: Written, trait: Trait, wanted: bool) -> str:
    """The first piece of a message that shows the trait (or does not) by its own measure; "" if none."""
    for piece in filter(None, cut_pieces(message.text, trait.feature.place)):
        value = trait.feature.measure(piece, message.previous)
        if np.isfinite(value) and trait.shows(value) == wanted:
            return piece
    return ""


def cut_pieces(text: str, place: style.Place) -> Iterator[str]:
    """The pieces of a message that may be shown, verbatim: of what was typed a start, end or sentence."""
    typed = typed_text(text)
    whole = text.strip() if typed == text else ""
    if place == "whole":
        yield whole if len(whole) <= WHOLE_CHARS else ""
    elif place != "none" and "```" not in text:
        paragraphs = [whole] if whole else typed.split("\n\n")
        first, last = paragraphs[0].strip(), paragraphs[-1].strip()
        if place == "end":
            yield cut_end(last) if text.rstrip().endswith(last) else ""
        else:
            yield cut_at_word(first, CHARS) if text.lstrip().startswith(first) else ""
        if place == "any":
            yield from (cut_at_word(first[m.end() :], CHARS) for m in SENTENCE.finditer(first) if m.end())


def cut_end(text: str) -> str:
    """A verbatim end of the text, cut at white space if it is too long."""
    return text if len(text) <= CHARS else text[-CHARS:].split(None, 1)[-1]


def make_trait(habit: Mapping, usual: tuple[float, float] | None) -> Trait:
    """The trait of a habit (``rates.find_habits``); of a count the numbers of words that are ``usual``."""
    feature = style.BY_NAME[habit["feature"]]
    low, high = usual or [float(habit["is_high"])] * 2
    share = habit["value"] if habit["is_high"] else 1 - habit["value"]
    return Trait(feature, low, high, usual is None and share < HALF)
