"""The headline numbers of runs, as tables and as text; ``summary.json`` joins those of a run's notebooks."""

import ast
import importlib.metadata
import json
import platform
import shutil
import subprocess
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from realusersim_nb import files
from realusersim_nb.errors import MissingFileError
from realusersim_nb.llm.usage import CALLS_FILE, format_cost, sum_calls
from realusersim_nb.prompts.fill import hash_prompts
from realusersim_nb.simulators.conditions import find_position
from realusersim_nb.text import show_name

VALUES = dict.fromkeys(["rate", "success", "js"], "value")
ABOUT = ("calls", "last_start", "wall_seconds", "finished", "findings")  # of a notebook, beside its headlines
COLUMNS = VALUES | {"floor_high": "floor", "n_cases": "n", "n_runs": "n"}  # by their names in headlines


def name_run(folder: Path) -> str:
    """The name of a run: its folder below ``outputs``, ``RUN`` or ``SWEEP/RUN``."""
    _, outputs, name = f"/{folder.as_posix()}".rpartition("/outputs/")
    return name if outputs else folder.name


@cache
def read_parameters(notebook: Path) -> dict[str, Any]:
    """The parameters a notebook declares, with their default values; none without such a cell."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    declared = [cell["source"] for cell in cells if "parameters" in cell["metadata"].get("tags", [])]
    lines = ast.parse("".join(declared[0])).body if declared else []
    return {line.targets[0].id: ast.literal_eval(line.value) for line in lines}


def describe_code() -> dict[str, Any]:
    """What results were made with: ``code`` and ``prompts`` (digests), ``versions`` of all packages, and
    ``git_commit`` of the working folder, with ``+`` if it has uncommitted changes.
    """
    packages = {package.name: package.version for package in importlib.metadata.distributions()}
    command = "git describe --always --abbrev=40 --dirty=+".split()
    has_git = shutil.which("git") is not None
    commit = (has_git and subprocess.run(command, capture_output=True, text=True).stdout.strip()) or None
    about = {"code": files.digest_code(), "prompts": hash_prompts(), "git_commit": commit}
    return about | {"versions": {"python": platform.python_version(), **packages}}


def read_headlines(run_folder: Path) -> dict[str, dict]:
    """What the finished notebooks of a run wrote, by their names, the one that finished last at the end."""
    written = {}
    for path in sorted(run_folder.glob("*/summary_part.json")):
        with warn_of_damage():
            written[path.parent.name] = files.read_json(path)
    return dict(sorted(written.items(), key=lambda item: item[1].get("finished", 0)))


@contextmanager
def warn_of_damage() -> Iterator[None]:
    """A damaged file is left out with a warning that names it: what else there is can be used."""
    try:
        yield
    except files.DamagedFileError as error:
        warnings.warn(str(error), stacklevel=3)


def find_other_corpora(headlines: dict[str, dict]) -> dict[str, str]:
    """Notebooks whose corpus is not that of the notebook that finished last, with its name: their figures
    must not stand beside the others'.
    """
    corpora = {notebook: one["corpus"] for notebook, one in headlines.items() if one.get("corpus")}
    newest = next(reversed(corpora.values()), {})
    others = {n: corpus for n, corpus in corpora.items() if corpus.get("digest") != newest.get("digest")}
    return {notebook: str(corpus["name"]) for notebook, corpus in others.items()}


def collect_headlines(run_folder: Path) -> dict:
    """The content of ``summary.json``: the headlines of a run's notebooks, and ``made_by``, which names the
    notebook of each. ``calls`` are those of all notebooks and all starts; ``left_out`` are the notebooks that
    read another corpus than the newest (by its name), whose headlines and ``findings`` are not there.
    """
    by_notebook = read_headlines(run_folder)
    left_out, headlines, made_by = find_other_corpora(by_notebook), {}, {}
    for notebook, one in by_notebook.items():
        if notebook not in left_out:
            shown = {name: value for name, value in one.items() if name not in ABOUT}
            headlines, made_by = headlines | shown, made_by | dict.fromkeys(shown, notebook)
    calls = asdict(sum_calls(*run_folder.glob(f"*/{CALLS_FILE}")))  # of notebooks that were stopped, too
    for name in ("cached", "failed", "retried"):
        calls[name] = sum(one["calls"][name] for one in by_notebook.values())
    shown = [one for notebook, one in by_notebook.items() if notebook not in left_out]
    findings = [finding for one in shown for finding in one.get("findings", [])]
    seconds = round(sum(one["wall_seconds"] for one in by_notebook.values()), 1)
    about = {"calls": calls, "wall_seconds": seconds, "made_by": made_by, "left_out": left_out}
    return about | {"findings": findings} | headlines


def write_summary(run_folder: Path) -> None:
    """Write ``summary.json``."""
    files.write_json(run_folder / "summary.json", collect_headlines(run_folder))


def read_summary(run_folder: Path) -> dict[str, Any]:
    """The content of ``summary.json``, which is made anew where it is damaged."""
    try:
        return files.read_json(run_folder / "summary.json")
    except files.DamagedFileError:
        write_summary(run_folder)
        return files.read_json(run_folder / "summary.json")


def read_usage(run_folder: Path) -> dict[str, float]:
    """Calls, tokens, dollars and seconds of the notebooks of a run that are done so far."""
    headlines = collect_headlines(run_folder)
    calls = headlines["calls"]
    counts = {"calls": calls["live"], "cached": calls["cached"], "failed_calls": calls["failed"]}
    tokens, cost = calls["prompt_tokens"] + calls["completion_tokens"], round(calls["cost_usd"], 6)
    return counts | {"cost_usd": cost, "tokens": tokens, "wall_seconds": headlines["wall_seconds"]}


def read_manifest(run_folder: Path) -> dict | None:
    """A run's manifest; None while the run is not complete, or where the file is damaged."""
    try:
        return files.read_json(run_folder / "manifest.json")
    except (OSError, files.DamagedFileError):
        return None


