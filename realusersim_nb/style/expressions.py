"""English expressions of manner as patterns, and what turns a pattern into a measure of a message.

A pattern is looked for as words, in any case, in Latin script only: a text in another script cannot show it
(NaN). Many words are an expression in one place and none in another ("kind of slow", "what kind of talent");
the patterns ask for the place.
"""

import re
from collections.abc import Callable
from functools import lru_cache

Measure = Callable[[str, str | None], float]
"""Of a message and the one before it: None if it opens a conversation, "" if the one before is not known."""

NAN = float("nan")
LATIN, LETTER = re.compile(r"[A-Za-zÀ-ɏ]"), re.compile(r"[^\W\d_]")
A = "['’]"  # apostrophes

GREETING = r"hi(?!-)|hello(?!,? world)|hey|good (?:morning|afternoon|evening)|greetings"
OPENERS = r"ok|okay|so|and|but|well|now|great|yes|no|hi|hello|please|then|also|perfect|cool|nice"
FRAME = rf"\W*(?:(?:{OPENERS})\b\W*){{0,2}}"
SUBJECT = "you|it|this|that|these|those|the|there|i|we|they|he|she|my|your|people"
ASKS = re.compile(  # opens like a question: "do you", but not the order "do it"
    rf"{FRAME}(?:(?:who|whose|what|which|why|how)(?:{A}?s|{A}re)?"
    r"|(?:when|where)\s+(?:is|are|was|were|do|does|did|can|could|would|will|should)|where(?:['’]s|s)"
    rf"|is|are|was|were|does|did|can|could|would|should|has|(?:is|are|ca|could|would|does|did)n{A}?t"
    rf"|(?:do|have|don{A}?t)\s+(?:you|we|i|they|people|these|those)|(?:will|am|may|shall)\s+(?:{SUBJECT}))\b"
    r"(?!\s*[:=])",
    re.IGNORECASE,
)
ORDER = (
    "write|give|make|create|explain|list|tell|add|re-?write|summari[sz]e|generate|provide|show|use|continue"
    "|describe|find|change|translate|expand|convert|remove|include|keep|act|let|put|go|do|improve|fix|turn|help"
    "|suggest|compare|analy[sz]e|update|try|start|design|draft|define|format|answer|elaborate|combine|replace"
    "|shorten|edit|read|take|look|imagine|pretend|ignore|repeat|get|set|build|implement|check"
)
HEDGE = (
    rf"maybe|perhaps|probably|i (?:think|guess|believe|suppose)|i(?:{A}m| am| was|m) not (?:so |too )?sure"
    rf"|(?:i|we|they|it|is|was|are|were|(?:it|that){A}s|i{A}m|feels?|looks?|seems?|just) (?:kind|sort) of"
)
THING = (
    "one|ones|option|way|idea|version|example|name|suggestion|title|answer|approach|list|variation|response"
    "|draft|story|joke|solution|method|sentence|paragraph|poem|style|alternative"
)
AGAIN = (
    r"(?:another|(?:an?|some|any|the) (?:different|other|alternative|new)|other|alternative)"
    rf" (?:\w+ )?(?:{THING})s?"
    rf"|(?:\d+|some|any|two|three|five|ten) (?:more|others?)|more (?:\w+ )?(?:{THING})s?|alternatives"
    r"|(?<!once )(?<!never )again|re-?do|re-?phrase|re-?word|re-?generate|instead(?! of)"
    r"|something (?:else|different)"
    r"|re-?write (?:it|that|your|the (?:above|last|previous))"
)
FILLER = (
    r"ok|okay|hmm+|um+|uh+|alright|oh|ah|now(?! that)|so(?! (?:that|far|many|much|long|called)\b|-)"
    r"|(?:great|cool|nice|perfect|good|awesome|excellent|right|well|yes|yeah|sure)"
    r"(?=\s*(?:[,.!…:\n]|-\s|$)|\s+(?:now|thanks?|job|work|but|and|can|could|so|one|stuff|start|i|please|let)\b)"
)
FOLLOW_UP = r"and|also|but|then|next(?!\.\w)|what about|how about|what if|plus|additionally"
THANKS = (
    r"thanks(?! to\b)|thank (?:you|u)(?! (?:note|letter|card|e?-?mail|message|page|speech))|thx|thnx"
    r"|i appreciate|much appreciated"
)
SHORTHAND = (
    r"(?-i:u|ur)(?![.\-=)(])|pls|plz|thx|gonna|wanna|gimme|gotta|kinda|dunno|idk|btw|lol|lmao|omg|(?-i:bc)|cuz"
    r"|coz|tho|ya|yea|yeah|yep|yup|nah|nope"
)
NEGATED = "(?:do|does|did|ca|wo|is|are|was|were|could|would|should|have|has|had)n"
MARKED = rf"\b(?:{NEGATED}{A}t|i{A}(?:m|ve|d|ll)|(?:it|that|what|there|let){A}s|you{A}re)\b"
UNMARKED = rf"\b(?:{NEGATED}t|im|ive|thats|whats|theres|youre)\b"
FULL = (
    r"\b(?:(?:do|does|did|could|would|should|is|are|was|were|has|have|had|will|can) not|cannot"
    r"|i (?:am|have|will)"
    r"|(?:it|that|what|there) is|let us|you are)\b"
)


@lru_cache(maxsize=8)  # every expression asks for it of the same message
def is_latin(text: str) -> bool:
    """Whether the text has letters and at least half of them are Latin, so that English can show."""
    if text.isascii():
        return LATIN.search(text) is not None
    return 2 * len(LATIN.findall(text)) >= max(len(LETTER.findall(text)), 1)


def has(pattern: str, *, later: bool = False) -> Measure:
    """1 if the text holds the pattern as words, else 0; NaN in other scripts; ``later``: NaN if it opens."""
    return show_words(re.compile(rf"(?<!\w)(?:{pattern})(?!\w)", re.IGNORECASE).search, later=later)


def opens_with(pattern: str, *, later: bool = True) -> Measure:
    """1 if the text begins with the pattern as words, else 0; NaN as in ``has``."""
    return show_words(re.compile(rf"\W*(?:{pattern})(?!\w)", re.IGNORECASE).match, later=later)


def show_words(find: Callable[[str], re.Match | None], *, later: bool) -> Measure:
    """The measure of what is looked for in Latin script."""
    return lambda text, previous: (
        NAN if (later and previous is None) or not is_latin(text) else float(find(text) is not None)
    )


def holds(pattern: str) -> Measure:
    """1 if the text holds the pattern, whatever its script; NaN if it is blank."""
    find = re.compile(pattern).search
    return lambda text, previous: float(find(text) is not None) if text.strip() else NAN


def prefers(chosen: str, other: str, *, flags: int = 0) -> Measure:
    """1 if at least half of what matches one of two patterns matches the first; NaN if nothing does."""
    one, two = re.compile(chosen, flags), re.compile(other, flags)

    def measure(text: str, previous: str | None) -> float:
        n, m = len(one.findall(text)), len(two.findall(text))
        return float(n >= m) if n + m else NAN

    return measure
