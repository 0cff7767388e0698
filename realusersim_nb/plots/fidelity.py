"""Figures of notebook 03: a table in, matplotlib axes out, with labels and n."""

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes

from realusersim_nb.plots.published import DIMENSIONS, mark_published, show_scale
from realusersim_nb.plots.theme import (
    BLUE,
    GREY,
    SHADES,
    WIDTH,
    draw_row,
    find_styles,
    make_rows,
    place_legend,
)
from realusersim_nb.simulators.conditions import REFERENCE_ARMS, describe_arm, sort_arms
from realusersim_nb.text import show_name


def plot_rates(
    table: pd.DataFrame, value: str, n: str, *, title: str, published: dict[str, float] | None = None
) -> Axes:
    """A rate with its interval for each arm and reference arm; one panel a judge if there are several.

    Index: arm, or judge and arm; columns ``value, ci_low, ci_high, n``. ``published``: marks by arm.
    """
    judges = [""] if table.index.nlevels == 1 else table.index.unique("judge")
    arms = sort_arms(table.index.unique("arm"))
    panes = make_rows(arms, title=title, xlabel=f"{value}, 95% interval", height=0.5, panels=len(judges))
    styles = find_styles(arms)
    for axes, judge in zip(panes, judges, strict=True):
        rows = table.loc[judge] if judge else table
        for y, (arm, row) in enumerate(rows.loc[arms].iterrows()):
            if row[n]:
                draw_row(axes, y, row, value, style=styles[arm], text=f"{row[value]:.0%} (n = {row[n]:.0f})")
            else:
                axes.annotate("none scored", (0.5, y), ha="center", fontsize=8)
            if arm in (published or {}):
                mark_published(axes, published[arm], y)
        axes.set(xlim=(-0.12, 1.15), xticks=[0, 0.5, 1])
        if judge:
            name = show_name(judge)
            axes.set_title(f"{title}\njudge: {name}" if axes is panes[0] else f"\njudge: {name}")
    show_scale(panes[0])
    return panes[0]


def plot_dimensions(rates: pd.DataFrame, names: dict[str, str]) -> Axes:
    """Match rate by judge and arm, and by dimension, as a grid (columns judge, arm, dimension, rate).

    The last row has the published rates of ``profile``, by another judge.
    """
    order = pd.MultiIndex.from_product([rates["judge"].unique(), sort_arms(rates["arm"].unique())])
    grid = rates.pivot(index=["judge", "arm"], columns="dimension", values="rate")
    grid = grid.loc[order[order.isin(grid.index)]]
    grid.loc[("published, another scale", "profile"), :] = DIMENSIONS
    axes = plt.subplots(figsize=(WIDTH, 0.36 * len(grid) + 1.2))[1]
    labels = {"yticklabels": [show_name(f"{judge}: {arm}") for judge, arm in grid.index]}
    labels["xticklabels"] = [f"{d}\n{names[d].split()[0]}" for d in grid]
    shades = {"vmin": 0, "vmax": 1, "cmap": SHADES, "linewidths": 1, "cbar": False}
    numbers = {"annot": True, "fmt": ".0%", "annot_kws": {"color": "black"}}
    sns.heatmap(grid.to_numpy(), ax=axes, **shades, **labels, **numbers)
    axes.tick_params(axis="y", rotation=0)
    axes.tick_params(axis="x", labelsize=8)
    axes.set(xlabel="", ylabel="", title="Share of cases judged to match, by dimension")
    return axes


def plot_differences(
    pairs: pd.DataFrame, *, title: str, unit: str = "rate", published: tuple[float, float] | None = None
) -> Axes:
    """Paired differences with their intervals, and a line at zero.

    Columns ``arm, baseline, difference, ci_low, ci_high, n_pairs``, and ``judge``; ``unit`` of differences.
    ``published``: the range of ``profile`` less ``task_only`` elsewhere.
    """
    [axes] = make_rows(
        [""] * len(pairs), title=title, xlabel=f"difference of the {unit}, 95% interval", height=0.5
    )
    axes.set_yticklabels([label_pair(pair) for pair in pairs.to_dict("records")], fontsize=8)
    axes.axvline(0, color="black", lw=1)
    for y, (_, pair) in enumerate(pairs.iterrows()):
        style = (GREY, "s") if pair["arm"] in REFERENCE_ARMS else (BLUE, "o")
        draw_row(axes, y, pair, "difference", style=style)
        if published and (pair["arm"], pair["baseline"]) == ("profile", "task_only"):
            mark_published(axes, published, y)
    show_scale(axes)
    return axes


def label_pair(pair: dict) -> str:
    """Two lines: what was given to the users of an arm, less what to those of its baseline."""
    judge = f"{pair['judge']}: " if "judge" in pair else ""
    lines = (
        f"{judge}{describe_arm(pair['arm'])}",
        f"less {describe_arm(pair['baseline'])} (n = {pair['n_pairs']})",
    )
    return "\n".join(map(show_name, lines))


def plot_power(power: pd.DataFrame) -> Axes:
    """AUC over the messages seen a side, a line a reader with its interval (``pt3.measure_power``).

    Dashed: against the stranger nearest in topic.
    """
    axes = plt.subplots(figsize=(WIDTH, 3.4))[1]
    for (reader, rows), colour in zip(power.groupby("reader", sort=False), (BLUE, GREY), strict=False):
        name = "Burrows' delta" if reader == "delta" else reader
        axes.fill_between(rows["n_messages"], rows["ci_low"], rows["ci_high"], color=colour, alpha=0.2, lw=0)
        axes.plot(rows["n_messages"], rows["auc"], "o-", color=colour, label=name)
        axes.plot(
            rows["n_messages"], rows["auc_topic"], "o--", color=colour, label=f"{name}, nearest in topic"
        )
    axes.axhline(0.5, color="black", lw=1)
    axes.set(xlabel="messages seen a side", ylabel="AUC, 95% interval", xticks=power["n_messages"].unique())
    axes.set_title(f"How much must a judge read? (n = {power['n_users'].max():,} users)")
    place_legend(axes)
    return axes


def plot_formalism(table: pd.DataFrame) -> Axes:
    """Share of messages with each feature, a marker a system.

    Columns ``system, feature, share, ci_low, ci_high, n_users``; rows without an interval are not drawn.
    """
    shown = table.dropna(subset="ci_low")
    features, systems = list(shown["feature"].unique()), list(shown["system"].unique())
    styles, step = find_styles(systems), 0.8 / max(len(systems), 1)
    xlabel, height = "share of messages, 95% interval", 0.16 * len(systems) + 0.2
    [axes] = make_rows(features, title="The Formalism Ceiling", xlabel=xlabel, height=height)
    for _, row in shown.iterrows():
        y = features.index(row["feature"]) + (systems.index(row["system"]) - (len(systems) - 1) / 2) * step
        draw_row(axes, y, row, "share", style=styles[row["system"]])
    users = shown.groupby("system")["n_users"].max()
    for name, (colour, marker) in styles.items():
        axes.plot([], [], marker, color=colour, label=f"{show_name(name)} ({users[name]:,} users)")
    place_legend(axes)
    return axes
