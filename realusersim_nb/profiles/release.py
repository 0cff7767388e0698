"""Profiles and cases in the layout of the released data set, written and read.

The layout's files and field names are public (``profiles/consolidated_user_profiles.jsonl`` with
``user_ip, demographics, linguistic_profile``; ``evaluation/test_sets/*.jsonl``), the inside of
``linguistic_profile`` is not: what we write there is ours, and what we read may be a list of
commands, or one for each dimension.
"""

import re
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import get_args

import huggingface_hub
import pandas as pd
from pydantic import ValidationError

from realusersim_nb.errors import InputError, MissingFileError
from realusersim_nb.files import read_lines, write_lines
from realusersim_nb.profiles.persona import render_profile, tabulate_commands
from realusersim_nb.profiles.verification import remove_examples
from realusersim_nb.records import (
    Case,
    Command,
    Conversation,
    Demographic,
    Dimension,
    JudgePrompt,
    Message,
    Profile,
)

PROFILES = Path("profiles/consolidated_user_profiles.jsonl")
CASES = Path("evaluation/test_sets")
JUDGE_PROMPT = Path("evaluation/judge_prompt.txt")
OURS = "realusersim_nb"  # the key under which stands what the layout has no place for


def export_profiles(
    profiles: list[Profile], folder: str | Path, *, corpus: str = "not stated", licence: str = "not stated"
) -> Path:
    """Write profiles in the released layout, with a data card, and for other tools; returns the profiles' file.

    ``profiles.csv`` has a row a command; a line of ``tau2_personas.jsonl`` is a user's ``user_scenario.persona`` for
    tasks of tau2-bench. Raises ValueError if what was written does not read back the same.
    """
    path = Path(folder) / PROFILES
    write_lines(path, (to_released_profile(profile) for profile in profiles))
    if list(read_profiles(folder)) != profiles:
        raise RuntimeError(f"{path}: the profiles do not read back as they were written.")
    tabulate_examples(profiles).to_csv(Path(folder) / "profiles.csv", index=False)
    write_lines(
        Path(folder) / "tau2_personas.jsonl",
        ({"user_id": p.user_id, "user_scenario": {"persona": render_profile(p)}} for p in profiles),
    )
    (Path(folder) / "README.md").write_text(
        write_data_card(profiles, corpus=corpus, licence=licence), encoding="utf-8"
    )
    return path


def tabulate_examples(profiles: list[Profile]) -> pd.DataFrame:
    """One row a command, with the figures behind it, and its examples in one cell, one a line."""
    examples = ["\n".join(c.examples) for p in profiles for c in p.commands]
    return tabulate_commands(profiles).assign(examples=examples)


def to_released_profile(profile: Profile) -> dict:
    """One line of the released layout."""
    commands = [c.model_dump() for c in profile.commands]
    rest = {"source_conversations": profile.source_conversations, "extractor": profile.extractor}
    return {
        "user_ip": profile.user_id,
        "demographics": {name: fact.model_dump() for name, fact in profile.demographics.items()},
        "linguistic_profile": {"background": profile.background, "commands": commands},
        OURS: rest,
    }


def read_profiles(folder: str | Path) -> Iterator[Profile]:
    """Profiles of a folder in the released layout, or of such a file; ValueError names a line that is none."""
    path = Path(folder)
    for where, row in read_lines(path / PROFILES if path.is_dir() else path):
        try:
            yield parse_released_profile(row)
        except (KeyError, TypeError, AttributeError, ValidationError) as error:
            raise InputError(
                f"{where}: expected user_ip, demographics and linguistic_profile, got {error!r}."
            ) from error


def parse_released_profile(row: dict) -> Profile:
    """The profile in one line of the released layout."""
    told = row["linguistic_profile"] or {}
    facts = {
        name: fact
        for name, fact in (row.get("demographics") or {}).items()
        if isinstance(fact, dict) and fact.get("value")
    }
    return Profile(
        user_id=row["user_ip"],
        demographics={
            name: Demographic(**{"source": "inferred", "confidence": 0.0, **fact})
            for name, fact in facts.items()
        },
        background=(told.get("background") or "") if isinstance(told, dict) else "",
        commands=list(read_commands(told)),
        **{"extractor": "released", **row.get(OURS, {})},
    )


