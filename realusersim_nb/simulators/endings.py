"""When a simulated user may end a conversation: not in the message that says yes to what is still to be done.

::

    agent: "I will cancel the order #W1. Shall I proceed?"
    user:  "Yes, go ahead. ###STOP###"        ->  "Yes, go ahead."

tau2-bench ends a run at the mark, so the agent could not do what it has just been allowed to do. What
stands beside the mark is a message, and stays.
"""

import re

from realusersim_nb.corpus.layouts.datasets import END_MARKS

STOP = "###STOP###"
ASKS = re.compile(  # whether to do it, not which or what
    r"(?i)\b(confirm|proceed|go ahead|shall i|should i)\b|\(yes\b|\b(like|want) me to\b"
    r"|\bis (this|that|it) (correct|right|ok(ay)?)\b"
)
YES = re.compile(
    r"(?i)\b(yes|yeah|yep|yup|ya|yea|ok|okay|sure|correct|confirm(ed)?|go ahead|do it|please do|proceed"
    r"|sounds good|that's right|thats right|fine|absolutely|definitely|exactly)\b|^\W*y\W*$"
)
NO = re.compile(r"(?i)\b(no|nope|not|don'?t|wait|never|wrong)\b")


def says_yes_first(text: str) -> bool:
    """Whether a text agrees, and does so before any word of refusal ("Yes, and no thanks")."""
    yes, no = YES.search(text), NO.search(text)
    return bool(yes and (no is None or yes.start() < no.start()))


def strip_marks(text: str) -> str:
    """A message without tau2's marks of the end."""
    return END_MARKS.sub("", text).strip()


def is_premature(text: str, replied: str) -> bool:
    """Whether a message, without the marks of the end, says yes to what the agent's last reply asks for."""
    return bool(ASKS.search(replied) and says_yes_first(text))


def hold_stop(text: str, replied: str) -> str:
    """The message as it may be sent after a reply: without ``###STOP###`` where it says yes to it."""
    if STOP in text and is_premature(strip_marks(text), replied):
        return strip_marks(text)
    return text
