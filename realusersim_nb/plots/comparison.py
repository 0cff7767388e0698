"""The figures of many runs side by side; the look is that of ``fidelity``."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes

from realusersim_nb.plots.theme import BLUE, GREY, WIDTH, find_styles, make_rows
from realusersim_nb.runs.leaderboard import MEASURES

# --- all measures together ---------------------------------------------------------------------


def plot_agreement(table: pd.DataFrame, x: str, y: list[str]) -> Axes:
    """One measure against others, a panel each: a point an arm of a run. Index: arm; NaN: not measured."""
    panes = plt.subplots(1, len(y), sharex=True, sharey=True, squeeze=False, figsize=(WIDTH, 3.4))[1][0]
    for axes, measure in zip(panes, y, strict=True):
        shown = table.dropna(subset=[x, measure])
        for arm, (colour, mark) in find_styles(list(shown.index)).items():
            own = shown.loc[[arm]]
            axes.plot(own[x], own[measure], mark, color=colour, label=arm)
        axes.set(xlabel=x, ylim=(-0.05, 1.1), title=f"{measure} (n = {len(shown)})")
        axes.margins(x=0.1)
    panes[0].set_ylabel("share")
    if panes[-1].get_legend_handles_labels()[0]:
        panes[-1].legend(fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    return panes[0]


TITLES = {
    "fidelity": "fidelity",
    "normalised": "between stranger (0)\nand person (1)",
    "above_floor": "gap above floor (JS)",
    "shift": "shift of agent success",
}


def plot_board(board: pd.DataFrame, settings: pd.DataFrame) -> Axes | None:
    """Every arm of every run by each measure that any has, with intervals; None if there is no measure."""
    shown = [name for name in MEASURES if board[name].notna().any()]
    if not shown:
        return None
    rows = board.reset_index().iloc[::-1].sort_values("run", kind="stable")
    labels = [name_row(row, settings) for _, row in rows.iterrows()]
    panes = make_rows(labels, title="", xlabel="", height=0.28, panels=len(shown))
    looks = find_styles(list(rows["arm"].unique()))
    for axes, name in zip(panes, shown, strict=True):
        for y, (_, row) in enumerate(rows.iterrows()):
            colour, mark = looks[row["arm"]]
            axes.plot([row[f"{name}_low"], row[f"{name}_high"]], [y, y], color=colour, lw=2, alpha=0.6)
            axes.plot(row[name], y, mark, color=colour)
        axes.set_xlabel(TITLES[name], fontsize=8)
        axes.tick_params(labelsize=7)
        if MEASURES[name] != 1 or name == "normalised":
            axes.axvline(0, color=GREY, lw=1)
    return panes[0]


def name_row(row: pd.Series, settings: pd.DataFrame) -> str:
    """An arm and what sets its run apart, as short as can be."""
    told = [f"{row[name]}"[:24] for name in settings if name in row][:3]
    return f"{row['arm']}, {', '.join(told) or row['run']}"


def plot_sizes(sized: pd.DataFrame) -> Axes:
    """Fidelity over the size of the model, logarithmic, with intervals (see ``leaderboard.list_sizes``)."""
    axes = plt.subplots(figsize=(WIDTH, 3.4))[1]
    title = f"Does a bigger model simulate better? (n = {len(sized)} runs)"
    axes.set(
        ylim=(0, 1.05),
        xscale="log",
        xlabel="billions of parameters",
        ylabel="fidelity, 95 % interval",
        title=title,
    )
    for name, (colour, mark) in find_styles(list(sized["simulator"].unique())).items():
        own = sized[sized["simulator"] == name]
        axes.vlines(own["size"], own["fidelity_low"], own["fidelity_high"], color=colour, lw=2, alpha=0.5)
        axes.plot(own["size"], own["fidelity"], mark, color=colour, label=name)
    sizes = sorted(sized["size"].unique())
    axes.set_xticks(sizes, [f"{size:g}" for size in sizes])
    axes.minorticks_off()
    axes.margins(x=0.1)
    axes.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    return axes


def plot_settings(changed: pd.DataFrame) -> Axes:
    """What each value of a setting changes in each measure, with intervals (see ``leaderboard.compare_settings``)."""
    shown = [name for name in MEASURES if name in changed.index]
    labels = list(dict.fromkeys(f"{row.setting}: {str(row.value)[:30]}" for row in changed.itertuples()))
    panes = make_rows(labels, title="", xlabel="", height=0.3, panels=len(shown))
    for axes, name in zip(panes, shown, strict=True):
        axes.axvline(0, color="black", lw=1)
        for row in changed.loc[[name]].itertuples():
            y = labels.index(f"{row.setting}: {str(row.value)[:30]}")
            axes.plot([row.ci_low, row.ci_high], [y, y], color=BLUE, lw=2, alpha=0.6)
            axes.plot(row.difference, y, "o", color=BLUE)
        axes.set_xlabel(f"change of\n{TITLES[name]}", fontsize=8)
        axes.tick_params(labelsize=7)
    return panes[0]


def plot_ceiling(ceiling: pd.DataFrame, *, arm: str) -> Axes:
    """How much more often simulated users of each run show a habit than real ones (see ``leaderboard.measure_ceiling``)."""
    shown = ceiling[ceiling["arm"] == arm] if arm in set(ceiling["arm"]) else ceiling
    features = list(shown["feature"].unique())
    title = f"Habits of simulated users ({arm}), less real ones"
    [axes] = make_rows(
        features, title=title, xlabel="difference of the share of messages; real users are at 0", height=0.35
    )
    axes.axvline(0, color="black", lw=1)
    for name, (colour, mark) in find_styles(list(shown["run"].unique())).items():
        own = shown[shown["run"] == name]
        axes.plot(
            own["difference"],
            [features.index(f) for f in own["feature"]],
            mark,
            color=colour,
            alpha=0.8,
            label=name,
        )
    if shown["run"].nunique() <= 12:
        axes.figure.legend(loc="outside lower center", ncols=1, fontsize=7)
    return axes
