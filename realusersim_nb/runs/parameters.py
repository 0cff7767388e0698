"""What the value of a notebook's parameter may be: the same name means the same everywhere."""

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, TypeVar

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError

from realusersim_nb.agents.scores import CORRECTED, STOCK, AgentReferenceArm, Domain
from realusersim_nb.corpus.curation import DUPLICATES, STEPS
from realusersim_nb.corpus.layouts.columns import Columns, find_note
from realusersim_nb.errors import InputError
from realusersim_nb.files import find_run_folder
from realusersim_nb.llm.models import LLMMode
from realusersim_nb.records import Order
from realusersim_nb.simulators.conditions import ARMS, PROMPT, TRAIT_DIRECTIVES
from realusersim_nb.simulators.users import TurnFormat

T = TypeVar("T")


class Kind(NamedTuple):
    """What a parameter may be, in words and as a type."""

    words: str
    form: TypeAdapter


def make_kind(words: str, form: Any, *, null: bool = False) -> Kind:
    """A kind of value; ``null``: None is one too."""
    return Kind(words + ", or null" * null, TypeAdapter(form | None if null else form))


def whole_number(least: int, most: int | None = None, **also: bool) -> Kind:
    """A whole number from ``least``."""
    words = f"a whole number from {least}" + (f" to {most}" if most else "")
    return make_kind(words, Annotated[int, Field(ge=least, le=most)], **also)


def choice(form: Any) -> Kind:
    """One of the values of a Literal."""
    return make_kind(f"one of {', '.join(map(str, form.__args__))}", form)


def check_repeats(values: list[T]) -> list[T]:
    """The values, of which no two may be the same."""
    if len(set(values)) < len(values):
        raise ValueError("a value is there twice")
    return values


def several(form: Any, *, least: int = 0, other: Any = None, words: str = "") -> Kind:
    """A list of values of a Literal, or of an ``other`` type (in ``words``), none twice, at least so many."""
    listed = Annotated[
        list[form | other if other else form], Field(min_length=least), AfterValidator(check_repeats)
    ]
    names = ", ".join([*map(str, form.__args__), *filter(None, [words])])
    return make_kind(f"a list of {'one or more' if least else 'some'} of {names}, none twice", listed)


TEXT = Annotated[str, Field(min_length=1)]
JUDGES = TEXT | Annotated[list[TEXT], Field(min_length=1)]
COLUMNS = dict[Literal[*Columns.model_fields], str | list[str]]
DOLLARS = Annotated[float, Field(ge=0, allow_inf_nan=False)]
WRITER = Annotated[str, Field(pattern=r"[^:\s]$")]
PROMPT_FILE = Annotated[str, Field(pattern=rf"^{PROMPT}.")]
EXTRACTOR = make_kind("measured, a model's name or hybrid:MODEL", WRITER)
MODEL, MODEL_OR_NULL = make_kind("a model's name", TEXT), make_kind("a model's name", TEXT, null=True)
PATH = make_kind("a path", TEXT | Path, null=True)
KINDS: dict[str, Kind] = {
    "run_name": make_kind("a folder name", Annotated[str, AfterValidator(find_run_folder)]),
    "seed": whole_number(0, 2**32 - 1),
    "corpus": make_kind("a corpus's name or path", TEXT),
    "columns": make_kind(f"a mapping of {', '.join(Columns.model_fields)} to columns", COLUMNS),
    "skip_steps": several(Literal[*STEPS, DUPLICATES]),
    "max_conversations": whole_number(1, null=True),
    "n_users": whole_number(1, null=True),
    "n_cases": whole_number(1),
    "n_predicted": whole_number(0),
    "n_candidates": whole_number(0),
    "n_demonstrations": whole_number(1),
    "scorer": MODEL_OR_NULL,
    "n_tasks": whole_number(1, null=True),
    "spoken_only": make_kind("true or false", bool),
    "n_trials": whole_number(1),
    "extractor": EXTRACTOR,
    "profile_messages": whole_number(1, null=True),
    "session": choice(Literal["any", "same", "cross"]),
    "compared_extractor": make_kind(EXTRACTOR.words, WRITER, null=True),
    "n_compared": whole_number(0),
    "reference": PATH,
    "released": PATH,
    "simulator": MODEL_OR_NULL,
    "assistant": MODEL_OR_NULL,
    "judge": make_kind("a model's name, measured, or a list of these", JUDGES, null=True),
    "judge_calls": choice(Literal[1, 2]),
    "judge_orders": several(Order, least=1),
    "n_rejudged": whole_number(0),
    "label_file": PATH,
    "arms": several(
        Literal[*AgentReferenceArm.__args__, STOCK, CORRECTED, *ARMS],
        least=1,
        other=PROMPT_FILE,
        words="prompt:FILE",
    ),
    "turn_format": choice(TurnFormat),
    "max_user_messages": whole_number(1),
    "systems": make_kind("a mapping {name: path}", dict[TEXT, TEXT]),
    "domain": choice(Domain),
    "directives": several(Literal[*TRAIT_DIRECTIVES]),
    "agent": MODEL,
    "agent_format": make_kind("constrained, function_calling or my_module:answer", TEXT),
    "max_steps": whole_number(1),
    "facet_writer": make_kind("measured, raw or a model's name", TEXT),
    "embedder": make_kind("lsa, words, an embedding model's name or a .npy or .npz file", TEXT),
    "k": whole_number(2, null=True),
    "n_triplets": whole_number(0),
    "annotator": MODEL_OR_NULL,
    "answer_file": PATH,
    "sweep": make_kind("a sweep's name", TEXT, null=True),
    "compared_arm": choice(Literal[*ARMS]),
    "max_concurrency": whole_number(1),
    "budget_usd": make_kind("a number of dollars from 0", DOLLARS, null=True),
    "llm_mode": choice(LLMMode),
}
"""What the value of each parameter may be, in every notebook that has it."""
SIMULATED = {"00_start_here", "03_benchmark_fidelity", "04_stress_test_agents"}  # need a simulator

INPUTS = ["corpus", "reference", "released", "label_file", "answer_file", "embedder"]  # may name a file


def check_value(notebook: str, name: str, value: Any) -> None:
    """InputError for a value that a notebook's parameter cannot have; a name that is not listed takes any."""
    kind = MODEL if name == "simulator" and notebook in SIMULATED else KINDS.get(name)
    try:
        kind and kind.form.validate_python(value, strict=True)
    except ValidationError as error:
        problem = f"expected {kind.words}, got {value!r}"
        raise InputError(f"parameter {name!r} of {notebook}: {problem}.") from error


def digest_inputs(parameters: dict[str, Any]) -> dict[str, str]:
    """A digest of the content of every file or folder here that parameters name, by its path."""
    named = [parameters.get(name) for name in INPUTS] + [*(parameters.get("systems") or {}).values()]
    named += [arm.removeprefix(PROMPT) for arm in parameters.get("arms") or () if arm.startswith(PROMPT)]
    return {str(path): digest_path(Path(path)) for path in named if path and Path(path).exists()}


def digest_path(path: Path) -> str:
    """12 hex digits that change with the files at a path, also with the columns saved for it."""
    paths = [*sorted(path.rglob("*")), path, find_note(path), find_note(path.parent)]
    paths = [file for file in paths if file.is_file()]
    stats = [(file.name, digest_file(file, file.stat().st_size, file.stat().st_mtime_ns)) for file in paths]
    return hashlib.sha256(json.dumps(stats).encode()).hexdigest()[:12]


@cache
def digest_file(path: Path, size: int, changed: int) -> str:
    """sha256 of a file, read again if its size or time has changed."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
