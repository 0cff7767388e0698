"""One function a figure: a DataFrame in, matplotlib axes out, with labels and n.

One look for all notebooks: arms and bounds always in the same order and colour, points with
intervals rather than bars, readable in grey because every series is also labelled in place.
"""

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes

ORDER = [
    "same_user", "oracle", "profile", "profile_no_examples", "shuffled_profile", "placebo", "directive",
    "task_only", "other_user", "do_nothing", "real", "real_floor",
]  # fmt: skip
BOUNDS = {"same_user", "other_user", "oracle", "do_nothing", "real_floor"}
ARM_COLOUR, BOUND_COLOUR = "#1f5a94", "#8a8a8a"


def set_style() -> None:
    """The look of every figure and table; called once at the top of a notebook."""
    pd.set_option("display.max_colwidth", None)
    sns.set_theme(style="whitegrid", context="notebook", font_scale=0.9)
    plt.rcParams.update({"figure.dpi": 110, "savefig.bbox": "tight", "axes.titlelocation": "left"})


def in_order(names: pd.Index) -> list[str]:
    """Arms and bounds in the order they have in every figure; unknown names last."""
    return sorted(names, key=lambda name: (ORDER.index(name) if name in ORDER else len(ORDER), name))


def plot_funnel(funnel: pd.DataFrame) -> Axes:
    """Conversations and users left after each curation step (columns step, conversations, users)."""
    long = funnel.melt("step", ["conversations", "users"], var_name="unit", value_name="left")
    axes = sns.barplot(long, y="step", x="left", hue="unit", palette=[ARM_COLOUR, "#b9c9d9"])
    for bars in axes.containers:
        axes.bar_label(bars, fmt="{:,.0f}", padding=3, fontsize=8)
    axes.set(xlabel="left after the step", ylabel="", title="What curation keeps")
    axes.legend(title="", loc="lower right")
    axes.margins(x=0.12)
    return axes


def plot_coverage(commands: pd.DataFrame, n_users: int) -> Axes:
    """Share of users with at least one command in each dimension."""
    share = commands.groupby("dimension")["user_id"].nunique().sort_values() / n_users
    axes = share.plot.barh(color=ARM_COLOUR)
    axes.bar_label(axes.containers[0], fmt="{:.0%}", padding=3, fontsize=8)
    axes.set(xlabel="share of users", ylabel="", title=f"Dimensions that set users apart (n = {n_users:,} users)")
    axes.margins(x=0.12)
    return axes


def plot_spread(users: pd.DataFrame) -> Axes:
    """Median (dot) and the middle 80 % (line) of every share feature over users."""
    shares = users.drop(columns="words")
    quantiles = shares.quantile([0.1, 0.5, 0.9]).T.sort_values(0.5)
    axes = plt.subplots(figsize=(6, 4.5))[1]
    axes.hlines(quantiles.index, quantiles[0.1], quantiles[0.9], color=ARM_COLOUR, lw=3, alpha=0.5)
    axes.plot(quantiles[0.5], quantiles.index, "o", color=ARM_COLOUR)
    axes.set(
        xlabel="share of a user's messages", xlim=(-0.02, 1.02), title=f"How users differ (n = {len(users):,} users)"
    )
    return axes


def plot_rates(table: pd.DataFrame, value: str, n: str, *, title: str) -> Axes:
    """A rate with its interval for each arm; bounds in grey. Index: arm; columns value, ci_low, ci_high, n."""
    rows = table.loc[in_order(table.index)[::-1]]
    axes = plt.subplots(figsize=(6, 0.5 * len(rows) + 1.2))[1]
    for y, (arm, row) in enumerate(rows.iterrows()):
        colour = BOUND_COLOUR if arm in BOUNDS else ARM_COLOUR
        axes.plot([row["ci_low"], row["ci_high"]], [y, y], color=colour, lw=2)
        axes.plot(row[value], y, "s" if arm in BOUNDS else "o", color=colour)
        axes.annotate(f"{row[value]:.0%}", (row[value], y), (0, 7), textcoords="offset points", ha="center", fontsize=8)
    axes.set_yticks(range(len(rows)), [f"{arm} (n = {int(row[n])})" for arm, row in rows.iterrows()])
    axes.set(xlim=(-0.02, 1.05), ylim=(-0.6, len(rows) - 0.3), xlabel=f"{value}, 95 % interval", title=title)
    return axes


