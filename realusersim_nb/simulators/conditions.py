"""Kinds of simulated user (arms) and the conversations they have (roll-outs).

An arm decides only what the simulator is told about *how* a person writes; the goal, the
assistant and the seeds are the same for all arms of a case, so arms can be compared in pairs.
To add an arm, add a line to ``ARMS`` and put its text into ``prompts/``.
"""

from collections.abc import Callable, Iterable

import pandas as pd

from realusersim_nb.corpus.splits import assign_others
from realusersim_nb.errors import InputError
from realusersim_nb.profiles.persona import render_profile
from realusersim_nb.prompts.fill import fill_prompt
from realusersim_nb.records import Case, Profile

# --- arms --------------------------------------------------------------------------------------

TRAIT_DIRECTIVES = ("terse", "chatty", "polite", "casual", "impatient", "angry", "confused")
"""Directives for one trait each, as benchmarks write them by hand; ``directives`` measures what becomes of them."""
ARMS: dict[str, Callable[[Profile, Profile], str]] = {
    "profile": lambda own, other: render_profile(own),
    "profile_no_examples": lambda own, other: render_profile(own, examples=False),
    "shuffled_profile": lambda own, other: render_profile(other),
    "placebo": lambda own, other: fill_to_length(fill_prompt("persona_placebo"), len(render_profile(own))),
    "directive": lambda own, other: fill_prompt("persona_directive"),
    **{name: lambda own, other, name=name: fill_prompt(f"directive_{name}") for name in TRAIT_DIRECTIVES},
    "task_only": lambda own, other: fill_prompt("persona_task_only"),
}
"""What each arm is told of how the person writes, from their own and somebody else's profile; in the order of figures."""


def fill_to_length(text: str, n: int) -> str:
    """So many characters of a text, which begins anew where it ends."""
    return "\n".join([text] * (n // len(text) + 1))[:n]


def check_arms(arms: Iterable[str], known: Iterable[str] = ARMS) -> None:
    """ValueError naming the first arm that does not exist."""
    for arm in arms:
        if arm not in known:
            raise InputError(f"arm {arm!r} does not exist: expected some of {', '.join(known)}.")


def write_personas(arm: str, cases: list[Case], own: dict[str, Profile], *, seed: int) -> list[str]:
    """The persona text of each case under an arm; ``own`` has profiles by user, or for one case by its id."""
    others = assign_others([case.user_id for case in cases], seed=seed)
    return [ARMS[arm](own.get(c.case_id) or own[c.user_id], own[others[c.user_id]]) for c in cases]


REFERENCE_ARMS = ["same_user", "oracle", "other_user", "do_nothing", "real_floor"]
ARM_ORDER = ["same_user", "oracle", *ARMS, "stock", "other_user", "do_nothing", "real", "real_floor"]


def find_position(name: str) -> int:
    """The place of an arm or bound in every figure and table; unknown names come last."""
    return ARM_ORDER.index(name) if name in ARM_ORDER else len(ARM_ORDER)


def sort_arms(names: pd.Index) -> list[str]:
    """Arms and bounds in that order."""
    return sorted(names, key=lambda name: (find_position(name), name))
