"""The figures of the gap between populations; the style is that of ``theme``."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform

from realusersim_nb.gap.divergence import FLOOR
from realusersim_nb.gap.facets import REAL
from realusersim_nb.plots.published import ODD_ONE_OUT, PROBE, mark_published, show_scale
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
from realusersim_nb.simulators.conditions import sort_arms
from realusersim_nb.style import label_feature
from realusersim_nb.text import show_name

DOTS = 2000  # of each system on the map


def plot_gaps(gaps: pd.DataFrame) -> Axes:
    """Jensen-Shannon divergence of each system, with the real-vs-real floor at the same n in grey."""
    rows = gaps.loc[sort_arms(gaps.index.drop(FLOOR))]
    labels = [f"{name} (n = {int(row['n'])})" for name, row in rows.iterrows()]
    xlabel = "Jensen-Shannon divergence (0 alike, 0.693 disjoint), 95% interval"
    [axes] = make_rows(labels, title="How far from real users", xlabel=xlabel, height=0.5)
    floor = {"color": GREY, "lw": 9, "alpha": 0.45, "label": "real vs real, to 97.5%"}
    axes.hlines(range(len(rows)), 0, rows["floor_high"], **floor)
    for y, (name, look) in enumerate(find_styles(list(rows.index)).items()):
        draw_row(axes, y, rows.loc[name], "js", style=look)
    axes.set_xlim(0, 0.72)
    place_legend(axes)
    return axes


def plot_behaviours(compared: pd.DataFrame, *, system: str, most: int = 12) -> Axes:
    """Shares of real and simulated conversations in the clusters that differ most, by kind and terms."""
    order = (compared["real"] - compared["simulated"]).abs().sort_values(ascending=False).index[:most]
    shown = compared.loc[order].sort_values("real", ascending=False)
    terms = [", ".join(map(label_feature, row.split(", ")[:3])) for row in shown["terms"]]
    labels = [f"{kind}: {named}" for kind, named in zip(shown["kind"], terms, strict=True)]
    title = f"What {system} captures, misses and invents"
    [axes] = make_rows(labels, title=title, xlabel="share of conversations", height=0.3)
    places = range(len(shown))
    axes.hlines(places, shown["real"], shown["simulated"], color="#cccccc", lw=2)
    axes.plot(shown["real"], places, "k.", ms=10, label="real")
    axes.plot(shown["simulated"], places, "o", color=BLUE, label=show_name(system))
    axes.tick_params(axis="y", labelsize=7)
    place_legend(axes)
    return axes


def plot_between(between: pd.DataFrame) -> Axes:
    """JS between every two systems (``gap.compare_systems``) as a grid, similar ones beside each other."""
    distances = squareform(between.to_numpy(), checks=False)
    order = leaves_list(linkage(distances, "average", optimal_ordering=True))
    grid = between.iloc[order, order].rename(index=show_name, columns=show_name)
    axes = plt.subplots(figsize=(WIDTH, 0.4 * len(grid) + 1.6))[1]
    style = {"vmin": 0, "vmax": 0.693, "cmap": SHADES, "cbar": False, "linewidths": 1, "fmt": ".2f"}
    numbers = {"annot": len(grid) <= 12, "annot_kws": {"color": "black"}}
    sns.heatmap(grid, ax=axes, xticklabels=True, yticklabels=True, **style, **numbers)
    axes.tick_params(axis="y", rotation=0)
    axes.set(xlabel="", ylabel="", title="JS between every two systems")
    return axes


def plot_shifts(features: pd.DataFrame) -> Axes:
    """Shift of each system's style features from real users, in standard deviations of real users."""
    shown = features[features["system"] != REAL].set_index("feature")
    order = list(shown["shift"].abs().groupby("feature").max().sort_values(ascending=False).index)
    xlabel = "real users = 0; standard deviations of real conversations"
    labels = [label_feature(name) for name in order]
    [axes] = make_rows(labels, title="What is different about them", xlabel=xlabel, height=0.3)
    return draw_systems(axes, shown, "shift", rows=order)


def draw_systems(axes: Axes, table: pd.DataFrame, value: str, *, rows: list[str]) -> Axes:
    """A mark for each system in each row (index of the table), with a line at 0 and a legend."""
    axes.axvline(0, color="black", lw=1)
    for name, (colour, mark) in find_styles(sort_arms(table["system"].unique())).items():
        values = table.loc[table["system"] == name, value].reindex(rows)
        axes.plot(values, range(len(rows)), mark, color=colour, label=show_name(name))
    place_legend(axes)
    return axes


