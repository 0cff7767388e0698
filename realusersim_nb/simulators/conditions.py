"""The arms (conditions): what a simulated user reads about *how* the person writes.

Goal, assistant and seeds are the same for all arms of a case, so arms can be compared in pairs. To add an
arm, add a line to ``ARMS`` and put its text into ``prompts/``.
"""

from collections.abc import Callable, Iterable

from realusersim_nb.corpus.splits import assign_others
from realusersim_nb.errors import InputError
from realusersim_nb.profiles.persona import make_persona
from realusersim_nb.prompts.fill import fill_prompt
from realusersim_nb.records import Case, Persona, Profile

TRAIT_DIRECTIVES = ("terse", "chatty", "polite", "casual", "impatient", "angry", "confused")
"""Directives for one trait each, as benchmarks write them; ``agents.directives`` measures their effect."""


def use_prompt(name: str) -> Callable[[Profile, Profile], Persona]:
    """An arm whose persona is a prompt file, the same for everybody."""
    return lambda profile, other: Persona(instructions=fill_prompt(name).split("\n"))


def write_placebo(profile: Profile) -> Persona:
    """Neutral text, repeated and cut to the length of the profile's in characters."""
    text, n = fill_prompt("persona_placebo"), len(make_persona(profile).render())
    return Persona(instructions="\n".join([text] * (n // len(text) + 1))[:n].split("\n"))


ARMS: dict[str, Callable[[Profile, Profile], Persona]] = {
    "profile": lambda profile, other: make_persona(profile),
    "profile_no_examples": lambda profile, other: make_persona(profile, examples=False),
    "shuffled_profile": lambda profile, other: make_persona(other),
    "placebo": lambda profile, other: write_placebo(profile),
    "directive": use_prompt("persona_directive"),
    **{trait: use_prompt(f"directive_{trait}") for trait in TRAIT_DIRECTIVES},
    "task_only": use_prompt("persona_task_only"),
}
"""The persona of each arm, from the user's profile and somebody else's; in the order of figures."""
REFERENCE_ARMS = ["same_user", "oracle", "other_user", "do_nothing", "real_floor"]
ARM_ORDER = ["same_user", "oracle", *ARMS, "stock", "other_user", "do_nothing", "real", "real_floor"]


def check_arms(arms: Iterable[str], known: Iterable[str] = ARMS) -> None:
    """InputError for the first arm that does not exist."""
    if unknown := [arm for arm in arms if arm not in known]:
        raise InputError(f"arm {unknown[0]!r} does not exist: expected some of {', '.join(known)}.")


def write_personas(arm: str, cases: list[Case], profiles: dict[str, Profile], *, seed: int) -> list[Persona]:
    """The persona of each case under an arm; ``profiles`` by user, or for one case by its id."""
    others = assign_others([case.user_id for case in cases], seed=seed)
    pairs = [(profiles.get(c.case_id) or profiles[c.user_id], profiles[others[c.user_id]]) for c in cases]
    return [ARMS[arm](profile, other) for profile, other in pairs]


def find_position(name: str) -> int:
    """The place of an arm or reference arm in every figure and table; unknown names come last."""
    return ARM_ORDER.index(name) if name in ARM_ORDER else len(ARM_ORDER)


def sort_arms(names: Iterable[str]) -> list[str]:
    """Arms and reference arms in that order."""
    return sorted(names, key=lambda name: (find_position(name), name))
