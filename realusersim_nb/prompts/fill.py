"""The prompts in ``prompts/*.md``, filled strictly."""

import hashlib
from functools import cache
from importlib.resources import files
from string import Template


@cache
def read_prompt(name: str) -> Template:
    """The prompt ``prompts/<name>.md``; variables are written ``$variable``."""
    return Template((files("realusersim_nb") / "prompts" / f"{name}.md").read_text(encoding="utf-8").strip())


def fill_prompt(name: str, **variables: str) -> str:
    """Fill a prompt. A variable that is missing or not used raises ValueError.

    Values are inserted as they are and never read as part of the template, so a corpus text
    that holds ``$goal`` stays just that.
    """
    template = read_prompt(name)
    wanted, given = set(template.get_identifiers()), set(variables)
    if wanted != given:
        raise ValueError(
            f"prompt {name!r}: missing {sorted(wanted - given)}, not used {sorted(given - wanted)}."
        )
    return template.substitute(variables)


def hash_prompts() -> dict[str, str]:
    """sha256 of every prompt file, for the manifest."""
    folder = files("realusersim_nb") / "prompts"
    found = sorted(file.name for file in folder.iterdir() if file.name.endswith(".md"))
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in found}