def plot_conversation_map(plane: np.ndarray, index: pd.MultiIndex, *, seed: int = 0) -> Axes:
    """Conversations as dots on two axes (``gap.project_to_plane``), real ones grey; up to 2,000 a system."""
    systems = pd.DataFrame(plane, index, columns=["x", "y"]).groupby(level="system")
    shown = {name: dots.sample(min(DOTS, len(dots)), random_state=seed) for name, dots in systems}
    axes = plt.subplots(figsize=(WIDTH, 4))[1]
    looks = {REAL: (GREY, "o")} | find_styles(sort_arms(index.unique("system").drop(REAL)))
    for name, (colour, marker) in looks.items():
        dots, n = shown[name], len(shown[name])
        size, alpha = (6, 0.5) if name == REAL else (14, 0.9 if n < 100 else 0.3)
        options = {"color": colour, "marker": marker, "alpha": alpha, "rasterized": True}
        axes.scatter(dots["x"], dots["y"], s=size, label=f"{show_name(name)} ({n:,})", **options)
    axes.set(xticks=[], yticks=[], title="Conversations by what their user does (PCA)")
    axes.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    return axes


def plot_facets(varied: pd.DataFrame) -> Axes:
    """Excess JS of each system by single facets and by the raw text (see ``ablations.vary_choices``)."""
    shown = varied[varied["choice"].isin(["", "facets"])]
    names = list(shown["variant"].unique())
    [axes] = make_rows(names, title="The gap by facet", xlabel="JS above the real-vs-real floor", height=0.35)
    return draw_systems(axes, shown.set_index("variant"), "above_floor", rows=names)


def plot_probes(probed: pd.DataFrame) -> Axes:
    """Accuracy of each probe on each system (index by, system) beside chance and the published range."""
    shown = probed.dropna(subset="accuracy")
    labels = [f"{system}, {by} (n = {n:.0f})" for (by, system), n in shown["n"].items()]
    xlabel = "accuracy on unseen users, 95% interval"
    [axes] = make_rows(labels, title="Real or simulated?", xlabel=xlabel, height=0.35)
    axes.axvline(0.5, color=GREY, lw=1, ls="--")
    for y, (_, row) in enumerate(shown.iterrows()):
        draw_row(axes, y, row, "accuracy")
        mark_published(axes, PROBE, y)
    axes.set_xlim(0.3, 1.05)
    show_scale(axes)
    return axes


def plot_annotators(scores: pd.DataFrame) -> Axes:
    """Share of odd ones out that each annotator found, beside chance and the published share."""
    labels = [f"{name} (n = {n:.0f})" for name, n in scores["n"].items()]
    xlabel = "share found, 95% interval"
    [axes] = make_rows(labels, title="Odd one out", xlabel=xlabel, height=0.5)
    axes.axvline(1 / 3, color=GREY, lw=1, ls="--")
    for y, (_, row) in enumerate(scores.iterrows()):
        draw_row(axes, y, row, "rate")
        mark_published(axes, ODD_ONE_OUT, y)
    axes.set_xlim(-0.03, 1.05)
    show_scale(axes)
    return axes


def plot_calibration(calibrated: pd.DataFrame) -> Axes:
    """JS and the probe's accuracy by the share of tidied conversations (see ``gap.calibrate_gap``)."""
    panes = plt.subplots(1, 2, sharex=True, figsize=(WIDTH, 3.2))[1]
    x = calibrated.index
    panes[0].fill_between(
        x, 0, calibrated["floor_high"], color=GREY, alpha=0.3, label="real vs real, to 97.5%"
    )
    panes[0].fill_between(x, calibrated["ci_low"], calibrated["ci_high"], color=BLUE, alpha=0.25)
    panes[0].axhline(0.05, color="black", lw=1, ls=":")
    panes[1].axhline(0.5, color=GREY, lw=1, ls="--")
    for axes, value, label in zip(panes, ("js", "accuracy"), ("JS", "accuracy of the probe"), strict=True):
        axes.plot(x, calibrated[value], "o-", color=BLUE)
        axes.set(xlabel="share of conversations tidied", ylabel=label)
    panes[0].set_title(f"What a gap means (n = {calibrated['n'].iloc[0]:.0f} a side)")
    place_legend(panes[0])
    return panes[0]
