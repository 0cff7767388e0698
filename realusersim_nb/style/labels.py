"""Features in words, for figures: ``starts_lower`` is a column's name, "starts in lower case" a label."""

LABELS = {
    "starts_lower": "starts in lower case",
    "lower_i": "writes a small i",
    "lower_sentences": "later sentences in lower case",
    "inner_capital": "capitals inside a message",
    "ends_stop": "ends in a stop",
    "ends_period": "ends in a full stop",
    "ends_question": "ends in a question mark",
    "unmarked_question": "question without a mark",
    "unmarked_order": "order without a mark",
    "no_marks": "no punctuation",
    "first_words": "words of an opening",
    "later_words": "words of a follow-up",
    "short": "eight words or fewer",
    "long": "25 words or more",
    "sentences": "several sentences",
    "line_breaks": "line breaks",
    "blank_lines": "blank lines",
    "asks_politely": "can you, could you",
    "contracts": "contracts words",
    "drops_apostrophe": "drops apostrophes",
    "drops_articles": "drops articles",
    "self": "I, my, me",
    "we": "we, our, us",
    "addresses": "addresses the assistant",
    "opens_with_filler": "opens with a filler",
    "repeats": "repeats words",
    "same_opening": "same first word again",
    "follows_up": "opens with and, also, but",
    "refers": "refers by it, this, that",
    "is_question": "asks a question",
    "orders": "opens with an order",
    "opens_what": "opens with what",
    "opens_how": "opens with how",
    "opens_self": "opens with I, my, we",
    "opens_write": "opens with write, make",
    "opens_tell": "opens with give, show",
    "pastes": "pastes text",
    "asks_again": "asks for another version",
}


def label_feature(name: str) -> str:
    """A feature in words, with what facets write behind it (``starts_lower:always``); other names stay."""
    feature, colon, rest = name.partition(":")
    return f"{LABELS[feature]}{colon and ': '}{rest}" if feature in LABELS else name