def read_commands(told: dict | list) -> Iterator[Command]:
    """Commands in a list, or in one list for each dimension; of an unnamed dimension: formality."""
    known = {name.lower(): name for name in get_args(Dimension)}
    groups = {"": told} if isinstance(told, list) else {"": told["commands"]} if "commands" in told else told
    for name, commands in groups.items():
        for c in commands if isinstance(commands, list) else []:
            fields = {n: v for n, v in c.items() if n in Command.model_fields}
            dimension = known.get(str(fields.get("dimension") or name).replace("_", " ").lower(), "formality")
            yield Command(**{**fields, "dimension": dimension})


def write_cases(
    cases: list[Case], own: dict[str, Profile], folder: str | Path, *, name: str = "mixed_domain"
) -> Path:
    """Write cases, each with its profile (by case or by user), as one test set of the released layout."""
    path = Path(folder) / CASES / f"{name}.jsonl"
    write_lines(
        path,
        (
            to_released_case(case, to_released_profile(own.get(case.case_id) or own[case.user_id]))
            for case in cases
        ),
    )
    return path


def to_released_case(case: Case, profile: dict) -> dict:
    """One line of a test set."""
    return {
        "test_id": case.case_id,
        "domain": case.domain,
        "task_type": case.task_type,
        "user_ip": case.user_id,
        "conversation_hash": case.case_id,
        "original_messages": [m.model_dump() for m in case.original.messages],
        "user_profile": {name: profile[name] for name in ("demographics", "linguistic_profile")},
        "problem_desc": case.goal,
        "solution_conditions": case.key_context,
    }


def read_cases(folder: str | Path) -> tuple[list[Case], list[Profile]]:
    """Cases and their users' profiles from test sets of the released layout (a folder, or one file).

    ValueError names a line that is no case.
    """
    path = Path(folder)
    files = sorted((path / CASES).glob("*.jsonl")) if path.is_dir() else [path]
    cases, profiles = [], []
    for where, row in (line for file in files for line in read_lines(file)):
        try:
            keys = {"case_id": str(row["test_id"]), "user_id": row["user_ip"]}
            messages = [
                Message(role=m["role"], content=m["content"])
                for m in row["original_messages"]
                if m["content"]
            ]
            original = Conversation(
                conversation_id=keys["case_id"], user_id=keys["user_id"], messages=messages
            )
            cases.append(
                Case(
                    **keys,
                    goal=row["problem_desc"],
                    key_context=str(row["solution_conditions"]),
                    domain=row.get("domain") or "",
                    task_type=row.get("task_type") or "",
                    original=original,
                )
            )
            profiles.append(parse_released_profile({"user_ip": row["user_ip"], **row["user_profile"]}))
        except (KeyError, TypeError, AttributeError, ValidationError) as error:
            raise InputError(
                f"{where}: expected a case with original_messages, problem_desc and user_profile, got {error!r}."
            ) from error
    return cases, profiles


def read_judge_prompt(folder: str | Path) -> JudgePrompt:
    """The released judge's two prompts, from ``evaluation/judge_prompt.txt`` of a folder, or from such a file.

    A section begins with a line that holds its name. ValueError if one of the two is missing.
    """
    path = Path(folder)
    path = path / JUDGE_PROMPT if path.is_dir() else path
    parts = re.split(
        r"^[^\n\w]*(SYSTEM PROMPT|FORMATTING PROMPT)\b[^\n]*$",
        path.read_text(encoding="utf-8"),
        flags=re.MULTILINE,
    )
    found = {
        name: text.strip().strip("=-#").strip() for name, text in zip(parts[1::2], parts[2::2], strict=True)
    }
    if not all(found.get(name) for name in ("SYSTEM PROMPT", "FORMATTING PROMPT")):
        raise InputError(
            f"{path}: expected the sections SYSTEM PROMPT and FORMATTING PROMPT, found {sorted(found) or 'none'}."
        )
    return JudgePrompt(system=found["SYSTEM PROMPT"], formatting=found["FORMATTING PROMPT"])


