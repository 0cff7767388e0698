"""Runs side by side: what each simulator scores, whether the measures agree, and what each setting changes.

Reads only what runs left under ``outputs/``. A row is an arm of a run; a *setting* is a parameter that differs
between the runs that are compared.
"""

import json
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import kendalltau

from realusersim_nb import stats
from realusersim_nb.runs.summary import collect_table, name_run

MEASURES = {"fidelity": 1, "normalised": 1, "above_floor": -1, "shift": None}
"""Columns of the leaderboard that say how real users are, and whether more is better (1) or worse (-1)."""
HIDDEN = [
    "run_name",
    "llm_mode",
    "max_concurrency",
    "budget_usd",
    "label_file",
    "answer_file",
]  # decide no result


def read_settings(folders: Iterable[Path]) -> pd.DataFrame:
    """The parameters that differ between runs: index run, a column each (lists and mappings as JSON).

    A parameter counts with the value that the first notebook which has it was given; runs without a manifest are left out.
    """
    rows = {}
    for folder in folders:
        if (folder / "manifest.json").exists():
            notebooks = json.loads((folder / "manifest.json").read_text())["parameters"]
            own: dict = {}
            for given in notebooks.values():
                own = given | own
            rows[name_run(folder)] = {
                name: value if isinstance(value, str | int | float | None) else json.dumps(value)
                for name, value in own.items()
                if name not in HIDDEN
            }
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis("run")
    return table[[name for name in table if table[name].map(repr).nunique() > 1]]


def read_size(model: str) -> float:
    """Billions of parameters, where a model's name says them (``Qwen2.5-72B``, ``8x7b``); else NaN."""
    found = re.search(r"(?:(\d+)x)?(\d+(?:\.\d+)?)b(?![a-z])", model.lower())
    return float(found[1] or 1) * float(found[2]) if found else float("nan")


def rank_simulators(folders: list[Path], settings: pd.DataFrame) -> pd.DataFrame:
    """The leaderboard: one row an arm of a run that was simulated, the best first.

    ``fidelity`` (0..1, by ``judged_by``: the measured one where it judged, else the first) and ``normalised``, its place
    between a stranger (0) and the person (1); ``above_floor``, JS less the mean of the floor (0 and below: as near as real users are to each other);
    ``shift``, agent success less that of ``task_only``; each with ``_low`` and ``_high``. ``n`` cases, ``n_failed``
    ``cost`` in USD a conversation of notebook 03, its judging included. Settings come first.
    """
    keys = ["run", "arm"]

    def take(path: str, columns: dict[str, str]) -> pd.DataFrame:
        return collect_table(path, columns, folders).rename(columns=columns)

    fidelity = take(
        "03_benchmark_fidelity/fidelity",
        {
            "judge": "judged_by",
            "arm": "arm",
            "rate": "fidelity",
            "ci_low": "fidelity_low",
            "ci_high": "fidelity_high",
            "n_cases": "n",
            "n_failed": "n_failed",
        },
    )
    fidelity = choose_judge(fidelity)
    placed = take(
        "03_benchmark_fidelity/normalised",
        {
            "judge": "judged_by",
            "arm": "arm",
            "normalised": "normalised",
            "ci_low": "normalised_low",
            "ci_high": "normalised_high",
        },
    )
    gaps = take(
        "05_measure_gap/gap",
        {"system": "arm", "above_floor": "above_floor", "floor": "floor", "ci_low": "low", "ci_high": "high"},
    )
    gaps = gaps.assign(
        above_floor_low=gaps["low"] - gaps["floor"], above_floor_high=gaps["high"] - gaps["floor"]
    )
    pairs = take(
        "04_stress_test_agents/pairs",
        {
            "arm": "arm",
            "baseline": "baseline",
            "difference": "shift",
            "ci_low": "shift_low",
            "ci_high": "shift_high",
        },
    )
    pairs = pairs[pairs["baseline"] == "task_only"]
    kept = {
        "f": ["fidelity", "fidelity_low", "fidelity_high", "judged_by", "n", "n_failed"],
        "g": ["above_floor", "above_floor_low", "above_floor_high"],
        "p": ["shift", "shift_low", "shift_high"],
    }
    table = fidelity[[*keys, *kept["f"]]].merge(
        placed[["run", "judged_by", "arm", "normalised", "normalised_low", "normalised_high"]],
        on=["run", "judged_by", "arm"],
        how="left",
    )
    table = table.merge(gaps[[*keys, *kept["g"]]], on=keys, how="outer").merge(
        pairs[[*keys, *kept["p"]]], on=keys, how="outer"
    )
    table = table[~table["arm"].isin(["same_user", "other_user", "oracle", "do_nothing", "real_floor"])]
    costs = {name_run(folder): find_cost(folder) for folder in folders}
    table = table.assign(cost=table["run"].map(costs)).set_index(keys)
    told = settings.reindex(table.index.get_level_values("run")).set_axis(table.index)
    return pd.concat([told, table], axis=1).sort_values(["normalised", "fidelity"], ascending=False)


