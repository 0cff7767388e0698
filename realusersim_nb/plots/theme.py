"""One theme for all figures: width, fonts, and for each arm a colour and a marker that also differ in grey.

Reference arms are grey squares, real users black; values have intervals rather than bars. A name from outside
(a system, a model, a term) is drawn as it is, by ``show_name`` and without formulas.
"""

import warnings
from itertools import cycle
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from IPython import get_ipython
from IPython.core.pylabtools import print_figure
from IPython.display import HTML, display
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from realusersim_nb.simulators.conditions import ARMS, REFERENCE_ARMS, TRAIT_DIRECTIVES
from realusersim_nb.text import render_picture, show_name

BLUE, GREY = "#1f5a94", "#8a8a8a"
PALETTE = ["#0072b2", "#d55e00", "#009e73", "#56b4e9", "#cc79a7", "#7a6a00"]
"""Okabe and Ito's: also without red and green no two of the first four look alike (a test)."""
SHADES = sns.light_palette(GREY, as_cmap=True)
"""Of cells with a number in black, which stays readable on the darkest (a test)."""
Style = tuple[str, str]  # colour and marker
CSS = Path(__file__).parent / "notebook.css"
WIDTH = 6.4  # inches, of every figure: the same size of type wherever two stand side by side
FIRST = (
    "demonstrations task_only profile shuffled_demonstrations profile_demonstrations shuffled_profile".split()
)
REST = [arm for arm in ARMS if arm not in (*FIRST, *TRAIT_DIRECTIVES)]
STYLES: dict[str, Style] = {
    **dict(zip(FIRST, zip(PALETTE, "o^vP*d", strict=True), strict=True)),
    **dict(zip(REST, zip(PALETTE, "phX<>8", strict=True), strict=False)),
    **{arm: (PALETTE[4], marker) for arm, marker in zip(TRAIT_DIRECTIVES, "<>1234X", strict=True)},
    **dict.fromkeys(REFERENCE_ARMS, (GREY, "s")),
}


def set_style() -> None:
    """Set the theme of every figure, table and text; called once at the top of a notebook."""
    pd.set_option("display.max_colwidth", None, "display.html.use_mathjax", False)
    warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # a box is shown in its place
    sns.set_theme(style="whitegrid", context="notebook", font_scale=0.85)
    settings = {"figure.dpi": 110, "figure.constrained_layout.use": True, "axes.titlelocation": "left"}
    settings["text.parse_math"] = False  # a name with $ is a name
    plt.rcParams.update(settings)
    if shell := get_ipython():
        plt.switch_backend(plt.get_backend())  # now, since it sets a formatter of figures, too
        formatters = shell.display_formatter.formatters
        formatters["text/html"].for_type(pd.DataFrame, render_table)
        formatters["image/png"].pop(Figure, None)
        shell.display_formatter.mimebundle_formatter.for_type(Figure, render_figure)
        display(HTML(f"<style>{CSS.read_text(encoding='utf-8')}</style>"))


def render_table(table: pd.DataFrame) -> str:
    """A table in a notebook: a field is empty where nothing was measured; without rows it is a sentence."""
    if table.empty:
        return "<p>No rows: nothing was measured here.</p>"
    most, few = pd.get_option("display.max_rows"), pd.get_option("display.min_rows")
    shown = table.map(lambda value: "" if value is None else value)
    return shown.to_html(na_rep="", border=0, notebook=True, max_rows=few if len(table) > most else most)


def join_intervals(table: pd.DataFrame) -> pd.DataFrame:
    """The table with a value and its interval in one field, ``0.45 (0.31 to 0.58)``, instead of three.

    Values are joined with ``_low`` and ``_high`` of their name; an interval without one, as ``ci_low`` and
    ``ci_high``, is a column by itself.
    """
    joined = table.copy()
    for low in [name for name in map(str, table) if name.endswith("_low")]:
        name, high = low.removesuffix("_low"), f"{low.removesuffix('_low')}_high"
        if high not in table:
            continue
        ends = joined[[low, high]].astype(float).map("{:g}".format)
        interval = (ends[low] + " to " + ends[high]).mask(joined[high].isna(), "")
        if name in table:
            value = joined[name].astype(float).map("{:g}".format).mask(joined[name].isna(), "")
            joined[name] = value + interval.map(lambda text: f" ({text})" if text else "")
            joined = joined.drop(columns=[low, high])
        else:
            title = "95% interval" if name == "ci" else f"{name}, 95% interval"
            joined = joined.assign(**{low: interval}).drop(columns=high).rename(columns={low: title})
    return joined


def render_figure(figure: Figure) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
    """A figure in a notebook as png, with what it shows in words for those who do not see it."""
    return render_picture(print_figure(figure, base64=True), describe_figure(figure))


def describe_figure(figure: Figure) -> str:
    """Titles, labels, named rows and written values of a figure as one line."""
    lines = []
    for axes in figure.axes:
        rows = [label.get_text() for label in axes.get_yticklabels()]
        rows = rows if any(map(str.isalpha, "".join(rows))) else []  # numbers of a scale say nothing
        values = [text.get_text() for text in axes.texts]
        lines += [axes.get_title(loc="left"), axes.get_title(), axes.get_xlabel(), axes.get_ylabel()]
        lines += [", ".join(filter(None, texts)) for texts in (rows, values)]
    return ". ".join(" ".join(line.split()) for line in lines if line).replace("?.", "?")


def place_legend(axes: Axes) -> None:
    """The legend of an axes below its figure, where it covers nothing."""
    handles, labels = axes.get_legend_handles_labels()
    if axes.get_legend():
        axes.get_legend().remove()
    if handles:
        axes.figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=8)


def show_table(table: pd.DataFrame, otherwise: str, *, digits: int = 3) -> None:
    """Display a table, rounded, with joined intervals; an empty one is the sentence ``otherwise``."""
    print(otherwise) if table.empty else display(join_intervals(table.round(digits)))


def find_styles(names: list[str]) -> dict[str, Style]:
    """Style of each name: that of its arm, black for real users (``real...``), else one of the others."""
    others = cycle(zip(reversed(PALETTE), "dph<>8", strict=True))
    real = {name: ("black", "D" if name == "real, all" else ".") for name in names if name.startswith("real")}
    known = real | STYLES
    return {name: known.get(name) or next(others) for name in names}


def make_rows(labels: list[str], *, title: str, xlabel: str, height: float, panels: int = 1) -> list[Axes]:
    """Axes with one row a label, the first on top; ``panels`` of them side by side."""
    size = (WIDTH, height * len(labels) + 1.1)
    panes = list(plt.subplots(1, panels, sharey=True, squeeze=False, figsize=size)[1][0])
    for axes in panes:
        axes.set(ylim=(len(labels) - 0.4, -0.65), xlabel=xlabel)
    panes[0].set_yticks(range(len(labels)), [*map(show_name, labels)])
    panes[0].set_title(show_name(title))
    return panes


def draw_row(
    axes: Axes, y: float, row: pd.Series, value: str, *, style: Style = (BLUE, "o"), text: str = ""
) -> None:
    """Column ``value`` of a row as a marker with its interval (``ci_low, ci_high``), and a text above it."""
    colour, marker = style
    axes.plot([row["ci_low"], row["ci_high"]], [y, y], color=colour, lw=2, alpha=0.7)
    axes.plot(row[value], y, marker, color=colour)
    axes.annotate(text, (row[value], y), (0, 6), textcoords="offset points", ha="center", fontsize=8)