def read_measures(run_folder: Path) -> pd.DataFrame:
    """What a run measured of each arm and reference arm: one row a measure and arm, in the order of figures.

    Columns ``run, measure`` (fidelity by each judge, agent success, gap), ``arm, value, ci_low, ci_high``
    (0..1, of the gap nats), ``floor`` (of the gap: the floor's 97.5% point), ``n, n_failed``.
    """
    summary = read_summary(run_folder)
    measures = {f"fidelity by {judge}": arms for judge, arms in summary.get("fidelity_by_judge", {}).items()}
    measures |= {"agent success": summary.get("stress", {}), "gap": summary.get("gap", {})}
    rows = [
        {"run": name_run(run_folder), "measure": measure, "arm": arm, "n_failed": 0}
        | {COLUMNS.get(name, name): value for name, value in row.items()}
        for measure, arms in measures.items()
        for arm, row in arms.items()
    ]
    columns = "run measure arm value ci_low ci_high floor n n_failed".split()
    table = pd.DataFrame(rows, columns=columns).astype(dict.fromkeys(columns[3:7], float))
    return table.sort_values("arm", key=lambda arms: arms.map(find_position), kind="stable")


def find_runs(sweep: str | None = None) -> list[Path]:
    """The folders of all runs with a summary, or of those of one sweep, but for ``find_damage``.

    MissingFileError if there is none.
    """
    folder = files.find_run_folder(sweep) if sweep else files.outputs_folder()
    summaries = [*folder.glob("*/summary.json"), *([] if sweep else folder.glob("*/*/summary.json"))]
    if not summaries:
        raise MissingFileError(
            f"{folder}: no summary.json in any folder; run `python -m realusersim_nb run` first."
        )
    runs = sorted(path.parent for path in summaries if not (path.parent / "sweep.parquet").exists())
    damage = find_damage(runs)
    for problem in damage.values():
        print(f"Left out: {problem}")  # on the report, too
    return [run for run in runs if run not in damage]


