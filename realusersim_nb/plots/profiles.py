"""Figures of notebooks 01 and 02: the corpus, its users and their profiles."""

from typing import get_args

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from realusersim_nb.plots.theme import BLUE, GREY, WIDTH, draw_row, make_rows, place_legend
from realusersim_nb.records import Dimension
from realusersim_nb.style import COMPARED, FEATURES, label_feature

COUNTS = [feature.name for feature in FEATURES if feature.is_count]


def plot_funnel(funnel: pd.DataFrame) -> Axes:
    """Conversations and users left after each curation step (columns step, conversations, users)."""
    long = funnel.melt("step", ["conversations", "users"], var_name="unit", value_name="left")
    axes = plt.subplots(figsize=(WIDTH, 0.42 * len(funnel) + 1.1))[1]
    sns.barplot(long, y="step", x="left", hue="unit", palette=[BLUE, "#b9c9d9"], ax=axes)
    for bars in axes.containers:
        axes.bar_label(bars, fmt="{:,.0f}", padding=3, fontsize=8)
    axes.set(xlabel="left after the step", ylabel="", title="What curation keeps", xticks=[])
    place_legend(axes)
    axes.margins(x=0.12)
    return axes


def plot_coverage(commands: pd.DataFrame, n_users: int) -> Axes:
    """Share of users with at least one command in each dimension."""
    share = commands.groupby("dimension")["user_id"].nunique() / n_users
    share = share.reindex(get_args(Dimension), fill_value=0.0).sort_values()
    axes = share.plot.barh(color=BLUE, figsize=(WIDTH, 0.32 * len(share) + 1.1))
    axes.bar_label(axes.containers[0], fmt="{:.0%}", padding=3, fontsize=8)
    title = f"Users with a command, by dimension (n = {n_users:,} users)"
    axes.set(xlabel="share of users", ylabel="", title=title)
    axes.margins(x=0.12)
    return axes


def plot_reliability(curve: pd.DataFrame) -> Axes:
    """Split-half agreement by number of messages: a line a feature, the median bold, some of them named."""
    axes = plt.subplots(figsize=(WIDTH, 4.2))[1]
    ends = curve.sort_values("n_messages").groupby("feature").last().sort_values("r")
    height, arrow = -1.0, {"arrowstyle": "-", "lw": 0.4, "color": GREY}
    style = {"fontsize": 7, "va": "center", "arrowprops": arrow}
    for _, line in curve.groupby("feature"):
        axes.plot(line["n_messages"], line["r"], color=BLUE, alpha=0.3, lw=1)
    for feature, last in ends[ends.index.isin(COMPARED)].iterrows():
        height = max(last["r"], height + 0.045)  # names one above the other
        axes.annotate(
            label_feature(feature),
            (last["n_messages"], last["r"]),
            (last["n_messages"] * 1.25, height),
            **style,
        )
    median = curve.groupby("n_messages").agg(r=("r", "median"), n=("n_users", "median"))
    axes.plot(median.index, median["r"], "o-", color="black", lw=2, label="median feature")
    labels = [f"{m}\n({n:,.0f})" for m, n in median["n"].items()]
    axes.set(xscale="log", title="How many messages make a habit")
    axes.set_xticks(median.index, labels, fontsize=7)
    axes.minorticks_off()
    axes.set(xlabel="messages in each half (users)", ylabel="Spearman r of the two halves", ylim=(-0.05, 1.1))
    place_legend(axes)
    axes.margins(x=0.2)
    return axes


def plot_identification(attribution: pd.DataFrame) -> Axes:
    """Share of unseen messages attributed to their writer, beside chance (``profiles.identify_users``)."""
    rows = attribution.reset_index().query("split == 'matched positions' and strangers == 'drawn by chance'")
    labels = [f"{row.by}, first {row.top} (n = {row.n_users:,})" for row in rows.itertuples()]
    among = f"{1 / rows['chance'].min():.0f} " if len(rows) else ""  # the least: of the first alone
    title = f"Do habits identify the writer among {among}people?"
    [axes] = make_rows(labels, title=title, xlabel="share of users, 95% interval", height=0.4)
    for y, (_, row) in enumerate(rows.iterrows()):
        draw_row(axes, y, row, "rate", text=f"{row['rate']:.0%}")
    axes.plot(rows["chance"], range(len(rows)), "|", color=GREY, ms=14, mew=2, label="chance")
    axes.set(xlim=(-0.03, 1.03))
    place_legend(axes)
    return axes


