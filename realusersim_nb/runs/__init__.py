"""Run folders, notebooks run headless, summaries, reports, sweeps and the leaderboard."""

from realusersim_nb.runs.folders import start_notebook
from realusersim_nb.runs.leaderboard import (
    MEASURES,
    compare_measures,
    compare_settings,
    list_sizes,
    measure_ceiling,
    rank_simulators,
    read_settings,
)
from realusersim_nb.runs.summary import collect_measures, collect_table, find_runs, pivot_measures

__all__ = [
    "MEASURES",
    "collect_measures",
    "collect_table",
    "compare_measures",
    "compare_settings",
    "find_runs",
    "list_sizes",
    "measure_ceiling",
    "pivot_measures",
    "rank_simulators",
    "read_settings",
    "start_notebook",
]
