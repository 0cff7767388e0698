"""The numbers of README.md, from the runs that its commands make, into ``results.json`` beside this file.

``python docs/results.py demo=outputs/demo fidelity=outputs/fidelity gpt4o=outputs/run`` (any of them: what comes of
a run that is not given stays as it is). A test compares README.md with the file.
"""

import json
import sys
from pathlib import Path
from typing import Any

import pandas as pd

from realusersim_nb import stats

PATH = Path(__file__).parent / "results.json"
COMMANDS = {
    "demo": "make run",
    "fidelity": "run 03 05 -f notebooks/params/fidelity.yaml",
    "gpt4o": "run 05 -p simulator null -p systems '{\"gpt4o\": FOLDER}'",
}
TIMES = "seconds of make run on two cores, the machine otherwise idle"
KEPT = ("ci_low", "ci_high", "p", "p_holm", "chance", "stranger")  # columns beside the value and n
WITHIN = {"split": "matched positions", "strangers": "drawn by chance", "top": 1}
HOLDING, IDENTIFIED = "02_explore_profiles/holding", "01_extract_profiles/identification"
GAINS, PROBE = "03_benchmark_fidelity/predictive_gains", "05_measure_gap/probe"
BREAKS = "03_benchmark_fidelity/role_breaks"
SHOWN = ("demonstrations", "calibrated_demonstrations")
ATTRIBUTED = "03_benchmark_fidelity/attribution"
PAIRS = "03_benchmark_fidelity/pairs"
MADE = ("demonstrations", "task_only"), ("demonstrations", "shuffled_demonstrations")
MADE += ("profile", "task_only"), ("profile", "shuffled_profile")
ROWS: dict[str, tuple[str, str, dict, str, str]] = {
    "commands hold": ("demo", HOLDING, {"unseen": "all", "known": "all"}, "rate", "n_commands"),
    "commands hold without copies": (
        "demo",
        HOLDING,
        {"unseen": "fresh", "known": "all"},
        "rate",
        "n_commands",
    ),
    "writer by features": ("demo", IDENTIFIED, {"by": "features"} | WITHIN, "rate", "n_users"),
    "writer by n-grams": ("demo", IDENTIFIED, {"by": "masked n-grams"} | WITHIN, "rate", "n_users"),
    **{
        f"bits: {arm} less {other}": (
            "fidelity",
            GAINS,
            {"arm": arm, "baseline": other},
            "difference",
            "n_pairs",
        )
        for arm, other in MADE
    },
    **{
        f"fidelity: {arm} less {other}": (
            "fidelity",
            PAIRS,
            {"judge": "measured", "arm": arm, "baseline": other},
            "difference",
            "n_pairs",
        )
        for arm, other in (*MADE[:3], ("calibrated_demonstrations", "task_only"))
    },
    **{
        f"probe of {arm}": ("fidelity", PROBE, {"by": "masked n-grams", "system": arm}, "accuracy", "n")
        for arm in ("task_only", *SHOWN)
    },
    **{
        f"role breaks of {arm}": ("fidelity", BREAKS, {"arm": arm}, "any", "n")
        for arm in ("task_only", *SHOWN)
    },
    "probe of GPT-4o": ("gpt4o", PROBE, {"by": "masked n-grams", "system": "gpt4o"}, "accuracy", "n"),
}
"""A number: its run, table, row (by columns), and the columns of its value and n."""


SHARES = {f"attributed: {arm}": ("fidelity", ATTRIBUTED, arm) for arm in ("task_only", *SHOWN, "real")}
"""A share of people: its run, table of people, and arm."""


def read_share(run_folder: Path, row: tuple[str, str, str]) -> dict[str, Any]:
    """The share of people of an arm to whom its messages are attributed, with its interval and n."""
    run, path, arm = row
    table = pd.read_parquet(run_folder / f"{path}.parquet")
    rows = table[table["arm"] == arm]
    rate = stats.estimate_rate(rows["first"], rows["user_id"])
    shown = {name: round(float(rate[name]), 4) for name in ("ci_low", "ci_high")}
    about = {"table": f"{path}.csv", "command": COMMANDS[run]}
    return {"value": round(rate["rate"], 4), "n": rate["n"]} | shown | about


def read_number(run_folder: Path, row: tuple[str, str, dict, str, str]) -> dict[str, Any]:
    """A number with its interval, n, table and command; ValueError if it is not one row of the table."""
    run, path, where, value, n = row
    table = pd.read_parquet(run_folder / f"{path}.parquet")
    for column, wanted in where.items():
        table = table[table[column] == wanted]
    if len(table) != 1:
        raise ValueError(f"{run_folder / path}: {len(table)} rows with {where}, expected one.")
    numbers = table.iloc[0].to_dict()
    shown = {name: round(float(numbers[name]), 4) for name in KEPT if name in numbers}
    about = {"table": f"{path}.csv", "command": COMMANDS[run]}
    return {"value": round(float(numbers[value]), 4), "n": int(numbers[n])} | shown | about


def read_seconds(run_folder: Path) -> dict[str, int]:
    """Seconds of each notebook of a run, by its name."""
    parts = sorted(run_folder.glob("*/summary_part.json"))
    return {p.parent.name: round(json.loads(p.read_text(encoding="utf-8"))["wall_seconds"]) for p in parts}


def write_results(runs: dict[str, Path], path: Path = PATH) -> dict[str, dict]:
    """Write what comes of these runs (``demo, fidelity, gpt4o``); other numbers of the file stay."""
    results = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    results |= {name: read_number(runs[row[0]], row) for name, row in ROWS.items() if row[0] in runs}
    results |= {name: read_share(runs[row[0]], row) for name, row in SHARES.items() if row[0] in runs}
    if "demo" in runs:
        results[TIMES] = read_seconds(runs["demo"])
    path.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    return results


if __name__ == "__main__":
    given = dict(word.split("=", 1) for word in sys.argv[1:])
    print(json.dumps(write_results({name: Path(folder) for name, folder in given.items()}), indent=1))
