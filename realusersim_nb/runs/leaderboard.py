"""Runs side by side: what each simulator scores, whether the measures agree, and what each setting changes;
and what changed between two runs.

Reads only the files of finished runs under ``outputs/``. A row is an arm of a run; a *setting* is a parameter
that differs between the runs that are compared.
"""

import json
import re
from collections.abc import Iterable
from itertools import combinations
from pathlib import Path
from typing import Any

import pandas as pd
from scipy.stats import kendalltau

from realusersim_nb import stats
from realusersim_nb.errors import InputError
from realusersim_nb.runs.summary import (
    collect_table,
    describe_measure,
    name_run,
    read_headlines,
    read_manifest,
    read_measures,
    read_parameters,
)
from realusersim_nb.simulators.conditions import REFERENCE_ARMS

MEASURES = {"fidelity": 1, "normalised": 1, "above_floor": -1, "shift": None}
"""Columns that measure how real simulated users are, and whether more is better (1) or worse (-1)."""
SOURCES = {
    "fidelity": ("03_benchmark_fidelity/fidelity", "arm", "rate"),
    "normalised": ("03_benchmark_fidelity/normalised", "arm", "normalised"),
    "above_floor": ("05_measure_gap/gap", "system", "above_floor"),
    "shift": ("04_stress_test_agents/pairs", "arm", "difference"),
}
"""Where a run has each measure: the table, its column of arms, its column of values."""
HIDDEN = "run_name llm_mode max_concurrency budget_usd label_file answer_file".split()  # decide no result


def read_settings(folders: Iterable[Path]) -> pd.DataFrame:
    """The parameters that differ between runs: index run, a column each (lists and mappings as JSON).

    Where the notebooks of a run had several values of one, it is a text that names them all (``3 in 03, 9 in
    05``). Runs without a manifest are left out.
    """
    rows = {}
    for folder in folders:
        if manifest := read_manifest(folder):
            given = collect_parameters(folder, manifest)
            rows[name_run(folder)] = {name: join_values(values) for name, values in given.items()}
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis("run")
    return table[[name for name in table if table[name].map(repr).nunique() > 1]]


def collect_parameters(folder: Path, manifest: dict) -> dict[str, dict[str, Any]]:
    """Every parameter that decides a result: its value by the number of each notebook of a run that has it.

    Older manifests, which have no ``code``, may lack the defaults; the executed notebooks have them.
    """
    values: dict[str, dict[str, Any]] = {}
    for notebook, given in manifest["parameters"].items():
        executed = folder / f"{notebook}.ipynb"
        is_whole = "code" in manifest or not executed.exists()
        for name, value in (given if is_whole else read_parameters(executed) | given).items():
            if name not in HIDDEN:
                values.setdefault(name, {})[notebook[:2]] = value
    return values


def join_values(values: dict[str, Any]) -> Any:
    """The value of a parameter in all notebooks (by number), or a text with each of its values."""
    plain = {n: v if isinstance(v, str | int | float | None) else json.dumps(v) for n, v in values.items()}
    notebooks: dict[Any, list[str]] = {}
    for number, value in plain.items():
        notebooks.setdefault(value, []).append(number)
    several = ", ".join(f"{value} in {' and '.join(numbers)}" for value, numbers in notebooks.items())
    return several if len(notebooks) > 1 else next(iter(notebooks))


def rank_simulators(folders: list[Path], settings: pd.DataFrame) -> pd.DataFrame:
    """The leaderboard: one row an arm of a run that was simulated, the best first; index ``run, arm``.

    ``fidelity`` (0..1, by ``judged_by``: the measured one where it judged, else the first); ``normalised``,
    its place between a stranger (0) and the person (1); ``above_floor``, JS less the mean of the floor (0 and
    below: as near as real users are to each other); ``shift``, agent success less that of ``task_only``; each
    with ``_low`` and ``_high``. ``n`` cases, ``n_failed``; ``cost``, USD a conversation of notebook 03.
    """
    keys = ["run", "arm"]
    fidelity = choose_judge(read_measure("fidelity", folders, also=["judge", "n_cases", "n_failed"]))
    normalised = read_measure("normalised", folders, also=["judge"])
    gaps = read_measure("above_floor", folders, also=["floor"])
    floor = gaps.pop("floor")
    gaps = gaps.assign(**{name: gaps[name] - floor for name in ("above_floor_low", "above_floor_high")})
    shifts = read_measure("shift", folders, also=["baseline"])
    shifts = shifts[shifts.pop("baseline") == "task_only"]
    table = fidelity.merge(normalised, on=[*keys, "judge"], how="left")
    table = table.merge(gaps, on=keys, how="outer").merge(shifts, on=keys, how="outer")
    table = table[~table["arm"].isin(REFERENCE_ARMS)].rename(columns={"judge": "judged_by", "n_cases": "n"})
    table = table.astype({"n": "Int64", "n_failed": "Int64"})  # some rows have none
    costs = {name_run(folder): measure_cost(folder) for folder in folders}
    table = table.assign(cost=table["run"].map(costs)).set_index(keys)
    given = settings.reindex(table.index.get_level_values("run")).set_axis(table.index)
    return pd.concat([given, table], axis=1).sort_values(["normalised", "fidelity"], ascending=False)


