"""A sweep: the same notebooks under many settings, described in one file, a run folder each.

``notebooks/sweeps/*.yaml`` hold

    notebooks: ["03", "05"]                  # all, if none is named
    parameters: {judge: measured}            # of every run
    grid: {simulator: [a, b], n_cases: [8]}  # every combination
    runs: [{turn_format: roles}]             # or one by one; each is combined with the grid
    seeds: [1, 2, 3]                         # short for a grid over seed
    tags: [pilot]                            # noted in the table

Runs lie in ``outputs/<sweep>/<run>/`` and are whole once their ``manifest.json`` is there; one that
failed has a ``failed.json``. ``outputs/<sweep>/sweep.parquet`` has a line a run.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatch
from itertools import product
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from realusersim_nb import files
from realusersim_nb.errors import InputError
from realusersim_nb.files import OUTPUTS, replace_whole, write_json
from realusersim_nb.llm import endpoints
from realusersim_nb.parallel import cluster
from realusersim_nb.runs import estimate, report
from realusersim_nb.runs.notebooks import (
    check_parameters,
    find_notebooks,
    own_parameters,
    read_parameters,
    run_notebooks,
    write_manifest,
)

State = Literal["finished", "failed", "begun", "new"]
LONGEST_NAME = 120  # of a run's folder


class SweepError(InputError):
    """A sweep file that cannot be carried out; nothing was run."""


class Sweep(BaseModel):
    """What a sweep file says."""

    model_config = ConfigDict(extra="forbid")

    notebooks: list[str] = []
    parameters: dict[str, Any] = {}
    grid: dict[str, list] = {}
    runs: list[dict[str, Any]] = [{}]
    seeds: list[int] = []
    tags: list[str] = []


@dataclass(frozen=True)
class PlannedRun:
    """One run of a sweep: ``name`` is its folder under outputs/, ``varied`` what sets it apart from the others."""

    name: str
    notebooks: list[str]
    parameters: dict[str, Any]
    varied: dict[str, Any] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """Where it lies."""
        return OUTPUTS / self.name


# --- the file ----------------------------------------------------------------------------------


def read_sweep(path: Path) -> Sweep:
    """A sweep file. SweepError names the field that is wrong, and what was expected."""
    if not path.exists():
        raise SweepError(f"sweep file {path}: no such file.")
    try:
        return Sweep(**(yaml.safe_load(path.read_text(encoding="utf-8")) or {}))
    except yaml.YAMLError as error:
        raise SweepError(f"sweep file {path}: not YAML: {error}") from error
    except (ValidationError, TypeError) as error:
        problem = (
            error.errors()[0] if isinstance(error, ValidationError) else {"loc": ("?",), "msg": str(error)}
        )
        place = ".".join(map(str, problem["loc"]))
        raise SweepError(
            f"sweep file {path}, field {place!r}: {problem['msg']}; the fields are {', '.join(Sweep.model_fields)}."
        ) from error


def plan_runs(sweep: Sweep, name: str) -> list[PlannedRun]:
    """All runs of a sweep, in order, checked before any is begun.

    SweepError or ParameterError for an empty list, a parameter that no notebook has or a value of the wrong kind, a
    parameter given twice, and two runs that would have one folder.
    """
    chosen = find_notebooks(sweep.notebooks)
    grid = sweep.grid | ({"seed": sweep.seeds} if sweep.seeds else {})
    for parameter, values in [*grid.items(), ("runs", sweep.runs)]:
        if not values:
            raise SweepError(
                f"sweep {name!r}: {parameter!r} has no values, so there would be no run; give one at least."
            )
    check_overlap(sweep, grid, name)
    planned: dict[str, PlannedRun] = {}
    for listed in sweep.runs:
        for values in product(*grid.values()):
            varied = listed | dict(zip(grid, values, strict=True))
            parameters = sweep.parameters | varied
            check_parameters(parameters, chosen)
            run = PlannedRun(
                f"{name}/{name_sweep_run(varied)}", [path.name[:2] for path in chosen], parameters, varied
            )
            if twin := planned.get(run.name):
                raise SweepError(
                    f"sweep {name!r}: {run.varied} and {twin.varied} would both lie in {run.folder}; remove one, or make them differ."
                )
            planned[run.name] = run
    return list(planned.values())


def check_overlap(sweep: Sweep, grid: dict, name: str) -> None:
    """SweepError for a parameter that two parts of the file set, or that is not for a sweep to set."""
    listed = {parameter for run in sweep.runs for parameter in run}
    for one, other in (
        (set(sweep.parameters), {*grid} | listed),
        ({*grid}, listed),
        ({"seed"} & {*sweep.grid}, {"seed"} if sweep.seeds else set()),
    ):
        if twice := sorted(one & other):
            raise SweepError(f"sweep {name!r}: {twice[0]!r} is set in two places; keep one.")
    if "run_name" in {*sweep.parameters, *grid} | listed:
        raise SweepError(f"sweep {name!r}: run_name is made of what varies; remove it.")


def name_sweep_run(varied: dict) -> str:
    """A folder name that says what sets a run apart: ``simulator=gpt-4o,seed=1``."""
    told = ",".join(f"{name}={value}" for name, value in varied.items()) or "run"
    return re.sub(r"[^\w.=,+-]+", "_", told).strip("._")[:LONGEST_NAME]


def choose_runs(runs: list[PlannedRun], only: str | None) -> list[PlannedRun]:
    """Those whose name holds a text or fits a pattern (``*seed=1``); SweepError if none does."""
    fit = [run for run in runs if only is None or only in run.name or fnmatch(run.name, f"*{only}")]
    if not fit:
        raise SweepError(f"--only {only!r} fits none of the {len(runs)} runs, such as {runs[0].name!r}.")
    return fit


# --- runs --------------------------------------------------------------------------------------


def find_state(run: PlannedRun) -> State:
    """Finished if the manifest is of these parameters and everything it stands for is still there."""
    try:
        manifest = json.loads((run.folder / "manifest.json").read_text())
        wanted = [path.name for path in find_notebooks(run.notebooks)]
        whole = all((run.folder / name).exists() for name in [*wanted, "summary.json"])
        if whole and manifest["given"] == json.loads(json.dumps(run.parameters)):
            return "finished"
    except (OSError, ValueError, KeyError):  # none there, or half of one
        pass
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
    """Execute a run's notebooks into its folder; what they print goes into ``log.txt`` there.

    A run that fails keeps the notebook with the error in it, and a ``failed.json`` that says which and why.
    """
    run.folder.mkdir(parents=True, exist_ok=True)
    (run.folder / "failed.json").unlink(missing_ok=True)
    with (run.folder / "log.txt").open("a", encoding="utf-8") as log:
        try:
            run_notebooks(find_notebooks(run.notebooks), run.parameters, run_name=run.name, log=log)
            write_manifest(run.folder, run.parameters)
        except Exception as error:  # whatever it was, the other runs go on
            newest = max(run.folder.glob("[0-9][0-9]_*.ipynb"), default=None)
            ended = (
                f"{error.ename}: {error.evalue}"
                if hasattr(error, "ename")
                else f"{type(error).__name__}: {error}"
            )
            write_json(
                run.folder / "failed.json", {"notebook": newest.stem if newest else None, "error": ended}
            )
            return "failed"
        finally:
            files.upload(run.folder)
    return "finished"


def execute_all(
    runs: list[PlannedRun], *, workers: int, scheduler: str | None
) -> Iterator[list[tuple[PlannedRun, State]]]:
    """Perform runs, by one process or many; yields those that have ended, with how, and empty lists meanwhile."""
    if workers == 1 and scheduler is None:
        for run in runs:
            yield [(run, execute_run(run))]
        return

    with cluster.connect(workers=workers, scheduler=scheduler) as client:
        for ended in cluster.submit_all(client, execute_run, runs):
            for run, _ in ended:
                files.download(run.folder)
            yield [(run, record_failure(run, result)) for run, result in ended]


def record_failure(run: PlannedRun, result: State | Exception) -> State:
    """The state of a run; one whose workers died fails as any other."""
    if isinstance(result, Exception):
        write_json(run.folder / "failed.json", {"notebook": None, "error": str(result)})
        return "failed"
    return result


def tabulate_sweep(runs: list[PlannedRun], tags: list[str]) -> pd.DataFrame:
    """One row a run: ``run, state``, what was varied, ``calls, cached, failed_calls, tokens, cost_usd, wall_seconds``
    (of the notebooks that are done), ``error``, ``tags``.
    """
    rows = []
    for run in runs:
        spent = read_usage(run.folder)
        failed = run.folder / "failed.json"
        problem = json.loads(failed.read_text()) if failed.exists() else {}
        varied = {
            name: value if isinstance(value, str | int | float) else json.dumps(value)
            for name, value in run.varied.items()
        }
        error = ": ".join(filter(None, [problem.get("notebook"), problem.get("error")])) or None
        rows.append(
            {
                "run": run.name,
                "state": find_state(run),
                **varied,
                **spent,
                "error": error,
                "tags": ",".join(tags),
            }
        )
    table = pd.DataFrame(rows)
    mixed = [name for name in {n for run in runs for n in run.varied} if table[name].map(type).nunique() > 1]
    return table.astype(dict.fromkeys(mixed, str))  # parquet takes one kind a column


def read_usage(folder: Path) -> dict[str, float]:
    """Calls, tokens, dollars and seconds of the notebooks of a run that are done so far."""
    parts = []
    for path in folder.glob("*/summary_part.json"):
        part = json.loads(path.read_text())
        parts.append(part["calls"] | {"wall_seconds": part["wall_seconds"]})

    def add(*names: str) -> float:
        return sum(part[name] for part in parts for name in names)

    return {
        "calls": add("live"),
        "cached": add("cached"),
        "failed_calls": add("failed"),
        "cost_usd": round(add("cost_usd"), 6),
        "tokens": add("prompt_tokens", "completion_tokens"),
        "wall_seconds": round(add("wall_seconds"), 1),
    }


def save_sweep_table(name: str, runs: list[PlannedRun], tags: list[str]) -> pd.DataFrame:
    """Write ``sweep.parquet`` and ``sweep.csv`` (see ``tabulate``), and return the table."""
    table = tabulate_sweep(runs, tags)
    with replace_whole(OUTPUTS / name / "sweep.parquet") as path:
        table.to_parquet(path, index=False)
    with replace_whole(OUTPUTS / name / "sweep.csv") as path:
        table.to_csv(path, index=False)
    return table


def write_sweep_report(name: str) -> Path:
    """Compare the finished runs of a sweep by the notebook that does so, and write the sweep's report; its path."""
    comparing = [path for path in find_notebooks() if "sweep" in read_parameters(path)]
    with (OUTPUTS / name / "log.txt").open("a", encoding="utf-8") as log:
        run_notebooks(comparing, {"sweep": name}, run_name=name, log=log)
    page = report.write_report(OUTPUTS / name)
    for path in (OUTPUTS / name).iterdir():  # the runs are there
        if path.is_file() or path.stem in {notebook.stem for notebook in comparing}:
            files.upload(path)
    return page


