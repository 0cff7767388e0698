"""Figures of little: no commands, no users."""

from realusersim_nb import plots, profiles
from realusersim_nb.records import Profile


def test_coverage_of_profiles_without_a_command_is_zero_in_all_dimensions():
    silent = [Profile(user_id="u", commands=[], source_conversations=[])]
    axes = plots.plot_coverage(profiles.tabulate_commands(silent), len(silent))
    assert [bar.get_width() for bar in axes.patches] == [0.0] * 8
