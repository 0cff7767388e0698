"""Notebooks run headless through papermill, with their parameters checked before anything runs."""

import re
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TextIO

import nbformat
import papermill
import yaml
from nbformat.reader import NotJSONError
from nbformat.validator import ValidationError

from realusersim_nb import errors, files
from realusersim_nb.errors import InputError, MissingFileError, StudyError
from realusersim_nb.runs.findings import describe_findings
from realusersim_nb.runs.kernel import take_kernel
from realusersim_nb.runs.parameters import check_value, digest_inputs
from realusersim_nb.runs.summary import (
    collect_headlines,
    describe_code,
    describe_notebook,
    name_run,
    read_parameters,
    write_summary,
)
from realusersim_nb.text import read_yaml

BAR = re.compile(r"[^:\n]+: \d[\d,.kM]*(/\S+| of \S+)? in \d")  # as parallel.bars writes them
KERNEL_SECONDS = 600  # that a busy machine may take to pass on the last outputs of a cell (nbclient: 4)


def find_notebooks(numbers: Iterable[str] = ()) -> list[Path]:
    """The notebooks with these numbers (``03``), in order; all if none is named. InputError for any other."""
    existing = {path.name[:2]: path for path in sorted(files.notebooks_folder().glob("[0-9][0-9]_*.ipynb"))}
    if not existing:
        raise InputError(f"no notebooks in {files.notebooks_folder()}; run this from the project's folder.")
    for number in numbers:
        if f"{number:0>2}" not in existing:
            raise InputError(f"notebook {number!r} does not exist: expected one of {', '.join(existing)}.")
    chosen = {f"{number:0>2}" for number in numbers} or existing
    return [path for number, path in existing.items() if number in chosen]


def fill_parameters(notebook: Path, given: dict) -> dict[str, Any]:
    """All parameters of a notebook: those that are given, else their defaults."""
    return {name: given.get(name, default) for name, default in read_parameters(notebook).items()}


def check_parameters(given: dict, chosen: list[Path], *, known: Iterable[Path] = ()) -> None:
    """InputError for a name that no chosen (or ``known``) notebook has, or a value that it cannot have."""
    declared = {name for notebook in (*chosen, *known) for name in read_parameters(notebook)}
    for name, value in given.items():
        if name not in declared:
            names, expected = ", ".join(path.stem for path in chosen), ", ".join(sorted(declared))
            raise InputError(f"parameter {name!r} does not exist in {names}: expected some of {expected}.")
        for notebook in chosen:
            if name in read_parameters(notebook):
                check_value(notebook.stem, name, value)


def read_mapping(path: Path, kind: str) -> dict[str, Any]:
    """A YAML file of names and values; InputError or MissingFileError, naming the ``kind`` of file."""
    if not path.exists():
        raise MissingFileError(f"{kind} {path}: no such file.")
    try:
        content = read_yaml(path) or {}
    except yaml.YAMLError as error:
        raise InputError(f"{kind} {path}: not YAML: {error}") from error
    if not isinstance(content, dict):
        raise InputError(f"{kind} {path}: expected lines 'name: value'.")
    return content


def run_notebooks(
    chosen: list[Path], parameters: dict, *, run_name: str, log: TextIO | None = None
) -> list[str]:
    """Execute notebooks in order into one run folder; returns a line on each: wall time, calls, tokens.

    These lines, each notebook's findings and its bars go to ``log`` (stderr). A notebook that fails stops
    the run with papermill's error; running again goes on from the cache. The manifest of an earlier run is
    removed first. RunTaken if another process is at work on this run.
    """
    run_folder, log, lines = files.find_run_folder(run_name), log or sys.stderr, []
    log = log if log.isatty() else WholeLines(log)
    with files.hold_run(run_folder):
        (run_folder / "manifest.json").unlink(missing_ok=True)
        for notebook in chosen:
            print(f"\n{notebook.stem}", file=log, flush=True)
            started = time.monotonic()
            run_notebook(notebook, run_name, parameters, log=log)
            lines.append(describe_notebook(run_folder / notebook.stem, time.monotonic() - started))
            findings = files.read_json(run_folder / notebook.stem / "summary_part.json")["findings"]
            print(lines[-1], *describe_findings(findings), sep="\n", file=log, flush=True)
        write_summary(run_folder)
    return lines


