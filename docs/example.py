"""An executed copy of a run in ``docs/example``: its report, pages and notebooks, with small figures and tables.

``python docs/example.py outputs/demo`` (``make example`` for the run of ``make run``).
"""

import base64
import io
import shutil
import sys
import tempfile
from pathlib import Path

import nbformat
from PIL import Image

from realusersim_nb.runs.report import write_report

HERE = Path(__file__).parent
MOST, SMALL = 5_000_000, 20_000  # bytes of all together, and of a table that is kept
COLOURS = 32  # of a figure
KEPT = ("*.html", "*.ipynb", "summary.json", "manifest.json", "*/*.csv")


def is_left_out(folder: str, names: list[str]) -> list[str]:
    """Files of a run that its pages neither show nor link to, and large tables."""
    paths = [Path(folder) / name for name in names]
    return [
        path.name
        for path in paths
        if path.is_file()
        and (
            path.suffix not in (".png", ".csv", ".ipynb", ".json")
            or (path.suffix == ".csv" and path.stat().st_size > SMALL)
        )
    ]


def shrink(png: bytes) -> bytes:
    """A figure with few colours, small marks among them."""
    small = io.BytesIO()
    Image.open(io.BytesIO(png)).convert("RGB").quantize(COLOURS, Image.Quantize.MAXCOVERAGE).save(
        small, "png", optimize=True
    )
    return small.getvalue()


def shrink_notebook(path: Path) -> None:
    """Make the figures of an executed notebook small; nothing stays of widgets' states and of this machine."""
    notebook = nbformat.read(path, as_version=4)
    for name in ("widgets", "papermill"):
        notebook.metadata.pop(name, None)
    for cell in notebook.cells:
        cell.metadata.pop("papermill", None)
        cell.metadata.pop("execution", None)
        for output in cell.get("outputs", []):
            if png := output.get("data", {}).get("image/png"):
                output["data"]["image/png"] = base64.b64encode(shrink(base64.b64decode(png))).decode()
                output["data"].pop("text/html", None)  # the same once more; the pages beside have its words
            output.get("data", {}).pop("image/svg+xml", None)
    nbformat.write(notebook, path)


def copy_run(run: Path, place: Path) -> int:
    """Copy what people look at of a run to ``place``, which is emptied before; returns how many bytes."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / run.name
        shutil.copytree(run, copy, ignore=is_left_out)
        for path in copy.glob("*/*.png"):
            path.write_bytes(shrink(path.read_bytes()))
        for path in copy.glob("*.ipynb"):
            shrink_notebook(path)
        write_report(copy)
        shutil.rmtree(place, ignore_errors=True)
        for path in sorted({path for pattern in KEPT for path in copy.glob(pattern)}):
            target = place / path.relative_to(copy)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
    return sum(path.stat().st_size for path in place.rglob("*") if path.is_file())


if __name__ == "__main__":
    size = copy_run(Path(sys.argv[1]), HERE / "example")
    print(f"docs/example: {size / 1e6:.1f} MB" + ("" if size <= MOST else f", more than {MOST / 1e6:.0f}"))
    sys.exit(size > MOST)
