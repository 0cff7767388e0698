"""TODO."""

import pandas as pd

from realusersim_nb.records import Profile

EXAMPLES_INTRO = " For instance, about other things:"


# --- reading a profile -------------------------------------------------------------------------


def render_profile(profile: Profile, *, examples: bool = True) -> str:
    """The profile as the text a simulator follows: background, facts, then one line a command."""
    lines = [profile.background] if profile.background else []
    lines += [f"{name}: {fact.value}" for name, fact in profile.demographics.items()]
    for c in profile.commands:
        shown = " / ".join(f'"{" ".join(e.split())}"' for e in c.examples) if examples else ""
        lines.append(f"- {c.command}" + (f"{EXAMPLES_INTRO} {shown}" if shown else ""))
    return "\n".join(lines) or "- Nothing sets this person apart from others."


def tabulate_commands(profiles: list[Profile]) -> pd.DataFrame:
    """One row a command: user_id, dimension, command, examples (count), feature, value, percentile, n."""
    figures = ["feature", "value", "percentile", "n"]
    rows = [
        [p.user_id, c.dimension, c.command, len(c.examples), *(c.evidence.get(name) for name in figures)]
        for p in profiles
        for c in p.commands
    ]
    return pd.DataFrame(rows, columns=["user_id", "dimension", "command", "examples", *figures])
