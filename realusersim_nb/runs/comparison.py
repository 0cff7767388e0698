"""What changed between two runs: parameters, prompts, versions, commit, and the numbers with their intervals."""

import html
import json
from pathlib import Path

import pandas as pd

from realusersim_nb import files
from realusersim_nb.errors import StudyError
from realusersim_nb.runs.leaderboard import HIDDEN
from realusersim_nb.runs.report import STYLE
from realusersim_nb.runs.summary import describe_measure, name_run, read_measures


def read_manifest(folder: Path) -> dict:
    """A run's manifest; StudyStopped if the run is not complete."""
    try:
        return json.loads((folder / "manifest.json").read_text())
    except (OSError, ValueError) as error:
        raise StudyError(
            f"{folder}: no manifest that can be read, so the run is not complete; run it to its end first."
        ) from error


def compare_manifests(before: dict, after: dict) -> pd.DataFrame:
    """What made one run and not the other: columns ``what`` (parameter, prompt, version, commit), ``name, before, after``.

    From manifests. What decides no result (names, limits) is left out; None where one run has no such thing.
    """
    rows = []
    for notebook in sorted({*before["parameters"], *after["parameters"]}):
        one, other = (made["parameters"].get(notebook, {}) for made in (before, after))
        rows += [
            ("parameter", f"{notebook[:2]} {name}", one.get(name), other.get(name))
            for name in sorted({*one, *other} - {*HIDDEN})
        ]
    for what, field in (("prompt", "prompts"), ("version", "versions")):
        names = sorted({*before[field], *after[field]})
        rows += [(what, name, before[field].get(name), after[field].get(name)) for name in names]
    rows.append(("commit", "git", before["git_commit"], after["git_commit"]))
    table = pd.DataFrame(rows, columns=["what", "name", "before", "after"])
    shown = table.assign(before=table["before"].map(shorten), after=table["after"].map(shorten))
    return shown[table["before"].map(repr) != table["after"].map(repr)].reset_index(drop=True)


def shorten(value: object) -> str:
    """A value in a table: hashes by their beginning."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text[:12] if len(text) in (40, 41, 64) and " " not in text else text[:80]


def compare_results(before: Path, after: Path) -> pd.DataFrame:
    """Every measure of both runs: columns ``measure, arm, before, after`` as text with intervals and n, and ``change``.

    ``change`` is that of the value (after less before). It is not paired and has no interval: runs may have other
    cases. Empty where a run did not measure it.
    """
    sides = [
        read_measures(folder)
        .assign(text=lambda t: [describe_measure(row) for row in t.itertuples()])
        .set_index(["measure", "arm"])
        for folder in (before, after)
    ]
    both = sides[0][["value", "text"]].join(
        sides[1][["value", "text"]], how="outer", lsuffix="_before", rsuffix="_after", sort=False
    )
    table = pd.DataFrame(
        {
            "before": both["text_before"].fillna(""),
            "after": both["text_after"].fillna(""),
            "change": (both["value_after"] - both["value_before"]).round(3),
        }
    )
    return table.reset_index()


def write_page(before: Path, after: Path) -> tuple[Path, str]:
    """Compare two runs: a page in the second one's folder, and the same as text."""
    makings = compare_manifests(read_manifest(before), read_manifest(after))
    numbers = compare_results(before, after)
    names = [name_run(folder) for folder in (before, after)]
    title = f"{names[0]} and {names[1]}"
    parts = [
        ("What made them", makings, "Nothing that decides a result differs."),
        ("What they measured", numbers, "Neither measured anything."),
    ]
    text = "\n\n".join(
        f"{head}\n{table.to_string(index=False) if len(table) else empty}" for head, table, empty in parts
    )
    body = "".join(
        f"<h2>{head}</h2>{table.to_html(index=False, na_rep='') if len(table) else empty}"
        for head, table, empty in parts
    )
    page = f"<!doctype html><html lang='en'><head><meta charset='utf-8'><meta name='viewport' content='width=device-width'><title>{html.escape(title)}</title><style>body {{ font-family: sans-serif; padding: 1em; }}{STYLE}</style></head><body><h1>{html.escape(title)}</h1>{body}</body></html>"
    path = after / f"against_{names[0].replace('/', '_')}.html"
    with files.replace_whole(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return path, text