# --- beforehand --------------------------------------------------------------------------------


def estimate_runs(runs: list[PlannedRun]) -> pd.DataFrame:
    """What the runs that are not finished will take at most: ``run, state, calls, tokens, cost_usd, minutes``.

    Minutes are calls at the pace of the runs that are done under outputs/ (all models together); NaN if there is none.
    """
    endpoints.read_endpoints()
    pace, rows = find_pace(), []
    for run in runs:
        state = find_state(run)
        asked = estimate_planned_run(run)[["calls", "prompt_tokens", "completion_tokens", "cost_usd"]]
        total = asked.sum(skipna=False) * (state != "finished")
        rows.append(
            {
                "run": run.name,
                "state": state,
                "calls": total["calls"],
                "tokens": total["prompt_tokens"] + total["completion_tokens"],
                "cost_usd": total["cost_usd"],
                "minutes": total["calls"] * pace / 60,
            }
        )
    return pd.DataFrame(rows)


def check_keys(runs: list[PlannedRun]) -> None:
    """EndpointError for the first model that a run asks and whose key is not in the environment."""
    for model in dict.fromkeys(model for run in runs for model in estimate_planned_run(run)["model"]):
        if (endpoint := endpoints.find_endpoint(model)) is not endpoints.EMBEDDED:
            endpoints.find_key(endpoint)


