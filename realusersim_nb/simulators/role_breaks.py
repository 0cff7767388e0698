"""How a simulated user falls out of its part, recognised by rule, without a model.

A conversation with a lapse says nothing about how well a person was imitated: it is counted by kind
and kept out of the rates. The rules are ours, made to fire seldom on real people; what they say of
real conversations stands in the same table, as their rate of false alarms.
"""

import re
from typing import Literal, get_args

import pandas as pd

from realusersim_nb.profiles.persona import EXAMPLES_INTRO
from realusersim_nb.prompts.fill import read_prompt
from realusersim_nb.records import Transcript, list_user_messages
from realusersim_nb.text import mark_repeats, measure_longest_copy

RoleBreak = Literal[
    "says nothing", "recites its prompt", "answers as the assistant", "repeats itself", "writes too much"
]
RECITED_WORDS = 8  # of the instructions in a row; of the examples any number may come (see `copied`)
MAX_WORDS = 1000  # of one message
ASSISTANT = re.compile(
    r"\bas an? (ai|artificial intelligence|large language model|language model)\b"
    r"|\bhow (can|may) i (help|assist) you\b"
    r"|\bi('d| would) be (happy|glad) to (help|assist)\b"
    r"|^\W*(sure|certainly|of course|absolutely)[,!.]+ (here|i can|i will|i'll|i'd|let me)\b"
    r"|^\W*here('s| is| are) (a|an|the|some|your) [^.?!\n]{0,80}:"
    r"|\bi('m| am) sorry,? but i('m| am)? (can't|cannot|can not|unable|not able)\b",
    re.IGNORECASE,
)


def find_role_break(texts: list[str], persona: str = "") -> RoleBreak | None:
    """The first kind of lapse that a user's messages show, if any; ``persona`` is what the simulator was told."""
    if not any(text.strip() for text in texts):
        return "says nothing"
    if any(len(text.split()) > MAX_WORDS for text in texts):
        return "writes too much"
    told = [read_prompt(name).template for name in ("user_turn", "user_plan", "user_roles")]
    told += [line.partition(EXAMPLES_INTRO)[0] for line in persona.splitlines()]
    if any(measure_longest_copy(text, told) >= RECITED_WORDS for text in texts):
        return "recites its prompt"
    if any(ASSISTANT.search(text) for text in texts):
        return "answers as the assistant"
    again = mark_repeats(texts)
    return "repeats itself" if sum(again) > 1 and 2 * sum(again) > len(again) else None


def tabulate_role_breaks(transcripts: list[Transcript]) -> pd.DataFrame:
    """How many conversations of each arm show each kind of lapse: one row an arm, with ``n`` and ``any``.

    Real conversations are tried by the same rules: theirs are false alarms.
    """
    rows = [
        {
            "arm": t.arm,
            "lapse": t.lapse
            or (find_role_break(list_user_messages(t.messages)) if t.ended_by == "real" else None),
        }
        for t in transcripts
        if not t.error
    ]
    table = pd.DataFrame(rows, columns=["arm", "lapse"])
    found = pd.crosstab(table["arm"], table["lapse"].fillna("none")).reindex(
        index=table["arm"].unique(), columns=get_args(RoleBreak), fill_value=0
    )
    found.insert(0, "n", table["arm"].value_counts())
    return found.assign(any=found[list(get_args(RoleBreak))].sum(axis=1)).rename_axis(columns=None)
