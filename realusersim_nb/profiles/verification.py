"""Is what a profile says so? Every extractor's profiles pass here before they are used.

An example must be verbatim, a fact that is said to be stated must quote its words, and a command
that claims what measurement denies is flagged.
"""

import re

import pandas as pd

from realusersim_nb.profiles import style
from realusersim_nb.records import Command, Conversation, Profile

TYPICAL = 0.4  # a claim of "more" is denied below this percentile of the population, of "less" above its mirror (ours)
CLAIMS = {
    "starts_lower": (r"lower.?case (?!i\b)", r"capital|upper.?case"),
    "lower_i": (r"lower.?case i\b|\bi (?:in|as) lower", ""),
    "ends_stop": (
        r"with (?:a |proper |full )*(?:full stop|period|punctuation)",
        r"without (?:end |final |any )*punctuation",
    ),
    "unmarked_question": (r"without (?:a )?question mark", r"question marks? after"),
    "words": (r"\blong|lengthy|detailed|elaborate|verbose", r"\bshort|\bbrief|concise|terse"),
    "please": (r"\bplease\b", ""),
    "thanks": (r"\bthank", ""),
    "shorthand": (r"shorthand|abbreviat|slang|chat.?speak|skip apostrophes", ""),
    "opens_with_filler": (r"filler", ""),
    "hedges": (r"\bhedg|tentative", ""),
    "repeats": (r"\brepeat", ""),
    "follows_up": (r"follow.?ups?\b", ""),
    "is_question": (r"\bquestions?\b(?! mark)", r"\borders?\b|imperative|statements"),
    "asks_again": (r"another version|alternative|variation|more options|again", ""),
}
"""Words by which a command claims more, or less, of a feature of its dimension. Not all commands make such a claim."""
NEGATION = re.compile(
    r"\b(avoid|never|no|not|don'?t|do not|without|skip|omit|rarely|seldom|hardly)\b[^.,;]{0,25}$", re.I
)


def verify_profile(
    profile: Profile, conversations: list[Conversation], percentiles: pd.Series | None = None
) -> tuple[Profile, pd.DataFrame]:
    """The profile with only what can be shown, and a table of what was found, one row a command.

    Examples that are not part of one of the user's messages, character by character, are removed;
    demographics that are ``extracted`` without such a quote become ``inferred``. ``percentiles``
    (0..1, the user's features in a population) flag commands they deny. Columns ``user_id,
    dimension, written`` and ``verbatim`` (examples), ``checked`` (a claim and a figure to check it
    by), ``contradicted``.
    """
    messages = [m for c in conversations for m in c.user_messages]
    commands, rows = [], []
    for command in profile.commands:
        shown = [e for e in command.examples if e.strip() and any(e in m for m in messages)]
        checked, denial = check_claim(command, percentiles)
        commands.append(command.model_copy(update={"examples": shown, "contradicted": denial}))
        rows.append(
            (profile.user_id, command.dimension, len(command.examples), len(shown), checked, bool(denial))
        )
    facts = {
        name: fact
        if fact.source == "inferred" or is_quoted(fact.quote, messages)
        else fact.model_copy(update={"source": "inferred"})
        for name, fact in profile.demographics.items()
    }
    columns = ["user_id", "dimension", "written", "verbatim", "checked", "contradicted"]
    return profile.model_copy(update={"commands": commands, "demographics": facts}), pd.DataFrame(
        rows, columns=columns
    )


def remove_examples(profile: Profile, conversation: Conversation) -> Profile:
    """The profile without examples from a conversation (the paper's control: none from the case it is used on)."""
    seen = conversation.user_messages
    commands = [
        c.model_copy(update={"examples": [e for e in c.examples if not any(e in m for m in seen)]})
        for c in profile.commands
    ]
    return profile.model_copy(update={"commands": commands})


def is_quoted(quote: str, messages: list[str]) -> bool:
    """Whether the words are part of one of the messages."""
    return bool(quote.strip()) and any(quote in m for m in messages)


def check_claim(command: Command, percentiles: pd.Series | None) -> tuple[bool, str]:
    """Whether a command's claim could be checked, and what speaks against it (empty: nothing)."""
    for feature, direction in find_claims(command):
        place = float("nan") if percentiles is None else float(percentiles[feature])
        if pd.isna(place):  # no message could show it
            continue
        denied = place < TYPICAL if direction > 0 else place > 1 - TYPICAL
        return True, f"{feature} lies at percentile {place:.2f}" if denied else ""
    return False, ""


def find_claims(command: Command) -> list[tuple[str, int]]:
    """The features that a command claims more (1) or less (-1) of, the first mention first."""
    found = []
    for feature in style.FEATURES:
        if feature.dimension != command.dimension:
            continue
        for direction, pattern in zip((1, -1), CLAIMS[feature.name], strict=True):
            mention = re.search(pattern, command.command, re.IGNORECASE) if pattern else None
            if mention:
                negated = NEGATION.search(command.command[: mention.start()])
                found.append((mention.start(), feature.name, -direction if negated else direction))
    return [(name, direction) for _, name, direction in sorted(found)]


def tabulate_checks(checks: pd.DataFrame) -> pd.DataFrame:
    """The verified share of each dimension: one row a dimension.

    Columns ``commands, written, verbatim`` (examples), ``verbatim_share``, ``checked`` (commands
    whose claim could be measured) and ``contradicted`` (of these).
    """
    by = checks.dropna(subset="dimension").groupby("dimension")
    table = by.agg(
        commands=("written", "size"),
        written=("written", "sum"),
        verbatim=("verbatim", "sum"),
        checked=("checked", "sum"),
        contradicted=("contradicted", "sum"),
    )
    table = table.astype(int)
    table.insert(3, "verbatim_share", table["verbatim"] / table["written"].where(table["written"] > 0))
    return table