def run_notebook(notebook: Path, run_name: str, parameters: dict, *, log: TextIO) -> None:
    """Execute one notebook with those of the parameters that it has."""
    executed = files.find_run_folder(run_name) / notebook.name
    given = {name: parameters[name] for name in read_parameters(notebook) if name in parameters}
    with take_kernel() as kernel:
        try:
            papermill.execute_notebook(
                *(re.sub(r"([{}])", r"\1\1", str(path)) for path in (notebook, executed)),  # it fills paths
                parameters={**given, "run_name": run_name},
                kernel_name="python3",
                progress_bar=False,  # the notebook's bars are shown instead
                request_save_on_cell_execute=False,  # every half minute is enough, and at the end or an error
                stderr_file=log,
                iopub_timeout=KERNEL_SECONDS,
                coalesce_streams=True,  # else every state of a bar is an output of its own
                km=kernel,
            )
        finally:
            if executed.exists():  # else it was interrupted before anything was saved
                settle_bars(executed)


def settle_bars(executed: Path) -> None:
    """Keep of each bar in an executed notebook its last state, as a line like any other that was printed: a
    page would show all states, and as errors.
    """
    notebook = read_executed(executed)
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if output.get("name") == "stderr":
                lines = [overwrite(line) for line in output.text.split("\n") if line.strip()]
                output.text = "".join(f"{line}\n" for line in lines)
                if all(BAR.match(line) for line in lines):
                    output.name = "stdout"
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if output.get("text") != ""]
    with files.replace_whole(executed) as path:
        nbformat.write(notebook, path)


def overwrite(line: str) -> str:
    """A line as a terminal shows it after each carriage return began it anew."""
    states = re.sub(r"\x1b\[\w", "", line).split("\r")
    return next(filter(None, reversed(states)), "")


class WholeLines:
    """A text stream for a file or a pipe: of each bar it passes on the last state, as one line."""

    def __init__(self, stream: TextIO):
        self.stream, self.begun = stream, ""

    def write(self, text: str) -> None:
        """Pass on the lines that end in ``text``, without empty ones."""
        *ended, self.begun = (self.begun + text).split("\n")
        lines = [overwrite(line) for line in ended]
        self.stream.write("".join(f"{line}\n" for line in lines if line.strip()))

    def flush(self) -> None:
        """Flush the stream; a line that is begun waits for its end."""
        self.stream.flush()


def is_user_error(error: Exception) -> bool:
    """Whether a user can mend it: a ``StudyError`` here, or one that a notebook showed as its sentence."""
    return isinstance(error, StudyError) or errors.HINT in getattr(error, "traceback", ())


def write_manifest(run_folder: Path, parameters: dict) -> None:
    """What made this run; written last, so that its presence means the run is complete."""
    headlines, executed = collect_headlines(run_folder), sorted(run_folder.glob("*.ipynb"))
    manifest = {
        "run_name": name_run(run_folder),
        "finished": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "parameters": {path.stem: read_executed_parameters(path) for path in executed},
        "given": parameters,
        "inputs": digest_inputs(parameters),
        **describe_code(),
        "corpus": headlines.get("corpus"),
        "calls": headlines["calls"],
        "cost_usd": headlines["calls"]["cost_usd"],
        "wall_seconds": headlines["wall_seconds"],
    }
    files.write_json(run_folder / "manifest.json", manifest)


def read_executed_parameters(notebook: Path) -> dict[str, Any]:
    """All parameters that an executed notebook ran with, defaults too."""
    metadata = read_executed(notebook).metadata
    return fill_parameters(notebook, metadata.get("papermill", {}).get("parameters", {}))


def read_executed(notebook: Path) -> nbformat.NotebookNode:
    """An executed notebook; DamagedFileError names one that is none."""
    try:
        return nbformat.read(notebook, as_version=4)
    except (NotJSONError, ValidationError, ValueError, AttributeError) as error:
        raise files.DamagedFileError(notebook) from error
