"""One function a figure: a DataFrame in, matplotlib axes out, with labels and n.

One look for all notebooks: every figure has the same width and fonts, kinds of user have the same
order, colour and mark everywhere (so they can be told in grey), bounds are grey squares, real users
black, and points have intervals rather than bars.
"""

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes

from realusersim_nb.plots.theme import BLUE, GREY, WIDTH, draw_row, find_looks, make_rows
from realusersim_nb.simulators.conditions import REFERENCE_ARMS, sort_arms

# --- fidelity and agents -----------------------------------------------------------------------


def plot_rates(table: pd.DataFrame, value: str, n: str, *, title: str) -> Axes:
    """A rate with its interval for each arm, between its bounds; one panel a judge where there are several.

    Index: arm, or judge and arm; columns ``value, ci_low, ci_high, n``.
    """
    panels = (
        {"": table} if table.index.nlevels == 1 else {j: table.loc[j] for j in table.index.unique("judge")}
    )
    arms = sort_arms(table.index.unique("arm"))
    panes = make_rows(arms, title=title, xlabel=f"{value}, 95 % interval", height=0.5, panels=len(panels))
    looks = find_looks(arms)
    for axes, (judge, rows) in zip(panes, panels.items(), strict=True):
        for y, arm in enumerate(arms):
            row = rows.loc[arm]
            told = f"{row[value]:.0%} (n = {row[n]:.0f})" if row[n] else ""
            draw_row(axes, y, row, value, look=looks[arm], text=told)
            if not row[n]:
                axes.annotate("none scored", (0.5, y), ha="center", fontsize=8)
        axes.set(xlim=(-0.12, 1.15), xticks=[0, 0.5, 1])
        if judge:
            axes.set_title(f"{title}\njudge: {judge}" if axes is panes[0] else f"\njudge: {judge}")
    return panes[0]


def plot_dimensions(rates: pd.DataFrame, names: dict[str, str]) -> Axes:
    """Match rate of each judge and arm in each dimension as a labelled grid (columns judge, arm, dimension, rate)."""
    grid = rates.pivot(index=["judge", "arm"], columns="dimension", values="rate")
    order = [
        (j, a)
        for j in rates["judge"].unique()
        for a in sort_arms(rates["arm"].unique())
        if (j, a) in grid.index
    ]
    grid = grid.loc[order].rename(columns=lambda d: f"{d}\n{names[d].split()[0]}")
    axes = plt.subplots(figsize=(WIDTH, 0.36 * len(grid) + 1.2))[1]
    labels = [f"{judge}: {arm}" for judge, arm in grid.index]
    sns.heatmap(
        grid.to_numpy(),
        vmin=0,
        vmax=1,
        cmap="Greys",
        annot=True,
        fmt=".0%",
        cbar=False,
        linewidths=1,
        yticklabels=labels,
        xticklabels=list(grid.columns),
        ax=axes,
    )
    axes.set(xlabel="", ylabel="", title="Share of cases judged to match, by dimension")
    return axes


def plot_differences(pairs: pd.DataFrame, *, title: str) -> Axes:
    """Paired differences with their intervals, zero marked (columns arm, baseline, difference, ci_low, ci_high, n_pairs; and judge, if any)."""
    labels = [f"{p.arm} - {p.baseline} (n = {p.n_pairs})" for p in pairs.itertuples()]
    if "judge" in pairs:
        labels = [f"{judge}: {label}" for judge, label in zip(pairs["judge"], labels, strict=True)]
    [axes] = make_rows(labels, title=title, xlabel="difference of the rates, 95 % interval", height=0.36)
    axes.axvline(0, color="black", lw=1)
    for y, (_, pair) in enumerate(pairs.iterrows()):
        is_bound = pair["arm"] in REFERENCE_ARMS
        draw_row(axes, y, pair, "difference", look=(GREY, "s") if is_bound else (BLUE, "o"))
    return axes


def plot_formalism(table: pd.DataFrame) -> Axes:
    """Share of messages with each feature, one mark a system (columns system, feature, share, ci_low, ci_high, n_users)."""
    shown = table.dropna(subset="ci_low")
    features, systems = list(shown["feature"].unique()), list(shown["system"].unique())
    looks, step = find_looks(systems), 0.8 / max(len(systems), 1)
    xlabel, height = "share of messages, 95 % interval", 0.16 * len(systems) + 0.2
    [axes] = make_rows(features, title="The Formalism Ceiling", xlabel=xlabel, height=height)
    for _, row in shown.iterrows():
        place = systems.index(row["system"])
        y = features.index(row["feature"]) + (place - (len(systems) - 1) / 2) * step
        draw_row(axes, y, row, "share", look=looks[row["system"]])
    users = shown.groupby("system")["n_users"].max()
    for name, (colour, mark) in looks.items():
        axes.plot([], [], mark, color=colour, label=f"{name} ({users[name]:,} users)")
    axes.figure.legend(loc="outside lower center", ncols=3, fontsize=8)
    return axes
