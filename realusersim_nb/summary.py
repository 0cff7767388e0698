"""The headline numbers of runs: put together, told in words, compared.

Each notebook leaves ``summary_part.json``; ``summary.json`` is all parts of a run.
"""

import json
from dataclasses import asdict
from pathlib import Path

import pandas as pd

from realusersim_nb.files import OUTPUTS, write_json
from realusersim_nb.llm import Usage


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


# --- in words ----------------------------------------------------------------------------------


def describe_notebook(folder: Path, seconds: float) -> str:
    """One line on an executed notebook: wall time, calls, tokens."""
    calls = json.loads((folder / "summary_part.json").read_text())["calls"]
    tokens = calls["prompt_tokens"] + calls["completion_tokens"]
    return (
        f"{folder.name:<24} {int(seconds) // 60}:{int(seconds) % 60:02d} min   {calls['live']:>4} calls "
        f"({calls['cached']} cached, {calls['failed']} failed)   {tokens:>7,} tokens   ${calls['cost_usd']:.2f}"
    )


def describe_summary(run_folder: Path) -> list[str]:
    """The headline numbers of a run, one line each, with n and intervals."""
    summary = json.loads((run_folder / "summary.json").read_text())
    lines = []
    if corpus := summary.get("corpus"):
        lines.append(f"corpus {corpus['name']}: {corpus['conversations']:,} conversations of {corpus['users']:,} users")
    if profiles := summary.get("profiles"):
        lines.append(
            f"profiles: {profiles['n']:,} with {profiles['commands']:,} commands and {profiles['verified_examples']:,} verbatim examples"
        )
    others = list(summary.get("fidelity_by_judge", {}).items())[1:]  # the first judge's are the fidelity
    readings = {"fidelity": summary.get("fidelity", {})} | {f"fidelity by {judge}": arms for judge, arms in others}
    for name, arms in readings.items():
        for arm, s in arms.items():
            lines.append(
                f"{name}, {arm}: {describe_rate(s['rate'], s)} over {s['n_cases']} cases, {s['n_failed']} failed"
            )
    for arm, s in summary.get("stress", {}).items():
        lines.append(
            f"agent success, {arm}: {describe_rate(s['success'], s)} over {s['n_runs']} runs, {s['n_failed']} failed"
        )
    for system, s in summary.get("gap", {}).items():
        lines.append(
            f"gap, {system}: JS {s['js']:.3f}, KL forward {s['kl_forward']:.2f}, backward {s['kl_backward']:.2f}"
        )
    return lines


def describe_rate(rate: float | None, interval: dict) -> str:
    """A rate with its 95 % interval in per cent, or that there is none."""
    if rate is None:
        return "none scored"
    if interval["ci_low"] is None:
        return f"{rate:.1%} (no interval)"
    return f"{rate:.1%} (95 % interval {interval['ci_low']:.1%} to {interval['ci_high']:.1%})"
