"""Profiles of real users, simulated users grounded in them, and what the difference measures.

Data flows one way: corpus -> profiles -> simulators -> (pt3 | agents | gap) -> runs -> plots, widgets.
Start with ``notebooks/00_start_here.ipynb``.
"""

__version__ = "0.1.0"