def choose_judge(fidelity: pd.DataFrame) -> pd.DataFrame:
    """Of each run the rows of one judge: the measured one where it judged, else the first."""
    judges = fidelity.groupby("run", sort=False)["judged_by"].agg(
        lambda own: "measured" if "measured" in set(own) else own.iloc[0]
    )
    return fidelity[fidelity["judged_by"] == fidelity["run"].map(judges)] if len(fidelity) else fidelity


def find_cost(folder: Path) -> float:
    """USD a conversation of notebook 03, judging included; NaN if it did not run."""
    part, transcripts = (
        folder / "03_benchmark_fidelity" / name for name in ("summary_part.json", "transcripts.jsonl")
    )
    if not (part.exists() and transcripts.exists()):
        return float("nan")
    return json.loads(part.read_text())["calls"]["cost_usd"] / max(sum(1 for _ in transcripts.open()), 1)


def compare_measures(board: pd.DataFrame, *, arm: str) -> pd.DataFrame:
    """Do the measures rank runs alike, for one arm? Kendall's tau of every two: 1 the same order, -1 the reverse.

    Turned so that more likeness counts as more on every side. Columns ``one, other, tau, p, n`` runs; NaN below four.
    """
    own, rows = board[board.index.get_level_values("arm") == arm], []
    names = [name for name, better in MEASURES.items() if better]
    for i, one in enumerate(names):
        for other in names[i + 1 :]:
            both = own[[one, other]].dropna() * [MEASURES[one], MEASURES[other]]
            found = kendalltau(*both.to_numpy().T) if len(both) > 3 else None
            rows.append(
                {
                    "one": one,
                    "other": other,
                    "tau": found.statistic if found else np.nan,
                    "p": found.pvalue if found else np.nan,
                    "n": len(both),
                }
            )
    return pd.DataFrame(rows, columns=["one", "other", "tau", "p", "n"])


def compare_settings(
    board: pd.DataFrame, settings: pd.DataFrame, measure: str, *, seed: int = 0
) -> pd.DataFrame:
    """What each setting changes: a measure under each value less that under the first, between runs alike in all else.

    One row a setting and value: ``difference`` over arms with its 95 % interval, pairs of runs resampled (none with a
    single pair), ``n_pairs`` of runs. Settings of which no two runs differ in nothing else are left out.
    """
    rows, scored = [], board[measure].dropna()
    told = board.loc[scored.index, list(settings)].map(repr)
    for name in settings if len(scored) else ():
        alike = ["|".join(row) for row in told.drop(columns=name).to_numpy()]
        frame = pd.DataFrame(
            {"value": board.loc[scored.index, name].map(str), "measure": scored, "alike": alike}
        )
        wide = frame.pivot_table("measure", ["alike", "arm"], "value", sort=False)
        first, *rest = [v for v in settings[name].map(str).unique() if v in wide] or [None]
        for value in rest:
            gaps = (wide[value] - wide[first]).dropna()
            pairs = pd.Series(gaps.index.get_level_values("alike"), gaps.index)
            if len(gaps):
                found = stats.estimate_rate(gaps, pairs, is_share=False, seed=seed)
                rows.append(
                    {
                        "setting": name,
                        "value": value,
                        "baseline": first,
                        "difference": found["rate"],
                        "ci_low": found["ci_low"],
                        "ci_high": found["ci_high"],
                        "n_pairs": pairs.nunique(),
                    }
                )
    return pd.DataFrame(
        rows, columns=["setting", "value", "baseline", "difference", "ci_low", "ci_high", "n_pairs"]
    )


def list_sizes(board: pd.DataFrame, settings: pd.DataFrame, *, arm: str) -> pd.DataFrame:
    """Fidelity of one kind of user by the size of the model that plays it: one row a run whose simulator tells its size.

    Columns ``run, simulator, size`` (billions of parameters), ``fidelity`` with its interval. Empty if no simulator varies.
    """
    columns = ["run", "simulator", "size", "fidelity", "fidelity_low", "fidelity_high"]
    if "simulator" not in settings:
        return pd.DataFrame(columns=columns)
    own = board[board.index.get_level_values("arm") == arm].reset_index()
    return (
        own.assign(size=own["simulator"].map(str).map(read_size))
        .dropna(subset=["size", "fidelity"])[columns]
        .sort_values("size")
    )


def measure_ceiling(formalism: pd.DataFrame) -> pd.DataFrame:
    """How much more often each run's users show a habit than real ones: columns ``run, arm, feature, difference`` of shares."""
    shares = formalism[~formalism["feature"].str.startswith("median")]
    real = shares[shares["system"] == "real, all"].set_index(["run", "feature"])["share"]
    simulated = shares[~shares["system"].str.startswith("real")]
    keys = pd.MultiIndex.from_frame(simulated[["run", "feature"]])
    return pd.DataFrame(
        {
            "run": simulated["run"],
            "arm": simulated["system"],
            "feature": simulated["feature"],
            "difference": simulated["share"].to_numpy() - real.reindex(keys).to_numpy(),
        }
    )
