"""TODO."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes

from realusersim_nb.plots.theme import GREY, WIDTH, draw_row, find_styles, make_rows
from realusersim_nb.simulators.conditions import sort_arms


def plot_mechanisms(rates: pd.DataFrame) -> Axes:
    """How often runs fail by each mechanism, one mark an arm (index arm, mechanism; columns rate, ci_low, ci_high, n)."""
    mechanisms, arms = list(rates.index.unique("mechanism")), sort_arms(rates.index.unique("arm"))
    looks, step = find_styles(arms), 0.8 / len(arms)
    xlabel, height = "share of scored runs, 95 % interval", 0.2 * len(arms) + 0.2
    [axes] = make_rows(mechanisms, title="Why runs fail", xlabel=xlabel, height=height)
    for (arm, mechanism), row in rates.iterrows():
        y = mechanisms.index(mechanism) + (arms.index(arm) - (len(arms) - 1) / 2) * step
        draw_row(axes, y, row, "rate", style=looks[arm])
    for arm in arms:
        n = rates.xs(arm, level="arm")["n"].max()
        axes.plot([], [], looks[arm][1], color=looks[arm][0], label=f"{arm} (n = {n:.0f} runs)")
    axes.set_xlim(-0.03, 1.03)
    axes.figure.legend(loc="outside lower center", ncols=3, fontsize=8)
    return axes


def plot_disclosure(told: pd.DataFrame, n_tasks: int) -> Axes:
    """Share of what a task needs that users had told by their n-th message; a line an arm (see ``disclosure.accumulate_disclosure``)."""
    axes = plt.subplots(figsize=(WIDTH, 3.4))[1]
    for arm, (colour, mark) in find_styles(sort_arms(told.columns)).items():
        axes.plot(told.index, told[arm], f"{mark}-", color=colour, label=arm)
    axes.set(
        xlabel="message of the user",
        ylabel="share told so far",
        ylim=(-0.04, 1.04),
        xticks=list(told.index),
        title=f"When users tell what is needed (n = {n_tasks} tasks)",
    )
    axes.legend(fontsize=8, loc="lower right")
    return axes


def plot_amplification(table: pd.DataFrame) -> Axes:
    """How far simulators move under each directive, real people who have the trait at 1 (see ``directives.measure_amplification``)."""
    shown = table.dropna(subset="amplification")
    names, simulators = list(shown["directive"].unique()), list(shown["simulator"].unique())
    labels = [
        f"{name} (n = {shown.loc[shown['directive'] == name, 'n_tasks'].max()} tasks)" for name in names
    ]
    xlabel = "movement; 1 = as far as real people with the trait, 95 % interval"
    [axes] = make_rows(
        labels, title="Directive amplification", xlabel=xlabel, height=0.3 + 0.15 * len(simulators)
    )
    axes.axvline(0, color=GREY, lw=1, ls="--")
    axes.axvline(1, color="black", lw=1)
    step = 0.6 / max(len(simulators), 1)
    for simulator, look in find_styles(simulators).items():
        for _, row in shown[shown["simulator"] == simulator].iterrows():
            y = (
                names.index(row["directive"])
                + (simulators.index(simulator) - (len(simulators) - 1) / 2) * step
            )
            draw_row(axes, y, row, "amplification", style=look, text=f"{row['amplification']:.1f}")
        axes.plot([], [], look[1], color=look[0], label=simulator)
    if simulators:
        axes.legend(fontsize=8)
    return axes
