"""A sweep: the same notebooks under many settings, described in one file, a run folder each.

``notebooks/sweeps/*.yaml`` hold

    notebooks: ["03", "05"]                  # all, if none is named
    parameters: {judge: measured}            # of every run
    grid: {simulator: [a, b], n_cases: [8]}  # every combination
    runs: [{turn_format: roles}]             # or one by one; each is combined with the grid
    seeds: [1, 2, 3]                         # short for a grid over seed
    tags: [pilot]                            # noted in the table

A run's folder is ``outputs/<sweep>/<run>/``. It is complete once its ``manifest.json`` is there; a run that
failed has a ``failed.json``. ``outputs/<sweep>/sweep.parquet`` has one row a run.
"""

import json
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from fnmatch import fnmatch
from itertools import product
from pathlib import Path
from typing import Any, Literal, Self

import pandas as pd
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from realusersim_nb import files
from realusersim_nb.errors import InputError
from realusersim_nb.parallel import cluster
from realusersim_nb.parallel.processes import run_here
from realusersim_nb.runs import notebooks, report
from realusersim_nb.runs.folders import Run
from realusersim_nb.runs.parameters import digest_inputs
from realusersim_nb.runs.summary import read_manifest, read_usage
from realusersim_nb.text import name_file

State = Literal["finished", "failed", "begun", "new"]


class Sweep(BaseModel):
    """The content of a sweep file."""

    model_config = ConfigDict(extra="forbid")

    notebooks: list[str] = []
    parameters: dict[str, Any] = {}
    grid: dict[str, list] = {}
    runs: list[dict[str, Any]] = [{}]
    seeds: list[int] = []
    tags: list[str] = []

    @model_validator(mode="after")
    def check_values(self) -> Self:
        """Every list has values, no parameter is set in two places, and run_name in none."""
        for name, values in {**self.grid, "runs": self.runs}.items():
            if not values:
                raise ValueError(f"{name!r} has no values, so there would be no run; give one at least")
        listed, seeds = {name for run in self.runs for name in run}, ["seed"] * bool(self.seeds)
        for name, n_places in Counter([*self.parameters, *self.grid, *listed, *seeds]).items():
            if name == "run_name":
                raise ValueError("run_name is made of what varies; remove it")
            if n_places > 1:
                raise ValueError(f"{name!r} is set in two places; keep one")
        return self


@dataclass(frozen=True)
class PlannedRun:
    """One run of a sweep: ``name`` is its folder under outputs/, ``varied`` its parameters that vary."""

    name: str
    notebooks: list[str]
    parameters: dict[str, Any]
    varied: dict[str, Any]

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return files.outputs_folder() / self.name


def read_sweep(path: Path) -> Sweep:
    """A sweep file. InputError names the field that is wrong, and what was expected."""
    try:
        return Sweep.model_validate(notebooks.read_mapping(path, "sweep file"))
    except ValidationError as error:
        problem = error.errors()[0]
        place = "".join(f", field {name!r}" for name in problem["loc"])
        reason = problem["msg"].removeprefix("Value error, ")
        fields = ", ".join(Sweep.model_fields)
        raise InputError(f"sweep file {path}{place}: {reason}; the fields are {fields}.") from error


def plan_runs(sweep: Sweep, name: str) -> list[PlannedRun]:
    """All runs of a sweep, in order, checked before any is begun.

    InputError for a parameter that no notebook has, a value of the wrong kind, and two runs with one folder.
    """
    chosen = notebooks.find_notebooks(sweep.notebooks)
    numbers = [path.name[:2] for path in chosen]
    grid = sweep.grid | ({"seed": sweep.seeds} if sweep.seeds else {})
    planned: dict[str, PlannedRun] = {}
    for listed, values in product(sweep.runs, product(*grid.values())):
        varied = listed | dict(zip(grid, values, strict=True))
        run = PlannedRun(f"{name}/{name_sweep_run(varied)}", numbers, sweep.parameters | varied, varied)
        notebooks.check_parameters(run.parameters, chosen)
        if twin := planned.get(run.name):
            both = f"{run.varied} and {twin.varied} would both have the folder outputs/{run.name}"
            raise InputError(f"sweep {name!r}: {both}; remove one, or make them differ.")
        planned[run.name] = run
    return list(planned.values())


def name_sweep_run(varied: dict) -> str:
    """A folder name made of what varies: ``simulator=gpt-4o,seed=1``."""
    return name_file(",".join(f"{name}={value}" for name, value in varied.items()) or "run")


def choose_runs(runs: list[PlannedRun], only: str | None) -> list[PlannedRun]:
    """Those whose name holds a text or fits a pattern (``*seed=1``); InputError if none does."""
    chosen = [run for run in runs if only is None or only in run.name or fnmatch(run.name, f"*{only}")]
    if not chosen:
        raise InputError(f"--only {only!r} fits none of the {len(runs)} runs, such as {runs[0].name!r}.")
    return chosen