def plot_candidates(likeness: pd.Series, writer: str) -> Axes:
    """How alike unseen messages are to what each candidate wrote (``compare_texts``), the writer in blue."""
    ranked = likeness.sort_values()
    axes = plt.subplots(figsize=(WIDTH, 0.24 * len(ranked) + 1.0))[1]
    colours = [BLUE if user == writer else GREY for user in ranked.index]
    bars = axes.barh(range(len(ranked)), ranked, color=colours)
    axes.bar_label(bars, ["the writer" if user == writer else "" for user in ranked.index], padding=3)
    xlabel = "likeness of manner to the unseen messages (cosine of masked n-grams)"
    axes.set(yticks=[], xlabel=xlabel, title=f"Who wrote them? {len(ranked)} people")
    axes.margins(x=0.18)
    return axes


def plot_holding(holding: pd.DataFrame, fresh: pd.DataFrame) -> Axes:
    """Share of commands that hold in conversations not seen, by messages known (``tabulate_holding``).

    ``fresh``: the same of unseen messages that repeat no known one.
    """
    axes = plt.subplots(figsize=(WIDTH, 3.6))[1]
    sides = {
        "unseen messages as they are": (holding, BLUE),
        "without those that repeat known ones": (fresh, "black"),
    }
    for label, (table, colour) in sides.items():
        classes = table.drop(index="all")
        rate, low, high = classes[["rate", "ci_low", "ci_high"]].to_numpy(dtype=float).T
        settings = {"fmt": "o-", "color": colour, "label": label}
        axes.errorbar(range(len(rate)), rate, yerr=[rate - low, high - rate], **settings)
    classes = holding.drop(index="all")
    axes.plot(range(len(classes)), classes["stranger"], "s--", color=GREY, label="a stranger's messages")
    labels = [f"{name}\n({n:,})" for name, n in classes["n_commands"].items()]
    axes.set_xticks(range(len(classes)), labels)
    axes.set(xlabel="messages that a command rests on (commands)", ylim=(0, 1))
    axes.set(ylabel="share of commands that hold", title="Do commands hold in conversations not seen?")
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    place_legend(axes)
    return axes


def plot_spread(users: pd.DataFrame, shuffled: pd.DataFrame) -> Axes:
    """Median (dot) and middle 80% (line) of each share feature over users; in grey, by chance alone."""
    title = f"How users differ: the middle 80% (n = {len(users):,} users)"
    columns = ["median", "ci_low", "ci_high"]
    spread, chance = (
        table.drop(columns=COUNTS).quantile([0.5, 0.1, 0.9]).T.set_axis(columns, axis=1)
        for table in (users, shuffled)
    )
    width = spread["ci_high"] - spread["ci_low"]
    spread = spread.assign(width=width).sort_values(["width", "median"], ascending=False)
    labels = [label_feature(name) for name in spread.index]
    [axes] = make_rows(labels, title=title, xlabel="share of a user's messages", height=0.27)
    for y, (feature, row) in enumerate(spread.iterrows()):
        axes.plot(chance.loc[feature, ["ci_low", "ci_high"]], [y, y], color=GREY, lw=9, alpha=0.35)
        draw_row(axes, y, row, "median")
    axes.plot([], [], color=GREY, lw=9, alpha=0.35, label="the same messages, dealt out by chance")
    place_legend(axes)
    return axes


def plot_user_map(points: pd.DataFrame, values: pd.Series, *, title: str) -> Axes:
    """Users on a map (columns x, y), shaded by one figure of theirs; near means alike."""
    axes = plt.subplots(figsize=(WIDTH, 4.5))[1]
    shaded = axes.scatter(points["x"], points["y"], c=values.loc[points.index], cmap="viridis", s=9, lw=0)
    axes.figure.colorbar(shaded, ax=axes, label=label_feature(str(values.name)))
    axes.set(xticks=[], yticks=[], xlabel="first component", ylabel="second component")
    axes.set_title(f"{title} (n = {len(points):,} users)")
    return axes


def plot_topics(topics: pd.DataFrame, n_chat: int, n_reference: int) -> Axes:
    """Share of chat users and of reference texts in each topic (columns terms, chat, reference)."""
    [axes] = make_rows([*topics["terms"]], title="What they write about", xlabel="share of users", height=0.3)
    places = range(len(topics))
    axes.hlines(places, topics["chat"], topics["reference"], color="#cccccc", lw=2)
    axes.plot(topics["chat"], places, "o", color=BLUE, label=f"chat users (n = {n_chat:,})")
    axes.plot(topics["reference"], places, "s", color=GREY, label=f"reference (n = {n_reference:,})")
    axes.tick_params(axis="y", labelsize=8)
    place_legend(axes)
    return axes