def estimate_planned_run(run: PlannedRun) -> pd.DataFrame:
    """What one run asks of models (see ``estimate``)."""
    chosen = find_notebooks(run.notebooks)
    return estimate.estimate_run(
        {path.stem: read_parameters(path) | own_parameters(path, run.parameters) for path in chosen}
    )


def find_pace() -> float:
    """Seconds a live call took in the runs under outputs/; NaN without any."""
    spent = pd.DataFrame(
        [
            read_usage(path.parent)
            for path in [*OUTPUTS.glob("*/manifest.json"), *OUTPUTS.glob("*/*/manifest.json")]
        ]
    )
    live = spent[spent["calls"] > 0] if len(spent) else spent
    return live["wall_seconds"].sum() / live["calls"].sum() if len(live) else float("nan")


def describe_sweep_estimate(table: pd.DataFrame) -> str:
    """The estimate as text, with a total; ``?`` is not known."""
    shown = table.copy()
    shown.loc[len(shown)] = ["total", "", *table.iloc[:, 2:].sum(skipna=False)]
    for name, form in {
        "calls": "{:,.0f}",
        "tokens": "{:,.0f}",
        "cost_usd": "${:,.2f}",
        "minutes": "{:,.1f}",
    }.items():
        shown[name] = [form.format(value) if pd.notna(value) else "?" for value in shown[name]]
    return (
        f"At most, if nothing is in the cache yet, one run after the other:\n{shown.to_string(index=False)}"
    )


