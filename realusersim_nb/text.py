"""Texts: cut, without code, made fit to be shown, and compared with the texts they may copy.

Copies are runs of words, whatever their case and punctuation: a leak control for goals (what a person wants,
not how they put it), a check on simulated users (who should write like a profile's examples, not copy them).
"""

import re

INVISIBLE = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Characters that steer a terminal, turn the direction of writing, or are halves of others."""


def show_plainly(text: str, *, keep: str = "") -> str:
    """A text from outside for a terminal: what would act is seen instead (``\\x1b``), but for ``keep``."""
    return INVISIBLE.sub(lambda m: m[0] if m[0] in keep else ascii(m[0])[1:-1], text)


def show_name(name: object, limit: int = 90) -> str:
    """A name from outside as a label: one line of at most so many characters, which begins with no ``_``."""
    text = show_plainly(" ".join(str(name).split()))
    text = text if len(text) <= limit else f"{text[: limit - 1]}…"
    return f" {text}" if text.startswith("_") else text  # matplotlib hides such labels


def strip_code(text: str) -> str:
    """The text without fenced code, which does not show how a person writes."""
    return re.sub(r"```.*?(```|\Z)", " ", text, flags=re.DOTALL) if "```" in text else text


def cut_at_word(text: str, limit: int) -> str:
    """A verbatim beginning of the text, cut at white space if it is longer than the limit."""
    text = text.strip()
    if len(text) <= limit:
        return text
    head = text[: limit + 1]
    return head[: len(head.rstrip().rsplit(None, 1)[0])].rstrip() if len(head.split()) > 1 else text[:limit]


def mark_repeats(texts: list[str]) -> list[bool]:
    """For each text after the first, whether an earlier one is the same, word for word."""
    return [text in texts[:i] for i, text in enumerate(texts)][1:]


def split_words(text: str) -> list[str]:
    """The words and numbers of a text, in lower case."""
    return re.findall(r"\w+", text.lower())


def measure_overlap(text: str, sources: list[str]) -> float:
    """Share (0..1) of a text's different word triples that are also in the sources; NaN if it has none."""
    triples, *others = (set(zip(w, w[1:], w[2:], strict=False)) for w in map(split_words, [text, *sources]))
    return len(triples.intersection(set().union(*others))) / len(triples) if triples else float("nan")


def list_copied_runs(text: str, sources: list[str], *, at_least: int) -> list[str]:
    """The runs of at least so many words that are also in a source, in order and without overlap."""
    words, pages = split_words(text), join_words(sources)
    runs, start = [], 0
    while start < len(words):
        end = extend_run(words, start, start, pages)
        if end - start >= at_least:
            runs.append(" ".join(words[start:end]))
        start = end if end - start >= at_least else start + 1
    return runs


def measure_longest_copy(text: str, sources: list[str]) -> int:
    """Length in words of the longest run of a text that is also in a source (0: it shares no word)."""
    words, pages = split_words(text), join_words(sources)
    longest = 0
    for start in range(len(words)):
        longest = extend_run(words, start, start + longest, pages) - start
    return longest


def join_words(sources: list[str]) -> list[str]:
    """Each source as its words between single blanks, so that any run of them is a substring."""
    return [f" {' '.join(split_words(source))} " for source in sources]


def extend_run(words: list[str], start: int, end: int, pages: list[str]) -> int:
    """The end, at or after ``end``, up to which the words from ``start`` are a run in one of the pages."""
    while end < len(words) and any(f" {' '.join(words[start : end + 1])} " in page for page in pages):
        end += 1
    return end
