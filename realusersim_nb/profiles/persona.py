"""A profile as what a simulator follows, and as a table."""

from collections.abc import Iterable
from sys import intern

import pandas as pd

from realusersim_nb.records import Persona, Profile


def make_persona(profile: Profile, *, examples: bool = True) -> Persona:
    """What a simulator follows of a profile: background, facts, then one line a command with its examples."""
    facts = [f"{name}: {fact.value}" for name, fact in profile.demographics.items()]
    lines = [(line, [], []) for line in [profile.background, *facts] if line]
    lines += [
        (f"- {c.command}", *([c.examples, c.without] if examples else [[], []])) for c in profile.commands
    ]
    lines = lines or [("- Nothing sets this person apart from others.", [], [])]
    instructions, shown, without = zip(*lines, strict=True)
    return Persona(instructions=instructions, examples=shown, without=without)


def render_profile(profile: Profile, *, examples: bool = True) -> str:
    """The same as text."""
    return make_persona(profile, examples=examples).render()


def tabulate_commands(profiles: Iterable[Profile]) -> pd.DataFrame:
    """One row a command: user_id, dimension, command, examples (count), and the figures of its evidence."""
    figures = "feature value low high population percentile n sureness".split()
    rows = [
        [intern(p.user_id), intern(c.dimension), intern(c.command), n_examples, *shown]
        for p in profiles
        for c in p.commands
        for n_examples in [len(c.examples) + len(c.without)]
        for shown in [[intern(v) if isinstance(v, str) else v for v in map(c.evidence.get, figures)]]
    ]
    return pd.DataFrame(rows, columns=["user_id", "dimension", "command", "examples", *figures])
