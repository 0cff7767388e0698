"""Figures of little: no commands, no users."""

import pandas as pd

from realusersim_nb import plots, profiles
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
    assert len(axes.lines) == 5 and "120 users" in axes.get_title(loc="center")
