"""JupyterLab on copies of the notebooks, and Chromium to open it; tests of widgets use both.

Only where Chromium is present (Debian: apt-get install chromium).
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import nbformat
import pytest
from papermill.iorw import load_notebook_node
from papermill.parameterize import parameterize_notebook
from playwright.sync_api import Browser, Page, sync_playwright

from realusersim_nb.runs.notebooks import find_notebooks, read_parameters

ROOT = Path(__file__).parents[1]
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_chromium = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium here (Debian: apt-get install chromium)"
)
KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
ERROR = "[data-mime-type='application/vnd.jupyter.error']"
TRACKER = "@jupyterlab/notebook-extension:tracker"  # settings of notebooks
ALL_ATTACHED = {"windowingMode": "none"}  # cells out of sight are on the page, too, and have their size

READY = """async () => {
    const panel = jupyterapp.shell.currentWidget;
    await panel.context.ready;
    await panel.sessionContext.ready;
    await panel.sessionContext.session.kernel.info;  // before, a kernel takes no order
}"""
RUN_ALL = """async () => {
    const late = new Promise((_, fail) => setTimeout(fail, 120000, new Error("cells run for two minutes")));
    await Promise.race([jupyterapp.commands.execute("notebook:run-all-cells"), late]);
}"""


@contextmanager
def open_browser() -> Iterator[Browser]:
    """Chromium without a window."""
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


def run_all(page: Page, lab: str, notebook: str, folder: str = "notebooks") -> None:
    """Open a notebook and run all of its cells to the end, none of which fails."""
    open_notebook(page, lab, notebook, folder)
    page.evaluate(RUN_ALL)
    assert page.locator(ERROR).all_inner_texts() == []


def open_notebook(page: Page, lab: str, notebook: str, folder: str = "notebooks") -> None:
    """Open a notebook in a workspace of its own, until its kernel takes orders."""
    workspace = f"{folder}-{Path(notebook).stem}".replace("/", "-")
    page.goto(f"{lab}lab/workspaces/{workspace}/tree/{folder}/{notebook}")
    page.locator(".jp-Notebook .jp-Cell").first.wait_for(timeout=60_000)
    page.evaluate(READY)


def copy_notebooks(folder: Path, parameters: dict[str, object]) -> None:
    """The notebooks with these parameters, each with those that it has."""
    (folder / "data").symlink_to(ROOT / "data")
    (folder / "docs").symlink_to(ROOT / "docs")
    (folder / "notebooks").mkdir()
    for path in find_notebooks():
        given = {name: parameters[name] for name in read_parameters(path) if name in parameters}
        notebook = parameterize_notebook(load_notebook_node(str(path)), given)
        nbformat.write(notebook, folder / "notebooks" / path.name)


def write_notebook(path: Path, script: Path) -> None:
    """A script with ``# %%`` between its cells, as a notebook."""
    codes = script.read_text(encoding="utf-8").split("# %%\n")
    cells = [nbformat.v4.new_code_cell(code.strip()) for code in codes]
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=KERNEL), path)


@contextmanager
def serve_lab(folder: Path, **environment: str) -> Iterator[str]:
    """Address of a JupyterLab over ``folder``, as ``make lab`` starts it, where no model is installed.

    A page has the application as ``jupyterapp``.
    """
    (folder / "settings").mkdir()
    kept = json.loads((ROOT / "notebooks" / "lab.json").read_text(encoding="utf-8"))
    (folder / "settings" / "overrides.json").write_text(
        json.dumps(kept | {TRACKER: kept[TRACKER] | ALL_ATTACHED}), encoding="utf-8"
    )
    (folder / "sitecustomize.py").write_text(
        'import sys\nsys.modules["openvino_genai"] = None  # as if not installed\n'
    )
    homes = {
        name: str(folder / "home")
        for name in ("HOME", "REALUSERSIM_HOME", "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR")
    }
    options = ["--no-browser", "--allow-root", "--ServerApp.port=0", "--IdentityProvider.token="]
    options += [f"--LabApp.app_settings_dir={folder / 'settings'}", "--LabApp.expose_app_in_browser=True"]
    typed = (
        subprocess.check_output(["make", "-n", "--no-print-directory", "lab"], cwd=ROOT, text=True)
        .split("jupyter lab")[1]
        .replace("\\\n", " ")
    )
    command = [sys.executable, "-m", "jupyter", "lab", *shlex.split(typed), *options]
    surroundings = os.environ | homes | {"PYTHONPATH": str(folder)} | environment
    with (folder / "lab.txt").open("w+") as log:
        server = subprocess.Popen(command, cwd=folder, stderr=log, env=surroundings)
        try:
            yield wait_for_address(folder / "lab.txt")
        finally:
            server.terminate()
            server.wait()


def wait_for_address(log: Path) -> str:
    """Where the server answers, from its log."""
    for _ in range(300):
        if address := re.search(r"http://(?:localhost|127\.0\.0\.1):\d+/", log.read_text(encoding="utf-8")):
            with suppress(urllib.error.URLError):  # the address is in the log before anybody listens there
                urllib.request.urlopen(f"{address[0]}api").close()
                return address[0]
        time.sleep(0.2)
    raise AssertionError(log.read_text(encoding="utf-8"))
