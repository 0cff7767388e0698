"""The page of a run: findings first, each with what it does not show; of a sweep the leaderboard."""

import io
import re

import matplotlib.pyplot as plt
import nbformat
import pandas as pd
import pytest
from hostile import CHROMIUM
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from playwright.sync_api import sync_playwright

from realusersim_nb import files
from realusersim_nb.parallel import bars
from realusersim_nb.parallel.bars import show_bar
from realusersim_nb.runs import findings, folders, notebooks, report

SHOWN = {"limit": "how it writes", "unit": "%", "counted": "people"}


def make_finding(notebook, sentence, figure="", **others):
    """A finding as a summary has it."""
    numbers = {"value": 0.5, "ci_low": 0.4, "ci_high": 0.6, "n": 24, "p": None}
    return {"notebook": notebook, "sentence": sentence, "figure": figure} | SHOWN | numbers | others


def write_notebook(folder, name, *cells):
    """An executed notebook of a run."""
    first = new_markdown_cell(f"# {name}\n\n**Question.** Is *this* so?\n\nMore.")
    nbformat.write(new_notebook(cells=[first, *cells]), folder / f"{name}.ipynb")


@pytest.fixture
def run_folder(tmp_path, monkeypatch):
    """A run of one notebook with a figure, a table and six findings."""
    monkeypatch.chdir(tmp_path)
    run = folders.Run("small", "01_one")
    axes = plt.subplots(figsize=(1, 1))[1]
    run.save_figure(axes, "shape")
    run.save_table(pd.DataFrame({"a": [1]}), "numbers")
    for i in range(6):
        run.add_finding(
            f"Sentence {i}", 0.5, ci_low=0.4, ci_high=0.6, n=24, figure="shape" * (i < 2), **SHOWN
        )
    run.finish(corpus={"name": "<b>toy", "conversations": 1200, "users": 300, "digest": "d"})
    write_notebook(run.run_folder, "01_one", new_code_cell('run.save_table(table, "numbers")'))
    return run.run_folder


def test_page_begins_with_five_findings_and_has_neither_code_nor_glossary(run_folder):
    page = report.write_report(run_folder).read_text(encoding="utf-8")
    assert re.findall(r"<strong>(.*?)</strong>", page) == [f"Sentence {i}." for i in (0, 2, 3, 4, 5)]
    assert page.count("50%, 95% interval 40 to 60, n = 24 people. It does not show how it writes.") == 5
    assert page.count('src="data:image/png;base64,') == 1 and "1 more findings" in page
    assert "save_table" not in page and "glossary" not in page and "<script" not in page
    assert "&lt;b&gt;toy" in page and "300" in page and "1,200" in page


def test_notebook_is_a_page_beside_it_and_every_link_leads_to_a_file(run_folder):
    page = report.write_report(run_folder).read_text(encoding="utf-8")
    links = re.findall(r'href="\./([^"]+)"', page)
    assert {"01_one.html", "01_one/numbers.csv", "summary.json"} <= set(links)
    assert all((run_folder / link).exists() for link in links) and "Is this so?" in page
    notebook = (run_folder / "01_one.html").read_text(encoding="utf-8")
    assert "<summary>code</summary>" in notebook and 'href="./report.html"' in notebook
    assert 'href="./01_one/numbers.csv"' in notebook


def test_page_says_the_size_of_what_it_links(run_folder):
    (run_folder / "01_one" / "big.jsonl").write_bytes(b"x" * 3_400_000)
    page = report.write_report(run_folder).read_text(encoding="utf-8")
    assert "big.jsonl</a> <small>3.4 MB" in page and "numbers.csv</a> <small>1 kB" in page


