"""The findings of a run as text: which come first, each with its figures; and what a notebook begins with.

A notebook's first cell calls ``show_headline``, so that a reader sees a result at once: that of the example
run. ``Run.finish`` replaces it by the notebook's own.

A finding is what ``Run.add_finding`` wrote: ``{"notebook": "03_...", "sentence": "Given the person's ...",
"value": -0.29, "ci_low": -0.42, "ci_high": -0.17, "n": 40, "p": 0.001, "limit": "how the model writes",
"figure": "predictive_gains", "unit": "bits per token", "counted": "people"}``. Runs of earlier versions
have no ``limit, figure, unit, counted``.
"""

import base64
import textwrap
from itertools import zip_longest
from pathlib import Path
from typing import Any

import nbformat
from IPython import get_ipython
from IPython.display import HTML, display

from realusersim_nb import files
from realusersim_nb.text import open_templates, render_picture, show_plainly

Finding = dict[str, Any]
MOST = 5  # findings that a page or a terminal begins with
WIDTH = 80  # columns of a terminal
EXAMPLE = "docs/example"  # an executed run in the project
FIGURE, WORDS, SHOWN = "headline_figure", "headline_words", 2  # ids of a headline's outputs; its findings
TEMPLATES = open_templates("realusersim_nb.runs")
SCALES = {"%": 100, "points": 100}  # units of shares, which are kept as 0..1


def choose_findings(findings: list[Finding], most: int = MOST) -> list[Finding]:
    """The findings that stand for a run: the first of each notebook, then the second, and so on up to
    ``most``, in their order; of those that one figure shows only the first. After its first, a notebook's
    findings that show a difference come before those that show none.
    """
    first = {(one["notebook"], one.get("figure") or one["sentence"]): one for one in reversed(findings)}
    kept = [one for one in findings if any(one is other for other in first.values())]
    by_notebook: dict[str, list[Finding]] = {}
    for one in kept:
        by_notebook.setdefault(one["notebook"], []).append(one)
    sorted_ones = [[one, *sorted(others, key=rate_doubt)] for one, *others in by_notebook.values()]
    ranked = [one for turn in zip_longest(*sorted_ones) for one in turn if one]
    return [one for one in kept if any(one is other for other in ranked[:most])]


def describe_findings(findings: list[Finding]) -> list[str]:
    """Findings as lines of at most 80 columns: sentence, figures, and what each does not show."""
    return [
        textwrap.fill(f"* {describe_finding(one)}", WIDTH, subsequent_indent="  ", break_on_hyphens=False)
        for one in findings
    ]


def describe_outcome(findings: list[Finding]) -> list[str]:
    """The end of a run in a terminal: its first findings, each in lines of at most 80 columns."""
    shown = choose_findings(findings)
    if not shown:
        return ["No finding: it takes at least ten people or tasks."]
    rest = len(findings) - len(shown)
    more = [f"{rest} more findings are in summary.json."] if rest else []
    return [*more, "Findings:", *describe_findings(shown)]


def describe_finding(finding: Finding) -> str:
    """A finding as one paragraph."""
    return " ".join(
        [f"{show_plainly(finding['sentence'])} ({describe_figures(finding)}).", *list_limits(finding)]
    )


def describe_figures(finding: Finding) -> str:
    """Its value, interval, n and p, as far as it has them and its sentence does not say them:
    ``58%, 95% interval 55 to 61, n = 1,200``.
    """
    unit = finding.get("unit") or ""
    places = 0 if unit in SCALES else 2
    sign = "" if unit == "%" else "+"
    value, low, high = (
        None if finding[name] is None else f"{finding[name] * SCALES.get(unit, 1):{sign}.{places}f}"
        for name in ("value", "ci_low", "ci_high")
    )
    is_in_sentence = unit == "%" and f"{value}%" in finding["sentence"]
    shown = f"{value}%" if unit == "%" else f"{value} {unit}".strip()
    figures = [] if is_in_sentence else [shown]
    if low is not None:
        figures.append(f"95% interval {low} to {high}")
    figures.append(f"n = {finding['n']:,} {finding.get('counted') or ''}".strip())
    if (p := finding["p"]) is not None:
        figures.append("p < 0.001" if p < 0.001 else f"p = {p:.3f}")
    return ", ".join(figures)


def holds_zero(finding: Finding) -> bool:
    """Whether it is a difference (a share is none) whose interval includes 0, so that none is shown."""
    is_share = finding.get("unit") == "%"
    return not is_share and finding["ci_low"] is not None and finding["ci_low"] <= 0 <= finding["ci_high"]


def rate_doubt(finding: Finding) -> tuple[bool, float]:
    """What findings are sorted by: those that show a difference first, and of these the surest."""
    return holds_zero(finding), finding["p"] if finding["p"] is not None else 0.0


def list_limits(finding: Finding) -> list[str]:
    """What it does not show, as sentences."""
    unclear = ["The interval includes 0: no difference is shown."] if holds_zero(finding) else []
    limit = show_plainly(finding.get("limit") or "")
    return unclear + ([f"It does not show {limit}."] if limit else [])


def show_headline(notebook: str) -> None:
    """Show what the example run (``docs/example``) found in this notebook; nothing where there is none."""
    figure = read_figure(files.project_folder() / EXAMPLE / f"{notebook}.ipynb")
    findings = read_example(notebook)
    values = {"findings": findings, "example": f"../{EXAMPLE}/{notebook}.ipynb"}
    display_headline(figure, render_headline(**values) if figure or findings else "", update=False)


def read_example(notebook: str) -> list[Finding]:
    """The findings of the example run in a notebook; none where there is no example."""
    path = files.project_folder() / EXAMPLE / "summary.json"
    findings = files.read_json(path).get("findings", []) if path.exists() else []
    return [one for one in findings if one["notebook"] == notebook]


def read_figure(executed: Path) -> tuple[str, str] | None:
    """The figure that an executed notebook begins with, as base64 and in words; None if there is none."""
    cells = nbformat.read(executed, as_version=4).cells if executed.exists() else []
    outputs = [out for cell in cells if "show_headline(" in cell.source for out in cell.outputs]
    figures = [out for out in outputs if "image/png" in out.get("data", {})]
    return (figures[0].data["image/png"], figures[0].metadata["image/png"]["alt"]) if figures else None


def replace_headline(notebook: str, figure: Path | None, words: str, findings: list[Finding]) -> None:
    """Put a notebook's own result in its place, in a kernel. ``words``: what the figure shows.

    Where it has no finding and the example has, it says so.
    """
    if get_ipython():
        shown = (base64.b64encode(figure.read_bytes()).decode(), words) if figure else None
        has_none = not findings and bool(read_example(notebook))
        display_headline(shown, render_headline(findings, has_none=has_none), update=True)


def display_headline(figure: tuple[str, str] | None, sentences: str, *, update: bool) -> None:
    """Show a figure (base64, and in words) and sentences as HTML, or put them in place of those before."""
    data, metadata = render_picture(*figure) if figure else ({"text/html": ""}, {})
    display(data, metadata=metadata, raw=True, display_id=FIGURE, update=update)
    display(HTML(sentences), display_id=WORDS, update=update)


def render_headline(findings: list[Finding], *, example: str = "", has_none: bool = False) -> str:
    """The first findings as HTML; ``example``: the link to the executed notebook that they are of;
    ``has_none``: whether a run is without what it could have.
    """
    sentences = [describe_finding(one) for one in choose_findings(findings, SHOWN)]
    values = {"findings": sentences, "example": example, "has_none": has_none}
    return TEMPLATES.get_template("headline.html").render(values)
