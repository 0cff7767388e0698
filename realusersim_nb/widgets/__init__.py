"""Browsers for JupyterLab; each shows a static page where widgets cannot run."""

from realusersim_nb.widgets.agent_runs import browse_runs, show_run
from realusersim_nb.widgets.behaviours import browse_behaviours, find_odd_ones
from realusersim_nb.widgets.cases import browse_cases, label_pairs
from realusersim_nb.widgets.profiles import browse_profiles, watch_profile
from realusersim_nb.widgets.stage import Stage, compare_openings

__all__ = ["browse_behaviours", "browse_runs", "find_odd_ones", "show_run"]
__all__ += ["browse_cases", "browse_profiles", "label_pairs", "watch_profile"]
__all__ += ["Stage", "compare_openings"]
