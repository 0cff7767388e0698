"""The page of a run or a sweep, ``report.html``: findings first, then what was studied, then links.

It has no code: each executed notebook is a page beside it (``pages``). Of a run it shows up to five
findings, each with its figure, n, interval and what it does not show; of a sweep the leaderboard. It contains
its figures and needs no network. Its form is ``templates/report.html``.
"""

import base64
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd

from realusersim_nb import files
from realusersim_nb.llm.usage import format_cost
from realusersim_nb.runs import findings, summary
from realusersim_nb.runs.notebooks import read_executed
from realusersim_nb.runs.pages import read_glossary, write_page
from realusersim_nb.text import open_templates

TEMPLATES = open_templates("realusersim_nb.runs")
BOARD = "06_compare_simulators"
LEADERS = 10  # rows of a leaderboard on the page
ROLES = ("simulator", "agent", "extractor", "judge")  # parameters whose models the page names
RECORDS = ("manifest.json", "summary.json", "replies.jsonl.gz", "sweep.csv")
Link = dict[str, Any]


def write_report(run_folder: Path) -> Path:
    """Write ``report.html`` of a run or sweep and a page for each of its notebooks; returns its path."""
    glossary, pages = read_glossary(), []
    for notebook in sorted(run_folder.glob("[0-9][0-9]_*.ipynb")):
        page = write_page(notebook, glossary=glossary)
        pages.append(link_file(page, run_folder) | read_heading(notebook) | {"files": list_files(notebook)})
    headlines, sweep = summary.read_summary(run_folder), run_folder / "sweep.parquet"
    every = headlines.get("findings", [])
    shown = findings.choose_findings(every)
    table = files.read_table(sweep) if sweep.exists() else None
    values = {
        "name": summary.name_run(run_folder),
        "findings": [show_finding(one, run_folder) for one in shown],
        "n_more": len(every) - len(shown),
        "strip": describe_study(run_folder, headlines) if table is None else describe_sweep(table),
        "notes": [
            f"Left out: {n}, of another corpus ({c})." for n, c in headlines.get("left_out", {}).items()
        ],
        "pages": pages,
        "records": [
            link_file(run_folder / name, run_folder) for name in RECORDS if (run_folder / name).exists()
        ],
        "board": None if table is None else read_board(run_folder),
        "runs": [] if table is None else list_runs(table, run_folder),
    }
    with files.replace_whole(run_folder / "report.html") as temporary:
        temporary.write_text(TEMPLATES.get_template("report.html").render(values), encoding="utf-8")
    return run_folder / "report.html"


def read_heading(notebook: Path) -> dict[str, str]:
    """The title of a notebook and the question it asks, from its first cell."""
    text = read_executed(notebook).cells[0].source
    asked = re.search(r"^\*\*Question\.\*\*\s*(.+)$", text, re.MULTILINE)
    return {
        "title": text.splitlines()[0].lstrip("# "),
        "question": asked[1].replace("*", "") if asked else "",
    }


def link_file(path: Path, run_folder: Path) -> Link:
    """A file of a run as ``link`` (a path beside the page, never an address), ``name`` and ``size``."""
    name = path.relative_to(run_folder).as_posix()
    return {"link": f"./{quote(name)}", "name": path.name, "size": describe_size(path.stat().st_size)}


def describe_size(n_bytes: int) -> str:
    """A size as people read it: ``3.4 MB``."""
    return f"{n_bytes / 1e6:.1f} MB" if n_bytes >= 1e6 else f"{max(n_bytes / 1e3, 1):.0f} kB"


def list_files(notebook: Path) -> list[Link]:
    """The tables, records and pages of a notebook's folder; figures are on its page."""
    folder, kinds = notebook.with_suffix(""), ("csv", "jsonl", "html")
    paths = [path for kind in kinds for path in sorted(folder.glob(f"*.{kind}"))]
    return [link_file(path, notebook.parent) for path in paths]


