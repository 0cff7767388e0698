"""Commands: what a habit is in words, with how often, and which of a user's habits are said.

``commands.csv`` has a sentence for the high and the low end of a feature; no sentence where that end is no
trait (most people never say please) or does not hold in conversations that were not seen (``reliability``,
notebook 02).
"""

import csv
from collections.abc import Mapping
from importlib.resources import files

import numpy as np
import pandas as pd

from realusersim_nb import style
from realusersim_nb.profiles.rates import Population, Prior, find_habits

MAX_COMMANDS = 15  # the paper's
MAX_PER_DIMENSION = 4  # ours: features of one dimension overlap
USUAL = 1.28  # standard deviations around the mean that hold 80% of a user's messages

with (files("realusersim_nb.profiles") / "commands.csv").open(encoding="utf-8", newline="") as table:
    COMMANDS = {row["feature"]: row for row in csv.DictReader(table)}
COMMANDED = [feature for feature in style.FEATURES if feature.name in COMMANDS]


def describe_features() -> pd.DataFrame:
    """One row a feature (index): dimension, range, what its measure is, the commands at its two ends."""
    rows = {}
    for feature in style.FEATURES:
        command = COMMANDS.get(feature.name, {"high": "", "low": ""})
        ends = [command[end].format(value="N", low="N", high="N") or "(none)" for end in ("high", "low")]
        rows[feature.name] = (feature.dimension, "words" if feature.is_count else "0..1", *ends)
    columns = ["dimension", "range", "command at the high end", "at the low end"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns).rename_axis("feature")


def choose_habits(messages: pd.DataFrame, population: Population, **settings: float) -> pd.DataFrame:
    """The habits that become commands (``rates.find_habits``): at most 4 a dimension and 15 in all of a user.

    The surest come first; those that have no sentence are left out.
    """
    habits = find_habits(messages, population, COMMANDED, **settings)
    ends = np.where(habits["is_high"], "high", "low")
    has_sentence = [bool(COMMANDS[f][end]) for f, end in zip(habits["feature"], ends, strict=True)]
    habits = habits[np.array(has_sentence, dtype=bool)]
    dimensions = habits["feature"].map({f.name: f.dimension for f in COMMANDED})
    habits = habits[habits.groupby(["user", dimensions]).cumcount() < MAX_PER_DIMENSION]
    return habits[habits.groupby("user").cumcount() < MAX_COMMANDS]


def word_command(habit: Mapping, prior: Prior) -> str:
    """The sentence of a habit with its dose, as ``"Say please: in about 3 of 10 messages."``."""
    row = COMMANDS[habit["feature"]]
    text = row["high" if habit["is_high"] else "low"]
    if prior.within:
        low, high = find_usual(habit, prior)
        return text.format(value=round(habit["value"]), low=low, high=high) + "."
    share = habit["value"] if habit["is_high"] else 1 - habit["value"]
    return f"{text}: {word_share(share, row['unit'])}."


def word_share(share: float, unit: str = "messages") -> str:
    """How often, in words: ``"nearly always"``, ``"in about 3 of 10 messages"``."""
    if share >= 0.95:
        return "nearly always"
    if share >= 0.075:
        return f"in about {max(round(10 * share), 1)} of 10 {unit}"
    return f"in about 1 of {20 if share >= 0.035 else 50} {unit}"


def find_usual(habit: Mapping, prior: Prior) -> tuple[int, int]:
    """The numbers of words between which 80% of a user's messages lie."""
    factor = np.exp(USUAL * prior.within)
    return max(round(habit["value"] / factor), 1), round(habit["value"] * factor)


def list_evidence(habit: Mapping) -> dict[str, str | int | float]:
    """The figures behind a command: value, interval, population's middle, percentile, n, sureness."""
    numbers = {
        name: round(float(habit[name]), 3) for name in ("value", "low", "high", "population", "percentile")
    }
    return {
        "feature": habit["feature"],
        **numbers,
        "n": int(habit["n"]),
        "sureness": round(habit["sureness"], 3),
    }
