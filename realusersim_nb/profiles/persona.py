"""A profile as what a simulator follows, and as a table."""

from collections.abc import Iterable, Sequence
from itertools import islice
from sys import intern

import pandas as pd

from realusersim_nb.records import Persona, Profile

CHUNK = 10_000  # rows that are lists at a time


def make_persona(profile: Profile, *, examples: bool = True) -> Persona:
    """What a simulator follows of a profile: background, facts, then one line a command with its examples."""
    facts = {name: fact.value for name, fact in profile.demographics.items()}
    about = [profile.background, *map(": ".join, facts.items())]
    lines = [(line, [], []) for line in about if line]
    lines += [
        (f"- {c.command}", *([c.examples, c.without] if examples else [[], []])) for c in profile.commands
    ]
    lines = lines or [("- Nothing sets this person apart from others.", [], [])]
    instructions, shown, without = zip(*lines, strict=True)
    return Persona(facts=facts, instructions=instructions, examples=shown, without=without)


def render_profile(profile: Profile, *, examples: bool = True) -> str:
    """The same as text."""
    return make_persona(profile, examples=examples).render()


def tabulate_commands(profiles: Iterable[Profile]) -> pd.DataFrame:
    """One row a command: user_id, dimension, command, examples (count), and the figures of its evidence."""
    figures = "feature value low high population percentile n sureness".split()
    rows = (
        [p.user_id, c.dimension, c.command, len(c.examples + c.without), *map(c.evidence.get, figures)]
        for p in profiles
        for c in p.commands
    )
    return tabulate(rows, ["user_id", "dimension", "command", "examples", *figures])


def tabulate(rows: Iterable[Sequence], columns: list[str]) -> pd.DataFrame:
    """A table of many rows, in which equal texts are one text in memory."""
    one_each = ([intern(value) if isinstance(value, str) else value for value in row] for row in rows)
    chunks = [pd.DataFrame(columns=columns)]
    while chunk := list(islice(one_each, CHUNK)):
        chunks.append(pd.DataFrame(chunk, columns=columns))
    table = pd.concat(chunks[1:] or chunks, ignore_index=True)
    return table.astype(dict.fromkeys(table.select_dtypes("int64"), "int32"))
