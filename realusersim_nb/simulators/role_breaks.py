"""Role breaks: how a simulated user leaves its role, detected by rules, without a model.

A message with a role break is asked for again; a conversation that keeps one shows nothing of how well a
person was imitated: it is counted by kind and kept out of the rates. The rules are ours, and seldom fire on
real people; the same table has their rate on real conversations, which are all false alarms.
"""

import re
from collections.abc import Iterable
from typing import Literal, get_args

import pandas as pd

from realusersim_nb.llm.replies import has_reasoning_marks
from realusersim_nb.prompts.fill import read_prompt
from realusersim_nb.records import Conversation, Persona
from realusersim_nb.text import measure_longest_copy, split_words

RoleBreak = Literal[
    "says nothing",
    "recites its prompt",
    "copies an example",
    "answers as the assistant",
    "thinks aloud",
    "repeats itself",
    "writes too much",
]
RECITED_WORDS = 8  # in a row, of the instructions or of an example
WHOLE_WORDS = 4  # of a message that as a whole is an example, or an earlier message
MAX_WORDS = 1000  # of one message
PROMPTS = ["user_turn", "user_plan", "user_roles", "persona_demonstrations"]
ASSISTANT = re.compile(
    r"\bas an? (ai|artificial intelligence|large language model|language model)\b"
    r"|\b(how|what) (can|may) i (help|assist|do for)\b( you)?"
    r"|\bi('d| would) be (happy|glad) to (help|assist)\b"
    r"|\b(i hope (this|that) helps|let me know if (you|there)|feel free to (ask|reach|contact|let))\b"
    r"|^\W*(sure|certainly|of course|absolutely|great|got it)\b[^.?\n]{0,20}[,!.:]+ "
    r"(here|below|how about|i can|i will|i'll|i'd|let me|to )"
    r"|^\W*(here('s| is| are)|below (is|are)|the following (is|are)) (?!my\b)[^?\n]{0,120}:"
    r"|\bi('m| am) sorry,? but i('m| am)? (can't|cannot|can not|unable|not able)\b"
    r"|^\W*(you can|to [a-z]+[^.?\n]{0,80}, you (can|need|should|will))\b"
    r"|^\W*i (understand|see) (that )?(you|your)\b"
    r"|^\W*(certainly|of course|absolutely|acknowledged)\b|\bwhat would you like\b",
    re.IGNORECASE,
)
ABOUT_ITSELF = re.compile(
    r"\W*the (user|person) "
    r"(wants?|asks?|asked|is|requests?|types?|objects?|seeks?|explains?|needs?|says?)\b",
    re.IGNORECASE,
)
THINKING = re.compile(
    r"</?(think|thinking|reasoning)>|^\W*(thinking process|thoughts?|reasoning)\s*:", re.I | re.M
)


def find_role_break(texts: list[str], persona: Persona | None = None) -> RoleBreak | None:
    """The first kind of role break in a user's messages, if any; ``persona``: what the user was given."""
    if not any(text.strip() for text in texts):
        return "says nothing"
    breaks = (find_break(text, texts[:i], persona or Persona()) for i, text in enumerate(texts))
    return next(filter(None, breaks), None)


def find_break(text: str, before: Iterable[str], persona: Persona) -> RoleBreak | None:
    """The role break of one message, after those ``before``."""
    words = split_words(text)
    if len(words) > MAX_WORDS:
        return "writes too much"
    if THINKING.search(text) or has_reasoning_marks(text):
        return "thinks aloud"
    prompts = [*(read_prompt(name).template for name in PROMPTS), *persona.instructions]
    if ABOUT_ITSELF.match(text) or measure_longest_copy(text, prompts) >= RECITED_WORDS:
        return "recites its prompt"
    if ASSISTANT.search(text):
        return "answers as the assistant"
    shots = [] if persona.demonstrations else read_prompt("user_shots").template.split("\n")
    examples = (
        shots + [e for listed in persona.examples for e in listed] + [d.typed for d in persona.demonstrations]
    )
    whole = len(words) >= WHOLE_WORDS
    if measure_longest_copy(text, examples) >= (min(len(words), RECITED_WORDS) if whole else RECITED_WORDS):
        return "copies an example"
    return "repeats itself" if whole and words in map(split_words, before) else None


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
