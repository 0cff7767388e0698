"""Figures of little: no commands, no users."""

from html import escape
from itertools import combinations

import numpy as np
import pandas as pd
from matplotlib.colors import to_rgb

from realusersim_nb import plots, profiles, pt3
from realusersim_nb.plots import theme
from realusersim_nb.records import Profile


def test_coverage_of_profiles_without_a_command_is_zero_in_all_dimensions():
    silent = [Profile(user_id="u", commands=[], source_conversations=[])]
    axes = plots.plot_coverage(profiles.tabulate_commands(silent), len(silent))
    assert [bar.get_width() for bar in axes.patches] == [0.0] * 8


def test_power_of_judges_has_a_line_a_reader_and_a_dashed_one():
    rows = [(reader, n, 0.5 + n / 20) for reader in ("measured", "delta") for n in (1, 3, 8)]
    power = pd.DataFrame(rows, columns=["reader", "n_messages", "auc"]).assign(n_users=120)
    power = power.assign(ci_low=power["auc"] - 0.1, ci_high=power["auc"] + 0.1, auc_topic=power["auc"] - 0.05)
    axes = plots.plot_power(power)
    assert len(axes.lines) == 5 and "120 users" in read_title(axes)


def read_title(axes):
    """A figure's title, which the notebooks' style puts to the left."""
    return axes.get_title(loc="left") or axes.get_title()


def list_marks(axes):
    """What the hollow diamonds of a figure stand at, by row."""
    marks = [
        line for line in axes.lines if line.get_marker() == "D" and line.get_markerfacecolor() == "white"
    ]
    return {round(line.get_ydata()[0]): [float(x) for x in line.get_xdata()] for line in marks}


def test_published_figures_stand_beside_ours_and_say_that_the_scale_is_another():
    columns = {"ci_low": 0.1, "ci_high": 0.9, "n_cases": 4.0, "n": 4.0, "n_pairs": 4}
    rates = pd.DataFrame({"arm": ["profile", "task_only"], "rate": 0.5, **columns}).set_index("arm")
    axes = plots.plot_rates(rates, "rate", "n_cases", title="Fidelity", published=plots.FIDELITY)
    assert list_marks(axes) == {0: [0.453], 1: [0.242]}
    [legend] = axes.figure.legends
    assert "another judge or corpus is another scale" in legend.get_texts()[0].get_text()
    pairs = pd.DataFrame({"arm": ["profile"], "baseline": "task_only", "difference": -0.1, **columns})
    axes = plots.plot_differences(pairs, title="Success", published=plots.AGENT_SHIFT)
    assert list_marks(axes) == {0: [-0.035, -0.032]}
    index = pd.MultiIndex.from_tuples([("facets", "a")], names=["by", "system"])
    axes = plots.plot_probes(pd.DataFrame({"accuracy": 0.8, **columns}, index))
    assert list_marks(axes) == {0: [0.909, 0.996]}
    axes = plots.plot_annotators(pd.DataFrame({"rate": [0.4], **columns}, ["me"]))
    assert list_marks(axes) == {0: [0.867]}
    axes = plots.plot_rates(rates.rename(columns={"rate": "success"}), "success", "n", title="Success")
    assert not list_marks(axes) and not axes.figure.legends
    plots.mark_people(axes)
    assert (
        axes.lines[-1].get_xdata()[0] == 0.636
        and "people" in axes.figure.legends[0].get_texts()[0].get_text()
    )


def test_published_dimensions_are_the_last_row_of_the_grid():
    rates = pd.DataFrame({"judge": "m", "arm": "profile", "dimension": list(pt3.DIMENSIONS), "rate": 0.5})
    axes = plots.plot_dimensions(rates, pt3.DIMENSIONS)
    assert [text.get_text() for text in axes.texts][-5:] == ["39%", "26%", "93%", "36%", "32%"]
    assert "another scale" in axes.get_yticklabels()[-1].get_text()


def test_calibration_shows_gap_and_probe():
    row = {"n": 9, "js": 0.1, "ci_low": 0.0, "ci_high": 0.2, "floor_high": 0.05, "accuracy": 0.6}
    table = pd.DataFrame([row, row], pd.Index([0, 1], name="share"))
    assert read_title(plots.plot_calibration(table)) == "What a gap means (n = 9 a side)"


def list_labels(axes):
    """The labels of a figure's rows."""
    return [label.get_text() for label in axes.get_yticklabels()]