def find_state(run: PlannedRun) -> State:
    """Finished if the manifest is of these parameters and files, and all it stands for is still there."""
    manifest, chosen = read_manifest(run.folder) or {}, notebooks.find_notebooks(run.notebooks)
    needed = [name for path in chosen for name in (path.name, f"{path.stem}/summary_part.json")]
    is_same = manifest.get("given") == json.loads(json.dumps(run.parameters))
    is_same = is_same and manifest.get("inputs") == digest_inputs(run.parameters)
    if is_same and all((run.folder / name).exists() for name in [*needed, "summary.json"]):
        return "finished"
    if (run.folder / "failed.json").exists():
        return "failed"
    return "begun" if run.folder.exists() else "new"


def find_states(runs: list[PlannedRun]) -> dict[str, State]:
    """The state of each run by its name; what other machines have finished is fetched."""
    for run in runs:
        if find_state(run) != "finished":
            files.download(run.folder)
    return {run.name: find_state(run) for run in runs}


def execute_run(run: PlannedRun) -> State:
    """Execute a run's notebooks into its folder; their output goes into ``log.txt`` there.

    A run that fails keeps the notebook with the error in it, and has a ``failed.json``: which notebook, which
    error, and whether it is a defect (the trace is then in ``log.txt``).
    """
    if find_state(run) == "finished":  # Dask does again what a worker had done before it was killed
        return "finished"
    run.folder.mkdir(parents=True, exist_ok=True)
    (run.folder / "failed.json").unlink(missing_ok=True)
    with (run.folder / "log.txt").open("a", encoding="utf-8") as log:
        try:
            chosen = notebooks.find_notebooks(run.notebooks)
            notebooks.run_notebooks(chosen, run.parameters, run_name=run.name, log=log)
            notebooks.write_manifest(run.folder, run.parameters)
            return "finished"
        except files.RunTaken:
            return "begun"
        except Exception as error:  # whatever it was, the other runs go on
            if not notebooks.is_user_error(error):
                log.write(traceback.format_exc())
            newest = max(run.folder.glob("[0-9][0-9]_*.ipynb"), default=None)
            return record_failure(run, error, newest.stem if newest else None)
        finally:
            files.upload(run.folder)


def record_failure(run: PlannedRun, error: Exception, notebook: str | None = None) -> State:
    """Write ``failed.json`` of a run."""
    kind, text = getattr(error, "ename", type(error).__name__), getattr(error, "evalue", error)
    row = {"notebook": notebook, "error": f"{kind}: {text}", "is_defect": not notebooks.is_user_error(error)}
    files.write_json(run.folder / "failed.json", row)
    return "failed"


def read_failure(run: PlannedRun) -> dict[str, Any]:
    """``notebook, error, is_defect`` of a run that failed; empty for any other."""
    path = run.folder / "failed.json"
    try:
        return files.read_json(path) if path.exists() else {}
    except files.DamagedFileError as error:
        return {"notebook": None, "error": str(error), "is_defect": False}


def execute_all(
    runs: list[PlannedRun], *, workers: int, scheduler: str | None
) -> Iterator[list[tuple[PlannedRun, State]]]:
    """Execute runs, by one process or many; yields those that have ended, and empty lists meanwhile."""
    if workers == 1 and scheduler is None:
        yield from ([(run, execute_run(run))] for run in runs)
        return
    if scheduler:
        results = cluster.submit_all(cluster.get_client(scheduler), execute_run, runs)
    else:
        results = run_here(execute_run, runs, workers=workers)
    with closing(results):
        for ended in results:
            for run, _ in ended:
                files.download(run.folder)
            yield [(run, end if isinstance(end, str) else record_failure(run, end)) for run, end in ended]


def save_sweep_table(name: str, runs: list[PlannedRun], tags: list[str]) -> pd.DataFrame:
    """Write ``sweep.parquet`` and ``sweep.csv``, and return the table: one row a run.

    Columns ``run, state``, what was varied, ``calls, cached, failed_calls, tokens, cost_usd, wall_seconds``
    of its finished notebooks, ``error, tags``.
    """
    rows = []
    for run in runs:
        varied = {k: v if isinstance(v, str | int | float) else json.dumps(v) for k, v in run.varied.items()}
        failure = read_failure(run)
        error = ": ".join(filter(None, [failure.get("notebook"), failure.get("error")])) or None
        row = {"run": run.name, "state": find_state(run), **varied, **read_usage(run.folder)}
        rows.append(row | {"error": error, "tags": ",".join(tags)})
    table = pd.DataFrame(rows)
    mixed = [name for name in {n for run in runs for n in run.varied} if table[name].map(type).nunique() > 1]
    table = table.astype(dict.fromkeys(mixed, str))  # parquet takes one kind a column
    Run(name, "").save_table(table, "sweep")
    return table


def write_sweep_report(name: str) -> Path:
    """Compare the finished runs of a sweep by the notebook that does so, and write its report."""
    folder = files.outputs_folder() / name
    comparing = [path for path in notebooks.find_notebooks() if "sweep" in notebooks.read_parameters(path)]
    with (folder / "log.txt").open("a", encoding="utf-8") as log:
        notebooks.run_notebooks(comparing, {"sweep": name}, run_name=name, log=log)
    page = report.write_report(folder)
    for path in folder.iterdir():  # the runs are there
        if path.is_file() or path.stem in {notebook.stem for notebook in comparing}:
            files.upload(path)
    return page
