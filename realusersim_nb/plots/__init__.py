"""Figures: one function a figure, a DataFrame in, matplotlib axes out."""

from realusersim_nb.plots.agents import plot_amplification, plot_disclosure, plot_mechanisms
from realusersim_nb.plots.comparison import (
    plot_agreement,
    plot_board,
    plot_ceiling,
    plot_settings,
    plot_sizes,
)
from realusersim_nb.plots.fidelity import (
    plot_differences,
    plot_dimensions,
    plot_formalism,
    plot_power,
    plot_rates,
)
from realusersim_nb.plots.gap import (
    plot_annotators,
    plot_behaviours,
    plot_between,
    plot_calibration,
    plot_conversation_map,
    plot_facets,
    plot_gaps,
    plot_probes,
    plot_shifts,
)
from realusersim_nb.plots.profiles import (
    plot_candidates,
    plot_coverage,
    plot_funnel,
    plot_holding,
    plot_identification,
    plot_reliability,
    plot_spread,
    plot_topics,
    plot_user_map,
)
from realusersim_nb.plots.published import AGENT_SHIFT, FIDELITY, mark_people
from realusersim_nb.plots.theme import find_styles, set_style, show_table

__all__ = ["plot_amplification", "plot_disclosure", "plot_mechanisms"]
__all__ += ["plot_agreement", "plot_board", "plot_ceiling", "plot_settings", "plot_sizes"]
__all__ += ["plot_differences", "plot_dimensions", "plot_formalism", "plot_power", "plot_rates"]
__all__ += ["plot_behaviours", "plot_between", "plot_conversation_map", "plot_facets", "plot_gaps"]
__all__ += ["plot_candidates", "plot_coverage", "plot_funnel", "plot_holding"]
__all__ += ["plot_identification", "plot_reliability"]
__all__ += ["plot_annotators", "plot_calibration", "plot_probes", "plot_shifts", "plot_spread"]
__all__ += ["AGENT_SHIFT", "FIDELITY", "mark_people"]
__all__ += ["find_styles", "plot_topics", "plot_user_map", "set_style", "show_table"]