def read_measure(measure: str, folders: list[Path], *, also: list[str]) -> pd.DataFrame:
    """A measure of all runs that have it: ``run, arm``, the measure, its ``_low`` and ``_high``, ``also``."""
    path, arm, value = SOURCES[measure]
    names = {arm: "arm", value: measure, "ci_low": f"{measure}_low", "ci_high": f"{measure}_high"}
    return collect_table(path, [*names, *also], folders)[["run", *names, *also]].rename(columns=names)


def choose_judge(fidelity: pd.DataFrame) -> pd.DataFrame:
    """Of each run the rows of one judge: the measured one where it judged, else the first."""
    by_run = fidelity.groupby("run", sort=False)["judge"].unique()
    chosen = {run: "measured" if "measured" in judges else judges[0] for run, judges in by_run.items()}
    return fidelity[fidelity["judge"] == fidelity["run"].map(chosen)]


def measure_cost(folder: Path) -> float:
    """USD a conversation of notebook 03, judging included; NaN if it did not run or a price is not known."""
    summary = folder / "03_benchmark_fidelity/summary_part.json"
    transcripts = summary.with_name("transcripts.jsonl")
    if not (summary.exists() and transcripts.exists()):
        return float("nan")
    n = max(transcripts.read_bytes().count(b"\n"), 1)
    headlines = read_headlines(folder).get(summary.parent.name)
    cost = headlines and headlines["calls"]["cost_usd"]
    return float("nan") if cost is None else cost / n


def list_sizes(board: pd.DataFrame, settings: pd.DataFrame, *, arm: str) -> pd.DataFrame:
    """Fidelity of one arm by model size: ``run, simulator, size`` (billions of parameters), ``fidelity``
    and its interval, where the simulator's name has a size. Empty if all runs have one simulator.
    """
    columns = ["run", "simulator", "size", "fidelity", "fidelity_low", "fidelity_high"]
    if "simulator" not in settings:
        return pd.DataFrame(columns=columns)
    rows = board[board.index.get_level_values("arm") == arm].reset_index()
    rows["size"] = rows["simulator"].map(str).map(read_size)
    return rows.dropna(subset=["size", "fidelity"])[columns].sort_values("size")


def read_size(model: str) -> float:
    """Billions of parameters, where a model's name has them (``Qwen2.5-72B``, ``8x7b``); else NaN."""
    size = re.search(r"(?:(\d+)x)?(\d+(?:\.\d+)?)b(?![a-z])", model.lower())
    return float(size[1] or 1) * float(size[2]) if size else float("nan")


def compare_measures(board: pd.DataFrame, *, arm: str) -> pd.DataFrame:
    """Kendall's tau of every two measures over runs, for one arm: 1 the same order, -1 the reverse.

    More likeness counts as more on both sides. Columns ``one, other, tau, p, n`` runs; NaN below four.
    """
    scores, rows = board[board.index.get_level_values("arm") == arm], []
    for one, other in combinations([name for name, better in MEASURES.items() if better], 2):
        both = scores[[one, other]].dropna() * [MEASURES[one], MEASURES[other]]
        tau, p = kendalltau(both[one], both[other]) if len(both) > 3 else (float("nan"),) * 2
        rows.append((one, other, tau, p, len(both)))
    return pd.DataFrame(rows, columns=["one", "other", "tau", "p", "n"])


