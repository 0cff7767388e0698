"""Profiles and cases in the layout of the released data set, written and read.

The layout's files and field names are public (``profiles/consolidated_user_profiles.jsonl`` with
``user_ip, demographics, linguistic_profile``; ``evaluation/test_sets/*.jsonl``), the inside of
``linguistic_profile`` is not: what is written there is ours, and what is read may be a list of commands, or
one for each dimension.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from importlib.resources import files
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple, TypeVar, get_args

import huggingface_hub
import pandas as pd
from huggingface_hub.errors import HfHubHTTPError, HFValidationError
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
    Profile,
    ReleasedDomain,
)
from realusersim_nb.text import name_file, write_csv

R = TypeVar("R")
PROFILES = Path("profiles/consolidated_user_profiles.jsonl")
CASES = Path("evaluation/test_sets")
JUDGE_PROMPT = Path("evaluation/judge_prompt.txt")
RELEASED_SETS = {"mixed_domain", *get_args(ReleasedDomain)}
BLOCK = 1000  # profiles in memory while they are written as a table
OURS = "realusersim_nb"  # the key of what the layout has no place for


def export_profiles(
    profiles: Sequence[Profile],
    folder: str | Path,
    *,
    corpus: str = "not stated",
    licence: str = "not stated",
) -> Path:
    """Write profiles in the released layout, with a data card, and for other tools; returns their file.

    ``profiles.csv`` has a row a command, its examples one a line; a line of ``tau2_personas.jsonl`` is a
    user's ``user_scenario.persona`` for tasks of tau2-bench.
    """
    folder = Path(folder)
    path = write_lines(folder / PROFILES, map(to_released_profile, profiles))
    if any(read != profile for read, profile in zip_longest(read_profiles(folder), profiles)):
        raise RuntimeError(f"{path}: the profiles do not read back as they were written.")
    with (folder / "profiles.csv").open("w", encoding="utf-8", newline="") as file:
        for start in range(0, len(profiles), BLOCK):
            some = list(profiles[start : start + BLOCK])
            examples = ["\n".join(c.examples) for p in some for c in p.commands]
            table = tabulate_commands(some).assign(examples=examples)
            write_csv(table, file, header=start == 0)
    personas = ({"user_id": p.user_id, "user_scenario": {"persona": render_profile(p)}} for p in profiles)
    write_lines(folder / "tau2_personas.jsonl", personas)
    card = write_data_card(profiles, corpus=corpus, licence=licence)
    (folder / "README.md").write_text(card, encoding="utf-8")
    return path


def write_data_card(profiles: Sequence[Profile], *, corpus: str, licence: str) -> str:
    """A data card for exported profiles, in Markdown (``data_card.md``)."""
    commands = tabulate_commands(profiles)
    template = (files("realusersim_nb.profiles") / "data_card.md").read_text(encoding="utf-8")
    counts = {"n_commands": len(commands), "n_examples": commands["examples"].sum()}
    source = {"corpus": corpus, "licence": licence, "file": PROFILES.as_posix()}
    maker = {"extractor": profiles[0].extractor if profiles else "none", "version": version("realusersim_nb")}
    return template.format(n_profiles=len(profiles), **counts, **source, **maker)


def to_released_profile(profile: Profile) -> dict:
    """One line of the released layout."""
    row = profile.model_dump()
    return {
        "user_ip": row["user_id"],
        "demographics": row["demographics"],
        "linguistic_profile": {"background": row["background"], "commands": row["commands"]},
        OURS: {name: row[name] for name in ("source_conversations", "extractor")},
    }


def read_profiles(folder: str | Path) -> Iterator[Profile]:
    """Profiles of a folder in the released layout, or of such a file; InputError names a malformed line."""
    path = Path(folder)
    path = path / PROFILES if path.is_dir() else path
    return parse_lines(path, parse_released_profile, "user_ip, demographics and linguistic_profile")


def parse_lines(path: Path, parse: Callable[[dict], R], expected: str) -> Iterator[R]:
    """Each line, parsed; InputError names a line of another form."""
    for place, row in read_lines(path):
        try:
            yield parse(row)
        except InputError as error:
            raise InputError(f"{place}: {error}") from error
        except (KeyError, TypeError, AttributeError, ValidationError) as error:
            raise InputError(f"{place}: expected {expected}, got {error!r}.") from error


def parse_released_profile(row: dict) -> Profile:
    """The profile in one line of the released layout; demographics without a value are left out."""
    profile = row["linguistic_profile"] or {}
    facts = {
        name: Demographic(**{"source": "inferred", "confidence": 0.0, **fact})
        for name, fact in (row.get("demographics") or {}).items()
        if isinstance(fact, dict) and fact.get("value")
    }
    return Profile(
        user_id=row["user_ip"],
        demographics=facts,
        background=(profile.get("background") or "") if isinstance(profile, dict) else "",
        commands=list(read_commands(profile)),
        **{"extractor": "released", **row.get(OURS, {})},
    )


def read_commands(profile: dict | list) -> Iterator[Command]:
    """Commands in a list, or in one list for each dimension; InputError if one is of no known dimension."""
    if isinstance(profile, list) or "commands" in profile:
        profile = {"": profile if isinstance(profile, list) else profile["commands"]}
    for group, commands in profile.items():
        for command in commands if isinstance(commands, list) else []:
            fields = {name: value for name, value in command.items() if name in Command.model_fields}
            yield Command(**{**fields, "dimension": find_dimension(str(fields.get("dimension") or group))})


def find_dimension(written: str) -> Dimension:
    """The dimension of this name, however it is spelt: ``Multi_Turn Behavior``, ``filler / hesitation``."""
    if spell(written) not in SPELT:
        expected = f"one of {', '.join(get_args(Dimension))}"
        raise InputError(
            f"a command of dimension {written!r}, expected {expected}; correct it or leave it out."
        )
    return SPELT[spell(written)]


def spell(name: str) -> str:
    """A name without case, spaces and marks, American spelling as British."""
    words = [word for word in re.findall("[a-z]+", name.lower()) if word != "and"]
    return "".join(words).replace("behavior", "behaviour")


SPELT: dict[str, Dimension] = {spell(name): name for name in get_args(Dimension)}


def write_cases(
    cases: list[Case], profiles: dict[str, Profile], folder: str | Path, *, name: str = "mixed_domain"
) -> Path:
    """Write cases, each with its profile (by case or by user), as one test set of the released layout."""
    used = [profiles.get(case.case_id) or profiles[case.user_id] for case in cases]
    rows = [to_released_case(*pair) for pair in zip(cases, map(to_released_profile, used), strict=True)]
    return write_lines(Path(folder) / CASES / f"{name_file(name)}.jsonl", rows)


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
    """Cases and their users' profiles of a folder in the released layout, or of one of its test sets.

    Where the six released test sets are, they alone are read, a case a row, also if one conversation is in
    two of them; a set all of whose cases are in another one (as ours of domains are) is left out. Ids that
    are the same in several sets are told apart by the set's name.
    """
    path = Path(folder)
    paths = sorted((path / CASES).glob("*.jsonl")) if path.is_dir() else [path]
    released = [file for file in paths if file.stem in RELEASED_SETS]
    expected = "a case with original_messages, problem_desc or user_goal, and user_profile"
    chosen = released if len(released) == len(RELEASED_SETS) else paths
    sets = {file.stem: list(parse_lines(file, parse_released_case, expected)) for file in chosen}
    kept = {name: pairs for name, pairs in sets.items() if not is_within_another(name, sets)}
    times = Counter(case.case_id for pairs in kept.values() for case, _ in pairs)
    cases, profiles = [], []
    for name, pairs in kept.items():
        for case, profile in pairs:
            again = {"case_id": f"{name}/{case.case_id}"} if times[case.case_id] > 1 else {}
            cases.append(case.model_copy(update=again))
            profiles.append(profile)
    return cases, profiles


def is_within_another(name: str, sets: dict[str, list[tuple[Case, Profile]]]) -> bool:
    """Whether all cases of a test set are, id by id and word by word, in one larger set."""
    keys = {n: {(c.case_id, c.goal, str(c.original.messages)) for c, _ in pairs} for n, pairs in sets.items()}
    return any(keys[name] < others for other, others in keys.items() if other != name)


def parse_released_case(row: dict) -> tuple[Case, Profile]:
    """The case in one line of a test set, without empty messages, and its user's profile.

    Goal and context are in the fields of either spelling.
    """
    case_id, user_id = str(row["test_id"]), row["user_ip"]
    messages = [{n: m[n] for n in ("role", "content")} for m in row["original_messages"] if m["content"]]
    case = Case(
        case_id=case_id,
        user_id=user_id,
        goal=read_either(row, "problem_desc", "user_goal"),
        key_context=str(read_either(row, "solution_conditions", "key_context")),
        domain=row.get("domain") or "",
        task_type=row.get("task_type") or "",
        original=Conversation(conversation_id=case_id, user_id=user_id, messages=messages),
    )
    return case, parse_released_profile({"user_ip": user_id, **row["user_profile"]})


def read_either(row: dict, name: str, other: str) -> object:
    """The value of a field that has two names; KeyError without either."""
    return row[name] if row.get(name) is not None else row[other]


class ReleasedCases(NamedTuple):
    """Drawn cases; profiles by case and by user; all original conversations; the counts as a sentence."""

    cases: list[Case]
    profiles: dict[str, Profile]
    originals: list[Conversation]
    counts: str


def draw_released_cases(place: str, *, n_cases: int, seed: int) -> ReleasedCases:
    """A seeded draw of the cases of a release; a profile has no example from its case's conversation."""
    rows, profiles = read_cases(find_release(place))
    safe = [remove_examples(p, c.original) for p, c in zip(profiles, rows, strict=True)]
    n_examples, n_safe = (tabulate_commands(group)["examples"].sum() for group in (profiles, safe))
    by_id = {p.user_id: p for p in profiles} | {c.case_id: p for c, p in zip(rows, safe, strict=True)}
    cases = rows
    twice = len(cases) - len({str(case.original.messages) for case in cases})
    counts = (
        f"{len(cases)} released cases of {len({c.user_id for c in cases})} users, {twice} on a conversation"
        f" counted before; {n_examples - n_safe} examples from a case's conversation left out of its"
        " profile"
    )
    drawn = pd.Series(cases).sample(min(n_cases, len(cases)), random_state=seed).tolist()
    return ReleasedCases(drawn, by_id, [case.original for case in cases], counts)


