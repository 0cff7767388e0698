"""Each notebook and each widget in JupyterLab: run, narrow, dark, named, saved and opened again; the widgets are
operated by mouse and by keyboard.

The notebooks run once, in their order, on recorded replies; those of ``every_widget.py`` are of toy people.
"""

import json
import re
import threading
from pathlib import Path
from typing import NamedTuple

import axe_playwright_python
import pytest
from browser import (
    copy_notebooks,
    needs_chromium,
    open_browser,
    open_notebook,
    run_all,
    serve_lab,
    write_notebook,
)
from conftest import MockEndpoint
from playwright.sync_api import Browser, Locator, Page, expect
from recorded import SMALL, lay_replies
from toy import fill

from realusersim_nb import widgets
from realusersim_nb.runs.notebooks import find_notebooks

pytestmark = needs_chromium
CELLS, STOPPED = (Path(__file__).with_name(f"{name}.py") for name in ("every_widget", "stopped_run"))
AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
NOTEBOOKS = ["every_widget.ipynb", *(path.name for path in find_notebooks())]
THEMES = ["JupyterLab Light", "JupyterLab Dark"]
ANSWERS = threading.Event()  # the endpoint answers while it is set
STDERR = "[data-mime-type='application/vnd.jupyter.stderr']"

FIND_TOO_WIDE = """() => {
    const found = [];
    for (const cell of document.querySelectorAll(".jp-OutputArea-output")) {
        if (innerWidth < 500 && cell.querySelector("table.dataframe")) continue;
        const {left, right} = cell.getBoundingClientRect();
        for (const part of [cell, ...cell.querySelectorAll("*:not(option)")]) {
            if (innerWidth < 500 && part.closest(".wide")) continue;
            const box = part.getBoundingClientRect();
            const isOutside = box.width && (box.right > right + 1 || box.left < left - 1);
            const isCut = part.scrollWidth > part.clientWidth + 1
                && getComputedStyle(part).overflowX !== "visible" && !part.matches("select, input");
            if (isOutside || isCut) found.push(`${part.tagName} ${part.className}: ${part.textContent.trim()}`);
        }
    }
    return found.map(line => line.slice(0, 160));
}"""
"""What leaves its cell or is cut off. A list, a field and, in a narrow window, a table of data scroll by themselves."""

CHECK = """async () => {
    document.body.style.height = document.documentElement.style.height = "100%";
    const outputs = {include: [".jp-OutputArea-output"], exclude: [".noUi-handle"]};
    const {violations, passes, incomplete} = await axe.run(outputs);
    const list = rules => rules.flatMap(({id, nodes}) => nodes.map(n => ({id, ...n.any[0]?.data, html: n.html})));
    const wrong = violations.filter(rule => ["serious", "critical"].includes(rule.impact));
    const unknown = list(incomplete).filter(node => node.messageKey === "bgOverlap");
    return [list(passes).filter(node => node.id === "color-contrast").length,
        [...list(wrong), ...unknown].map(node => `${node.id}: ${node.html.slice(0, 160)}`)];
}"""
"""How many texts axe-core finds readable, and what it finds wrong or (text with opacity) cannot compare.

JupyterLab's body has no height, so that to axe-core all in it would be hidden. ipywidgets gives the handle of a
slider no name, and Python cannot give it one.
"""

IN_SIGHT = """() => {
    document.querySelector(".jp-WindowedPanel-outer").scrollTop = 0;
    const boxes = [...document.querySelectorAll(".jp-OutputArea-output")].map(o => o.getBoundingClientRect());
    return boxes.every(box => box.top >= 0 && box.bottom <= innerHeight);
}"""
HEIGHT = "() => document.querySelector('.jp-WindowedPanel-outer').scrollHeight"
FOLD = "open => document.querySelectorAll('.jp-OutputArea details').forEach(fold => { fold.open = open; })"
RESTART = "async () => await jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart()"
HAS_WIDTH = """() => {
    const notebook = document.querySelector(".jp-Notebook").getBoundingClientRect();
    return Math.abs(innerWidth - notebook.right) < 100;
}"""


