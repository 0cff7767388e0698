"""The figures of the gap between populations; the look is that of ``fidelity``."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform

from realusersim_nb.gap.facets import REAL
from realusersim_nb.plots.theme import BLUE, GREY, WIDTH, draw_row, find_looks, make_rows
from realusersim_nb.simulators.conditions import sort_arms


def plot_gaps(gaps: pd.DataFrame) -> Axes:
    """Jensen-Shannon divergence of each system, with the real-vs-real floor at the same n in grey."""
    rows = gaps.loc[sort_arms(gaps.index.drop("real_floor"))]
    labels = [f"{name} (n = {int(row['n'])})" for name, row in rows.iterrows()]
    xlabel = "Jensen-Shannon divergence (0 alike, 0.693 disjoint), 95 % interval"
    [axes] = make_rows(labels, title="How far from real users", xlabel=xlabel, height=0.5)
    axes.hlines(
        range(len(rows)), 0, rows["floor_high"], color=GREY, lw=9, alpha=0.45, label="real vs real, to 97.5 %"
    )
    for y, (name, look) in enumerate(find_looks(list(rows.index)).items()):
        draw_row(axes, y, rows.loc[name], "js", look=look)
    axes.set_xlim(0, 0.72)
    axes.legend(loc="lower right", fontsize=8)
    return axes


def plot_behaviours(compared: pd.DataFrame, *, system: str, most: int = 12) -> Axes:
    """Clusters in which real and simulated users differ most, named by their terms (columns real, simulated, kind, terms)."""
    apart = (compared["real"] - compared["simulated"]).abs().sort_values(ascending=False).index[:most]
    shown = compared.loc[apart].sort_values("real", ascending=False)
    labels = [f"{row.kind}: {', '.join(row.terms.split(', ')[:3])}" for row in shown.itertuples()]
    title = f"What {system} captures, misses and invents"
    [axes] = make_rows(labels, title=title, xlabel="share of conversations", height=0.3)
    places = range(len(shown))
    axes.hlines(places, shown["real"], shown["simulated"], color="#cccccc", lw=2)
    axes.plot(shown["real"], places, "k.", ms=10, label="real")
    axes.plot(shown["simulated"], places, "o", color=BLUE, label=system)
    axes.tick_params(axis="y", labelsize=7)
    axes.legend(fontsize=8)
    return axes


def plot_between(between: pd.DataFrame) -> Axes:
    """JS between every two systems as a labelled grid, those alike beside each other (see ``divergence.compare_systems``)."""
    order = leaves_list(
        linkage(squareform(between.to_numpy(), checks=False), "average", optimal_ordering=True)
    )
    grid = between.iloc[order, order]
    axes = plt.subplots(figsize=(WIDTH, 0.4 * len(grid) + 1.6))[1]
    sns.heatmap(
        grid,
        vmin=0,
        vmax=0.693,
        cmap="Greys",
        annot=len(grid) <= 12,
        fmt=".2f",
        cbar=False,
        linewidths=1,
        ax=axes,
    )
    axes.set(xlabel="", ylabel="", title="JS between every two systems")
    return axes


def plot_shifts(features: pd.DataFrame) -> Axes:
    """How far each system's features lie from real users, in standard deviations of real users."""
    shown = features[features["system"] != "real"]
    order = (
        shown.groupby("feature")["shift"].apply(lambda s: s.abs().max()).sort_values(ascending=False).index
    )
    xlabel = "real users = 0; standard deviations of real conversations"
    [axes] = make_rows(list(order), title="What is different about them", xlabel=xlabel, height=0.3)
    return draw_systems(axes, shown.set_index("feature"), "shift", rows=list(order))


def draw_systems(axes: Axes, table: pd.DataFrame, value: str, *, rows: list[str]) -> Axes:
    """A mark for each system in each row (index of the table), with a line at 0 and a legend."""
    axes.axvline(0, color="black", lw=1)
    for name, (colour, mark) in find_looks(sort_arms(table["system"].unique())).items():
        own = table.loc[table["system"] == name, value].reindex(rows)
        axes.plot(own, range(len(rows)), mark, color=colour, label=name)
    axes.figure.legend(loc="outside lower center", ncols=3, fontsize=8)
    return axes


def plot_conversation_map(places: np.ndarray, systems: pd.Index, *, made_by: str, seed: int = 0) -> Axes:
    """Conversations as dots on two axes (``embeddings.project_to_plane``), real ones grey beneath; up to 2,000 of each system."""
    table = pd.DataFrame(places, columns=["x", "y"]).assign(system=systems.to_numpy())
    shown = table.groupby("system", sort=False).sample(frac=1, random_state=seed).groupby("system").head(2000)
    axes = plt.subplots(figsize=(WIDTH, 4))[1]
    real = shown[shown["system"] == REAL]
    axes.scatter(
        real["x"], real["y"], s=6, color=GREY, alpha=0.5, label=f"real ({len(real):,})", rasterized=True
    )
    for name, (colour, mark) in find_looks(sort_arms(systems.unique().drop(REAL))).items():
        own = shown[shown["system"] == name]
        alpha = 0.9 if len(own) < 100 else 0.3
        axes.scatter(
            own["x"],
            own["y"],
            s=14,
            color=colour,
            marker=mark,
            alpha=alpha,
            label=f"{name} ({len(own):,})",
            rasterized=True,
        )
    axes.set(xticks=[], yticks=[], title=f"Conversations by what their user does ({made_by})")
    axes.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    return axes


def plot_facets(varied: pd.DataFrame) -> Axes:
    """JS above the floor of each system when only one facet is looked at, and the raw text (see ``ablations.vary_choices``)."""
    shown = varied[varied["choice"].isin(["", "facets"])]
    names = list(shown["variant"].unique())
    [axes] = make_rows(names, title="The gap by facet", xlabel="JS above the real-vs-real floor", height=0.35)
    return draw_systems(axes, shown.set_index("variant"), "above_floor", rows=names)