def plot_judges(scores: pd.DataFrame) -> Axes:
    """Fidelity of each arm by each judge, side by side; bounds in grey. Index: judge, arm; columns as of ``pt3.score``."""
    judges = list(scores.index.unique("judge"))
    arms = in_order(scores.index.unique("arm"))[::-1]
    size = (3.6 * len(judges) + 1.4, 0.5 * len(arms) + 1.4)
    row = plt.subplots(1, len(judges), sharey=True, squeeze=False, figsize=size)[1]
    for axes, judge in zip(row[0], judges, strict=True):
        for y, arm in enumerate(arms):
            own, colour = scores.loc[(judge, arm)], BOUND_COLOUR if arm in BOUNDS else ARM_COLOUR
            axes.plot([own["ci_low"], own["ci_high"]], [y, y], color=colour, lw=2)
            axes.plot(own["rate"], y, "s" if arm in BOUNDS else "o", color=colour)
            told = f"{own['rate']:.0%} (n = {own['n_cases']:.0f})" if own["n_cases"] else "none scored"
            axes.annotate(told, (own["rate"] if own["n_cases"] else 0.5, y), (0, 7), textcoords="offset points", ha="center", fontsize=8)  # fmt: skip
        axes.set(
            xlim=(-0.08, 1.12),
            ylim=(-0.6, len(arms) - 0.3),
            xlabel="match rate, 95 % interval",
            title=f"judge: {judge}",
        )
    row[0][0].set_yticks(range(len(arms)), arms)
    return row[0][0]


def plot_dimensions(rates: pd.DataFrame, names: dict[str, str]) -> Axes:
    """Match rate of each judge and arm in each dimension as a labelled grid (columns judge, arm, dimension, rate)."""
    grid = rates.pivot(index=["judge", "arm"], columns="dimension", values="rate")
    order = [(j, a) for j in rates["judge"].unique() for a in in_order(rates["arm"].unique()) if (j, a) in grid.index]
    grid = grid.loc[order].rename(columns=lambda d: f"{d} {names[d].split(' and ')[0]}")
    axes = plt.subplots(figsize=(7.5, 0.42 * len(grid) + 1.5))[1]
    labels = [f"{judge}: {arm}" for judge, arm in grid.index]
    sns.heatmap(grid.to_numpy(), vmin=0, vmax=1, cmap="Greys", annot=True, fmt=".0%", cbar=False, linewidths=1, yticklabels=labels, xticklabels=list(grid.columns), ax=axes)  # fmt: skip
    axes.set(xlabel="", ylabel="", title="Share of cases judged to match, by dimension")
    axes.tick_params(axis="x", rotation=20)
    return axes


def plot_differences(pairs: pd.DataFrame) -> Axes:
    """Paired differences with their intervals, zero marked (columns judge, arm, baseline, difference, ci_low, ci_high, n_pairs)."""
    rows = pairs[::-1].reset_index(drop=True)
    axes = plt.subplots(figsize=(6.5, 0.45 * len(rows) + 1.3))[1]
    axes.axvline(0, color="black", lw=1)
    axes.hlines(range(len(rows)), rows["ci_low"], rows["ci_high"], color=ARM_COLOUR, lw=2)
    axes.plot(rows["difference"], range(len(rows)), "o", color=ARM_COLOUR)
    told = [f"{r.judge}: {r.arm} - {r.baseline} (n = {r.n_pairs})" for r in rows.itertuples()]
    axes.set_yticks(range(len(rows)), told, fontsize=8)
    axes.set(
        ylim=(-0.6, len(rows) - 0.4),
        xlabel="difference of the match rate, 95 % interval",
        title="What the gain comes from",
    )
    return axes


def plot_formalism(table: pd.DataFrame) -> Axes:
    """Share of messages with each feature, one mark a system (columns system, feature, share, ci_low, ci_high, n_users)."""
    shown = table.dropna(subset="ci_low")
    features, systems = list(shown["feature"].unique()), list(shown["system"].unique())
    axes = plt.subplots(figsize=(7, 0.22 * len(features) * len(systems) + 1.6))[1]
    colours = sns.color_palette("colorblind", len(systems))
    for i, system in enumerate(systems):
        own = shown[shown["system"] == system].set_index("feature").reindex(features)
        y = [len(features) - 1 - f + 0.35 - 0.7 * i / max(len(systems) - 1, 1) for f in range(len(features))]
        axes.hlines(y, own["ci_low"], own["ci_high"], color=colours[i], lw=2)
        axes.plot(
            own["share"], y, "osD^vP*X"[i % 8], color=colours[i], label=f"{system} ({own['n_users'].max():.0f} users)"
        )
    axes.set_yticks(range(len(features)), features[::-1])
    axes.set(xlim=(-0.02, 1.02), xlabel="share of messages, 95 % interval", title="The Formalism Ceiling")
    axes.legend(fontsize=8, bbox_to_anchor=(1.01, 1), loc="upper left")
    return axes


def plot_gaps(gaps: pd.DataFrame) -> Axes:
    """Jensen-Shannon divergence of each system, with the real-vs-real floor at the same n in grey."""
    rows = gaps.loc[in_order(gaps.index.drop("real_floor"))[::-1]]
    axes = plt.subplots(figsize=(6, 0.5 * len(rows) + 1.4))[1]
    axes.hlines(
        range(len(rows)),
        0,
        rows["floor_high"],
        color=BOUND_COLOUR,
        lw=9,
        alpha=0.45,
        label="real vs real, up to 97.5 %",
    )
    axes.plot(rows["js"], range(len(rows)), "o", color=ARM_COLOUR, label="simulated vs real")
    axes.set_yticks(range(len(rows)), [f"{name} (n = {int(row['n'])})" for name, row in rows.iterrows()])
    axes.set(
        xlim=(0, 0.72),
        ylim=(-0.6, len(rows) - 0.4),
        xlabel="Jensen-Shannon divergence (0 alike, 0.693 disjoint)",
        title="How far from real users",
    )
    axes.legend(loc="lower right", fontsize=8)
    return axes


