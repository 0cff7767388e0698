"""Profiles of real users, simulated users grounded in them, and what the difference measures.

Data flows one way: corpus -> profiles -> simulators -> (pt3 | agents | gap) -> runs -> plots, widgets.
Start with ``notebooks/00_start_here.ipynb``, or with one of the three calls of ``runs.shortcuts``.
"""

__version__ = "0.1.0"
CALLS = ["measure", "profiles_of", "simulate"]


def __getattr__(name: str):
    if name not in CALLS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from realusersim_nb.runs import shortcuts  # only now: a start takes its time

    return getattr(shortcuts, name)