class Site(NamedTuple):
    """A browser, the address of the lab, its endpoint, and the pages of notebooks that have run, by name."""

    browser: Browser
    lab: str
    mock: MockEndpoint
    pages: dict[str, Page]

    def open(self, notebook: str) -> Page:
        """The page of a notebook whose cells have run: the one that earlier tests used, if there is one."""
        if notebook not in self.pages:
            page = self.browser.new_page(viewport={"width": 1280, "height": 1000})
            run_all(page, self.lab, notebook)
            hide = "application:toggle-left-area"
            page.evaluate(f"jupyterapp.commands.isToggled('{hide}') && jupyterapp.commands.execute('{hide}')")
            self.pages[notebook] = page
        return self.pages[notebook]


def reply(request: dict) -> str:
    """Of the model on the stage: a plan that nothing follows, or a text."""
    ANSWERS.wait(60)
    return json.dumps(fill(request, done=True)) if "response_format" in request else "and in reverse please"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lab")
    copy_notebooks(folder, SMALL)
    lay_replies(folder)
    for script in (CELLS, STOPPED):
        write_notebook(folder / "notebooks" / f"{script.stem}.ipynb", script)
    mock = MockEndpoint(reply)
    about = {"OPENAI_BASE_URL": mock.url, "OPENAI_API_KEY": "key"}
    with serve_lab(folder, **about) as lab, open_browser() as browser:
        yield Site(browser, lab, mock, {})
    mock.server.shutdown()


@pytest.fixture
def page(site):
    return site.open(NOTEBOOKS[0])


def find_output(page: Page, code: str) -> Locator:
    """What a cell with this code shows."""
    return page.locator(".jp-CodeCell", has_text=code).locator(".jp-Cell-outputWrapper")


def tab_to(page: Page, target: Locator) -> None:
    """Press Tab until this has the focus."""
    for _ in range(20):
        page.keyboard.press("Tab")
        if target.evaluate("element => element === document.activeElement"):
            return
    raise AssertionError(f"Tab does not lead to {target}")


def press(page: Page, target: Locator, key: str = "Enter") -> None:
    tab_to(page, target)
    page.keyboard.press(key)


def test_the_notebook_has_every_widget():
    code = CELLS.read_text(encoding="utf-8")
    assert [name for name in widgets.__all__ if f"widgets.{name}(" not in code] == []


def test_users_are_filtered_and_searched(page):
    shown = find_output(page, "widgets.browse_profiles(")
    apart, search = shown.get_by_label("stands apart in"), shown.get_by_label("search")
    apart.select_option("punctuation")
    shown.get_by_text("2 of 3 users").wait_for()
    search.click()
    search.fill("BOB")
    shown.get_by_text("Messages").first.click()
    shown.get_by_text("1 of 3 users").wait_for()
    search.fill("")
    search.press("Enter")
    apart.select_option("any")
    shown.get_by_text("3 of 3 users").wait_for()

    apart.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    shown.get_by_text("2 of 3 users").wait_for()
    tab_to(page, search)
    page.keyboard.type("nobody writes this")
    page.keyboard.press("Enter")
    shown.get_by_text("Nobody stands apart in punctuation and uses 'nobody writes this'.").wait_for()
    search.fill("")
    page.keyboard.press("Enter")
    shown.get_by_text("2 of 3 users").wait_for()
    press(page, shown.get_by_label("user", exact=True), "ArrowDown")
    shown.locator("b", has_text="cccc").wait_for()
    tab_to(page, shown.get_by_label("beside"))
    page.keyboard.type("ann")
    page.keyboard.press("Enter")
    shown.locator("b", has_text="ann").wait_for()


def test_slider_is_moved(page):
    shown = find_output(page, "widgets.watch_profile(")
    handle = shown.locator(".noUi-handle")
    handle.drag_to(shown.locator(".noUi-base"), target_position={"x": 62, "y": 1})
    shown.get_by_text("2 of 3 messages read").wait_for()
    handle.focus()
    page.keyboard.press("ArrowRight")
    shown.get_by_text("3 of 3 messages read").wait_for()


