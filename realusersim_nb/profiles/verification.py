"""Is a profile supported? Profiles that a model wrote are checked here before they are used.

An example must be verbatim, an extracted fact must quote the user's words, and a command that claims what
measurement contradicts is flagged.
"""

import re

import pandas as pd

from realusersim_nb import style
from realusersim_nb.profiles.commands import COMMANDS, list_evidence, word_share
from realusersim_nb.records import Command, Conversation, Profile

UNLIKELY = (
    0.1  # probability that a user does more than the median user, under which a claim of more is denied
)
CLAIMS = {
    "starts_lower": (r"lower.?case (?!i\b)", r"capital|upper.?case"),
    "lower_i": (r"lower.?case i\b|\bi (?:in|as) lower", ""),
    "ends_stop": (
        r"with (?:a |proper |full )*(?:full stop|period|punctuation)",
        r"without (?:end |final |any )*punctuation",
    ),
    "unmarked_question": (r"without (?:a )?question mark", r"question marks? after"),
    "later_words": (r"\blong|lengthy|detailed|elaborate|verbose", r"\bshort|\bbrief|concise|terse"),
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
"""Words by which a command claims more, or less, of a feature of its dimension; not every command does."""
NEGATION = re.compile(
    r"\b(avoid|never|no|not|don'?t|do not|without|skip|omit|rarely|seldom|hardly)\b[^.,;]{0,25}$", re.I
)
CHECKS = "user_id dimension written verbatim checked contradicted error".split()


def verify_profile(
    profile: Profile, conversations: list[Conversation], figures: pd.DataFrame | None = None
) -> tuple[Profile, pd.DataFrame]:
    """The profile with only what is supported, and a table of its checks, one row a command.

    Examples that are no substring of one of the user's messages are removed; ``extracted`` demographics
    without such a quote become ``inferred``. ``figures`` (``rates.describe_user``) flag commands that they
    contradict and give the others their dose. Columns ``user_id, dimension, written`` and ``verbatim``
    (examples), ``checked`` (the command claims something that was measured), ``contradicted``, ``error``
    (None).
    """
    messages = [m for c in conversations for m in c.user_messages]
    commands, rows = [], []
    for command in profile.commands:
        examples = [e for e in command.examples if is_quoted(e, messages)]
        checked, objection, dose = check_claim(command, figures)
        commands.append(command.model_copy(update={"examples": examples, "contradicted": objection} | dose))
        counts = len(command.examples), len(examples)
        rows.append((profile.user_id, command.dimension, *counts, checked, bool(objection), None))
    facts = {
        name: fact if is_quoted(fact.quote, messages) else fact.model_copy(update={"source": "inferred"})
        for name, fact in profile.demographics.items()
    }
    verified = profile.model_copy(update={"commands": commands, "demographics": facts})
    return verified, pd.DataFrame(rows, columns=CHECKS)


def remove_examples(profile: Profile, conversation: Conversation) -> Profile:
    """The profile without examples from a conversation (the paper's control against leaks into a case)."""
    messages, commands = conversation.user_messages, []
    for command in profile.commands:
        kept = {
            name: [example for example in getattr(command, name) if not is_quoted(example, messages)]
            for name in ("examples", "without")
        }
        commands.append(command.model_copy(update=kept))
    return profile.model_copy(update={"commands": commands})


def is_quoted(quote: str, messages: list[str]) -> bool:
    """Whether the text is not empty and a substring of one of the messages."""
    return bool(quote.strip()) and any(quote in message for message in messages)


def check_claim(command: Command, figures: pd.DataFrame | None) -> tuple[bool, str, dict]:
    """Whether a command's claim could be checked, the figure that contradicts it ("": none), and else what it
    gets of measurement: the dose in its text, and evidence with the probability of the claim (``sureness``).
    """
    for feature, direction in find_claims(command):
        if figures is None or feature not in figures.index or not figures.loc[feature, "n"]:
            continue  # no message could show it
        figure = figures.loc[feature]
        if (figure["above"] if direction > 0 else 1 - figure["above"]) < UNLIKELY:
            return (
                True,
                f"{feature} is {figure['value']:.2f}, of the population {figure['population']:.2f}",
                {},
            )
        return True, "", add_dose(command, feature, figure, is_high=direction > 0)
    return False, "", {}


def add_dose(command: Command, feature: str, figure: pd.Series, *, is_high: bool) -> dict:
    """The command's text with how often, and its evidence."""
    habit = {"feature": feature, **figure, "sureness": figure["is_high" if is_high else "is_low"]}
    share = figure["value"] if is_high else 1 - figure["value"]
    row = COMMANDS.get(feature, {"unit": "messages"})
    is_count = style.BY_NAME[feature].is_count
    dose = f"about {figure['value']:.0f} words" if is_count else word_share(share, row["unit"])
    return {"command": f"{command.command.rstrip('. ')}: {dose}.", "evidence": list_evidence(habit)}


def find_claims(command: Command) -> list[tuple[str, int]]:
    """The features that a command claims more (1) or less (-1) of, in the order of their mention."""
    claims = []
    for feature in (f for f in style.FEATURES if f.dimension == command.dimension and f.name in CLAIMS):
        for direction, pattern in zip((1, -1), CLAIMS[feature.name], strict=True):
            if pattern and (mention := re.search(pattern, command.command, re.IGNORECASE)):
                is_negated = NEGATION.search(command.command[: mention.start()])
                claims.append((mention.start(), feature.name, -direction if is_negated else direction))
    return [(name, direction) for _, name, direction in sorted(claims)]


def tabulate_checks(checks: pd.DataFrame) -> pd.DataFrame:
    """The checks by dimension: ``commands, written, verbatim`` (examples), ``verbatim_share`` (0..1),
    ``checked`` (commands that claim something measured) and ``contradicted`` (of these).
    """
    dimensions = checks.dropna(subset="dimension").groupby("dimension")
    table = dimensions[["written", "verbatim", "checked", "contradicted"]].sum().astype(int)
    table.insert(0, "commands", dimensions.size())
    table.insert(3, "verbatim_share", table["verbatim"] / table["written"].where(table["written"] > 0))
    return table
