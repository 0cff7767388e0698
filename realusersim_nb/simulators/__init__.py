"""Simulated users: the arms (what each reads about style), their messages, whole conversations."""

from realusersim_nb.simulators.conditions import (
    ARMS,
    TRAIT_DIRECTIVES,
    check_arms,
    needs_demonstrations,
    write_personas,
)
from realusersim_nb.simulators.demonstrations import add_demonstrations, keep_demonstrable
from realusersim_nb.simulators.role_breaks import tabulate_role_breaks
from realusersim_nb.simulators.rollouts import (
    describe_rollouts,
    group_by_arm,
    roll_out,
    roll_out_arms,
    tabulate_rollouts,
)
from realusersim_nb.simulators.users import Simulator

__all__ = ["ARMS", "TRAIT_DIRECTIVES", "Simulator", "check_arms", "tabulate_role_breaks", "write_personas"]
__all__ += [
    "add_demonstrations",
    "describe_rollouts",
    "group_by_arm",
    "keep_demonstrable",
    "needs_demonstrations",
    "roll_out",
    "roll_out_arms",
    "tabulate_rollouts",
]