def plot_shifts(features: pd.DataFrame) -> Axes:
    """How far each system's features lie from real users, in standard deviations of real users."""
    shown = features[features["system"] != "real"]
    order = shown.groupby("feature")["shift"].apply(lambda s: s.abs().max()).sort_values(ascending=False).index
    axes = plt.subplots(figsize=(6.5, 5))[1]
    sns.stripplot(shown, y="feature", x="shift", hue="system", order=order, hue_order=in_order(shown["system"].unique()),
                  palette="colorblind", size=7, jitter=False, dodge=True, ax=axes)  # fmt: skip
    axes.axvline(0, color="black", lw=1)
    axes.set(
        xlabel="real users = 0; standard deviations of real conversations",
        ylabel="",
        title="What is different about them",
    )
    axes.legend(title="", fontsize=8)
    return axes


def plot_agreement(table: pd.DataFrame, x: str, y: str, *, labels: tuple[str, str]) -> Axes:
    """Two measures of the same arms against each other, each point named. Index: arm."""
    axes = plt.subplots(figsize=(5, 3.6))[1]
    axes.scatter(table[x], table[y], color=ARM_COLOUR)
    for arm, row in table.iterrows():
        axes.annotate(arm, (row[x], row[y]), (5, 4), textcoords="offset points", fontsize=8)
    axes.set(
        xlabel=labels[0], ylabel=labels[1], ylim=(-0.02, 1.02), title=f"Do the measures agree? (n = {len(table)} arms)"
    )
    axes.margins(x=0.25)
    return axes


def plot_reliability(curve: pd.DataFrame, *, needed: float = 0.3) -> Axes:
    """Split-half agreement over the number of messages: a line a feature, the median in bold (see ``reliability``)."""
    axes = plt.subplots(figsize=(6.5, 4.2))[1]
    ends = curve.sort_values("n_messages").groupby("feature").last().sort_values("r")
    height = -1.0
    for feature, last in ends.iterrows():
        own = curve[curve["feature"] == feature]
        axes.plot(own["n_messages"], own["r"], color=ARM_COLOUR, alpha=0.3, lw=1)
        height = max(last["r"], height + 0.045)  # names one above the other
        axes.annotate(
            feature, (last["n_messages"], last["r"]), (last["n_messages"] * 1.25, height), textcoords="data", fontsize=7,
            va="center", arrowprops={"arrowstyle": "-", "lw": 0.4, "color": BOUND_COLOUR},
        )  # fmt: skip
    median = curve.groupby("n_messages").agg(r=("r", "median"), n=("n_users", "median"))
    axes.plot(median.index, median["r"], "o-", color="black", lw=2, label="median feature")
    axes.axhline(needed, color=BOUND_COLOUR, ls="--", lw=1, label=f"enough for a command ({needed:g})")
    labels = [f"{m}\n({n:,.0f})" for m, n in median["n"].items()]
    axes.set_xscale("log")
    axes.set_xticks(median.index, labels, fontsize=7)
    axes.minorticks_off()
    axes.set(
        xlabel="messages in each half (users)", ylabel="Spearman r of the two halves", ylim=(-0.05, 1.1),
        title="How many messages make a trait",
    )  # fmt: skip
    axes.legend(loc="upper left", fontsize=8)
    axes.margins(x=0.2)
    return axes


def plot_topics(topics: pd.DataFrame, n_chat: int, n_reference: int) -> Axes:
    """Share of chat users and of reference texts in each topic (columns terms, chat, reference)."""
    rows = topics.iloc[::-1]
    axes = plt.subplots(figsize=(7, 0.42 * len(rows) + 1.2))[1]
    axes.hlines(range(len(rows)), rows["chat"], rows["reference"], color="#cccccc", lw=2)
    axes.plot(rows["chat"], range(len(rows)), "o", color=ARM_COLOUR, label=f"chat users (n = {n_chat:,})")
    axes.plot(rows["reference"], range(len(rows)), "s", color=BOUND_COLOUR, label=f"reference (n = {n_reference:,})")
    axes.set_yticks(range(len(rows)), rows["terms"], fontsize=8)
    axes.set(xlabel="share of users", xlim=(-0.01, None), title="What they write about")
    axes.legend(fontsize=8)
    return axes


def plot_map(points: pd.DataFrame, values: pd.Series, *, title: str) -> Axes:
    """Users on a map (columns x, y), shaded by one figure of theirs; near means alike."""
    axes = plt.subplots(figsize=(5.5, 4.5))[1]
    shaded = axes.scatter(points["x"], points["y"], c=values.loc[points.index], cmap="viridis", s=9, lw=0)
    axes.figure.colorbar(shaded, ax=axes, label=values.name)
    axes.set(
        xticks=[],
        yticks=[],
        xlabel="first component",
        ylabel="second component",
        title=f"{title} (n = {len(points):,} users)",
    )
    return axes