def find_judge_prompt(place: str | None) -> JudgePrompt | None:
    """The judge prompt of a release, if one is given and has it. InputError if a section of it is missing."""
    path = find_release(place) / JUDGE_PROMPT if place else None
    if not path or not path.is_file():
        return None
    heading = re.compile(r"^[^\n\w]*(SYSTEM PROMPT|FORMATTING PROMPT)\b[^\n]*$", re.MULTILINE)
    before, *pieces = heading.split(path.read_text(encoding="utf-8"))
    texts = [text.strip().strip("=-#").strip() for text in (before, *pieces[1::2])]
    sections = dict(zip(["SYSTEM PROMPT", *pieces[::2]], texts, strict=True))
    system, formatting = map(sections.get, ("SYSTEM PROMPT", "FORMATTING PROMPT"))
    if not (system and formatting):
        seen = list(pieces[::2]) or "none"
        raise InputError(f"{path}: expected the sections SYSTEM PROMPT and FORMATTING PROMPT, found {seen}.")
    return JudgePrompt(system=system, formatting=formatting)


def find_release(place: str) -> Path:
    """The folder of a release: a folder as it is, or a hub id (``Salesforce/RealUserSim``), downloaded.

    MissingFileError with what to do if it is neither here nor on the hub.
    """
    if Path(place).exists():
        return Path(place)
    patterns = [f"{CASES.as_posix()}/*.jsonl", JUDGE_PROMPT.as_posix()]
    try:
        return Path(huggingface_hub.snapshot_download(place, repo_type="dataset", allow_patterns=patterns))
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        problem = " ".join(str(error).split())[:200]
        raise MissingFileError(
            f"released cases {place!r}: no such folder, and the hub could not give it ({problem});"
            " download it and name the folder."
        ) from error
