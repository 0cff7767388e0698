"""Figures of notebook 04: why runs fail, when users state what is required, amplification of directives."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes

from realusersim_nb.plots.theme import GREY, WIDTH, draw_row, find_styles, make_rows, place_legend
from realusersim_nb.simulators.conditions import sort_arms
from realusersim_nb.text import show_name


def draw_groups(
    axes: Axes, table: pd.DataFrame, value: str, labels: dict[str, str], *, span: float, text: str = ""
) -> None:
    """Mark ``value`` by line of the figure and group (the table's index), groups of one line side by side."""
    lines = list(table.index.unique(0))
    for number, (group, style) in enumerate(find_styles(list(labels)).items()):
        offset = (number - (len(labels) - 1) / 2) * span / len(labels)
        for line, row in table.xs(group, level=1).iterrows():
            draw_row(axes, lines.index(line) + offset, row, value, style=style, text=text.format(row[value]))
        axes.plot([], [], style[1], color=style[0], label=show_name(labels[group]))


def plot_mechanisms(rates: pd.DataFrame) -> Axes:
    """How often runs fail by each mechanism, one mark an arm (see ``failures.measure_mechanisms``)."""
    arms, n_runs = sort_arms(rates.index.unique("arm")), rates["n"].groupby("arm").max()
    names, height = list(rates.index.unique("mechanism")), 0.2 * len(arms) + 0.2
    xlabel = "share of scored runs, 95% interval"
    [axes] = make_rows(names, title="Why runs fail", xlabel=xlabel, height=height)
    labels = {arm: f"{arm} (n = {n_runs[arm]:.0f} runs)" for arm in arms}
    draw_groups(axes, rates.swaplevel(), "rate", labels, span=0.8)
    axes.set_xlim(-0.03, 1.03)
    place_legend(axes)
    return axes


def plot_disclosure(shares: pd.DataFrame, n_tasks: int) -> Axes:
    """Share of the required slots that users stated by their n-th message: a line an arm (a column)."""
    axes = plt.subplots(figsize=(WIDTH, 3.4))[1]
    for arm, (colour, marker) in find_styles(sort_arms(shares.columns)).items():
        axes.plot(shares.index, shares[arm], f"{marker}-", color=colour, label=arm)
    title = f"When users state what is required (tasks: {n_tasks})"
    axes.set(xlabel="message of the user", ylabel="share stated so far", title=title)
    axes.set(ylim=(-0.04, 1.04), xticks=list(shares.index))
    place_legend(axes)
    return axes


def plot_amplification(table: pd.DataFrame) -> Axes:
    """How far simulators move under each directive; 1: as far as real people who have the trait."""
    shown = table.dropna(subset="amplification")
    n_tasks = shown.groupby("directive", sort=False)["n_tasks"].max()
    simulators = list(shown["simulator"].unique())
    labels = [f"{name} (tasks: {n})" for name, n in n_tasks.items()]
    xlabel = "movement; 1 = as far as real people with the trait, 95% interval"
    height = 0.3 + 0.15 * len(simulators)
    [axes] = make_rows(labels, title="Directive amplification", xlabel=xlabel, height=height)
    axes.axvline(0, color=GREY, lw=1, ls="--")
    axes.axvline(1, color="black", lw=1)
    shown, labels = shown.set_index(["directive", "simulator"]), {name: name for name in simulators}
    draw_groups(axes, shown, "amplification", labels, span=0.6, text="{:.1f}")
    if simulators:
        place_legend(axes)
    return axes
