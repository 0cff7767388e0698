"""Prose is read once: sentences of at most 35 words, none of the words that say nothing of their thing."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MOST = 35  # words of a sentence
NOT_USED = set("told found own said heard parts stores lapses players companions mistakes bounds".split())
LISTS = {"docs/tables.md", "docs/glossary.md", "docs/papers.md", "data/README.md"}  # entries, no sentences
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "data/README.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "notebooks").glob("*.ipynb")),
    ROOT / "realusersim_nb" / "runs" / "templates" / "report.html",
]


def read_prose(page: Path) -> str:
    """The prose of a page: the markdown of a notebook, the text of a template, without code."""
    text = page.read_text(encoding="utf-8")
    if page.suffix == ".ipynb":
        cells = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "markdown"]
        text = "\n\n".join("".join(cell["source"]) for cell in cells)
    for code in (r"```.*?```", r"<style>.*?</style>", r"\{[%{#].*?[%}#]\}", r"<[^>]+>"):
        text = re.sub(code, "\n\n", text, flags=re.DOTALL)
    return re.sub(r"`[^`]*`", "X", re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", text))


def split_sentences(prose: str) -> Iterator[str]:
    """Sentences; one ends with a paragraph, a list's entry or a table's cell, too."""
    for block in re.split(r"\n\s*\n|\n(?=\s*[-|#>\d])|\|", prose):
        yield from re.split(r"(?<=[.!?])[\"')*]*\s+", " ".join(block.split()))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_prose_is_short_and_plain(page):
    sentences = [*split_sentences(read_prose(page))]
    is_list = page.relative_to(ROOT).as_posix() in LISTS
    assert sentences and [s for s in sentences if len(s.split()) > MOST and not is_list] == []
    assert [s for s in sentences if NOT_USED & {*re.findall("[a-z]+", s.lower())}] == []


def test_long_sentence_and_unused_word_are_seen():
    first, second = split_sentences(f"{'word ' * 36}end. It was `told` that *found* it.")
    assert len(first.split()) == 37 and NOT_USED & {*re.findall("[a-z]+", second.lower())}
