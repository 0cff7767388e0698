"""One HTML page from a run folder: the headline numbers, then every executed notebook, code hidden."""

from pathlib import Path

import nbformat
from nbconvert import HTMLExporter
from nbformat.v4 import new_markdown_cell, new_notebook

from realusersim_nb import files
from realusersim_nb.summary import describe_summary

WIDGET = "application/vnd.jupyter.widget-view+json"
STYLE = """
body { max-width: 60em; margin: auto; }
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
    return "\n".join(
        [
            f"# Run `{run_folder.name}`",
            "",
            *[f"- {line}" for line in describe_summary(run_folder)],
            "",
            "**Contents**",
            "",
            *links,
        ]
    )


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
