"""Texts: from outside, made harmless in one place; cut, without code, and compared with texts they may copy.

What a corpus, a model, a person or another machine wrote is data: it steers no terminal, becomes no path and
no formula, and is parsed within limits. Copies are runs of words, whatever their case and punctuation: a leak
control for goals (what a person wants, not how they put it), a check on simulated users (who should write
like a profile's examples, not copy them).
"""

import hashlib
import html
import json
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from functools import lru_cache
from pathlib import Path
from typing import Any, TextIO
from urllib.parse import parse_qsl, quote, unquote, urlsplit

import pandas as pd
import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined

from realusersim_nb.errors import InputError

INVISIBLE = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Characters that steer a terminal, turn the direction of writing, or are halves of others."""
UNFIT = re.compile(r'[\0-\x1f\x7f-\x9f\ud800-\udfff/\\:*?"<>|{}]')  # for a name, here or elsewhere
RESERVED = re.compile(r"(?i)(?:con|prn|aux|nul|com\d|lpt\d)(?:\..*)?|corpora")  # of Windows; ours
HALF = re.compile(
    r"(?i)\\u(?:d[89ab][0-9a-f]{2}(?!\\ud[c-f])|(?<!\\ud[89ab][0-9a-f]{2}\\u)d[c-f][0-9a-f]{2})"
)  # of a character, as JSON writes it
YAML_BYTES = 1_000_000
SECRET_NAME = re.compile("(?i)pass|pwd|key|token|secret|sig|cred")
MARKED = re.compile(r"(?i)[=+\-@\t\r]|(?:<na>|#?n/?a|-?nan|null|none|#n/a n/a|1\.#(?:ind|qnan))\Z")  # in CSV
NAME_BYTES = 120  # of a name that is made; one that is given may have 200


def show_plainly(text: str) -> str:
    """A text from outside for a terminal: what would act there is seen instead (``\\x1b``)."""
    return INVISIBLE.sub(lambda character: ascii(character[0])[1:-1], text)


def open_templates(package: str) -> Environment:
    """The HTML templates of a room: every value in them is escaped, and one that is missing raises."""
    loader = PackageLoader(package)
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)


class PlainStream:
    """A stream to a terminal, on which text is shown plainly; ``bars`` may go back in a line and move up."""

    def __init__(self, stream: TextIO, *, bars: bool):
        self.stream = stream
        self.moves = re.compile(r"(\x1b\[A|\r)" if bars else r"(?!)()")

    def write(self, text: str) -> int:
        """Write a text, of which the moves are those of a bar."""
        pieces = self.moves.split(text)
        shown = [piece if n % 2 else show_plainly(piece) for n, piece in enumerate(pieces)]
        return self.stream.write("".join(shown))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


@contextmanager
def guard_terminal() -> Iterator[None]:
    """Meanwhile nothing that is printed steers the terminal, whoever wrote it."""
    out, err = PlainStream(sys.stdout, bars=False), PlainStream(sys.stderr, bars=True)
    with redirect_stdout(out), redirect_stderr(err):
        yield


def show_name(name: object, limit: int = 90) -> str:
    """A name from outside as a label: one line of at most so many characters, which begins with no ``_``."""
    text = show_plainly(" ".join(str(name).split()))
    text = text if len(text) <= limit else f"{text[: limit - 1]}…"
    return f" {text}" if text.startswith("_") else text  # matplotlib hides such labels


def name_file(text: str) -> str:
    """A file name made of any text: letters, digits and ``.=,+-``, without meaning to any system.

    At most 120 bytes; a text that is cut, or of which nothing is left, is told from others by 8 hex digits.
    """
    name = re.sub(r"[^\w.=,+-]+", "_", text).strip("._")
    cut = name.encode()[:NAME_BYTES].decode("utf-8", "ignore").strip("._")
    if cut == name and name and not RESERVED.fullmatch(name):
        return name
    digest = hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:8]
    return f"{cut.encode()[: NAME_BYTES - 9].decode('utf-8', 'ignore')}-{digest}".lstrip("-")


def check_name(name: object, what: str = "run name") -> str:
    """The name, if it can be that of a folder on every system; else InputError."""
    is_name = isinstance(name, str) and not UNFIT.search(name) and not RESERVED.fullmatch(name)
    if is_name and name[:1] != "." and name[-1:] not in ("", ".", " ") and len(name.encode()) <= 200:
        return name
    expected = "a plain folder name: no slashes, braces, colons or control characters, no leading dot"
    raise InputError(f"{what} {name!r}: expected {expected}, no reserved word; choose another.")


def place_inside(folder: Path, name: str) -> Path:
    """The path of a relative name in a folder; InputError if it leads out of it."""
    if Path(name).is_absolute() or ".." in re.split(r"[/\\]", name):
        raise InputError(f"{name!r} leads out of {folder}; rename or remove it.")
    return folder / name


def check_file(path: Path) -> None:
    """InputError for a pipe or a device, from which a reader would wait for ever."""
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise InputError(f"{path}: a pipe or a device, where a file is expected; save it as a file.")


def hide_credentials(text: str, address: str) -> str:
    """A text about an address without the secrets in that: its password, and what a query has for keys."""
    url = urlsplit(address)
    queried = [value for name, value in parse_qsl(url.query) if SECRET_NAME.search(name)]
    raw = url.netloc.rpartition("@")[0].partition(":")[2]
    for secret in sorted(filter(None, [raw, unquote(raw), *queried, *map(quote, queried)]), key=len)[::-1]:
        text = text.replace(secret, "***")
    return re.sub(r"(://)[^\s/]*:[^\s]*@", r"\1***@", text)


def write_csv(table: pd.DataFrame, place: Path | TextIO, **options: Any) -> None:
    """Write a table for people and spreadsheets; the parquet file beside it has the cells as they are.

    A text that a spreadsheet would take for a formula, or a reader for a missing value, gets a ``'``.
    """
    guarded = table.copy(deep=False)
    for name in table.select_dtypes(["object", "string", "category"]):
        guarded[name] = table[name].astype(object).map(mark_cell)
    guarded.rename(columns=mark_cell).to_csv(place, index=False, errors="replace", **options)


def mark_cell(value: object) -> object:
    """A cell as it is written: a text that would be read as something else with a mark before it."""
    if not isinstance(value, str):
        return value
    text = re.sub(r"\r\n?", "\n", value)  # a lone one ends a row
    return f"'{text}" if MARKED.match(value) else text


def parse_json(text: str) -> object:
    """What a JSON text says, with a ``?`` for each half of a character; ValueError if it says nothing."""
    try:
        content = json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deep") from error
    return json.loads(encode_json(content)) if HALF.search(text) else content


def encode_json(content: object) -> bytes:
    """JSON in UTF-8, which has no halves of characters."""
    return json.dumps(content, ensure_ascii=False).encode("utf-8", "replace")


class PlainLoader(yaml.SafeLoader):
    """YAML without references, by which a short text becomes an endless one."""

    def compose_node(self, parent, index):
        """The next node; YAMLError if it refers to another."""
        if self.check_event(yaml.AliasEvent):
            raise yaml.MarkedYAMLError(problem="a reference", problem_mark=self.peek_event().start_mark)
        return super().compose_node(parent, index)


def parse_yaml(text: str) -> Any:
    """What a YAML text says. YAMLError if it says nothing, is nested too deep or has references."""
    try:
        return yaml.load(text, Loader=PlainLoader)
    except RecursionError as error:
        raise yaml.YAMLError("nested too deep") from error


def read_yaml(path: Path) -> Any:
    """What a YAML file says; YAMLError also if it is not in UTF-8, or too long to have been written."""
    check_file(path)
    if path.stat().st_size > YAML_BYTES:
        raise yaml.YAMLError(f"longer than {YAML_BYTES:,} bytes")
    try:
        return parse_yaml(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise yaml.YAMLError("not in UTF-8; save it in that encoding") from error


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


def render_picture(png: str, words: str) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
    """A picture (base64) with what it shows in words, as the data and metadata of a notebook's output.

    JupyterLab drops the words of a png, so there is HTML, too.
    """
    image = f'<img src="data:image/png;base64,{png}" alt="{html.escape(words)}">'
    return {"image/png": png, "text/html": image}, {"image/png": {"alt": words}}


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
    return [*map(join_source, sources)]


@lru_cache(maxsize=1024)  # the same prompts and examples, for every message
def join_source(source: str) -> str:
    """One source as its words between single blanks."""
    return f" {' '.join(split_words(source))} "


def extend_run(words: list[str], start: int, end: int, pages: list[str]) -> int:
    """The end, at or after ``end``, up to which the words from ``start`` are a run in one of the pages."""
    while end < len(words) and any(f" {' '.join(words[start : end + 1])} " in page for page in pages):
        end += 1
    return end
