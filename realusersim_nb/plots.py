"""One function a figure: a DataFrame in, matplotlib axes out, with labels and n.

One look for all notebooks: every figure has the same width and fonts, kinds of user have the same
order, colour and mark everywhere (so they can be told in grey), bounds are grey squares, real users
black, and points have intervals rather than bars.
"""

import warnings
from itertools import cycle

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes

from realusersim_nb.simulators import ARMS, LIBRARY

BOUNDS = ["same_user", "oracle", "other_user", "do_nothing", "real_floor"]
ORDER = ["same_user", "oracle", *ARMS, "stock", "other_user", "do_nothing", "real", "real_floor"]
BLUE, GREY = "#1f5a94", "#8a8a8a"
PALETTE = ["#1f5a94", "#c65d00", "#2a8a57", "#a3458f", "#7a6a00", "#3b3b8f"]
MARKS = "o^vP*d"
LOOKS = (
    dict(zip([arm for arm in ARMS if arm not in LIBRARY], zip(PALETTE, MARKS, strict=True), strict=False))
    | {arm: (PALETTE[4], mark) for arm, mark in zip(LIBRARY, "<>1234X", strict=True)}  # one colour: of one kind
    | dict.fromkeys(BOUNDS, (GREY, "s"))
)
WIDTH = 6.4  # inches, of every figure: the same size of type wherever two stand side by side


def set_style() -> None:
    """The look of every figure and table; called once at the top of a notebook."""
    pd.set_option("display.max_colwidth", None)
    warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # a box in its place says the same
    sns.set_theme(style="whitegrid", context="notebook", font_scale=0.85)
    plt.rcParams.update({"figure.dpi": 110, "figure.constrained_layout.use": True, "axes.titlelocation": "left"})


def find_place(name: str) -> int:
    """The place of an arm or bound in every figure and table; unknown names come last."""
    return ORDER.index(name) if name in ORDER else len(ORDER)


def in_order(names: pd.Index) -> list[str]:
    """Arms and bounds in that order."""
    return sorted(names, key=lambda name: (find_place(name), name))


def find_looks(names: list[str]) -> dict[str, tuple[str, str]]:
    """Colour and mark of each name: those of its arm or bound, black for real users, else one that is left."""
    left = cycle([*zip(reversed(PALETTE), "dph<>8", strict=True)])
    known = {name: ("black", "D" if name == "real, all" else ".") for name in names if name.startswith("real")} | LOOKS
    return {name: known.get(name) or next(left) for name in names}


def make_rows(labels: list[str], *, title: str, xlabel: str, height: float = 0.42, panels: int = 1) -> list[Axes]:
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


# --- corpus and profiles -----------------------------------------------------------------------


def plot_funnel(funnel: pd.DataFrame) -> Axes:
    """Conversations and users left after each curation step (columns step, conversations, users)."""
    long = funnel.melt("step", ["conversations", "users"], var_name="unit", value_name="left")
    axes = plt.subplots(figsize=(WIDTH, 0.42 * len(funnel) + 1.1))[1]
    sns.barplot(long, y="step", x="left", hue="unit", palette=[BLUE, "#b9c9d9"], ax=axes)
    for bars in axes.containers:
        axes.bar_label(bars, fmt="{:,.0f}", padding=3, fontsize=8)
    axes.set(xlabel="left after the step", ylabel="", title="What curation keeps", xticks=[])
    axes.legend(title="", loc="lower right")
    axes.margins(x=0.12)
    return axes


def plot_coverage(commands: pd.DataFrame, n_users: int) -> Axes:
    """Share of users with at least one command in each dimension."""
    share = commands.groupby("dimension")["user_id"].nunique().sort_values() / n_users
    axes = share.plot.barh(color=BLUE, figsize=(WIDTH, 0.32 * len(share) + 1.1))
    axes.bar_label(axes.containers[0], fmt="{:.0%}", padding=3, fontsize=8)
    axes.set(xlabel="share of users", ylabel="", title=f"Users with a command, by dimension (n = {n_users:,} users)")
    axes.margins(x=0.12)
    return axes


