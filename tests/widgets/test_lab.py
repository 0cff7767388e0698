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

import axe_playwright_python
import nbformat
import pytest
from conftest import MockEndpoint
from hostile import FILE
from playwright.sync_api import Page, TimeoutError, sync_playwright

ROOT = Path(__file__).parents[2]
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
RULES = {"runOnly": ["wcag2a", "wcag2aa"], "resultTypes": ["violations"]}
CELLS = Path(__file__).with_name("every_widget.py").read_text(encoding="utf-8").split("# %%\n")
SLOW = """import os
from realusersim_nb import llm
os.environ |= {"OPENAI_BASE_URL": "%s", "OPENAI_API_KEY": "k", "REALUSERSIM_CACHE": "stop.sqlite"}
models = llm.Models(max_concurrency=1)
outcomes = await models.run_all([models.ask("m", f"question {i}") for i in range(5)], "calls")"""
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
    slow = MockEndpoint(lambda request: time.sleep(4) or "yes")
    for name, codes in {"widgets": CELLS, "stop": [CELLS[0] + SLOW % slow.url]}.items():
        cells = [nbformat.v4.new_code_cell(code) for code in codes]
        nbformat.write(nbformat.v4.new_notebook(cells=cells), folder / "notebooks" / f"{name}.ipynb")
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
        slow.server.shutdown()


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


def open_widgets(page: Page, lab: str) -> None:
    """The notebook that shows each widget, all cells run and in sight."""
    page.set_viewport_size({"width": 1280, "height": 5000})
    run_all(page, lab, "widgets.ipynb")


def find_violations(page: Page, place: str) -> set[str]:
    """What axe-core finds wrong about the outputs: rule and the element. A slider's handle has no name that
    Python could give it.
    """
    page.evaluate(AXE)
    found = page.evaluate(
        "async ([place, rules]) => (await axe.run(place, rules)).violations", [place, RULES]
    )
    every = {f"{v['id']}: {node['html'][:200]}" for v in found for node in v["nodes"]}
    return {one for one in every if "noUi-handle" not in one and "widget-readout" not in one}


def test_widgets_are_operated_by_mouse_and_are_there_after_save_restart_and_reload(lab, page):
    open_widgets(page, lab)
    assert page.get_by_text(re.compile(r"goals: 3 in \d\d:\d\d")).count() == 1
    shown = page.locator(".jp-Notebook")
    shown.get_by_label("search", exact=True).first.fill("nobody says this")
    page.keyboard.press("Enter")
    page.get_by_text("Nobody uses 'nobody says this'.").wait_for()
    shown.get_by_label("search", exact=True).first.fill("BOB")
    page.keyboard.press("Enter")
    page.get_by_text("1 of 2 users").wait_for()
    shown.get_by_label("case", exact=True).select_option(index=1)
    page.get_by_text("linguistic style and mechanics (D2)").first.wait_for()
    page.get_by_role("button", name="save, next pair").click()
    page.get_by_text("no verdict on persona and affective traits (D1)").wait_for()
    page.get_by_role("button", name="all match").click()
    page.get_by_text("Pair 2 of 2").wait_for()
    assert page.get_by_text("1 of 2 answered").count() == 1
    assert find_violations(page, ".jp-OutputArea-output") == set()
    page.keyboard.press("Control+s")
    page.locator(".jp-mod-dirty").first.wait_for(state="detached")
    page.evaluate("""async () => {
        const base = JSON.parse(document.getElementById("jupyter-config-data").textContent).baseUrl;
        const sessions = await (await fetch(base + "api/sessions")).json();
        const xsrf = document.cookie.match(/_xsrf=([^;]+)/)[1];
        for (const session of sessions) await fetch(`${base}api/kernels/${session.kernel.id}/restart`,
            {method: "POST", headers: {"X-XSRFToken": xsrf}}); }""")
    page.reload()
    page.locator(".jp-Notebook .jp-Cell").first.wait_for(timeout=60_000)
    page.get_by_text("Pair 2 of 2").wait_for(timeout=60_000)
    assert page.get_by_text(re.compile(r"goals: 3 in \d\d:\d\d")).count() == 1
    assert page.get_by_text("model not found").count() == 0
    assert page.locator("[data-mime-type='application/vnd.jupyter.stderr']").count() == 0


def test_widgets_are_operated_by_keyboard(lab, page):
    open_widgets(page, lab)
    handle = page.locator(".noUi-handle").first
    handle.focus()
    page.keyboard.press("ArrowRight")
    page.get_by_text("2 of 3 messages read").wait_for()
    page.get_by_role("button", name="1 is the odd one").focus()
    page.keyboard.press("Enter")
    page.get_by_text(re.compile("^2 of 2: two of these")).wait_for()
    page.get_by_role("button", name="2 is the odd one").focus()
    page.keyboard.press("Space")
    page.get_by_text("You found 1 of 2 odd ones").wait_for()
    page.get_by_label("match", exact=True).first.focus()
    page.keyboard.press("Space")
    assert page.get_by_label("match", exact=True).first.is_checked()
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    page.wait_for_timeout(500)
    assert page.get_by_label("no match", exact=True).first.is_checked()
    assert not page.get_by_label("match", exact=True).first.is_checked()


def test_stop_in_the_lab_is_said_at_once_and_ends_in_one_sentence(lab, page):
    page.goto(f"{lab}lab/workspaces/stop/tree/notebooks/stop.ipynb")
    page.locator(".jp-Notebook .jp-Cell").first.click(timeout=60_000)
    page.locator(".jp-Notebook-ExecutionIndicator[data-status=idle]").wait_for(timeout=60_000)
    page.keyboard.press("Control+Enter")
    page.get_by_text("calls |").wait_for(timeout=60_000)
    page.wait_for_timeout(1000)
    page.keyboard.press("Escape")
    page.keyboard.press("i")
    page.keyboard.press("i")
    page.get_by_text("stopping: 1 call already paid is waited for (press again to drop it)").wait_for(
        timeout=3000
    )
    page.get_by_text(re.compile("^Stopped: . of 5 done, and kept.")).wait_for(timeout=20_000)
    assert page.get_by_text("Traceback").count() == page.get_by_text("CancelledError").count() == 0