def find_judge_prompt(place: str | None) -> JudgePrompt | None:
    """The judge prompt of a released data set, if one is given and has it."""
    path = find_release(place) / JUDGE_PROMPT if place else None
    return read_judge_prompt(path) if path and path.is_file() else None


def draw_released_cases(
    place: str, *, n_cases: int, seed: int
) -> tuple[list[Case], dict[str, Profile], list[Conversation]]:
    """A seeded draw of released cases, their profiles by case and by user, and their original conversations.

    A profile used on a case carries no example from that case's conversation. Says how many cases there are, how many
    stand on a conversation that another one has already, and how many examples were left out.
    """
    found, profiles = read_cases(find_release(place))
    safe = [remove_examples(p, c.original) for p, c in zip(profiles, found, strict=True)]
    leaked = sum(len(c.examples) for p in profiles for c in p.commands) - sum(
        len(c.examples) for p in safe for c in p.commands
    )
    own = {p.user_id: p for p in profiles} | {c.case_id: p for c, p in zip(found, safe, strict=True)}
    cases = list(
        {case.case_id: case for case in found}.values()
    )  # a test set of all may hold those of the others
    twice = len(cases) - len({str(case.original.messages) for case in cases})
    print(
        f"{len(cases)} released cases of {len({c.user_id for c in cases})} users, {twice} on a conversation counted before; "
        f"{leaked} examples from a case's own conversation left out of its profile"
    )
    return (
        pd.Series(cases).sample(min(n_cases, len(cases)), random_state=seed).tolist(),
        own,
        [case.original for case in cases],
    )


def find_release(place: str) -> Path:
    """The folder of a released data set: a folder as it is, or a hub id (``Salesforce/RealUserSim``), downloaded.

    FileNotFoundError with what to do if it is neither here nor on the hub.
    """
    if Path(place).exists():
        return Path(place)
    try:
        wanted = [f"{CASES}/*.jsonl", str(JUDGE_PROMPT)]
        return Path(huggingface_hub.snapshot_download(place, repo_type="dataset", allow_patterns=wanted))
    except (
        huggingface_hub.errors.HfHubHTTPError,
        huggingface_hub.errors.HFValidationError,
        OSError,
    ) as error:
        problem = " ".join(str(error).split())[:200]
        raise MissingFileError(
            f"released cases {place!r}: no such folder, and the hub could not give it ({problem}); download it and name the folder."
        ) from error


def write_data_card(profiles: list[Profile], *, corpus: str, licence: str) -> str:
    """A data card for exported profiles, in Markdown."""
    n_commands = sum(len(p.commands) for p in profiles)
    n_examples = sum(len(c.examples) for p in profiles for c in p.commands)
    return f"""---
pretty_name: User profiles from {corpus}
task_categories: [text-generation]
---
# User profiles from {corpus}

{len(profiles):,} executable profiles with {n_commands:,} commands and {n_examples:,} verbatim examples, extracted from
conversations of `{corpus}` (licence of the source: {licence}) by realusersim_nb {version("realusersim_nb")},
extractor `{profiles[0].extractor if profiles else "none"}`.

`{PROFILES}`, one JSON object a line: `user_ip` (the source's user id), `demographics` (value, source, confidence, quote),
`linguistic_profile` (background, commands with dimension, examples and the evidence behind them).

The same as a table, a command a row: `profiles.csv`; as text to follow, for the field `user_scenario.persona` of a
task of tau2-bench: `tau2_personas.jsonl`.

**Made for** simulating users and measuring simulators. **Not for** finding out who a person is: mail
addresses, telephone and card numbers and keys are masked, names in running text are not.
Every example is part of one of the user's messages; commands that measurement denies say so in `contradicted`.
"""