def find_damage(folders: Iterable[Path]) -> dict[Path, str]:
    """What is wrong with runs that cannot be compared, by their folders: one bad old run stops no other."""
    damage = {}
    for folder in folders:
        try:
            read_measures(folder)
            manifest = read_manifest(folder)
            [dict(given) for given in manifest["parameters"].values()] if manifest else None
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            damage[folder] = f"{folder}: not what a run writes ({type(error).__name__}); run it again."
    return damage


def collect_measures(folders: Iterable[Path]) -> pd.DataFrame:
    """The measures of runs (see ``read_measures``)."""
    return pd.concat([read_measures(folder) for folder in folders])


def collect_table(path: str, columns: Iterable[str], folders: Iterable[Path] | None = None) -> pd.DataFrame:
    """A table of runs (None: all), ``run`` first; runs without it or without these columns are left out."""
    notebook, folders = path.partition("/")[0], folders or find_runs()
    usable = [folder for folder in folders if notebook not in find_other_corpora(read_headlines(folder))]
    paths = {name_run(folder): folder / f"{path}.parquet" for folder in usable}
    tables = {}
    for run, table in paths.items():
        with warn_of_damage():
            tables |= {run: files.read_table(table)} if table.exists() else {}
    tables = {run: table for run, table in tables.items() if {*columns} <= {*table}}
    if not tables:
        return pd.DataFrame(columns=["run", *columns])
    return pd.concat(tables, names=["run", None]).reset_index("run").reset_index(drop=True)


def pivot_measures(measures: pd.DataFrame) -> pd.DataFrame:
    """Measures as text: one row an arm (of each run, where there are several), one column a measure."""
    index = ["run", "arm"] if measures["run"].nunique() > 1 else "arm"
    shown = measures.assign(text=[describe_measure(row) for row in measures.itertuples()])
    wide = shown.pivot(index=index, columns="measure", values="text")[shown["measure"].unique()].fillna("")
    order = {"level": "arm", "key": lambda arms: arms.map(find_position), "sort_remaining": False}
    return wide.sort_index(**order).rename_axis(columns=None)


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
    """What a run was made from, one line each: corpus, profiles, calls."""
    summary = read_summary(run_folder)
    calls = summary["calls"]
    lines = {
        "corpus": "corpus {name}: {conversations:,} conversations of {users:,} users",
        "profiles": "profiles: {n:,} with {commands:,} commands and {verified_examples:,} verbatim examples",
    }
    made_of = [line.format(**summary[name]) for name, line in lines.items() if summary.get(name)]
    others = [f"left out: {n}, of another corpus ({c})" for n, c in summary.get("left_out", {}).items()]
    paid = f"calls paid in all starts: {calls['live']:,}, {format_cost(calls['cost_usd'])}"
    return [*made_of, *others, paid]


def describe_notebook(folder: Path, seconds: float) -> str:
    """One line on an executed notebook: wall time, and calls, tokens and cost of this start."""
    calls = files.read_json(folder / "summary_part.json")["last_start"]
    tokens, cost = calls["prompt_tokens"] + calls["completion_tokens"], format_cost(calls["cost_usd"])
    failed = f", {calls['failed']:,} failed" if calls["failed"] else ""
    return (
        f"{folder.name:<22} {int(seconds) // 60:>3}:{int(seconds) % 60:02d} min {calls['live']:>6,} calls, "
        f"{calls['cached']:,} cached{failed}, {tokens:,} tokens, {cost}"
    )


def describe_measures(run_folder: Path) -> list[str]:
    """What a run measured of each arm, as lines: a measure, then its arms."""
    lines = []
    for measure, rows in read_measures(run_folder).groupby("measure", sort=False):
        arms = [f"  {show_name(row.arm):<24} {describe_measure(row)}" for row in rows.itertuples()]
        lines += [show_name(measure), *arms]
    return lines
