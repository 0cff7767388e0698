"""A sweep: the same notebooks under many settings, described in one file, a run folder each.

``notebooks/sweeps/*.yaml`` hold

    notebooks: ["03", "05"]                  # all, if none is named
    parameters: {judge: measured}            # of every run
    grid: {simulator: [a, b], n_cases: [8]}  # every combination
    runs: [{turn_format: roles}]             # or one by one; each is combined with the grid
    seeds: [1, 2, 3]                         # short for a grid over seed
    tags: [pilot]                            # noted in the table

A run's folder is ``outputs/<sweep>/<run>/``. The run is whole once its ``manifest.json`` is there; one that
failed has a ``failed.json``. ``outputs/<sweep>/sweep.parquet`` has one row a run.
"""

import json
import re
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatch
from itertools import product
from pathlib import Path
from typing import Any, Literal, Self

import pandas as pd
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from realusersim_nb import files
from realusersim_nb.errors import InputError
from realusersim_nb.parallel import cluster
from realusersim_nb.runs import report
from realusersim_nb.runs.notebooks import (
    check_parameters,
    find_notebooks,
    is_user_error,
    read_mapping,
    read_parameters,
    run_notebooks,
    write_manifest,
)
from realusersim_nb.runs.summary import read_manifest, read_usage

State = Literal["finished", "failed", "begun", "new"]
LONGEST_NAME = 120  # of a run's folder


class Sweep(BaseModel):
    """The content of a sweep file."""

    model_config = ConfigDict(extra="forbid")

    notebooks: list[str] = []
    parameters: dict[str, Any] = {}
    grid: dict[str, list] = {}
    runs: list[dict[str, Any]] = [{}]
    seeds: list[int] = []
    tags: list[str] = []

    @property
    def axes(self) -> dict[str, list]:
        """The grid, with the seeds."""
        return self.grid | ({"seed": self.seeds} if self.seeds else {})

    @model_validator(mode="after")
    def check_values(self) -> Self:
        """Every list has values, no parameter is set in two places, and run_name in none."""
        for name, values in {**self.axes, "runs": self.runs}.items():
            if not values:
                raise ValueError(f"{name!r} has no values, so there would be no run; give one at least")
        listed = {name for run in self.runs for name in run}
        set_in = Counter([*self.parameters, *self.grid, *listed, *(["seed"] if self.seeds else [])])
        for name, n_places in set_in.items():
            if name == "run_name":
                raise ValueError("run_name is made of what varies; remove it")
            if n_places > 1:
                raise ValueError(f"{name!r} is set in two places; keep one")
        return self


@dataclass(frozen=True)
class PlannedRun:
    """One run of a sweep: ``name`` is its folder under outputs/, ``varied`` what it does not share with all others."""

    name: str
    notebooks: list[str]
    parameters: dict[str, Any]
    varied: dict[str, Any] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return files.outputs_folder() / self.name


# --- the file ----------------------------------------------------------------------------------


def read_sweep(path: Path) -> Sweep:
    """A sweep file. InputError names the field that is wrong, and what was expected."""
    try:
        return Sweep.model_validate(read_mapping(path, "sweep file"))
    except ValidationError as error:
        problem = error.errors()[0]
        place = ".".join(map(str, problem["loc"]))
        raise InputError(
            f"sweep file {path}{place and f', field {place!r}'}: {problem['msg'].removeprefix('Value error, ')}; "
            f"the fields are {', '.join(Sweep.model_fields)}."
        ) from error


def plan_runs(sweep: Sweep, name: str) -> list[PlannedRun]:
    """All runs of a sweep, in order, checked before any is begun.

    InputError for a parameter that no notebook has or a value of the wrong kind, and for two runs with one folder.
    """
    chosen = find_notebooks(sweep.notebooks)
    planned: dict[str, PlannedRun] = {}
    for listed, values in product(sweep.runs, product(*sweep.axes.values())):
        varied = listed | dict(zip(sweep.axes, values, strict=True))
        parameters = sweep.parameters | varied
        check_parameters(parameters, chosen)
        run_name = f"{name}/{name_sweep_run(varied)}"
        run = PlannedRun(run_name, [path.name[:2] for path in chosen], parameters, varied)
        if twin := planned.get(run.name):
            raise InputError(
                f"sweep {name!r}: {run.varied} and {twin.varied} would both have the folder outputs/{run.name}; "
                "remove one, or make them differ."
            )
        planned[run.name] = run
    return list(planned.values())


def name_sweep_run(varied: dict) -> str:
    """A folder name made of what varies: ``simulator=gpt-4o,seed=1``."""
    name = ",".join(f"{name}={value}" for name, value in varied.items()) or "run"
    return re.sub(r"[^\w.=,+-]+", "_", name).strip("._")[:LONGEST_NAME]