def test_cases_are_listed_and_searched(page):
    shown = find_output(page, "widgets.browse_cases(")
    cases, search = shown.get_by_label("case", exact=True), shown.get_by_label("search")
    verdicts = shown.locator("tr", has_text="(D1)")
    cases.select_option(index=2)
    verdicts.get_by_text("match", exact=True).first.wait_for()
    search.fill("nowhere")
    shown.get_by_role("table").first.click()
    shown.get_by_text("No case of profile has the word 'nowhere'.").wait_for()
    search.fill("")
    search.press("Enter")
    verdicts.get_by_text("no match").first.wait_for()

    press(page, cases, "ArrowDown")
    page.keyboard.press("ArrowDown")
    verdicts.get_by_text("match", exact=True).first.wait_for()
    search.focus()
    page.keyboard.type("REVERSE")
    page.keyboard.press("Enter")
    verdicts.get_by_text("no match").first.wait_for()
    assert cases.locator("option").count() == 3


def test_page_of_all_cases_opens_from_its_notebook(site):
    page = site.open("03_benchmark_fidelity.ipynb")
    page.get_by_role("link", name="03_benchmark_fidelity/cases.html").click()
    shown = page.frame_locator(".jp-HTMLViewer iframe")
    shown.get_by_role("heading", name="Cases", exact=True).wait_for()
    assert shown.locator("section[id]").count() == 10  # two cases, five arms
    page.locator(".lm-TabBar-tab", has_text="03_benchmark").click()


def test_pairs_are_labelled_skipped_and_looked_at_again(page):
    shown = find_output(page, "widgets.label_pairs(")
    buttons = {name: shown.get_by_role("button", name=name) for name in ("save", "all match", "back", "skip")}
    name = shown.get_by_label("your name")
    buttons["skip"].click()
    shown.get_by_text("Pair 2 of 3").wait_for()
    buttons["back"].click()
    shown.get_by_text("Pair 1 of 3").wait_for()
    buttons["save"].click()
    shown.get_by_text("no verdict on persona and affective traits (D1)").wait_for()
    buttons["all match"].click()
    shown.get_by_text("1 of 3 answered").wait_for()

    name.fill("you")
    page.keyboard.press("Enter")
    shown.get_by_text("0 of 3 answered").wait_for()
    press(page, buttons["skip"])
    shown.get_by_text("Pair 2 of 3").wait_for()
    name.focus()
    press(page, buttons["back"])
    shown.get_by_text("Pair 1 of 3").wait_for()
    name.focus()
    for number in range(5):
        press(page, shown.get_by_label("no match").nth(number), "Space")
    press(page, buttons["save"])
    shown.get_by_text("1 of 3 answered").wait_for()
    press(page, buttons["all match"])
    shown.get_by_text("2 of 3 answered").wait_for()


def test_odd_ones_are_chosen(page):
    shown = find_output(page, "widgets.find_odd_ones(")
    shown.get_by_role("button", name="1 is the odd one").click()
    shown.get_by_text("2 of 3: two of these").wait_for()
    shown.get_by_label("your name").fill("you")
    page.keyboard.press("Enter")
    shown.get_by_text("0 of 3 answered").wait_for()
    press(page, shown.get_by_role("button", name="1 is the odd one"))
    shown.get_by_text("2 of 3: two of these").wait_for()
    page.keyboard.press("Enter")
    shown.get_by_text("3 of 3: two of these").wait_for()
    press(page, shown.get_by_role("button", name="2 is the odd one"))
    shown.get_by_text("You found 2 of 3 odd ones").wait_for()


def test_behaviours_are_chosen(page):
    shown = find_output(page, "widgets.browse_behaviours(")
    shown.get_by_label("kind").select_option("invented")
    shown.locator("code", has_text="thanks, works, now").wait_for()
    shown.get_by_label("kind").focus()
    page.keyboard.press("ArrowUp")
    shown.locator("code", has_text="sort, list, reverse").wait_for()


