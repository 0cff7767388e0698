"""tau2-bench agents under each kind of simulated user: runs, scores, and why runs fail.

``environment``, ``participants``, ``runner``, ``failures`` and ``user_errors`` need tau2-bench (the extra ``agents``), so notebook
04 imports them by name; what is listed here reads the tables of finished runs and needs no tau2-bench.
"""

import os

# read by tau2-bench's own imports: its prices would be fetched, and every message logged to stderr
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
os.environ.setdefault("LOGURU_AUTOINIT", "False")

from realusersim_nb.agents.directives import (
    TOP,
    TRAITS,
    measure_amplification,
    measure_openings,
    measure_real_traits,
    measure_simulator_spread,
    measure_traits,
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
    measure_pass_k,
    pool_runs,
    score_success,
    tabulate_runs,
)

__all__ = [
    "TOP",
    "TRAITS",
    "accumulate_disclosure",
    "adjust_for_covariates",
    "compare_success",
    "describe_arms",
    "describe_scenario",
    "list_required_slots",
    "measure_amplification",
    "measure_openings",
    "measure_pass_k",
    "measure_real_traits",
    "measure_simulator_spread",
    "measure_traits",
    "pool_runs",
    "score_success",
    "tabulate_runs",
    "trace_slots",
]
