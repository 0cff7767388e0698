"""What is taken out of messages: private data, before anything is saved or sent, and debris of web pages.

Private data is replaced by its kind. The patterns are plain on purpose, so that a person can check them by
eye. They match what has the form of an address, a number or a key; names and places in running text are not
matched (no pattern can). Their lengths are limited, so that no text, however made, takes more than a moment.
"""

import re

PATTERNS = {
    "email": re.compile(r"[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){0,9}\.[A-Za-z]{2,24}"),
    "key": re.compile(
        r"(?s)\b(?:sk|pk|rk|ghp|gho|ghs|xox[abps]|hf|glpat|AKIA|AIza)[-_]?[A-Za-z0-9_-]{16,}"
        r"|\bey[A-Za-z0-9_-]{10,2000}\.[A-Za-z0-9_-]{10,2000}\.[A-Za-z0-9_-]{10,2000}"
        r"|-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"
    ),
    "card": re.compile(r"(?<![\w.-])\d(?:[ -]?\d){12,18}(?![\w-]|\.\d)"),
    "phone": re.compile(
        r"(?<![\w.])(?:\+\d{1,3}[ .-]?(?:\(\d{1,4}\)[ .-]?)?\d{1,4}(?:[ .-]?\d{2,4}){2,4}"
        r"|\(\d{3}\) ?\d{3}[ .-]\d{4}|\d{3}[ .-]\d{3}[ .-]\d{4})(?![\w-]|\.\d)"
    ),
}
"""Mail addresses, keys and tokens, payment cards, telephone numbers, in the order of masking."""
HINT = re.compile(r"@|\d[\d ().-]{6}|(?:sk|pk|rk|gh|xox|hf|glpat|AKIA|AIza|ey|BEGIN)", re.DOTALL)


def mask_pii(text: str) -> str:
    """The text with ``[email]``, ``[key]``, ``[card]`` and ``[phone]`` in place of such data.

    A long number is a card only if its check digit is right (Luhn). Masking twice changes nothing.
    """
    if not HINT.search(text):  # most texts; a fifth of the time
        return text
    for kind, pattern in PATTERNS.items():
        is_masked = is_card if kind == "card" else bool
        text = pattern.sub(lambda m, k=kind, test=is_masked: f"[{k}]" if test(m[0]) else m[0], text)
    return text


def is_card(number: str) -> bool:
    """Whether the digits pass Luhn's check."""
    digits = [int(c) for c in number if c.isdigit()][::-1]
    doubled = [d if i % 2 == 0 else (2 * d - 9 if d > 4 else 2 * d) for i, d in enumerate(digits)]
    return 13 <= len(digits) <= 19 and sum(doubled) % 10 == 0


ASKED = (
    r"\s*(?i:(?:please )?(?:write|answer) in \w+(?: \(\w+\))?(?: language)?\.)"  # by a translating extension
)
DEBRIS = re.compile(
    rf"(?:{ASKED})*\s*(?:지금 번역하기|Translate now)\s*$|\s*Please write in \w+(?: \(\w+\))? language\.\s*$"
    r"|Share Prompt\s*$|Copy to Clipboard\s*$|CopyCopy HTML.*?words?\b|^[ \t]*Copy code[ \t]*$\n?"
    r"|(?:^|(?<=[^\s\d(=*+^$-]))[1-9] / [1-9]\s*\Z|\s(?P<last>[1-9]) / (?P=last)\s*\Z",
    re.MULTILINE,
)
"""Buttons, counters of drafts and translators' sentences that stand in copied conversations.

A counter (``2 / 2``) has a line of its own, is joined to the last word, or is that of the last draft;
``3 / 4`` after a blank is a fraction.
"""
ESCAPED = re.compile(r"\\([_*])")  # marks as a converter to Markdown escapes them
INVISIBLE = {0x200B: None, 0xFEFF: None, 0xA0: " "}
MAY_BE_DEBRIS = re.compile(r"Share|Copy|\d / \d|번역|Translate|language\.|\\[_*]|[\u200b\ufeff\xa0]")
ASSISTANT = re.compile(  # how an assistant begins, and no user
    r"(?:sure|certainly|of course|absolutely)[,!.]?"
    r" (?:here(?:['’]s| is| are)|i can|i['’]d be|i['’]ll|i will|let me)\b"
    r"|i['’]?m sorry, but (?:i|as an)|as an ai\b|(?:hello|hi)!? how (?:can|may) i (?:help|assist)",
    re.IGNORECASE,
)


def clean_message(text: str) -> str:
    """The message without debris; the same if it has none."""
    if not MAY_BE_DEBRIS.search(text):
        return text
    return ESCAPED.sub(r"\1", DEBRIS.sub("", text.translate(INVISIBLE))).strip()


def speaks_as_assistant(text: str) -> bool:
    """Whether a message begins as an assistant's replies do: the source has taken one side for the other."""
    return ASSISTANT.match(text) is not None
