"""The arms (conditions): what a simulated user reads about *how* the person writes.

Goal, assistant and seeds are the same for all arms of a case, so arms can be compared in pairs. To add an
arm, add a line to ``ARMS`` and put its text into ``prompts/``.
"""

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from realusersim_nb.corpus.splits import assign_others
from realusersim_nb.errors import InputError
from realusersim_nb.profiles.persona import make_persona
from realusersim_nb.prompts.fill import fill_prompt
from realusersim_nb.records import Case, Persona, Profile

N_CANDIDATES = 4  # of a message, in the calibrated arm (ours)
TRAIT_DIRECTIVES = ("terse", "chatty", "polite", "casual", "impatient", "angry", "confused")
"""Directives for one trait each, as benchmarks write them; ``agents.directives`` measures their effect."""


def use_prompt(name: str) -> Callable[[Profile, Profile], Persona]:
    """An arm whose persona is a prompt file, the same for everybody."""
    return lambda profile, other: Persona(instructions=fill_prompt(name).split("\n"))


def write_placebo(profile: Profile) -> Persona:
    """Neutral text, repeated and cut to the length of the profile's in characters."""
    text, n = fill_prompt("persona_placebo"), len(make_persona(profile).render())
    return Persona(instructions="\n".join([text] * (n // len(text) + 1))[:n].split("\n"))


def show_messages(profile: Profile, *, like: Profile | None = None, more: Persona | None = None) -> Persona:
    """A persona of demonstrations, after what ``more`` says; InputError for a profile that has none.

    ``like``: no more of them than that profile has, so that a control is shown as many.
    """
    shown = profile.demonstrations[: len(like.demonstrations) if like else None]
    if not shown:
        advice = "of users without messages of their own (released profiles) take other arms"
        raise InputError(f"user {profile.user_id!r} has no demonstrations: {advice}.")
    before = more or Persona()
    lines = [*before.instructions, *fill_prompt("persona_demonstrations").split("\n")]
    return Persona(facts=before.facts, instructions=lines, examples=before.examples, demonstrations=shown)


Arm = Callable[[Profile, Profile], Persona]
ARMS: dict[str, Arm] = {
    "demonstrations": lambda profile, other: show_messages(profile),
    "profile_demonstrations": lambda profile, other: show_messages(profile, more=make_persona(profile)),
    "calibrated_demonstrations": lambda profile, other: show_messages(profile).model_copy(
        update={"n_candidates": N_CANDIDATES}
    ),
    "shuffled_demonstrations": lambda profile, other: show_messages(other, like=profile),
    "profile": lambda profile, other: make_persona(profile),
    "profile_no_examples": lambda profile, other: make_persona(profile, examples=False),
    "shuffled_profile": lambda profile, other: make_persona(other),
    "placebo": lambda profile, other: write_placebo(profile),
    "directive": use_prompt("persona_directive"),
    **{trait: use_prompt(f"directive_{trait}") for trait in TRAIT_DIRECTIVES},
    "task_only": lambda profile, other: Persona(
        instructions=fill_prompt("persona_task_only").split("\n"), framed=False
    ),
}
"""The persona of each arm, from the user's profile and somebody else's; in the order of figures."""
PROMPT = "prompt:"  # before the path of a simulator prompt of the reader's own, which makes an arm
REFERENCE_ARMS = ["same_user", "oracle", "other_user", "do_nothing", "real_floor"]
IN_WORDS = {
    "demonstrations": "the person's earlier messages",
    "profile_demonstrations": "the person's profile and earlier messages",
    "calibrated_demonstrations": "the person's earlier messages (calibrated)",
    "shuffled_demonstrations": "somebody else's messages",
    "profile": "the person's profile",
    "profile_no_examples": "the person's profile without examples",
    "shuffled_profile": "somebody else's profile",
    "placebo": "neutral text of the same length",
    "directive": "a hand-written directive",
    "task_only": "nothing about the person",
    "stock": "tau2-bench's instructions",
    "stock_corrected": "tau2-bench's instructions and a corrected stop rule",
    "same_user": "the real person",
    "other_user": "a real stranger",
}
"""What the model is given in each arm, or who is in its place, for sentences."""
ARM_ORDER = ["same_user", "oracle", *ARMS, "stock", "stock_corrected"]
ARM_ORDER += ["other_user", "do_nothing", "real", "real_floor"]


def check_arms(arms: Iterable[str], known: Iterable[str] = ARMS) -> None:
    """InputError for the first arm that does not exist, or whose prompt file cannot be used."""
    for arm in arms:
        if arm.startswith(PROMPT):
            read_template(arm)
        elif arm not in known:
            expected = f"expected some of {', '.join(known)}, {PROMPT}FILE"
            raise InputError(f"arm {arm!r} does not exist: {expected}.")


def read_template(arm: str) -> str:
    """The prompt of an arm ``prompt:FILE``; InputError without the file, or without ``{goal}`` in it."""
    path = Path(arm.removeprefix(PROMPT))
    try:
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"arm {arm!r}: {path} cannot be read ({error}); name a text file.") from error
    if "{goal}" not in text:
        raise InputError(f"arm {arm!r}: {path} has no {{goal}}, where what the user wants is put; add it.")
    return text


def use_template(template: str, profile: Profile, other: Profile) -> Persona:
    """The persona of a reader's own prompt, with what fills its fields."""
    return make_persona(profile).model_copy(
        update={"template": template, "demonstrations": profile.demonstrations}
    )


def find_arm(arm: str) -> Arm:
    """The function that writes an arm's persona."""
    return partial(use_template, read_template(arm)) if arm.startswith(PROMPT) else ARMS[arm]


def needs_demonstrations(arms: Iterable[str]) -> bool:
    """Whether one of the arms shows the person's own messages."""
    return any(
        "demonstrations" in arm or (arm.startswith(PROMPT) and "{examples}" in read_template(arm))
        for arm in arms
    )


def write_personas(arm: str, cases: list[Case], profiles: dict[str, Profile], *, seed: int) -> list[Persona]:
    """The persona of each case under an arm; ``profiles`` by user, or for one case by its id."""
    others = assign_others([case.user_id for case in cases], seed=seed)
    pairs = [(profiles.get(c.case_id) or profiles[c.user_id], profiles[others[c.user_id]]) for c in cases]
    return [find_arm(arm)(profile, other) for profile, other in pairs]


def describe_arm(name: str) -> str:
    """What a simulated user is given under an arm, in words."""
    return IN_WORDS.get(name, f"the arm {name}")


def describe_system(name: str) -> str:
    """A population of conversations in words: users simulated under an arm, or a name from outside."""
    return f"users given {IN_WORDS[name]}" if name in IN_WORDS else name


def find_position(name: str) -> int:
    """The place of an arm or reference arm in every figure and table; unknown names come last."""
    return ARM_ORDER.index(name) if name in ARM_ORDER else len(ARM_ORDER)


def sort_arms(names: Iterable[str]) -> list[str]:
    """Arms and reference arms in that order."""
    return sorted(names, key=lambda name: (find_position(name), name))
