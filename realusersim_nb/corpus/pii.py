"""Private data in a text, replaced by its kind before anything is saved or sent.

The patterns are plain on purpose, so that a person can check them by eye. They match what has the form of an
address, a number or a key; names and places in running text are not matched (no pattern can). Their
lengths are limited, so that no text, however made, takes more than a moment.
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
