"""Role breaks: how a simulated user leaves its role, detected by rules, without a model.

A message with a role break is asked for again; a conversation that keeps one shows nothing of how well a
person was imitated: it is counted by kind and kept out of the rates. The rules are ours, and seldom fire on
real people; the same table has their rate on real conversations, which are all false alarms.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Literal, get_args

import pandas as pd

from realusersim_nb.llm.replies import has_reasoning_marks
from realusersim_nb.prompts.fill import read_prompt
from realusersim_nb.records import Conversation, Message, Persona
from realusersim_nb.text import measure_longest_copy, split_words

RoleBreak = Literal[
    "says nothing",
    "recites its prompt",
    "copies an example",
    "copies the reply",
    "answers as the assistant",
    "thinks aloud",
    "repeats itself",
    "writes too much",
]
RECITED_WORDS = 8  # in a row, of the instructions or of an example
WHOLE_WORDS = 4  # of a message that as a whole is an example, or an earlier message
SAME_OPENING = 3  # words of the goal's sentence at the head of a message: it was not put into their words
MAX_WORDS = 1000  # of one message
PROMPTS = (
    "user_turn user_turn_replied user_plan user_roles user_roles_manner persona_demonstrations"
).split()
ASSISTANT = re.compile(
    r"\bas an? (ai|artificial intelligence|large language model|language model)\b"
    r"|\b(how|what) (can|may) i (help|assist|do for)\b( you)?"
    r"|\bi('d| would) be (happy|glad) to (help|assist)\b"
    r"|\b(i hope (this|that) helps|let me know if (you|there)|feel free to (ask|reach|contact|let))\b"
    r"|^\W*(sure|certainly|of course|absolutely|great|got it)\b[^.?\n]{0,20}[,!.:]+ "
    r"(here|below|how about|i can|i will|i'll|i'd (be|suggest|recommend)|let me|to )(?![^.?\n]*\b(my|me)\b)"
    r"|^\W*(here('s| is| are)|below (is|are)|the following (is|are)) (?!my\b)[^?\n]{0,120}:"
    r"|\bi('m| am) sorry,? but i('m| am)? (can't|cannot|can not|unable|not able)\b"
    r"|^\W*(you can|to [a-z]+[^.?\n]{0,80}, you (can|need|should|will))\b"
    r"|^\W*i (understand|see) (that )?you(('re| are)? (want|need|looking|asking|interested|having)"
    r"|r (concern|frustration|question|request|situation)s?)\b"
    r"|^\W*(certainly|of course|absolutely|acknowledged)\b(?![^?\n]*\b(i|i'\w+|my|me)\b)"
    r"|\bwhat would you like\b",
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
ASKED = re.compile(
    r"the user (asks?|requests?|wants?|seeks?|needs?|inquires?|is (asking|requesting|looking|seeking))\b",
    re.I,
)
STATEMENT = re.compile(
    r"\W*(?!(i|we|you|it|this|that|these|those|there|my|our|your|please|here|what|which|who|how|why|when|where"
    r"|can|could|would|should|do|does|is|are|if)\b)([^\s?!.\n]+,? ){1,9}?"
    r"(is|are|means|stands for|refers? to|includes?|involves?|consists? of)\b",
    re.IGNORECASE,
)
FIRST_PERSON = re.compile(
    r"\?|\b(i|i['’]\w+|me|my|we|our|us|please|need|want|give|write|make)\b", re.IGNORECASE
)


def find_role_break(texts: list[str], persona: Persona | None = None) -> RoleBreak | None:
    """The first kind of role break in a user's messages, if any; ``persona``: what the user was given."""
    messages = [Message(role="user", content=text) for text in texts]
    return find_conversation_break(messages, persona or Persona())


def find_conversation_break(
    messages: list[Message], persona: Persona, steps: Sequence[str] = ()
) -> RoleBreak | None:
    """The same, with the assistant's replies, and ``steps``: the sentence on what each message asks for."""
    texts, replied, breaks = [], "", []
    for message in messages:
        if message.role == "assistant":
            replied = message.content
            continue
        wanted = steps[len(texts)] if len(texts) < len(steps) else ""
        breaks.append(find_break(message.content, texts, persona, wanted=wanted, replied=replied))
        texts.append(message.content)
    if not any(text.strip() for text in texts):
        return "says nothing"
    return next(filter(None, breaks), None)


def find_break(
    text: str, before: Iterable[str], persona: Persona, *, wanted: str = "", replied: str = ""
) -> RoleBreak | None:
    """The role break of one message, after those ``before``.

    ``wanted``: the neutral sentence that the message puts into words. ``replied``: the assistant's last
    reply; only a message that begins as it does has left the role, since people quote from replies.
    """
    words = split_words(text)
    if len(words) > MAX_WORDS:
        return "writes too much"
    if THINKING.search(text) or has_reasoning_marks(text):
        return "thinks aloud"
    prompts = [*(read_prompt(name).template for name in PROMPTS), *persona.instructions]
    if ABOUT_ITSELF.match(text) or measure_longest_copy(text, prompts) >= RECITED_WORDS:
        return "recites its prompt"
    if len(words) > SAME_OPENING and words[:SAME_OPENING] == split_words(wanted)[:SAME_OPENING]:
        return "recites its prompt"
    if len(words) >= RECITED_WORDS and words[:RECITED_WORDS] == split_words(replied)[:RECITED_WORDS]:
        return "copies the reply"
    if ASSISTANT.search(text) or states_what_is_asked(text, wanted):
        return "answers as the assistant"
    shots = [] if persona.demonstrations else read_prompt("user_shots").template.split("\n")
    examples = (
        shots + [e for listed in persona.examples for e in listed] + [d.typed for d in persona.demonstrations]
    )
    whole = len(words) >= WHOLE_WORDS
    if measure_longest_copy(text, examples) >= (min(len(words), RECITED_WORDS) if whole else RECITED_WORDS):
        return "copies an example"
    return "repeats itself" if whole and words in map(split_words, before) else None


def states_what_is_asked(text: str, wanted: str) -> bool:
    """Whether a message states something in general, where its sentence says that the user asks.

    So does an answer ("ORM stands for ..."); who says I, or orders or asks, is the user.
    """
    first = re.split(r"[.!\n]\s", text.strip(), maxsplit=1)[0]
    return bool(ASKED.match(wanted) and STATEMENT.match(text) and not FIRST_PERSON.search(first))


def tabulate_role_breaks(transcripts: list[Conversation]) -> pd.DataFrame:
    """Conversations of each arm by kind of role break: one row an arm, with ``n`` and ``any``."""
    ended = [t for t in transcripts if not t.error]
    kinds = [
        t.role_break or (t.ended_by == "real" and find_conversation_break(t.messages, Persona()))
        for t in ended
    ]
    arms = pd.Series([t.arm for t in ended], name="arm", dtype=object)
    counts = pd.crosstab(arms, pd.Series([kind or "none" for kind in kinds], dtype=object))
    counts = counts.reindex(index=arms.unique(), columns=get_args(RoleBreak), fill_value=0)
    counts = counts.assign(any=counts.sum(axis=1)).rename_axis(columns=None)
    counts.insert(0, "n", arms.value_counts())
    return counts
