"""What the two papers and one study of people report, as reference marks beside figures of ours.

Each was measured with other judges, corpora, models and tasks: a mark says what was found there, and is no
value that ours should have.
"""

from matplotlib.axes import Axes

FIDELITY = {"task_only": 0.242, "profile": 0.453}  # RealUserSim, 600 cases, GPT-4o in all roles
DIMENSIONS = {"D1": 0.390, "D2": 0.262, "D3": 0.932, "D4": 0.360, "D5": 0.320}  # of its profile arm
AGENT_SHIFT = (-0.035, -0.032)  # of success under profiles, over six simulators, tau-bench
PEOPLE = 0.636  # success of 451 people as users on 165 tau tasks (arXiv 2603.11245)
PROBE = (0.909, 0.996)  # accuracy over 24 simulators (arXiv 2605.07847)
ODD_ONE_OUT = 0.867  # of its 15 annotators
SCALE = "published; another judge or corpus is another scale"


def mark_published(axes: Axes, values: float | tuple[float, float], y: float, *, label: str = SCALE) -> None:
    """A published value, or the ends of a published range, as hollow diamonds in row ``y``, named once."""
    values = values if isinstance(values, tuple) else (values,)
    seen = axes.get_legend_handles_labels()[1]
    label = "_" if label in seen else label
    style = {"color": "black", "marker": "D", "mfc": "white", "ms": 6, "lw": 1, "ls": ":"}
    axes.plot(values, [y] * len(values), label=label, zorder=1.5, **style)


def mark_people(axes: Axes) -> None:
    """A line at the success of people as users, below the figure with what it is."""
    label = "published: people as users on 165 tau tasks; other tasks and agents are another scale"
    axes.axvline(PEOPLE, color="black", lw=1, ls=":", label=label)
    show_scale(axes)


def show_scale(axes: Axes) -> None:
    """The legend that says what the diamonds are, below the figure; none where none was drawn."""
    handles, labels = axes.get_legend_handles_labels()
    shown = [(h, name) for h, name in zip(handles, labels, strict=True) if name.startswith("published")]
    if shown:
        axes.figure.legend(*zip(*shown, strict=True), loc="outside lower center", fontsize=8)
