"""Run folders, notebooks run headless, summaries, reports, sweeps and the leaderboard."""

from realusersim_nb.runs.findings import show_headline
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

__all__ = ["MEASURES", "compare_measures", "compare_settings", "list_sizes", "start_notebook"]
__all__ += ["measure_ceiling", "rank_simulators", "read_settings", "show_headline"]
__all__ += ["collect_measures", "collect_table", "find_runs", "pivot_measures"]
