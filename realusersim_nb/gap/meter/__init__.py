"""The meter: how unlike people the simulated users of any tool's transcripts are, on one page."""

from realusersim_nb.gap.meter.measurement import Comparison, Measurement, compare_system, measure_files
from realusersim_nb.gap.meter.results import (
    describe_in_lines,
    encode_measurement,
    list_exceeded,
    save_measurement,
)
from realusersim_nb.gap.meter.sides import PEOPLE

__all__ = ["PEOPLE", "Comparison", "Measurement", "compare_system", "measure_files"]
__all__ += ["describe_in_lines", "encode_measurement", "list_exceeded", "save_measurement"]
