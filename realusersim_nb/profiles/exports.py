"""Profiles as other tools' user simulators take them: a JSON list, or a text.

Forms of deepeval 4, mlflow 3, sdialog 0.5, LangWatch scenario 1.6 and tau2-bench, which have loaded them;
those of tau2-bench are loaded in a test.
"""

import json
from collections.abc import Iterable
from typing import Literal, get_args

from realusersim_nb.errors import InputError
from realusersim_nb.profiles.persona import render_profile
from realusersim_nb.records import Profile

Tool = Literal["deepeval", "mlflow", "sdialog", "scenario", "tau2", "text"]
NEED_GOAL = ("deepeval", "mlflow", "scenario")
MANNER = "You write to an assistant like one real person. How this person writes:\n"


def export_personas(profiles: Iterable[Profile], *, to: Tool, goal: str = "") -> str:
    """The profiles in the form of a tool: JSON, one object a profile, or a text with one section each.

    deepeval: ``ConversationalGolden(**row)``; mlflow: ``ConversationSimulator(test_cases=rows)``; sdialog:
    ``Persona(**row)``; scenario: ``UserSimulatorAgent(system_prompt=row["system_prompt"])``; tau2:
    ``UserScenario(**row, instructions=...)``. ``goal``: what the users want, where a row holds it too.
    InputError for another tool, a goal that is missing, or no profile.
    """
    if to not in get_args(Tool):
        raise InputError(f"export to {to!r}: expected one of {', '.join(get_args(Tool))}.")
    if to in NEED_GOAL and not goal:
        raise InputError(f"export to {to}: its rows hold what the user wants; name it by --goal TEXT.")
    personas = [(profile.user_id, MANNER + render_profile(profile)) for profile in profiles]
    if not personas:
        raise InputError("export: no profile in the file; notebook 01 writes profiles.jsonl.")
    if to == "text":
        return "\n\n".join(f"# {user}\n\n{text}" for user, text in personas) + "\n"
    rows = [fill_form(to, user, text, goal) for user, text in personas]
    return json.dumps(rows, indent=1, ensure_ascii=False) + "\n"


def fill_form(to: Tool, user: str, text: str, goal: str) -> dict[str, str]:
    """One row of a tool's form."""
    forms = {
        "deepeval": {"scenario": goal, "user_description": text, "name": user},
        "mlflow": {"goal": goal, "persona": text},
        "sdialog": {"name": user, "personality": text},
        "scenario": {"name": user, "description": goal, "system_prompt": f"{text}\n\nWhat you want: {goal}"},
        "tau2": {"persona": text},
    }
    return forms[to]
