"""The prompts in ``prompts/*.md``, filled strictly."""

import hashlib
from functools import cache
from pathlib import Path
from string import Template

FOLDER = Path(__file__).parent


@cache
def read_prompt(name: str) -> Template:
    """The prompt ``prompts/<name>.md``; variables are written ``$variable``."""
    return Template((FOLDER / f"{name}.md").read_text(encoding="utf-8").strip())


def fill_prompt(name: str, **variables: str) -> str:
    """The prompt with these values, never read as template; ValueError for one missing or not used."""
    template = read_prompt(name)
    wanted, given = set(template.get_identifiers()), set(variables)
    if wanted != given:
        raise ValueError(
            f"prompt {name!r}: missing {sorted(wanted - given)}, not used {sorted(given - wanted)}."
        )
    return template.substitute(variables)


def hash_prompts() -> dict[str, str]:
    """sha256 of every prompt file by name, for the manifest."""
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(FOLDER.glob("*.md"))}
