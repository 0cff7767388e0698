"""An executed notebook as an HTML page: its code folded, the files that a cell saved linked below it.

The page contains its figures and needs no network. Its form is ``templates/notebook.html``, which extends
nbconvert's.
"""

import re
from pathlib import Path
from urllib.parse import quote

from nbconvert import HTMLExporter

from realusersim_nb import files
from realusersim_nb.runs.notebooks import read_executed

TEMPLATE = Path(__file__).parent / "templates" / "notebook.html"
GLOSSARY = "docs/glossary.md"
SAVED = re.compile(r"save_(table|figure|records|page)\((?:[^()]|\([^()]*\))*?\"(\w+)\"")
NEXT = re.compile(r'<a href="(\d\d_\w+)\.ipynb">')
SUFFIXES = {"table": "csv", "figure": "svg", "records": "jsonl", "page": "html"}


def write_page(notebook: Path, *, glossary: str) -> Path:
    """Write the page of an executed notebook beside it (``01_extract_profiles.html``); returns its path."""
    executed = read_executed(notebook)
    executed.metadata["title"] = f"{notebook.stem} of {notebook.parent.name}"
    executed.metadata.pop("widgets", None)  # their state would be a script; static pages stand in their place
    for cell in executed.cells:
        cell.metadata["saved"] = list_saved(cell.source, notebook)
        cell.source = cell.source.replace(f"(../{GLOSSARY})", "(#glossary)")
        for output in cell.get("outputs", []):
            if shown := output.get("data", {}).get("text/html"):  # the next notebook is a page here
                output["data"]["text/html"] = NEXT.sub(r'<a href="./\1.html">', shown)
    options = {"exclude_input_prompt": True, "exclude_output_prompt": True}
    exporter = HTMLExporter(template_file=str(TEMPLATE), **options)
    about = {"file": f"./{quote(notebook.name)}", "glossary": glossary}
    html, _ = exporter.from_notebook_node(executed, resources={"page": about})
    with files.replace_whole(notebook.with_suffix(".html")) as temporary:
        temporary.write_text(html, encoding="utf-8")
    return notebook.with_suffix(".html")


def list_saved(code: str, notebook: Path) -> list[str]:
    """The files that a cell of an executed notebook saved, as paths beside the page."""
    names = [f"{name}.{SUFFIXES[kind]}" for kind, name in SAVED.findall(code)]
    folder = notebook.with_suffix("")
    return [f"./{quote(notebook.stem)}/{name}" for name in names if (folder / name).exists()]


def read_glossary() -> str:
    """The project's glossary in Markdown without title and links to other files; empty if it is not here."""
    path = files.project_folder() / GLOSSARY
    text = path.read_text(encoding="utf-8").partition("\n")[2] if path.exists() else ""
    return re.sub(r"\[([^]]+)\]\((?!http)[^)]+\)", r"\1", text)