def plot_reliability(curve: pd.DataFrame, *, needed: float) -> Axes:
    """Split-half agreement over the number of messages: a line a feature, the median in bold (see ``reliability``)."""
    axes = plt.subplots(figsize=(WIDTH, 4.2))[1]
    ends = curve.sort_values("n_messages").groupby("feature").last().sort_values("r")
    height = -1.0
    for feature, last in ends.iterrows():
        line = curve[curve["feature"] == feature]
        axes.plot(line["n_messages"], line["r"], color=BLUE, alpha=0.3, lw=1)
        height = max(last["r"], height + 0.045)  # names one above the other
        axes.annotate(
            feature, (last["n_messages"], last["r"]), (last["n_messages"] * 1.25, height), textcoords="data", fontsize=7,
            va="center", arrowprops={"arrowstyle": "-", "lw": 0.4, "color": GREY},
        )  # fmt: skip
    median = curve.groupby("n_messages").agg(r=("r", "median"), n=("n_users", "median"))
    axes.plot(median.index, median["r"], "o-", color="black", lw=2, label="median feature")
    axes.axhline(needed, color=GREY, ls="--", lw=1, label=f"enough for a command ({needed:g})")
    labels = [f"{m}\n({n:,.0f})" for m, n in median["n"].items()]
    axes.set_xscale("log")
    axes.set_xticks(median.index, labels, fontsize=7)
    axes.minorticks_off()
    axes.set(
        xlabel="messages in each half (users)", ylabel="Spearman r of the two halves", ylim=(-0.05, 1.1),
        title="How many messages make a habit",
    )  # fmt: skip
    axes.legend(loc="upper left", fontsize=8)
    axes.margins(x=0.2)
    return axes


def plot_spread(users: pd.DataFrame, shuffled: pd.DataFrame) -> Axes:
    """Median (dot) and the middle 80 % (line) of every share feature over users; in grey, of users without habits."""
    title = f"How users differ: the middle 80 % (n = {len(users):,} users)"
    spread, chance = (
        table.drop(columns="words").quantile([0.5, 0.1, 0.9]).T.set_axis(["median", "ci_low", "ci_high"], axis=1)
        for table in (users, shuffled)
    )
    spread = spread.assign(wide=spread["ci_high"] - spread["ci_low"]).sort_values(["wide", "median"], ascending=False)
    [axes] = make_rows(list(spread.index), title=title, xlabel="share of a user's messages", height=0.27)
    for y, (feature, row) in enumerate(spread.iterrows()):
        axes.plot(chance.loc[feature, ["ci_low", "ci_high"]], [y, y], color=GREY, lw=9, alpha=0.35)
        draw_row(axes, y, row, "median")
    axes.plot([], [], color=GREY, lw=9, alpha=0.35, label="the same messages, dealt out by chance")
    axes.legend(fontsize=8, loc="lower right")
    return axes


def plot_map(points: pd.DataFrame, values: pd.Series, *, title: str) -> Axes:
    """Users on a map (columns x, y), shaded by one figure of theirs; near means alike."""
    axes = plt.subplots(figsize=(WIDTH, 4.5))[1]
    shaded = axes.scatter(points["x"], points["y"], c=values.loc[points.index], cmap="viridis", s=9, lw=0)
    axes.figure.colorbar(shaded, ax=axes, label=values.name)
    axes.set(xticks=[], yticks=[], xlabel="first component", ylabel="second component")
    axes.set_title(f"{title} (n = {len(points):,} users)")
    return axes


def plot_topics(topics: pd.DataFrame, n_chat: int, n_reference: int) -> Axes:
    """Share of chat users and of reference texts in each topic (columns terms, chat, reference)."""
    [axes] = make_rows(list(topics["terms"]), title="What they write about", xlabel="share of users", height=0.3)
    places = range(len(topics))
    axes.hlines(places, topics["chat"], topics["reference"], color="#cccccc", lw=2)
    axes.plot(topics["chat"], places, "o", color=BLUE, label=f"chat users (n = {n_chat:,})")
    axes.plot(topics["reference"], places, "s", color=GREY, label=f"reference (n = {n_reference:,})")
    axes.tick_params(axis="y", labelsize=8)
    axes.legend(fontsize=8)
    return axes


# --- fidelity and agents -----------------------------------------------------------------------


def plot_rates(table: pd.DataFrame, value: str, n: str, *, title: str) -> Axes:
    """A rate with its interval for each arm, between its bounds; one panel a judge where there are several.

    Index: arm, or judge and arm; columns ``value, ci_low, ci_high, n``.
    """
    panels = {"": table} if table.index.nlevels == 1 else {j: table.loc[j] for j in table.index.unique("judge")}
    arms = in_order(table.index.unique("arm"))
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
    order = [(j, a) for j in rates["judge"].unique() for a in in_order(rates["arm"].unique()) if (j, a) in grid.index]
    grid = grid.loc[order].rename(columns=lambda d: f"{d}\n{names[d].split()[0]}")
    axes = plt.subplots(figsize=(WIDTH, 0.36 * len(grid) + 1.2))[1]
    labels = [f"{judge}: {arm}" for judge, arm in grid.index]
    sns.heatmap(grid.to_numpy(), vmin=0, vmax=1, cmap="Greys", annot=True, fmt=".0%", cbar=False, linewidths=1, yticklabels=labels, xticklabels=list(grid.columns), ax=axes)  # fmt: skip
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
        is_bound = pair["arm"] in BOUNDS
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


