"""What is done with a text: cut it, strip it, and see what it has copied from others.

Copies are runs of words, without regard to case and punctuation. They are a leak control for goals
(which should say what a person wants, not how they put it), and a check on simulated users (who
should write like the examples of a profile, not write them down).
"""

import re


def strip_code(text: str) -> str:
    """The text without fenced code, which says nothing of how a person writes."""
    return re.sub(r"```.*?(```|\Z)", " ", text, flags=re.DOTALL) if "```" in text else text


def cut_at_word(text: str, limit: int) -> str:
    """A verbatim beginning of the text, cut at white space if it is longer than the limit."""
    text = text.strip()
    if len(text) <= limit:
        return text
    head = text[: limit + 1]
    return head[: len(head.rstrip().rsplit(None, 1)[0])].rstrip() if len(head.split()) > 1 else text[:limit]


def mark_repeats(texts: list[str]) -> list[bool]:
    """For each text after the first, whether it stands word for word among those before it."""
    return [text in texts[:i] for i, text in enumerate(texts)][1:]


# --- copies ------------------------------------------------------------------------------------


def split_words(text: str) -> list[str]:
    """The words and numbers of a text, in lower case."""
    return re.findall(r"\w+", text.lower())


def measure_overlap(text: str, sources: list[str]) -> float:
    """Share (0..1) of a text's different word triples that also stand in the sources; NaN if it has none."""

    def cut(words: list[str]) -> set[tuple[str, ...]]:
        return {tuple(words[i : i + 3]) for i in range(len(words) - 2)}

    own = cut(split_words(text))
    return len(own & set().union(*(cut(split_words(s)) for s in sources))) / len(own) if own else float("nan")


def list_copied_runs(text: str, sources: list[str], *, at_least: int) -> list[str]:
    """The runs of at least so many words that also stand in a source, in order and without overlap."""
    own, pages = split_words(text), join_words(sources)
    runs, start = [], 0
    while start < len(own):
        end = start
        while end < len(own) and contains_run(pages, own[start : end + 1]):
            end += 1
        if end - start >= at_least:
            runs.append(" ".join(own[start:end]))
        start = end if end - start >= at_least else start + 1
    return runs


def measure_longest_copy(text: str, sources: list[str]) -> int:
    """Length in words of the longest run of a text that also stands in a source (0: not one word does)."""
    own, pages = split_words(text), join_words(sources)
    longest = 0
    for start in range(len(own)):
        while start + longest < len(own) and contains_run(pages, own[start : start + longest + 1]):
            longest += 1
    return longest


def join_words(sources: list[str]) -> list[str]:
    """Each source as its words between single blanks, so that a run of words is a part of the text."""
    return [f" {' '.join(split_words(source))} " for source in sources]


def contains_run(pages: list[str], run: list[str]) -> bool:
    """Whether any of the flattened sources holds the run."""
    wanted = f" {' '.join(run)} "
    return any(wanted in page for page in pages)
