"""Figures of notebook 06: many runs side by side."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes

from realusersim_nb.plots.theme import BLUE, GREY, WIDTH, draw_row, find_styles, make_rows
from realusersim_nb.runs.leaderboard import MEASURES
from realusersim_nb.text import show_name

OUTSIDE = {"fontsize": 8, "loc": "upper left", "bbox_to_anchor": (1, 1)}  # a legend beside the last panel
TITLES = {"fidelity": "fidelity", "normalised": "between stranger (0)\nand person (1)"}
TITLES |= {"above_floor": "gap above floor (JS)", "shift": "shift of agent success"}


def plot_agreement(table: pd.DataFrame, x: str, y: list[str]) -> Axes:
    """One measure against others, a panel each: a point an arm of a run. Index: arm; NaN: not measured."""
    panes = plt.subplots(1, len(y), sharex=True, sharey=True, squeeze=False, figsize=(WIDTH, 3.4))[1][0]
    for axes, measure in zip(panes, y, strict=True):
        shown = table.dropna(subset=[x, measure])
        for arm, (colour, marker) in find_styles(list(shown.index)).items():
            rows = shown.loc[[arm]]
            axes.plot(rows[x], rows[measure], marker, color=colour, label=show_name(arm))
        axes.set(xlabel=x, ylim=(-0.05, 1.1), title=f"{show_name(measure)} (n = {len(shown)})")
        axes.margins(x=0.1)
    panes[0].set_ylabel("share")
    if panes[-1].get_legend_handles_labels()[0]:
        panes[-1].legend(**OUTSIDE)
    return panes[0]


def plot_board(board: pd.DataFrame, settings: pd.DataFrame) -> Axes | None:
    """Every arm of every run by each measure that any has, with intervals, of each run the best arm on top.

    None if there is no measure.
    """
    shown = [name for name in MEASURES if board[name].notna().any()]
    if not shown:
        return None
    rows = board.reset_index().sort_values("run", kind="stable")
    labels = [name_row(row, settings) for _, row in rows.iterrows()]
    panes = make_rows(labels, title="", xlabel="", height=0.28, panels=len(shown))
    styles = find_styles(list(rows["arm"].unique()))
    for axes, name in zip(panes, shown, strict=True):
        columns = {f"{name}_low": "ci_low", f"{name}_high": "ci_high"}
        for y, (_, row) in enumerate(rows.rename(columns=columns).iterrows()):
            draw_row(axes, y, row, name, style=styles[row["arm"]])
        axes.set_xlabel(TITLES[name], fontsize=8)
        axes.tick_params(labelsize=7)
        if MEASURES[name] != 1 or name == "normalised":
            axes.axvline(0, color=GREY, lw=1)
    return panes[0]


def name_row(row: pd.Series, settings: pd.DataFrame) -> str:
    """An arm and up to three settings of its run, or the run's name."""
    values = [f"{row[name]}"[:24] for name in settings if name in row][:3]
    return f"{row['arm']}, {', '.join(values) or row['run']}"


def plot_sizes(sized: pd.DataFrame) -> Axes:
    """Fidelity over the size of the model, logarithmic, with intervals (see ``runs.list_sizes``)."""
    axes = plt.subplots(figsize=(WIDTH, 3.4))[1]
    axes.set_title(f"Does a bigger model simulate better? (n = {len(sized)} runs)")
    axes.set(ylim=(0, 1.05), xscale="log", xlabel="billions of parameters", ylabel="fidelity, 95% interval")
    for name, (colour, marker) in find_styles(list(sized["simulator"].unique())).items():
        rows = sized[sized["simulator"] == name]
        axes.vlines(rows["size"], rows["fidelity_low"], rows["fidelity_high"], color=colour, lw=2, alpha=0.5)
        axes.plot(rows["size"], rows["fidelity"], marker, color=colour, label=show_name(name))
    sizes = sorted(sized["size"].unique())
    axes.set_xticks(sizes, [f"{size:g}" for size in sizes])
    axes.minorticks_off()
    axes.margins(x=0.1)
    axes.legend(**OUTSIDE)
    return axes


def plot_settings(changed: pd.DataFrame) -> Axes:
    """What each value of a setting changes in each measure, with intervals (``runs.compare_settings``)."""
    shown = [name for name in MEASURES if name in changed.index]
    labels = changed["setting"] + ": " + changed["value"].astype(str).str[:30]
    rows = list(labels.unique())
    panes = make_rows(rows, title="", xlabel="", height=0.3, panels=len(shown))
    for axes, name in zip(panes, shown, strict=True):
        axes.axvline(0, color="black", lw=1)
        for label, (_, row) in zip(labels.loc[[name]], changed.loc[[name]].iterrows(), strict=True):
            draw_row(axes, rows.index(label), row, "difference", style=(BLUE, "o"))
        axes.set_xlabel(f"change of\n{TITLES[name]}", fontsize=8)
        axes.tick_params(labelsize=7)
    return panes[0]


def plot_ceiling(ceiling: pd.DataFrame, *, arm: str) -> Axes:
    """How much more often simulated users show a habit than real ones, by run (``runs.measure_ceiling``)."""
    shown = ceiling[ceiling["arm"] == arm] if arm in set(ceiling["arm"]) else ceiling
    features, runs = list(shown["feature"].unique()), list(shown["run"].unique())
    labels = {"title": f"Habits of simulated users ({arm}), less real ones"}
    labels["xlabel"] = "difference of the share of messages; real users are at 0"
    [axes] = make_rows(features, height=0.35, **labels)
    axes.axvline(0, color="black", lw=1)
    for name, (colour, marker) in find_styles(runs).items():
        rows = shown[shown["run"] == name]
        y = rows["feature"].map(features.index)
        axes.plot(rows["difference"], y, marker, color=colour, alpha=0.8, label=show_name(name))
    if len(runs) <= 12:
        axes.figure.legend(loc="outside lower center", ncols=1, fontsize=7)
    return axes