def choose_runs(runs: list[PlannedRun], only: str | None) -> list[PlannedRun]:
    """Those whose name holds a text or fits a pattern (``*seed=1``); InputError if none does."""
    chosen = [run for run in runs if only is None or only in run.name or fnmatch(run.name, f"*{only}")]
    if not chosen:
        raise InputError(f"--only {only!r} fits none of the {len(runs)} runs, such as {runs[0].name!r}.")
    return chosen


# --- runs --------------------------------------------------------------------------------------


def find_state(run: PlannedRun) -> State:
    """Finished if the manifest is of these parameters and everything it stands for is still there."""
    manifest = read_manifest(run.folder) or {}
    needed = [*(path.name for path in find_notebooks(run.notebooks)), "summary.json"]
    is_same = manifest.get("given") == json.loads(json.dumps(run.parameters))
    if is_same and all((run.folder / name).exists() for name in needed):
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

    A run that fails keeps the notebook with the error in it, and has a ``failed.json``: which notebook, which error,
    and whether it is a defect, whose trace is in ``log.txt``.
    """
    run.folder.mkdir(parents=True, exist_ok=True)
    (run.folder / "failed.json").unlink(missing_ok=True)
    with (run.folder / "log.txt").open("a", encoding="utf-8") as log:
        try:
            run_notebooks(find_notebooks(run.notebooks), run.parameters, run_name=run.name, log=log)
            write_manifest(run.folder, run.parameters)
            return "finished"
        except Exception as error:  # whatever it was, the other runs go on
            if not is_user_error(error):
                log.write(traceback.format_exc())
            newest = max(run.folder.glob("[0-9][0-9]_*.ipynb"), default=None)
            return record_failure(run, error, newest.stem if newest else None)
        finally:
            files.upload(run.folder)


def record_failure(run: PlannedRun, error: Exception, notebook: str | None = None) -> State:
    """Write ``failed.json`` of a run."""
    kind, text = getattr(error, "ename", type(error).__name__), getattr(error, "evalue", str(error))
    failure = {"notebook": notebook, "error": f"{kind}: {text}", "is_defect": not is_user_error(error)}
    files.write_json(run.folder / "failed.json", failure)
    return "failed"


def read_failure(run: PlannedRun) -> dict[str, Any]:
    """``notebook, error, is_defect`` of a run that failed; empty for any other."""
    path = run.folder / "failed.json"
    return json.loads(path.read_text()) if path.exists() else {}


def execute_all(
    runs: list[PlannedRun], *, workers: int, scheduler: str | None
) -> Iterator[list[tuple[PlannedRun, State]]]:
    """Execute runs, by one process or many; yields those that have ended, with how, and empty lists meanwhile."""
    if workers == 1 and scheduler is None:
        yield from ([(run, execute_run(run))] for run in runs)
        return
    with cluster.connect(workers=workers, scheduler=scheduler) as client:
        for ended in cluster.submit_all(client, execute_run, runs):
            for run, _ in ended:
                files.download(run.folder)
            yield [  # a run whose workers died fails as any other
                (run, record_failure(run, result) if isinstance(result, Exception) else result)
                for run, result in ended
            ]


# --- all runs of a sweep -----------------------------------------------------------------------


def tabulate_sweep(runs: list[PlannedRun], tags: list[str]) -> pd.DataFrame:
    """One row a run: ``run, state``, what was varied, ``calls, cached, failed_calls, tokens, cost_usd, wall_seconds``
    (of the notebooks that are done), ``error``, ``tags``.
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
    return table.astype(dict.fromkeys(mixed, str))  # parquet takes one kind a column


def save_sweep_table(name: str, runs: list[PlannedRun], tags: list[str]) -> pd.DataFrame:
    """Write ``sweep.parquet`` and ``sweep.csv`` (see ``tabulate_sweep``), and return the table."""
    table, folder = tabulate_sweep(runs, tags), files.outputs_folder() / name
    with files.replace_whole(folder / "sweep.parquet") as path:
        table.to_parquet(path, index=False)
    with files.replace_whole(folder / "sweep.csv") as path:
        table.to_csv(path, index=False)
    return table


def write_sweep_report(name: str) -> Path:
    """Compare the finished runs of a sweep by the notebook that does so, and write the sweep's report; its path."""
    folder = files.outputs_folder() / name
    comparing = [path for path in find_notebooks() if "sweep" in read_parameters(path)]
    with (folder / "log.txt").open("a", encoding="utf-8") as log:
        run_notebooks(comparing, {"sweep": name}, run_name=name, log=log)
    page = report.write_report(folder)
    for path in folder.iterdir():  # the runs are there
        if path.is_file() or path.stem in {notebook.stem for notebook in comparing}:
            files.upload(path)
    return page
