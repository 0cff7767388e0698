"""Notebooks as a person opens them: JupyterLab in Chromium, all cells run, controls dragged and clicked.

The model's replies are the recorded ones.
"""

import re

import pytest
from browser import copy_notebooks, needs_chromium, open_browser, run_all, serve_lab
from hostile import FILE
from playwright.sync_api import expect

pytestmark = needs_chromium


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """Address of a JupyterLab over copies of the notebooks: the small corpus, and no model installed."""
    folder = tmp_path_factory.mktemp("lab")
    copy_notebooks(folder, {"corpus": "data/sample.jsonl"})
    (folder / "hostile").mkdir()
    copy_notebooks(folder / "hostile", {"corpus": str(FILE)})
    with serve_lab(folder) as address:
        yield address


@pytest.fixture
def page():
    with open_browser() as browser:
        yield browser.new_page(viewport={"width": 1280, "height": 1000})


def test_lab_opens_the_project_on_the_first_notebook(lab, page):
    page.goto(lab)
    page.locator(".jp-Notebook .jp-Cell").first.wait_for(timeout=60_000)
    assert "notebooks/00_start_here.ipynb" in page.url
    page.evaluate("jupyterapp.restored")
    assert page.get_by_text("Jupyter news").count() == 0
    folders = page.locator(".jp-DirListing-itemText").all_inner_texts()
    page.goto(f"{lab}lab/workspaces/root")
    page.locator(".jp-BreadCrumbs-home").first.click(timeout=60_000)
    page.locator(".jp-DirListing-item", has_text="data").first.wait_for(timeout=60_000)
    assert folders or page.locator(".jp-DirListing-itemText").all_inner_texts()


def test_first_notebook_runs_and_its_slider_and_stage_work(lab, page, tmp_path):
    run_all(page, lab, "00_start_here.ipynb")
    handle = page.locator(".noUi-handle").filter(visible=True).first
    before = page.locator(".widget-html-content:has(ol)").filter(visible=True).first.inner_text()
    handle.focus()
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    page.get_by_text("4 of 4 messages read").wait_for()
    after = page.locator(".widget-html-content:has(ol)").filter(visible=True).first.inner_text()
    assert len(after) > len(before)  # more messages were read
    page.get_by_role("button", name="let them write").click()
    page.locator("button:not([disabled])", has_text="what does the judge say?").wait_for(timeout=60_000)
    page.get_by_label("somebody else").click()
    page.get_by_role("button", name="what does the judge say?").click()
    page.get_by_text(re.compile(r"The judge (\(embedded\):|gives no verdict)")).wait_for(timeout=30_000)
    page.screenshot(path=tmp_path / "stage.png")
    assert (tmp_path / "stage.png").stat().st_size > 30_000


def test_second_notebook_runs_to_its_end_and_its_browser_puts_people_side_by_side(lab, page):
    run_all(page, lab, "02_explore_profiles.ipynb")
    expect(page.get_by_text("Done.", exact=True)).to_be_in_viewport()  # where Run All ends
    listed = page.locator("select").filter(visible=True).last.locator("option").all_inner_texts()
    page.get_by_label("beside", exact=True).fill(listed[1])
    page.keyboard.press("Enter")
    expect(page.get_by_text(re.compile(r"\(\d+ messages\)")).filter(visible=True)).to_have_count(2)


def test_text_of_strangers_acts_nowhere_in_the_lab(lab, page):
    """Messages, ids and labels of the corpus hold scripts; a dialog would show that one has run."""
    dialogs = []
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    run_all(page, lab, "02_explore_profiles.ipynb", folder="hostile/notebooks")
    users = page.locator("select").filter(visible=True).last
    users.select_option(index=2)
    chosen = users.locator("option").nth(2).inner_text()
    expect(page.locator(".widget-html-content .sides b").first).to_have_text(chosen)
    shown = "".join(page.locator(".jp-OutputArea-output").filter(visible=True).all_inner_texts())
    assert "<img" in shown or "<script" in shown
    assert dialogs == [] and page.locator(".jp-OutputArea-output script").count() == 0