def test_labels_are_words_and_not_names_of_columns():
    pair = {"arm": "profile", "baseline": "task_only", "difference": 0.1, "ci_low": 0, "ci_high": 0.2}
    axes = plots.plot_differences(pd.DataFrame([pair | {"n_pairs": 9}]), title="Gain", unit="bits")
    assert list_labels(axes) == ["the person's profile\nless nothing about the person (n = 9)"]
    assert axes.get_xlabel() == "difference of the bits, 95% interval"
    shifts = pd.DataFrame({"system": ["task_only"], "feature": ["starts_lower"], "shift": [0.5]})
    assert list_labels(plots.plot_shifts(shifts)) == ["starts in lower case"]


def test_identification_stands_beside_chance():
    rows = {"split": "matched positions", "by": "features", "strangers": "drawn by chance", "top": [1, 5]}
    rates = {"rate": [0.4, 0.7], "ci_low": 0.3, "ci_high": 0.8, "chance": [0.02, 0.1], "n_users": 1200}
    axes = plots.plot_identification(pd.DataFrame(rows | rates).set_index(["split", "by"]))
    assert list_labels(axes) == ["features, first 1 (n = 1,200)", "features, first 5 (n = 1,200)"]
    assert list(axes.lines[-1].get_xdata()) == [0.02, 0.1] and "50 people" in read_title(axes)


DEUTERANOPIA = [
    [0.367322, 0.860646, -0.227968],
    [0.280085, 0.672501, 0.047413],
    [-0.01182, 0.04294, 0.968881],
]
"""What is left of linear red, green and blue (Machado, Oliveira and Fernandes 2009, severity 1)."""


def see_without_green(colour):
    """A colour as CIE Lab, as somebody sees it who cannot tell red from green."""
    value = np.array(to_rgb(colour))
    light = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    light = np.clip(np.array(DEUTERANOPIA) @ light, 0, 1)
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    x, y, z = np.cbrt(np.array(to_xyz) @ light / [0.9505, 1, 1.089])
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def test_arms_differ_in_colour_without_red_and_green_and_in_marker():
    arms = ["demonstrations", "task_only", "profile", "shuffled_demonstrations"]
    styles = theme.find_styles(arms)
    seen = [see_without_green(colour) for colour, _ in styles.values()]
    distances = [np.linalg.norm(one - other) for one, other in combinations(seen, 2)]
    assert min(distances) > 20  # two of one colour: 0; black and white: 100
    assert len({marker for _, marker in styles.values()}) == 4


def measure_luminance(colour):
    value = np.array(to_rgb(colour))
    light = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    return light @ [0.2126, 0.7152, 0.0722]


def test_numbers_in_cells_can_be_read_on_the_darkest_and_row_labels_lie_flat():
    systems = ["real", "task_only", "profile", "demonstrations"]
    between = pd.DataFrame(0.693, systems, systems) - np.eye(4) * 0.693
    axes = plots.plot_between(between)
    axes.figure.canvas.draw()
    darkest = min(map(measure_luminance, axes.collections[0].get_facecolors()[:, :3]))
    for number in axes.texts:
        assert (darkest + 0.05) / (measure_luminance(number.get_color()) + 0.05) >= 4.5
    labels = [label.get_window_extent() for label in axes.get_yticklabels()]
    assert not any(one.overlaps(other) for one, other in combinations(labels, 2))


def test_a_value_and_its_interval_are_one_field():
    table = pd.DataFrame(
        {"js": [0.1, 0.2], "ci_low": [0.05, None], "ci_high": [0.15, None]}
        | {"rate": [0.5, None], "rate_low": [0.25, None], "rate_high": [0.75, None], "floor_high": [1, 2]}
    )
    shown = theme.join_intervals(table)
    assert shown.to_dict("list") == {
        "js": [0.1, 0.2],
        "95% interval": ["0.05 to 0.15", ""],
        "rate": ["0.5 (0.25 to 0.75)", ""],
        "floor_high": [1, 2],
    }


def test_a_figure_is_described_by_its_words_and_an_empty_table_is_a_sentence():
    rows = {"rate": [0.4], "ci_low": 0.3, "ci_high": 0.5, "n": 30, "n_failed": 0}
    figure = plots.plot_annotators(pd.DataFrame(rows, index=['<"me">'])).figure
    words = 'Odd one out. share found, 95% interval. <"me"> (n = 30)'
    shown, about = theme.render_figure(figure)
    assert about["image/png"]["alt"].startswith(words) and f'alt="{escape(words)}' in shown["text/html"]
    assert theme.render_table(pd.DataFrame(columns=["a"])) == "<p>No rows: nothing was measured here.</p>"
    html = theme.render_table(pd.DataFrame({"share": [0.5, np.nan], "error": [None, "late"]}))
    assert "NaN" not in html and "None" not in html and "0.5" in html and "late" in html