# --- in words ----------------------------------------------------------------------------------


def describe_run(run: PlannedRun) -> str:
    """One line on a run that has ended; of one that failed, why and where to look."""
    spent, state = read_usage(run.folder), find_state(run)
    line = f"{state:<9} {run.name}  {spent['wall_seconds'] / 60:.1f} min, {spent['calls']} calls, ${spent['cost_usd']:.2f}"
    if state != "failed":
        return line
    problem = json.loads((run.folder / "failed.json").read_text())
    return f"{line}\n          {problem['error'][:300]} (see {run.folder}/{problem['notebook'] or 'log.txt'})"


def describe_progress(runs: list[PlannedRun], states: dict[str, State]) -> str:
    """What a bar says beside its numbers: runs begun and failed, calls and cost so far, of unfinished runs too."""
    spent = pd.DataFrame([read_usage(run.folder) for run in runs]).sum()
    n_failed = sum(state == "failed" for state in states.values())
    n_begun = sum(run.folder.exists() and states[run.name] not in ("finished", "failed") for run in runs)
    return f"{n_begun} begun, {n_failed} failed, {spent['calls']:,.0f} calls, ${spent['cost_usd']:.2f}"


def describe_table(table: pd.DataFrame) -> str:
    """The end of a sweep: how many runs are in which state, what they cost, what failed and how to go on."""
    counts = ", ".join(f"{n} {state}" for state, n in table["state"].value_counts().items())
    lines = [f"{len(table)} runs: {counts}; {table['calls'].sum():,} calls, ${table['cost_usd'].sum():.2f}"]
    lines += [
        f"failed    {row.run}: {str(row.error)[:200]}"
        for row in table[table["state"] == "failed"].itertuples()
    ]
    if (table["state"] == "failed").any():
        lines.append("Add --retry-failed to try those again; replies that came are kept.")
    return "\n".join(lines)
