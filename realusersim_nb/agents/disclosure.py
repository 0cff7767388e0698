"""What a user has to tell for a task to be done, and in which of their messages they tell it.

A **need** is an argument of a gold action whose value stands in what the user was told (an order
number, a name, a reason), or a number or address by which the user is known. Values that the agent
looks up by itself are none, nor are values of fewer than three characters, which stand in any text
by chance. A value is told in any surface form:

    "#W6247578"     W6247578, w 6247578, 6 2 4 7 5 7 8 behind a w
    "2024-05-20"    May 20, 20th of may, 5/20
    "mei_kovacs_8020"  mei kovacs 8020
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from functools import cache
from typing import TYPE_CHECKING, Any

import pandas as pd

from realusersim_nb.records import AgentRun

if TYPE_CHECKING:
    from tau2.data_model.tasks import Action, Task

ISO_DATE = re.compile(r"\d{4}-\d\d-\d\d")
MONTHS = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
]
LEAST = 3  # characters of a value that can be traced
IDENTIFIER = re.compile(r"#?\b(?=[\w@.+-]*\d)(?!\d{1,2}(?:st|nd|rd|th)\b)[\w@+-][\w@.+-]{3,}[\w@+-]")
JOINT = r"(?:[\W_]|\b(?:at|dot)\b)*"  # between the parts of a value: nothing, signs, blanks, a spelled-out @


@dataclass(frozen=True)
class RequiredSlot:
    """Something that only the user can tell: the argument's name (``known`` of what they are known by) and its value."""

    name: str
    value: str


def describe_scenario(task: Task) -> tuple[str, str]:
    """What the user of a task wants and what they know; tau2's own persona is left out."""
    told = task.user_scenario.instructions
    if isinstance(told, str):
        return told, "nothing else"
    return f"{told.reason_for_call}\n{told.task_instructions}", told.known_info or "nothing else"


def list_required_slots(task: Task) -> list[RequiredSlot]:
    """What the user of a task has to tell, each value once."""
    criteria = task.evaluation_criteria
    needs = [
        need for action in (criteria and criteria.actions) or [] for need in list_action_slots(task, action)
    ]
    known = [RequiredSlot("known", value) for value in list_identity_values(task)]
    return list({re.sub(r"\W", "", need.value).lower(): need for need in [*known, *needs]}.values())


def list_action_slots(task: Task, action: Action) -> list[RequiredSlot]:
    """The needs of one gold action."""
    told = "\n".join(describe_scenario(task))
    given = [(name, value) for name, values in action.arguments.items() for value in flatten_values(values)]
    return [RequiredSlot(name, value) for name, value in given if mentions(told, value)]


def list_identity_values(task: Task) -> list[str]:
    """What the user is known by: identifiers in what they know, in a scenario of one piece in its sentences about them."""
    told = task.user_scenario.instructions
    if isinstance(told, str):
        about = [
            s for s in re.split(r"(?<=[.!?])\s+", told) if re.match(r"(you are|your) ", s, re.IGNORECASE)
        ]
        return list_identifiers(" ".join(about))
    return list_identifiers(told.known_info or "")


def list_identifiers(text: str) -> list[str]:
    """Numbers, codes and addresses in a text that stand for one person or thing: five signs or more, with a digit."""
    return [found.rstrip(".") for found in IDENTIFIER.findall(text)]


def flatten_values(value: Any) -> list[str]:
    """The texts and numbers in an argument, as text."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return [text for part in value for text in flatten_values(part)]
    return [str(value)] if isinstance(value, str | int | float) and not isinstance(value, bool) else []


def mentions(text: str, value: str) -> bool:
    """Whether a text holds a value in some surface form; never one that is too short to be traced."""
    pattern = write_pattern(value)
    return pattern is not None and pattern.search(text) is not None


@cache
def write_pattern(value: str) -> re.Pattern | None:
    """The surface forms of a value; None for one that is too short."""
    parts = re.findall(r"[^\W\d_]+|\d+", value)
    if sum(map(len, parts)) < LEAST:
        return None
    spaced = [r"[\s-]?".join(part) if part.isdigit() and len(part) >= 5 else part for part in parts]
    forms = [JOINT.join(spaced)]
    if ISO_DATE.fullmatch(value):
        day = date.fromisoformat(value)
        name, number = MONTHS[day.month - 1], rf"0?{day.day}(?:st|nd|rd|th)?"
        month = rf"{name[:3]}(?:{name[3:]})?\.?"
        forms += [
            rf"{month}\s*(?:the\s+)?{number}",
            rf"{number}\s*(?:of\s+)?{month}",
            rf"0?{day.month}[/.-]0?{day.day}",
        ]
    return re.compile(rf"(?<![^\W_])(?:{'|'.join(forms)})(?![^\W_])", re.IGNORECASE)


# --- in a run ----------------------------------------------------------------------------------


def find_mention(messages: list[dict], value: str, *, by: Iterable[str] = ("user",)) -> int | None:
    """Index of the first message of these roles that holds a value; None if none does."""
    return next(
        (i for i, m in enumerate(messages) if m["role"] in by and mentions(m.get("content") or "", value)),
        None,
    )


def trace_slots(runs: list[AgentRun], tasks: list[Task]) -> pd.DataFrame:
    """When users told what their tasks need: one row a run and need, of runs with needs that could be scored.

    Columns ``task_id, trial, arm, simulator, name, value``, ``user_message`` (1 is the first; NaN: never told) and
    ``n_messages`` of the user.
    """
    by_id, rows = {task.id: task for task in tasks}, []
    for run in runs:
        written = [i for i, m in enumerate(run.messages) if m["role"] == "user" and m.get("content")]
        about = {"task_id": run.task_id, "trial": run.trial, "arm": run.arm, "simulator": run.simulator}
        for need in (
            list_required_slots(by_id[run.task_id]) if run.simulator and run.success is not None else []
        ):
            told = find_mention(run.messages, need.value)
            number = float("nan") if told is None else written.index(told) + 1
            rows.append(
                {
                    **about,
                    "name": need.name,
                    "value": need.value,
                    "user_message": number,
                    "n_messages": len(written),
                }
            )
    columns = ["task_id", "trial", "arm", "simulator", "name", "value", "user_message", "n_messages"]
    return pd.DataFrame(rows, columns=columns)


def accumulate_disclosure(traced: pd.DataFrame, *, most: int = 10) -> pd.DataFrame:
    """Share of the needs told by the user's n-th message: index the number, one column an arm, mean over tasks."""
    if traced.empty:
        return pd.DataFrame()
    last = min(most, int(traced["n_messages"].max()))
    shares = {
        n: traced.assign(told=traced["user_message"] <= n)
        .groupby(["arm", "task_id"], sort=False)["told"]
        .mean()
        for n in range(1, last + 1)
    }
    by_task = pd.DataFrame(shares)
    return by_task.groupby("arm", sort=False).mean().T.rename_axis("user_message")
