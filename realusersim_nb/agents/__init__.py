"""tau2-bench agents with simulated users: runs, scores, and why runs fail.

What is listed here needs no tau2-bench. Notebook 04 imports the other modules by name; ``environment``,
``participants`` and ``runner``, and ``failures`` where a run has failed, need the extra ``agents``.
"""

import os

# read by tau2-bench's imports, which would fetch prices of models and log every message to stderr
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
os.environ.setdefault("LOGURU_AUTOINIT", "False")

from realusersim_nb.agents.attribution import attribute_runs, count_blames, score_valid
from realusersim_nb.agents.directives import (
    TRAIT_QUANTILE,
    TRAITS,
    measure_amplification,
    measure_openings,
    measure_real_traits,
    measure_simulator_spread,
    measure_traits,
    split_traits,
)
from realusersim_nb.agents.disclosure import (
    accumulate_disclosure,
    describe_scenario,
    list_required_slots,
    trace_slots,
)
from realusersim_nb.agents.scores import (
    adjust_for_covariates,
    compare_success,
    describe_arms,
    describe_pair,
    drop_repeats,
    list_conversations,
    measure_flips,
    measure_leaving,
    measure_pass_k,
    pool_runs,
    score_success,
    tabulate_runs,
)

__all__ = ["TRAITS", "TRAIT_QUANTILE", "measure_amplification", "measure_openings"]
__all__ += ["measure_real_traits", "measure_simulator_spread", "measure_traits", "split_traits"]
__all__ += ["accumulate_disclosure", "describe_scenario", "list_required_slots", "trace_slots"]
__all__ += ["adjust_for_covariates", "compare_success", "describe_arms", "describe_pair", "drop_repeats"]
__all__ += ["attribute_runs", "count_blames", "score_valid"]
__all__ += ["list_conversations", "measure_leaving"]
__all__ += ["measure_flips", "measure_pass_k", "pool_runs", "score_success", "tabulate_runs"]