def plot_mechanisms(rates: pd.DataFrame) -> Axes:
    """How often runs fail by each mechanism, one mark an arm (index arm, mechanism; columns rate, ci_low, ci_high, n)."""
    mechanisms, arms = list(rates.index.unique("mechanism")), in_order(rates.index.unique("arm"))
    looks, step = find_looks(arms), 0.8 / len(arms)
    xlabel, height = "share of scored runs, 95 % interval", 0.2 * len(arms) + 0.2
    [axes] = make_rows(mechanisms, title="Why runs fail", xlabel=xlabel, height=height)
    for (arm, mechanism), row in rates.iterrows():
        y = mechanisms.index(mechanism) + (arms.index(arm) - (len(arms) - 1) / 2) * step
        draw_row(axes, y, row, "rate", look=looks[arm])
    for arm in arms:
        n = rates.xs(arm, level="arm")["n"].max()
        axes.plot([], [], looks[arm][1], color=looks[arm][0], label=f"{arm} (n = {n:.0f} runs)")
    axes.set_xlim(-0.03, 1.03)
    axes.figure.legend(loc="outside lower center", ncols=3, fontsize=8)
    return axes


def plot_disclosure(told: pd.DataFrame, n_tasks: int) -> Axes:
    """Share of what a task needs that users had told by their n-th message; a line an arm (see ``disclosure.accumulate``)."""
    axes = plt.subplots(figsize=(WIDTH, 3.4))[1]
    for arm, (colour, mark) in find_looks(in_order(told.columns)).items():
        axes.plot(told.index, told[arm], f"{mark}-", color=colour, label=arm)
    axes.set(
        xlabel="message of the user", ylabel="share told so far", ylim=(-0.04, 1.04), xticks=list(told.index),
        title=f"When users tell what is needed (n = {n_tasks} tasks)",
    )  # fmt: skip
    axes.legend(fontsize=8, loc="lower right")
    return axes


def plot_amplification(table: pd.DataFrame) -> Axes:
    """How far simulators move under each directive, real people who have the trait at 1 (see ``directives.amplify``)."""
    shown = table.dropna(subset="amplification")
    names, simulators = list(shown["directive"].unique()), list(shown["simulator"].unique())
    labels = [f"{name} (n = {shown.loc[shown['directive'] == name, 'n_tasks'].max()} tasks)" for name in names]
    xlabel = "movement; 1 = as far as real people with the trait, 95 % interval"
    [axes] = make_rows(labels, title="Directive amplification", xlabel=xlabel, height=0.3 + 0.15 * len(simulators))
    axes.axvline(0, color=GREY, lw=1, ls="--")
    axes.axvline(1, color="black", lw=1)
    step = 0.6 / max(len(simulators), 1)
    for simulator, look in find_looks(simulators).items():
        for _, row in shown[shown["simulator"] == simulator].iterrows():
            y = names.index(row["directive"]) + (simulators.index(simulator) - (len(simulators) - 1) / 2) * step
            draw_row(axes, y, row, "amplification", look=look, text=f"{row['amplification']:.1f}")
        axes.plot([], [], look[1], color=look[0], label=simulator)
    if simulators:
        axes.legend(fontsize=8)
    return axes


# --- all measures together ---------------------------------------------------------------------


def plot_agreement(table: pd.DataFrame, x: str, y: list[str]) -> Axes:
    """One measure against others, a panel each: a point an arm of a run. Index: arm; NaN: not measured."""
    panes = plt.subplots(1, len(y), sharex=True, sharey=True, squeeze=False, figsize=(WIDTH, 3.4))[1][0]
    for axes, measure in zip(panes, y, strict=True):
        shown = table.dropna(subset=[x, measure])
        for arm, (colour, mark) in find_looks(list(shown.index)).items():
            own = shown.loc[[arm]]
            axes.plot(own[x], own[measure], mark, color=colour, label=arm)
        axes.set(xlabel=x, ylim=(-0.05, 1.1), title=f"{measure} (n = {len(shown)})")
        axes.margins(x=0.1)
    panes[0].set_ylabel("share")
    if panes[-1].get_legend_handles_labels()[0]:
        panes[-1].legend(fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    return panes[0]
