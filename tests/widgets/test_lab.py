"""Notebooks as a person opens them: JupyterLab in Chromium, all cells run, controls dragged and clicked.

Only where Chromium is present (Debian: apt-get install chromium). The model's replies are the recorded ones.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path

import pytest
from hostile import FILE
from playwright.sync_api import Page, TimeoutError, sync_playwright

ROOT = Path(__file__).parents[2]
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium here (Debian: apt-get install chromium)"
)


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """Address of a JupyterLab over copies of the notebooks: the small corpus, and no model installed."""
    folder = tmp_path_factory.mktemp("lab")
    (folder / "data").symlink_to(ROOT / "data")
    (folder / "notebooks").mkdir()
    for path in (ROOT / "notebooks").glob("0*.ipynb"):
        text = path.read_text(encoding="utf-8").replace(
            'corpus = \\"sharegpt\\"', 'corpus = \\"data/sample.jsonl\\"'
        )
        (folder / "notebooks" / path.name).write_text(text)
        hostile = text.replace("data/sample.jsonl", FILE.as_posix())
        (folder / "notebooks" / path.name.replace(".ipynb", "_hostile.ipynb")).write_text(hostile)
    (folder / "settings").mkdir()
    shutil.copy(ROOT / "notebooks" / "lab.json", folder / "settings" / "overrides.json")
    (folder / "sitecustomize.py").write_text(
        'import sys\nsys.modules["openvino_genai"] = None  # as if not installed\n'
    )
    homes = {
        name: str(folder / "home")
        for name in ("HOME", "REALUSERSIM_HOME", "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR")
    }
    settings = f"--LabApp.app_settings_dir={folder / 'settings'}"
    options = ["--no-browser", "--allow-root", settings, "--ServerApp.port=0", "--IdentityProvider.token="]
    typed = (
        subprocess.check_output(["make", "-n", "--no-print-directory", "lab"], cwd=ROOT, text=True)
        .split("jupyter lab")[1]
        .replace("\\\n", " ")
    )
    command = [sys.executable, "-m", "jupyter", "lab", *shlex.split(typed), *options]
    log = (folder / "lab.txt").open("w+")
    server = subprocess.Popen(
        command, cwd=folder, stderr=log, env=os.environ | homes | {"PYTHONPATH": str(folder)}
    )
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


@pytest.fixture
def page():
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield browser.new_page(viewport={"width": 1280, "height": 1000})
        browser.close()


def run_all(page: Page, lab: str, notebook: str) -> None:
    """Open a notebook in a workspace of its own and run all of its cells to the end."""
    page.goto(f"{lab}lab/workspaces/{Path(notebook).stem}/tree/notebooks/{notebook}")
    page.locator(".jp-Notebook .jp-Cell").first.click(timeout=60_000)
    page.locator(".jp-Notebook-ExecutionIndicator[data-status=idle]").wait_for(timeout=60_000)
    page.keyboard.press("Escape")
    status = ".jp-Notebook-ExecutionIndicator[data-status=%s]"
    for _ in range(3):  # a kernel that has just started may not take the first order
        page.locator(".lm-MenuBar-itemLabel", has_text=re.compile("^Run$")).click()
        page.locator(".lm-Menu-itemLabel", has_text=re.compile("^Run All Cells$")).click()
        with suppress(TimeoutError):
            page.locator(status % "busy").wait_for(timeout=20_000)
            break
    page.locator(status % "idle").wait_for(timeout=120_000)
    page.mouse.move(700, 600)


def scroll_to(page: Page, text: str) -> None:
    """Turn the wheel until a text is in sight: cells out of sight are not on the page."""
    page.evaluate(
        "document.querySelectorAll('.jp-WindowedPanel-outer').forEach(panel => panel.scrollTop = 0)"
    )
    for _ in range(200):
        matches = page.get_by_text(text).filter(visible=True)
        box = matches.first.bounding_box() if matches.count() else None
        if box and 0 < box["y"] < 900:
            page.mouse.wheel(0, box["y"] - 150)
            page.wait_for_timeout(500)
            return
        page.mouse.wheel(0, 500)
        page.wait_for_timeout(100)
    raise AssertionError(f"{text!r} is nowhere on the page")


def test_lab_opens_the_project_on_the_first_notebook(lab, page):
    page.goto(lab)
    page.locator(".jp-Notebook .jp-Cell").first.wait_for(timeout=60_000)
    assert "notebooks/00_start_here.ipynb" in page.url
    page.wait_for_timeout(2000)
    assert page.get_by_text("Jupyter news").count() == 0
    folders = page.locator(".jp-DirListing-itemText").all_inner_texts()
    page.goto(f"{lab}lab/workspaces/root")
    page.locator(".jp-BreadCrumbs-home").first.click(timeout=60_000)
    page.locator(".jp-DirListing-item", has_text="data").first.wait_for(timeout=60_000)
    assert folders or page.locator(".jp-DirListing-itemText").all_inner_texts()


def test_first_notebook_runs_and_its_slider_and_stage_work(lab, page, tmp_path):
    run_all(page, lab, "00_start_here.ipynb")
    scroll_to(page, "A profile grows")
    handle = page.locator(".noUi-handle").filter(visible=True).first
    before = page.locator(".widget-html-content:has(ol)").filter(visible=True).first.inner_text()
    handle.focus()
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    page.wait_for_timeout(1000)
    after = page.locator(".widget-html-content:has(ol)").filter(visible=True).first.inner_text()
    assert len(after) > len(before)  # more messages were read
    scroll_to(page, "On the stage")
    page.get_by_role("button", name="let them write").click()
    page.locator("button:not([disabled])", has_text="what does the judge say?").wait_for(timeout=60_000)
    page.get_by_label("somebody else").click()
    page.get_by_role("button", name="what does the judge say?").click()
    page.get_by_text(re.compile(r"The judge (\(embedded\):|gives no verdict)")).wait_for(timeout=30_000)
    page.screenshot(path=tmp_path / "stage.png")
    assert (tmp_path / "stage.png").stat().st_size > 30_000


def test_second_notebook_runs_and_its_browser_puts_people_side_by_side(lab, page):
    run_all(page, lab, "02_explore_profiles.ipynb")
    scroll_to(page, "One person")
    listed = page.locator("select").filter(visible=True).last.locator("option").all_inner_texts()
    page.get_by_label("beside", exact=True).fill(listed[1])
    page.keyboard.press("Enter")
    page.wait_for_timeout(1000)
    people = page.locator(".widget-html-content").filter(visible=True).last.inner_text()
    assert len(re.findall(r"\(\d+ messages\)", people)) == 2


def test_text_of_strangers_acts_nowhere_in_the_lab(lab, page):
    """Messages, ids and labels of the corpus hold scripts; a dialog would show that one has run."""
    dialogs = []
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    run_all(page, lab, "02_explore_profiles_hostile.ipynb")
    scroll_to(page, "One person")
    page.locator("select").filter(visible=True).last.select_option(index=2)
    page.wait_for_timeout(1000)
    shown = "".join(page.locator(".jp-OutputArea-output").filter(visible=True).all_inner_texts())
    assert "<img" in shown or "<script" in shown
    assert dialogs == [] and page.locator(".jp-OutputArea-output script").count() == 0
