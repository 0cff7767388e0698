"""TODO."""

import warnings
from itertools import cycle

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes

from realusersim_nb.simulators.conditions import ARMS, REFERENCE_ARMS, TRAIT_DIRECTIVES

BLUE, GREY = "#1f5a94", "#8a8a8a"
PALETTE = ["#1f5a94", "#c65d00", "#2a8a57", "#a3458f", "#7a6a00", "#3b3b8f"]
MARKS = "o^vP*d"
LOOKS = (
    dict(
        zip(
            [arm for arm in ARMS if arm not in TRAIT_DIRECTIVES],
            zip(PALETTE, MARKS, strict=True),
            strict=False,
        )
    )
    | {
        arm: (PALETTE[4], mark) for arm, mark in zip(TRAIT_DIRECTIVES, "<>1234X", strict=True)
    }  # one colour: of one kind
    | dict.fromkeys(REFERENCE_ARMS, (GREY, "s"))
)
WIDTH = 6.4  # inches, of every figure: the same size of type wherever two stand side by side


def set_style() -> None:
    """The look of every figure and table; called once at the top of a notebook."""
    pd.set_option("display.max_colwidth", None)
    warnings.filterwarnings(
        "ignore", message="Glyph .* missing from font"
    )  # a box in its place says the same
    sns.set_theme(style="whitegrid", context="notebook", font_scale=0.85)
    plt.rcParams.update(
        {"figure.dpi": 110, "figure.constrained_layout.use": True, "axes.titlelocation": "left"}
    )


def find_looks(names: list[str]) -> dict[str, tuple[str, str]]:
    """Colour and mark of each name: those of its arm or bound, black for real users, else one that is left."""
    left = cycle([*zip(reversed(PALETTE), "dph<>8", strict=True)])
    known = {
        name: ("black", "D" if name == "real, all" else ".") for name in names if name.startswith("real")
    } | LOOKS
    return {name: known.get(name) or next(left) for name in names}


def make_rows(
    labels: list[str], *, title: str, xlabel: str, height: float = 0.42, panels: int = 1
) -> list[Axes]:
    """Axes with one row a label, the first on top; ``panels`` of them side by side."""
    size = (WIDTH, height * len(labels) + 1.1)
    panes = list(plt.subplots(1, panels, sharey=True, squeeze=False, figsize=size)[1][0])
    for axes in panes:
        axes.set(ylim=(len(labels) - 0.4, -0.65), xlabel=xlabel)
    panes[0].set_yticks(range(len(labels)), labels)
    panes[0].set_title(title)
    return panes


def draw_row(
    axes: Axes, y: float, row: pd.Series, value: str, *, look: tuple[str, str] = (BLUE, "o"), text: str = ""
) -> None:
    """One point with its interval (``ci_low, ci_high``), and a text above it."""
    colour, mark = look
    axes.plot([row["ci_low"], row["ci_high"]], [y, y], color=colour, lw=2, alpha=0.7)
    axes.plot(row[value], y, mark, color=colour)
    axes.annotate(text, (row[value], y), (0, 6), textcoords="offset points", ha="center", fontsize=8)
