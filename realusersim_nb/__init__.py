"""Profiles of real users, simulated users grounded in them, and what the difference measures.

Data flows one way: corpus -> profiles -> simulators -> (pt3 | gap | agents) -> summary.
Start with ``notebooks/00_start_here.ipynb``.
"""

import os

# read by tau2-bench's own imports: its prices would be fetched, and every message logged to stderr
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
os.environ.setdefault("LOGURU_AUTOINIT", "False")

__version__ = "0.1.0"


class StudyStopped(RuntimeError):
    """What no further call can get past (a wrong key, no money, a damaged cache); its text says what to do."""
