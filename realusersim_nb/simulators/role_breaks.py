"""Role breaks: how a simulated user leaves its role, detected by rules, without a model.

A conversation with a role break shows nothing of how well a person was imitated: it is counted by kind and
kept out of the rates. The rules are ours, and seldom fire on real people; the same table has their rate on
real conversations, which are all false alarms.
"""

import re
from collections.abc import Iterable
from typing import Literal, get_args

import pandas as pd

from realusersim_nb.llm.replies import has_reasoning_marks
from realusersim_nb.prompts.fill import read_prompt
from realusersim_nb.records import Conversation
from realusersim_nb.text import mark_repeats, measure_longest_copy

RoleBreak = Literal[
    "says nothing",
    "shows its reasoning",
    "recites its prompt",
    "answers as the assistant",
    "repeats itself",
    "writes too much",
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


def find_role_break(texts: list[str], instructions: Iterable[str] = ()) -> RoleBreak | None:
    """The first kind of role break in a user's messages, if any; ``instructions``: those of its persona."""
    if not any(text.strip() for text in texts):
        return "says nothing"
    if any(len(text.split()) > MAX_WORDS for text in texts):
        return "writes too much"
    if any(has_reasoning_marks(text) for text in texts):
        return "shows its reasoning"
    prompts = [read_prompt(name).template for name in ("user_turn", "user_plan", "user_roles")]
    if any(measure_longest_copy(text, [*prompts, *instructions]) >= RECITED_WORDS for text in texts):
        return "recites its prompt"
    if any(ASSISTANT.search(text) for text in texts):
        return "answers as the assistant"
    repeats = mark_repeats(texts)
    return "repeats itself" if sum(repeats) > 1 and 2 * sum(repeats) > len(repeats) else None


def tabulate_role_breaks(transcripts: list[Conversation]) -> pd.DataFrame:
    """Conversations of each arm by kind of role break: one row an arm, with ``n`` and ``any``."""
    ended = [t for t in transcripts if not t.error]
    kinds = [t.role_break or (t.ended_by == "real" and find_role_break(t.user_messages)) for t in ended]
    arms = pd.Series([t.arm for t in ended], name="arm", dtype=object)
    counts = pd.crosstab(arms, pd.Series([kind or "none" for kind in kinds], dtype=object))
    counts = counts.reindex(index=arms.unique(), columns=get_args(RoleBreak), fill_value=0)
    counts = counts.assign(any=counts.sum(axis=1)).rename_axis(columns=None)
    counts.insert(0, "n", arms.value_counts())
    return counts
