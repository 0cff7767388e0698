"""Browsers for JupyterLab; each shows a static page where widgets cannot run."""

from realusersim_nb.widgets.agent_runs import browse_runs, show_run
from realusersim_nb.widgets.behaviours import browse_behaviours, find_odd_ones
from realusersim_nb.widgets.cases import browse_cases, label_pairs, render_cases
from realusersim_nb.widgets.profiles import browse_profiles, watch_profile
from realusersim_nb.widgets.stage import Stage, compare_openings

__all__ = ["Stage", "browse_behaviours", "browse_cases", "browse_profiles", "browse_runs"]
__all__ += ["compare_openings", "find_odd_ones", "label_pairs", "render_cases", "show_run", "watch_profile"]