def test_run_of_few_people_has_no_finding_and_says_why(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = folders.Run("few", "01_one")
    run.add_finding("Sentence", 0.5, n=9)
    run.finish()
    page = report.write_report(run.run_folder).read_text(encoding="utf-8")
    assert "at least ten people" in page and "<article>" not in page and "not complete" in page


@pytest.mark.parametrize(("usd", "shown"), [(None, "cost unknown"), (1234.5, "$1,234.50")])
def test_page_shows_the_cost_also_where_a_price_is_not_known(run_folder, monkeypatch, usd, shown):
    calls = dict.fromkeys(["live", "cached", "failed"], 7) | {"cost_usd": usd}
    about = {"calls": calls, "left_out": {}, "wall_seconds": 60}
    files.write_json(
        run_folder / "manifest.json", {"parameters": {"03": {"simulator": "m", "judge": ["j", "m"]}}}
    )
    strip = report.describe_study(run_folder, about)
    assert strip["cost"] == shown and strip["models"] == "m, j" and strip["time"] == "1.0 minutes"


def test_sweep_begins_with_its_leaderboard(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = folders.Run("s", "06_compare_simulators")
    rows = pd.DataFrame({"run": ["s/a"], "arm": ["<profile>"], "fidelity": [0.5], "fidelity_low": [0.4]})
    run.save_table(rows, "leaderboard")
    run.finish()
    table = pd.DataFrame({"run": ["s/a"], "state": ["finished"], "tags": [""]})
    folders.Run("s", "").save_table(table, "sweep")
    page = report.write_report(run.run_folder).read_text(encoding="utf-8")
    assert page.index("Leaderboard") < page.index("&lt;profile&gt;") < page.index("The study")
    assert "fidelity_low" not in page and "<h2>Findings" not in page and "1 finished" in page


def test_each_notebook_gives_its_first_finding_before_one_gives_two():
    every = [make_finding("01", f"one {i}") for i in range(4)] + [
        make_finding("03", f"three {i}") for i in range(4)
    ]
    shown = [one["sentence"] for one in findings.choose_findings(every, most=3)]
    assert shown == ["one 0", "one 1", "three 0"]
    every[1] |= {"ci_low": -0.1, "ci_high": 0.1, "unit": "points"}
    shown = [one["sentence"] for one in findings.choose_findings(every, most=3)]
    assert shown == ["one 0", "one 2", "three 0"]  # 1 shows no difference


def test_interval_around_zero_shows_no_difference():
    unclear = make_finding("03", "A differs", value=0.08, ci_low=-0.02, ci_high=0.19, unit="points", p=0.0001)
    assert findings.describe_finding(unclear) == (
        "A differs (+8 points, 95% interval -2 to +19, n = 24 people, p < 0.001). "
        "The interval includes 0: no difference is shown. It does not show how it writes."
    )


def test_share_near_zero_is_no_difference_that_is_not_shown():
    rate = make_finding("02", "1% are covered", value=0.01, ci_low=0.0, ci_high=0.03)
    assert "no difference" not in findings.describe_finding(rate)


def test_number_that_a_sentence_says_is_not_said_again():
    rate = make_finding("01", "It holds in 43% of cases", value=0.43, ci_low=0.4, ci_high=0.45, unit="%")
    assert findings.describe_finding(rate).startswith("It holds in 43% of cases (95% interval 40 to 45, n =")


def test_end_of_a_run_fits_a_terminal():
    every = [make_finding(f"{i:02d}", "A long sentence of many words " * 8) for i in range(7)]
    lines = "\n".join(findings.describe_outcome(every)).splitlines()
    assert max(map(len, lines)) <= 80 and "2 more findings" in lines[0]


def test_pipe_gets_one_line_a_bar():
    stream = io.StringIO()
    lines = notebooks.WholeLines(stream)
    for piece in ("\rpoints:   0%|", "| 0/2", "\rpoints:  50%| 1/2", "\rpoints: 100%| 2/2\n", "\n", "begun"):
        lines.write(piece)
    assert stream.getvalue() == "points: 100%| 2/2\n"


def test_bar_inside_another_is_no_line_of_a_log_and_no_work_shows_none(monkeypatch, capfd):
    monkeypatch.setenv("REALUSERSIM_HEADLESS", "1")
    show_bar(None, "nothing to do", 0).close()
    outer = show_bar(None, "outer", 1, miniters=0)
    with show_bar(None, "inner", 1, leave=False, miniters=0) as inner:
        inner.update()
    outer.update()
    outer.close()
    lines = capfd.readouterr().err.rstrip("\n").split("\n")
    assert len(lines) == 1 and "inner" in lines[0] and "nothing" not in lines[0]


@pytest.mark.parametrize(
    ("n", "line"), [(2, "goals: 2 in 00:00, 4 calls"), (1, "goals: 1 of 2 in 00:00, 4 calls")]
)
def test_bar_that_somebody_watches_ends_as_a_quiet_line_on_stdout(monkeypatch, capfd, n, line):
    monkeypatch.setattr(bars, "is_watched", lambda: True)
    bar = bars.show_bar(None, "goals", 2, miniters=0)
    bar.set_postfix_str("4 calls")
    bar.update(n)
    bar.close()
    shown = capfd.readouterr()
    assert shown.err == "" and notebooks.overwrite(shown.out.rstrip("\n")).rstrip() == line


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here (Debian: apt-get install chromium)")
def test_page_fits_a_telephone_and_prints_on_two_sheets(run_folder):
    axes = plt.subplots(figsize=(6.4, 4))[1]
    run = folders.Run("small", "01_one")
    for i in range(5):
        run.save_figure(axes, f"wide{i}")
        words = SHOWN | {"limit": "anything else " * 9}
        run.add_finding("A long word_without_a_break " * 6, 0.5, n=24, figure=f"wide{i}", **words)
    run.finish()
    page = report.write_report(run.run_folder)
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        tab = browser.new_page(viewport={"width": 390, "height": 800})
        tab.goto(page.as_uri())
        images = tab.evaluate("[...document.images].map(image => image.getBoundingClientRect().right)")
        width, sheets = tab.evaluate("document.documentElement.scrollWidth"), tab.pdf(format="A4")
        browser.close()
    assert width == 390 and len(images) == 5 and max(images) <= 390
    assert len(re.findall(rb"/Type\s*/Page\b(?!s)", sheets)) == 2
