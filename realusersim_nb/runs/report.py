"""One HTML page of a run or a sweep: the headline numbers, then every executed notebook with its code folded.

The page contains its figures and needs no network; the files that a cell saved are linked under it, by paths
beside the page. Its form is ``templates/report.html``, which extends nbconvert's.
"""

import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

import nbformat
import pandas as pd
from nbconvert import HTMLExporter

from realusersim_nb import files
from realusersim_nb.runs import summary
from realusersim_nb.runs.notebooks import read_executed

TEMPLATE = Path(__file__).parent / "templates" / "report.html"
GLOSSARY = "docs/glossary.md"
SAVED = re.compile(r"save_(table|figure|records)\((?:[^()]|\([^()]*\))*?\"(\w+)\"")
SUFFIXES = {"table": ["csv"], "figure": ["svg", "pdf"], "records": ["jsonl"]}


def write_report(run_folder: Path) -> Path:
    """Write ``report.html`` of a run or sweep; returns its path."""
    name, contents = summary.name_run(run_folder), []
    page = nbformat.v4.new_notebook(metadata={"title": f"RealUserSim: {name}"})
    for path in sorted(run_folder.glob("[0-9][0-9]_*.ipynb")):
        cells = read_executed(path).cells
        contents.append((path.stem, cells[0].source.splitlines()[0].lstrip("# ")))
        cells[0].metadata["anchor"] = path.stem
        for cell in cells:
            cell.metadata |= {"notebook": f"./{quote(path.name)}", "saved": list_saved(cell.source, path)}
            cell.source = cell.source.replace(f"(../{GLOSSARY})", "(#glossary)")
        page.cells += cells
    front = {"name": name, "contents": contents} | read_front(run_folder)
    options = {"exclude_input_prompt": True, "exclude_output_prompt": True}
    exporter = HTMLExporter(template_file=str(TEMPLATE), **options)
    html, _ = exporter.from_notebook_node(page, resources={"report": front})
    with files.replace_whole(run_folder / "report.html") as temporary:
        temporary.write_text(html, encoding="utf-8")
    return run_folder / "report.html"


def list_saved(code: str, notebook: Path) -> list[str]:
    """The files that a cell of an executed notebook saved, as paths beside the page."""
    names = [f"{name}.{suffix}" for kind, name in SAVED.findall(code) for suffix in SUFFIXES[kind]]
    return [
        f"./{quote(notebook.stem)}/{name}" for name in names if (notebook.with_suffix("") / name).exists()
    ]


def read_front(run_folder: Path) -> dict[str, Any]:
    """What the page shows before and after the notebooks (see the template)."""
    glossary, sweep = files.project_folder() / GLOSSARY, run_folder / "sweep.parquet"
    front = {"manifest": summary.read_manifest(run_folder), "sweep": None, "glossary": ""}
    if glossary.exists():
        text = glossary.read_text(encoding="utf-8").partition("\n")[2]
        front["glossary"] = re.sub(r"\[([^]]+)\]\((?!http)[^)]+\)", r"\1", text)  # links are to other files
    if sweep.exists():
        return front | {"sweep": list_runs(files.read_table(sweep), run_folder)}
    measures = summary.read_measures(run_folder)
    table = summary.pivot_measures(measures).to_html() if len(measures) else ""
    return front | {"sources": summary.describe_sources(run_folder), "measures": table}


def list_runs(table: pd.DataFrame, sweep_folder: Path) -> list[dict[str, Any]]:
    """The rows of a sweep's table; a run links to its page or, where it has none, to its folder."""
    rows = table.drop(columns="tags").astype(object).where(table.notna(), "").to_dict("records")
    for row in rows:
        name = row["run"].removeprefix(f"{sweep_folder.name}/")
        page = "report.html" if (sweep_folder / name / "report.html").exists() else ""
        row["run"] = {"name": name, "link": f"./{quote(name)}/{page}"}  # a path, never an address
    return rows
