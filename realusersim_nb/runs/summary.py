"""The headline numbers of runs: put together, told in words, compared.

Each notebook leaves ``summary_part.json``; ``summary.json`` is all parts of a run.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import pandas as pd

from realusersim_nb.errors import MissingFileError
from realusersim_nb.files import OUTPUTS, write_json
from realusersim_nb.llm.models import Usage
from realusersim_nb.simulators.conditions import find_position


def name_run(folder: Path) -> str:
    """The name of a run by its folder: what follows ``outputs``, ``RUN`` or ``SWEEP/RUN``."""
    above = [number for number, part in enumerate(folder.parts) if part == OUTPUTS.name]
    return "/".join(folder.parts[above[-1] + 1 :]) if above else folder.name


def write_summary(run_folder: Path) -> dict:
    """Put the notebooks' parts together into ``summary.json``; calls and seconds are added up."""
    summary: dict = {"calls": asdict(Usage()), "wall_seconds": 0.0}
    for path in sorted(run_folder.glob("*/summary_part.json")):
        part = json.loads(path.read_text())
        for name, value in part.pop("calls").items():
            summary["calls"][name] += value
        summary["wall_seconds"] = round(summary["wall_seconds"] + part.pop("wall_seconds"), 1)
        summary.update(part)
    write_json(run_folder / "summary.json", summary)
    return summary


def read_measures(run_folder: Path) -> pd.DataFrame:
    """What a run measured of each arm and bound: one row a measure and arm, in the order of figures.

    Columns ``run, measure`` (fidelity by each judge, agent success, gap), ``arm, value, ci_low, ci_high`` (0..1; of
    the gap nats, with the floor's 97.5 % in ``floor``), ``n`` and ``n_failed``.
    """
    summary, name = json.loads((run_folder / "summary.json").read_text()), name_run(run_folder)
    by_judge = summary.get("fidelity_by_judge", {})
    found = [(f"fidelity by {judge}", arms, "rate", "n_cases") for judge, arms in by_judge.items()]
    found += [
        ("agent success", summary.get("stress", {}), "success", "n_runs"),
        ("gap", summary.get("gap", {}), "js", "n"),
    ]
    rows = [
        {
            "run": name,
            "measure": measure,
            "arm": arm,
            "value": s[value],
            "ci_low": s.get("ci_low"),
            "ci_high": s.get("ci_high"),
            "n": s[n],
            "n_failed": s.get("n_failed", 0),
            "floor": s.get("floor_high"),
        }
        for measure, arms, value, n in found
        for arm, s in arms.items()
    ]
    numbers = dict.fromkeys(["value", "ci_low", "ci_high", "floor"], float)
    table = pd.DataFrame(rows, columns=["run", "measure", "arm", *numbers, "n", "n_failed"])
    return table.astype(numbers).sort_values("arm", key=lambda arms: arms.map(find_position), kind="stable")


def find_runs(sweep: str | None = None) -> list[Path]:
    """The folders of all runs that have a summary, or of those of one sweep. FileNotFoundError if there is none."""
    folder = OUTPUTS / sweep if sweep else OUTPUTS
    found = [*folder.glob("*/summary.json"), *([] if sweep else folder.glob("*/*/summary.json"))]
    if not found:
        raise MissingFileError(
            f"{folder}: no summary.json in any folder; run `python -m realusersim_nb run` first."
        )
    return sorted(path.parent for path in found if not (path.parent / "sweep.parquet").exists())


def collect_measures(folders: Iterable[Path]) -> pd.DataFrame:
    """The measures of runs (see ``read_measures``)."""
    return pd.concat([read_measures(folder) for folder in folders])


def collect_table(path: str, columns: Iterable[str], folders: Iterable[Path] | None = None) -> pd.DataFrame:
    """A table of runs (all), ``run`` first; empty if none has it. Tables without these columns are left out."""
    files = {name_run(folder): folder / f"{path}.parquet" for folder in folders or find_runs()}
    found = {run: pd.read_parquet(file) for run, file in files.items() if file.exists()}
    fit = {run: table for run, table in found.items() if {*columns} <= {*table}}
    if not fit:
        return pd.DataFrame(columns=["run", *columns])
    return pd.concat(fit, names=["run", None]).reset_index("run").reset_index(drop=True)


# --- in words ----------------------------------------------------------------------------------


def pivot_measures(measures: pd.DataFrame) -> pd.DataFrame:
    """The same for a person: one row an arm (of each run, where there are several), one column a measure, as text."""
    index = ["run", "arm"] if measures["run"].nunique() > 1 else "arm"
    shown = measures.assign(text=[describe_measure(row) for row in measures.itertuples()])
    wide = shown.pivot(index=index, columns="measure", values="text")[shown["measure"].unique()].fillna("")
    return wide.sort_index(
        level="arm", key=lambda arms: arms.map(find_position), sort_remaining=False
    ).rename_axis(columns=None)


def describe_measure(row) -> str:
    """One value with its interval, n and failures."""
    failed = f", {row.n_failed} failed" if row.n_failed else ""
    if row.measure == "gap":
        return f"JS {row.value:.3f} (floor to {row.floor:.3f}, n = {row.n})"
    if pd.isna(row.value):
        return f"none scored (n = {row.n}{failed})"
    interval = "no interval" if pd.isna(row.ci_low) else f"{row.ci_low:.0%} to {row.ci_high:.0%}"
    return f"{row.value:.0%} ({interval}, n = {row.n}{failed})"


def describe_sources(run_folder: Path) -> list[str]:
    """What a run was made from, one line each: corpus and profiles."""
    summary, lines = json.loads((run_folder / "summary.json").read_text()), []
    if corpus := summary.get("corpus"):
        lines.append(
            f"corpus {corpus['name']}: {corpus['conversations']:,} conversations of {corpus['users']:,} users"
        )
    if profiles := summary.get("profiles"):
        lines.append(
            f"profiles: {profiles['n']:,} with {profiles['commands']:,} commands and {profiles['verified_examples']:,} verbatim examples"
        )
    return lines


def describe_notebook(folder: Path, seconds: float) -> str:
    """One line on an executed notebook: wall time, calls, tokens."""
    calls = json.loads((folder / "summary_part.json").read_text())["calls"]
    tokens = calls["prompt_tokens"] + calls["completion_tokens"]
    return (
        f"{folder.name:<24} {int(seconds) // 60}:{int(seconds) % 60:02d} min   {calls['live']:>4} calls "
        f"({calls['cached']} cached, {calls['failed']} failed)   {tokens:>7,} tokens   ${calls['cost_usd']:.2f}"
    )
