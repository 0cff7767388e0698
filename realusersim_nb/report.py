"""One HTML page from a run folder: the headline numbers, then every executed notebook, code hidden."""

from pathlib import Path

import nbformat
from nbconvert import HTMLExporter
from nbformat.v4 import new_markdown_cell, new_notebook

from realusersim_nb import files
from realusersim_nb.summary import describe_sources, read_measures, spread_measures

WIDGET = "application/vnd.jupyter.widget-view+json"
READING = """Shares with their 95 % interval. An arm (a kind of simulated user) is read between its bounds: `same_user` and
`other_user` are real people, `oracle` and `do_nothing` agents that need no model. A judge for whom the two people score
alike cannot tell people apart, and its other figures say nothing. A gap up to the floor's is what chance makes of so few."""
STYLE = """
body { max-width: 60em; margin: auto; }
.jp-RenderedText pre { word-break: normal !important; overflow-wrap: anywhere; }
table.dataframe { display: block; overflow-x: auto; }
table.dataframe th, table.dataframe td { text-align: left !important; white-space: normal !important; }
"""


def write_report(run_folder: Path) -> Path:
    """Write ``report.html``, self-contained, with figures inside and a table of contents."""
    notebooks = [nbformat.read(path, as_version=4) for path in sorted(run_folder.glob("[0-9][0-9]_*.ipynb"))]
    cells = [new_markdown_cell(render_front(run_folder, notebooks))]
    for number, notebook in enumerate(notebooks):
        cells.append(new_markdown_cell(f'<a id="notebook-{number}"></a>\n\n---'))
        cells += [keep_readable(cell) for cell in notebook.cells]
    exporter = HTMLExporter(exclude_input=True, exclude_input_prompt=True, exclude_output_prompt=True)
    page = new_notebook(cells=cells, metadata={"title": f"RealUserSim: {run_folder.name}"})
    body, _ = exporter.from_notebook_node(page)
    body = body.replace("</head>", f"<style>{STYLE}</style></head>", 1)
    path = run_folder / "report.html"
    with files.replace_whole(path) as temporary:
        temporary.write_text(body)
    return path


def render_front(run_folder: Path, notebooks: list) -> str:
    """The first page as markdown: headline numbers and links to the notebooks."""
    titles = [notebook.cells[0].source.splitlines()[0].lstrip("# ") for notebook in notebooks]
    links = [f"- [{title}](#notebook-{number})" for number, title in enumerate(titles)]
    measures = read_measures(run_folder)
    table = spread_measures(measures).to_html() if len(measures) else ""
    sources = "\n".join(f"- {line}" for line in describe_sources(run_folder))
    reading = READING if len(measures) else ""
    return "\n\n".join([f"# Run `{run_folder.name}`", sources, table, reading, "**Contents**", "\n".join(links)])


def keep_readable(cell: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The cell without progress bars and without widgets, which need a kernel to work."""
    if cell.cell_type == "code":
        cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr" and not is_widget(output)]
        for output in cell.outputs:  # a browser's own page instead of it
            output.get("data", {}).pop(WIDGET, None)
    return cell


def is_widget(output: nbformat.NotebookNode) -> bool:
    """Whether an output is a widget with nothing to show in its place."""
    return WIDGET in output.get("data", {}) and "text/html" not in output["data"]