def compare_settings(
    board: pd.DataFrame, settings: pd.DataFrame, measure: str, *, seed: int = 0
) -> pd.DataFrame:
    """What each setting changes: a measure under each value less that under the first, of runs else alike.

    One row a setting and value: ``difference`` over arms with its 95% interval, pairs of runs resampled
    (none of a single pair), ``n_pairs`` of runs. Settings in which alone no two runs differ are left out.
    """
    rows, scored = [], board[measure].dropna()
    values = board.loc[scored.index, list(settings)].map(repr)
    for name in settings if len(scored) else ():
        rest = ["|".join(row) for row in values.drop(columns=name).to_numpy()]
        frame = pd.DataFrame({"value": board.loc[scored.index, name].map(str), "score": scored, "rest": rest})
        wide = frame.pivot_table("score", ["rest", "arm"], "value", sort=False)
        baseline, *others = [v for v in settings[name].map(str).unique() if v in wide] or [None]
        for value in others:
            differences = (wide[value] - wide[baseline]).dropna()
            pairs = pd.Series(differences.index.get_level_values("rest"), differences.index)
            if len(differences):
                rate = stats.estimate_rate(differences, pairs, is_share=False, seed=seed)
                interval = rate["rate"], rate["ci_low"], rate["ci_high"]
                rows.append((name, value, baseline, *interval, pairs.nunique()))
    numbers = {"difference": float, "ci_low": float, "ci_high": float, "n_pairs": int}
    return pd.DataFrame(rows, columns=["setting", "value", "baseline", *numbers]).astype(numbers)


def measure_ceiling(formalism: pd.DataFrame) -> pd.DataFrame:
    """How much more often simulated users show a habit than real ones: ``run, arm, feature, difference``."""
    shares = formalism[~formalism["feature"].str.startswith("median")].rename(columns={"system": "arm"})
    real = shares[shares["arm"] == "real, all"][["run", "feature", "share"]]
    simulated = shares[~shares["arm"].str.startswith("real")]
    both = simulated.merge(real, on=["run", "feature"], how="left", suffixes=("", "_real"))
    return both.assign(difference=both["share"] - both["share_real"])[["run", "arm", "feature", "difference"]]


def compare_runs(before: Path, after: Path) -> dict[str, pd.DataFrame]:
    """The two tables below, by their titles. InputError for a run that is not complete."""
    manifests = [read_manifest(folder) for folder in (before, after)]
    if None in manifests:
        folder = (before, after)[manifests.index(None)]
        raise InputError(f"{folder}: no readable manifest, so the run is not complete; run it to its end.")
    return {
        "What made them": compare_manifests(*manifests),
        "What they measured": compare_results(before, after),
    }


def compare_manifests(before: dict, after: dict) -> pd.DataFrame:
    """How two runs were made differently, one row an item: ``what`` (its kind), ``name, before, after``.

    What decides no result (names, limits) is left out; ``null`` where one run has no such item.
    """
    one, other = list_items(before), list_items(after)
    changed = [item for item in sorted({*one, *other}) if repr(one.get(item)) != repr(other.get(item))]
    rows = [(*item, shorten(one.get(item)), shorten(other.get(item))) for item in changed]
    return pd.DataFrame(rows, columns=["what", "name", "before", "after"])


def list_items(manifest: dict) -> dict[tuple[str, str], object]:
    """The values of a manifest by kind and name; a parameter's name begins with its notebook's number."""
    parameters = {
        ("parameter", f"{notebook[:2]} {name}"): value
        for notebook, given in manifest["parameters"].items()
        for name, value in given.items()
        if name not in HIDDEN
    }
    prompts = {("prompt", name): value for name, value in manifest["prompts"].items()}
    versions = {("version", name): value for name, value in manifest["versions"].items()}
    return parameters | prompts | versions | {("commit", "git"): manifest["git_commit"]}


def shorten(value: object) -> str:
    """A value in a table; a hash by its beginning."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text[:12] if len(text) in (40, 41, 64) and " " not in text else text[:80]


def compare_results(before: Path, after: Path) -> pd.DataFrame:
    """Every measure of both runs: ``measure, arm``; ``before, after`` as text with intervals and n, empty if
    a run lacks it; ``change``, after less before, not paired and without an interval: cases may differ.
    """
    texts, values = {}, {}
    for side, folder in (("before", before), ("after", after)):
        measures = read_measures(folder)
        keys = pd.MultiIndex.from_frame(measures[["measure", "arm"]])
        texts[side] = pd.Series([describe_measure(row) for row in measures.itertuples()], keys)
        values[side] = measures["value"].set_axis(keys)
    change = (values["after"] - values["before"]).round(3)
    return pd.concat(texts, axis=1).fillna("").assign(change=change).reset_index()
