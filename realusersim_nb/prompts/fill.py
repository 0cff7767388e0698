"""The prompts in ``prompts/*.md``, filled strictly."""

import hashlib
from functools import cache
from importlib.resources import files
from string import Template

FOLDER = files("realusersim_nb") / "prompts"


@cache
def read_prompt(name: str) -> Template:
    """The prompt ``prompts/<name>.md``; variables are written ``$variable``."""
    return Template((FOLDER / f"{name}.md").read_text(encoding="utf-8").strip())


def fill_prompt(name: str, **variables: str) -> str:
    """The prompt with these values, inserted as they are: a text that holds ``$goal`` stays just that.

    ValueError for a variable that is missing or not used.
    """
    template = read_prompt(name)
    wanted, given = set(template.get_identifiers()), set(variables)
    if wanted != given:
        raise ValueError(
            f"prompt {name!r}: missing {sorted(wanted - given)}, not used {sorted(given - wanted)}."
        )
    return template.substitute(variables)


def hash_prompts() -> dict[str, str]:
    """sha256 of every prompt file by name, for the manifest."""
    prompts = sorted(file for file in FOLDER.iterdir() if file.name.endswith(".md"))
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in prompts}