def show_finding(finding: findings.Finding, run_folder: Path) -> dict[str, Any]:
    """A finding as the page shows it: sentence, figures, limits, its figure and where there is more of it."""
    notebook, figure = finding["notebook"], finding.get("figure") or ""
    return {
        "sentence": finding["sentence"].strip().removesuffix("."),
        "figures": findings.describe_figures(finding),
        "limits": findings.list_limits(finding),
        "image": embed_image(run_folder / notebook / f"{figure}.png") if figure else "",
        "page": f"./{quote(notebook)}.html",
        "notebook": notebook,
    }


def embed_image(path: Path) -> str:
    """A PNG file as a data address; empty if there is none."""
    if not path.exists():
        return ""
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"


def describe_study(run_folder: Path, headlines: dict[str, Any]) -> dict[str, str]:
    """The study in a line: people, conversations, models, cost, time, date and commit, as far as known."""
    corpus, calls = headlines.get("corpus") or {}, headlines["calls"]
    made = summary.read_manifest(run_folder) or {}
    strip = {
        "people": f"{corpus['users']:,}" if corpus else "",
        "conversations": f"{corpus['conversations']:,} of {corpus['name']}" if corpus else "",
        "models": ", ".join(list_models(made)),
        "calls": f"{calls['live']:,} made, {calls['cached']:,} from the cache, {calls['failed']:,} failed",
        "cost": format_cost(calls["cost_usd"]),
        "time": f"{headlines.get('wall_seconds', 0) / 60:.1f} minutes",
        "date": str(made.get("finished") or "")[:10],
        "commit": str(made.get("git_commit") or "")[:12],
    }
    return {name: value for name, value in strip.items() if value} | (
        {} if made else {"state": "not complete"}
    )


def describe_sweep(table: pd.DataFrame) -> dict[str, str]:
    """A sweep in a line: its runs by state, and what they took together."""
    usage = table.reindex(columns=["calls", "cached", "cost_usd", "wall_seconds"]).sum(skipna=False)
    return {
        "runs": ", ".join(
            f"{n} {state}" for state, n in table.get("state", pd.Series()).value_counts().items()
        ),
        "calls": f"{usage['calls']:,.0f} made, {usage['cached']:,.0f} from the cache",
        "cost": format_cost(usage["cost_usd"]),
        "time": f"{usage['wall_seconds'] / 60:.1f} minutes",
    }


def list_models(manifest: dict[str, Any]) -> list[str]:
    """The models that a run names in its parameters, in the order of notebooks and roles, each once."""
    given = [parameters.get(role) for parameters in manifest.get("parameters", {}).values() for role in ROLES]
    names = [name for one in given for name in (one if isinstance(one, list) else [one])]
    return list(dict.fromkeys(str(name) for name in names if name and name != "measured"))


def read_board(sweep_folder: Path) -> dict[str, Any]:
    """A sweep's leaderboard: its figure, and as HTML a table of its first rows; both may be empty."""
    path = sweep_folder / BOARD / "leaderboard.parquet"
    table = files.read_table(path).head(LEADERS) if path.exists() else pd.DataFrame()
    shown = table.drop(columns=[name for name in table if name.endswith(("_low", "_high"))])
    html = shown.round(3).convert_dtypes().to_html(index=False, na_rep="", border=0) if len(shown) else ""
    return {"image": embed_image(path.with_suffix(".png")), "table": html, "n": len(shown)}


def list_runs(table: pd.DataFrame, sweep_folder: Path) -> list[dict[str, Any]]:
    """The rows of a sweep's table; a run links to its page or, where it has none, to its folder."""
    rows = table.drop(columns="tags").astype(object).where(table.notna(), "").to_dict("records")
    for row in rows:
        name = row["run"].removeprefix(f"{sweep_folder.name}/")
        page = "report.html" if (sweep_folder / name / "report.html").exists() else ""
        row["run"] = {"name": name, "link": f"./{quote(name)}/{page}"}  # a path, never an address
    return rows
