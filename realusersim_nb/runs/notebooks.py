"""Notebooks run headless through papermill, with their parameters checked before anything runs."""

import ast
import importlib.metadata
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any, TextIO

import nbformat
import papermill
from pydantic import TypeAdapter, ValidationError

from realusersim_nb.errors import InputError
from realusersim_nb.files import NOTEBOOKS, OUTPUTS, replace_whole, write_json
from realusersim_nb.prompts.fill import hash_prompts
from realusersim_nb.runs import kernels
from realusersim_nb.runs.summary import describe_notebook, name_run, write_summary


class ParameterError(InputError):
    """A parameter that no notebook has, or a value of the wrong kind."""


def find_notebooks(numbers: Iterable[str] = ()) -> list[Path]:
    """The notebooks with these numbers (``03``), in order; all if none is named."""
    everything = sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))
    if not everything:
        raise ParameterError(f"no notebooks in {NOTEBOOKS.resolve()}; run this from the project's folder.")
    chosen = []
    for number in numbers:
        matches = [path for path in everything if path.name.startswith(f"{number:0>2}_")]
        if not matches:
            raise ParameterError(
                f"notebook {number!r} does not exist: expected one of {', '.join(p.name[:2] for p in everything)}."
            )
        chosen += matches
    return sorted(set(chosen)) or everything


@cache
def read_parameters(notebook: Path) -> dict:
    """The parameters a notebook declares, with their default values."""
    declared = papermill.inspect_notebook(str(notebook))
    return {name: ast.literal_eval(p["default"]) for name, p in declared.items()}


def own_parameters(notebook: Path, parameters: dict) -> dict:
    """Those of the parameters that a notebook has."""
    declared = read_parameters(notebook)
    return {name: value for name, value in parameters.items() if name in declared}


def check_parameters(given: dict, chosen: list[Path]) -> None:
    """ParameterError for a name that none of the chosen notebooks has, or a value of another kind."""
    declared: dict = {}
    for notebook in chosen:
        declared |= read_parameters(notebook)
    for name, value in given.items():
        if name not in declared:
            raise ParameterError(
                f"parameter {name!r} does not exist in {', '.join(p.stem for p in chosen)}: expected some of {', '.join(sorted(declared))}."
            )
        kind = Any if declared[name] is None else type(declared[name]) | None
        try:
            TypeAdapter(kind).validate_python(value, strict=True)
        except ValidationError as error:
            expected = f"{type(declared[name]).__name__} such as {declared[name]!r}"
            raise ParameterError(f"parameter {name!r}: expected a {expected}, got {value!r}.") from error


def run_notebooks(
    chosen: list[Path], parameters: dict, *, run_name: str, log: TextIO | None = None
) -> list[str]:
    """Execute notebooks in order into one run folder; returns what was printed of each.

    That is one line a notebook: wall time, calls, tokens. It goes to ``log`` (stderr) with the notebook's own bars. A notebook that fails stops the run
    with papermill's error; what was done stays, and running again goes on from the cache. The
    manifest of an earlier run is removed first: it is written again when this one is complete.
    """
    run_folder, log = OUTPUTS / run_name, log or sys.stderr
    run_folder.mkdir(parents=True, exist_ok=True)
    (run_folder / "manifest.json").unlink(missing_ok=True)
    os.environ["REALUSERSIM_OWNER"] = str(os.getpid())  # the embedded server lives as long as this run
    lines = []
    for notebook in chosen:
        print(f"\n{notebook.stem}", file=log, flush=True)
        started = time.monotonic()
        run_notebook(notebook, run_name, parameters, log=log)
        lines.append(describe_notebook(run_folder / notebook.stem, time.monotonic() - started))
        parameters = subtract_cost(parameters, run_folder / notebook.stem)
        print(lines[-1], file=log, flush=True)
    write_summary(run_folder)
    return lines


def subtract_cost(parameters: dict, folder: Path) -> dict:
    """The parameters for the next notebook: ``budget_usd`` is the whole run's."""
    if parameters.get("budget_usd") is None:
        return parameters
    spent = json.loads((folder / "summary_part.json").read_text())["calls"]["cost_usd"]
    return {**parameters, "budget_usd": max(0.0, parameters["budget_usd"] - spent)}


def run_notebook(notebook: Path, run_name: str, parameters: dict, *, log: TextIO) -> None:
    """Execute one notebook with those of the parameters that it has."""
    executed = OUTPUTS / run_name / notebook.name
    with kernels.take_kernel() as kernel:
        try:
            papermill.execute_notebook(
                str(notebook),
                str(executed),
                parameters={**own_parameters(notebook, parameters), "run_name": run_name},
                kernel_name="python3",
                progress_bar=False,  # the notebook's own bars are shown instead
                request_save_on_cell_execute=False,  # every half minute is enough, and at the end or an error
                stderr_file=log,
                km=kernel,
            )
        finally:
            if executed.exists():  # else it was interrupted before anything was saved
                settle_bars(executed)


def settle_bars(executed: Path) -> None:
    """Leave of each bar in an executed notebook what it came to: a page would show all of its states as lines."""
    notebook = nbformat.read(executed, as_version=4)
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if output.get("name") == "stderr":
                output.text = "".join(
                    f"{line}\n" for line in map(overwrite, output.text.split("\n")) if line.strip()
                )
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if output.get("text") != ""]
    with replace_whole(executed) as path:
        nbformat.write(notebook, path)


def overwrite(line: str) -> str:
    """A line as a terminal leaves it where a carriage return begins it anew."""
    states = re.sub(r"\x1b\[\w", "", line).split("\r")
    return next(filter(None, reversed(states)), "")


def write_manifest(run_folder: Path, parameters: dict) -> None:
    """What made this run; written last, so that its presence means the run is complete."""
    summary = json.loads((run_folder / "summary.json").read_text())
    manifest = {
        "run_name": name_run(run_folder),
        "finished": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "parameters": {
            path.stem: read_executed_parameters(path) for path in sorted(run_folder.glob("*.ipynb"))
        },
        "given": parameters,
        "versions": {
            "python": platform.python_version(),
            **{d.name: d.version for d in importlib.metadata.distributions()},
        },
        "git_commit": read_commit(),
        "prompts": hash_prompts(),
        "corpus": summary.get("corpus"),
        "calls": summary["calls"],
        "cost_usd": summary["calls"]["cost_usd"],
        "wall_seconds": summary["wall_seconds"],
    }
    write_json(run_folder / "manifest.json", manifest)


def read_executed_parameters(notebook: Path) -> dict:
    """The parameters an executed notebook was given."""
    return json.loads(notebook.read_text())["metadata"].get("papermill", {}).get("parameters", {})


def read_commit() -> str | None:
    """The commit of the working folder, with ``+`` if it has uncommitted changes."""
    if shutil.which("git") is None:
        return None
    answer = subprocess.run(
        ["git", "describe", "--always", "--abbrev=40", "--dirty=+"], capture_output=True, text=True
    )
    return answer.stdout.strip() or None