def test_runs_are_chosen(page):
    shown = find_output(page, "widgets.browse_runs(")
    shown.get_by_label("run", exact=True).select_option(index=1)
    shown.get_by_text("succeeded").nth(1).wait_for()
    shown.get_by_label("run", exact=True).focus()
    page.keyboard.press("ArrowUp")
    shown.get_by_text("tool, refused").first.wait_for()


def test_stage_writes_is_stopped_and_begins_again(page):
    shown = find_output(page, "widgets.Stage(")
    begin, stop, ask = (shown.get_by_role("button", name=name) for name in ("let them", "stop", "what does"))
    ANSWERS.clear()
    begin.click()
    stop.click()  # once it can be
    shown.get_by_text("Stopped. Begin again").wait_for()
    ANSWERS.set()
    shown.get_by_label("arm").focus()
    press(page, begin)
    shown.locator("button:not([disabled])", has_text="what does the judge say?").wait_for()
    press(page, shown.get_by_label("same person"), "Space")
    press(page, ask)
    shown.get_by_text("The judge (length):").wait_for()
    shown.get_by_text("You: same person").wait_for()


def test_run_is_stopped_by_the_button_of_the_notebook(site):
    """It answers while calls are in flight, and ends in one sentence once they are there."""
    page = site.browser.new_page(viewport={"width": 1280, "height": 1000})
    ANSWERS.clear()
    open_notebook(page, site.lab, "stopped_run.ipynb")
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_text("Run All Cells", exact=True).click()
    for _ in range(300):
        page.wait_for_timeout(100)
        if sum(request["model"] == "stopped" for request in site.mock.requests) == 2:
            break
    page.get_by_role("button", name="Interrupt the kernel").click()
    page.get_by_text("stopping: 2 calls already paid are waited for").wait_for()
    ANSWERS.set()
    page.get_by_text("Stopped: 0 of 9 done, and kept. Run the cell again to go on from there.").wait_for()
    page.close()


@pytest.mark.parametrize("notebook", NOTEBOOKS)
@pytest.mark.parametrize("theme", THEMES)
def test_outputs_fit_and_can_be_read(site, notebook, theme):
    page = site.open(notebook)
    page.evaluate("theme => jupyterapp.commands.execute('apputils:change-theme', {theme})", theme)
    page.wait_for_function("theme => document.body.dataset.jpThemeName === theme", arg=theme)
    page.evaluate(FOLD, True)
    for width in (1280, 390):
        page.set_viewport_size({"width": width, "height": 1000})
        page.wait_for_function(HAS_WIDTH)
        assert page.evaluate(FIND_TOO_WIDE) == [], width
    page.set_viewport_size({"width": 1280, "height": 1000})
    page.wait_for_function(HAS_WIDTH)
    page.set_viewport_size({"width": 1280, "height": page.evaluate(HEIGHT) + 500})
    page.wait_for_function(IN_SIGHT)  # what is not is not checked
    page.evaluate(AXE)
    n_readable, violations = page.evaluate(CHECK)
    page.set_viewport_size({"width": 1280, "height": 1000})
    assert violations == [] and n_readable > 30


@pytest.mark.parametrize("notebook", NOTEBOOKS)
def test_what_is_shown_is_there_after_save_restart_and_reload(site, notebook):
    page = site.open(notebook)
    page.evaluate(FOLD, False)  # as it is after a reload
    outputs = page.locator(".jp-Cell-outputWrapper")
    before = outputs.all_inner_texts()
    assert page.locator(STDERR).count() == 0
    del site.pages[notebook]  # another test opens it anew
    page.evaluate("jupyterapp.commands.execute('docmanager:save')")
    page.evaluate(RESTART)
    page.reload()
    page.locator(".jp-Notebook .jp-Cell").first.wait_for(timeout=60_000)
    expect(outputs).to_have_text(before, use_inner_text=True, timeout=60_000)
    assert page.get_by_text(re.compile("Error displaying widget|model not found")).count() == 0
    assert page.locator(STDERR).count() == 0
    page.close()
