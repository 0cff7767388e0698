"""What one text has copied from others: runs of words, without regard to case and punctuation.

A leak control for goals (they should say what a person wants, not how they put it), and a check on
simulated users (they should write like the examples of a profile, not write them down).
"""

import re


def split_words(text: str) -> list[str]:
    """The words and numbers of a text, in lower case."""
    return re.findall(r"\w+", text.lower())


def measure_overlap(text: str, sources: list[str], *, n: int = 3) -> float:
    """Share (0..1) of a text's different word n-grams that also stand in the sources; NaN if it has none."""

    def cut(words: list[str]) -> set[tuple[str, ...]]:
        return {tuple(words[i : i + n]) for i in range(len(words) - n + 1)}

    own = cut(split_words(text))
    return len(own & set().union(*(cut(split_words(s)) for s in sources))) / len(own) if own else float("nan")


def list_copied(text: str, sources: list[str], *, at_least: int) -> list[str]:
    """The runs of at least so many words that also stand in a source, in order and without overlap."""
    own, pages = split_words(text), flatten(sources)
    runs, start = [], 0
    while start < len(own):
        end = start
        while end < len(own) and holds(pages, own[start : end + 1]):
            end += 1
        if end - start >= at_least:
            runs.append(" ".join(own[start:end]))
        start = end if end - start >= at_least else start + 1
    return runs


def count_copied(text: str, sources: list[str]) -> int:
    """Length in words of the longest run of a text that also stands in a source (0: not one word does)."""
    own, pages = split_words(text), flatten(sources)
    longest = 0
    for start in range(len(own)):
        while start + longest < len(own) and holds(pages, own[start : start + longest + 1]):
            longest += 1
    return longest


def flatten(sources: list[str]) -> list[str]:
    """Each source as its words between single blanks, so that a run of words is a part of the text."""
    return [f" {' '.join(split_words(source))} " for source in sources]


def holds(pages: list[str], run: list[str]) -> bool:
    """Whether any of the flattened sources holds the run."""
    wanted = f" {' '.join(run)} "
    return any(wanted in page for page in pages)
