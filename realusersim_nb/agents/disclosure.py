"""What the user of a task has to state for it to be done, and in which of their messages they state it.

A **required slot** is an argument of a gold action whose value stands in the user's scenario (an order
number, a name, a reason), or a number or address that identifies the user. Values that the agent looks up
are none, nor are values of fewer than three characters, which any text holds by chance. Any form counts:

    "#W6247578"     W6247578, w 6247578, w 6 2 4 7 5 7 8
    "2024-05-20"    May 20, 20th of may, 5/20
    "mei_kovacs_8020"  mei kovacs 8020
"""

from __future__ import annotations

import re
from calendar import month_name
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any

import pandas as pd

from realusersim_nb.agents.scores import is_user_text
from realusersim_nb.records import AgentRun

if TYPE_CHECKING:
    from tau2.data_model.tasks import Action, Task

MIN_CHARACTERS = 3  # of a value that can be traced
IDENTIFIER = re.compile(r"#?\b(?=[\w@.+-]*\d)(?!\d{1,2}(?:st|nd|rd|th)\b)[\w@+-][\w@.+-]{3,}[\w@+-]")
JOINT = r"(?:[\W_]|\b(?:at|dot)\b)*"  # between the pieces of a value: nothing, signs, blanks, a spelled-out @


@dataclass(frozen=True)
class RequiredSlot:
    """What only the user can state: the argument's name (``known``: it identifies the user) and its value."""

    name: str
    value: str


def describe_scenario(task: Task) -> tuple[str, str]:
    """What the user of a task wants and what they know; tau2's persona is left out."""
    scenario = task.user_scenario.instructions
    if isinstance(scenario, str):
        return scenario, "nothing else"
    return f"{scenario.reason_for_call}\n{scenario.task_instructions}", scenario.known_info or "nothing else"


def list_required_slots(task: Task) -> list[RequiredSlot]:
    """What the user of a task has to state, each value once."""
    criteria = task.evaluation_criteria
    slots = [RequiredSlot("known", value) for value in list_identity_values(task)]
    for action in (criteria and criteria.actions) or []:
        slots += list_action_slots(task, action)
    return list({re.sub(r"\W", "", slot.value).lower(): slot for slot in slots}.values())


def list_action_slots(task: Task, action: Action) -> list[RequiredSlot]:
    """The required slots of one gold action."""
    scenario = "\n".join(describe_scenario(task))
    values = [(name, value) for name, given in action.arguments.items() for value in flatten_values(given)]
    return [RequiredSlot(name, value) for name, value in values if mentions(scenario, value)]


def list_identity_values(task: Task) -> list[str]:
    """Identifiers in what the user knows; in an undivided scenario, in its sentences about the user."""
    scenario = task.user_scenario.instructions
    if not isinstance(scenario, str):
        return list_identifiers(scenario.known_info or "")
    sentences = re.split(r"(?<=[.!?])\s+", scenario)
    return list_identifiers(" ".join(s for s in sentences if s.lower().startswith(("you are ", "your "))))


def list_identifiers(text: str) -> list[str]:
    """Numbers, codes and addresses that stand for one person or object: five signs or more, with a digit."""
    return [identifier.rstrip(".") for identifier in IDENTIFIER.findall(text)]


def flatten_values(value: Any) -> list[str]:
    """The texts and numbers in an argument, as text."""
    if isinstance(value, dict | list):
        items = value.values() if isinstance(value, dict) else value
        return [text for item in items for text in flatten_values(item)]
    return [str(value)] if isinstance(value, str | int | float) and not isinstance(value, bool) else []


def mentions(text: str, value: str) -> bool:
    """Whether a text holds a value in some surface form; never one that is too short to be traced."""
    return write_pattern(value).search(text) is not None


@cache
def write_pattern(value: str) -> re.Pattern:
    """The surface forms of a value."""
    pieces = re.findall(r"[^\W\d_]+|\d+", value)
    if sum(map(len, pieces)) < MIN_CHARACTERS:
        return re.compile(r"(?!)")  # matches nothing
    spaced = [r"[\s-]?".join(piece) if piece.isdigit() and len(piece) >= 5 else piece for piece in pieces]
    forms = [JOINT.join(spaced)]
    with suppress(ValueError):  # a value that users make up may have the form of a date, and be none
        day = datetime.strptime(value, "%Y-%m-%d")
        name, number = month_name[day.month], rf"0?{day.day}(?:st|nd|rd|th)?"
        month = rf"{name[:3]}(?:{name[3:]})?\.?"
        forms += [rf"{month}\s*(?:the\s+)?{number}", rf"{number}\s*(?:of\s+)?{month}"]
        forms += [rf"0?{day.month}[/.-]0?{day.day}"]
    return re.compile(rf"(?<![^\W_])(?:{'|'.join(forms)})(?![^\W_])", re.IGNORECASE)


def find_mention(messages: list[dict], value: str, *, by: Iterable[str] = ("user",)) -> int | None:
    """Index of the first message of these roles that holds a value; None if none does."""
    texts = [(i, m.get("content") or "") for i, m in enumerate(messages) if m["role"] in by]
    return next((i for i, text in texts if mentions(text, value)), None)


def trace_slots(runs: list[AgentRun], tasks: list[Task]) -> pd.DataFrame:
    """When users stated what their tasks require: one row a required slot of a scored run.

    Columns ``task_id, trial, arm, simulator, name, value``, ``user_message`` (1 is the first; NaN: never) and
    ``n_messages`` of the user.
    """
    slots, rows = {task.id: list_required_slots(task) for task in tasks}, []
    for run in [run for run in runs if run.simulator and run.success is not None]:
        written = [i for i, m in enumerate(run.messages) if is_user_text(m)]
        for slot in slots[run.task_id]:
            first = find_mention(run.messages, slot.value)
            number = float("nan") if first is None else written.index(first) + 1
            disclosed = (slot.name, slot.value, number, len(written))
            rows.append((run.task_id, run.trial, run.arm, run.simulator, *disclosed))
    columns = "task_id trial arm simulator name value user_message n_messages".split()
    return pd.DataFrame(rows, columns=columns)


def accumulate_disclosure(traced: pd.DataFrame, *, most: int = 10) -> pd.DataFrame:
    """Share (0..1, mean over tasks) of slots stated by the user's n-th message: index n, a column an arm."""
    if traced.empty:
        return pd.DataFrame()
    numbers = range(1, min(most, int(traced["n_messages"].max())) + 1)
    stated = pd.DataFrame({n: traced["user_message"] <= n for n in numbers})
    by_task = stated.groupby([traced["arm"], traced["task_id"]], sort=False).mean()
    return by_task.groupby("arm", sort=False).mean().T.rename_axis("user_message")
