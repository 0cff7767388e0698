"""Profiles of real users, simulated users grounded in them, and what the difference measures.

Data flows one way: corpus -> profiles -> simulators -> (pt3 | gap | agents) -> summary.
Start with ``notebooks/00_start_here.ipynb``.
"""

__version__ = "0.1.0"


class StudyStopped(RuntimeError):
    """What no further call can get past (a wrong key, no money, a damaged cache); its text says what to do."""
