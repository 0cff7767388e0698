"""What a sweep costs beside its notebooks, and how much faster four processes are.

Notebook 03 on an endpoint that answers after a second, 6 runs one after the other and 48 on four processes;
then the finished sweep once more. Overhead is the time that no cell of a notebook was at work, in the four
processes or in the sweep's comparison (notebook 06): importing, planning, starting kernels, writing files,
waiting for the last run, the sweep's page. `python benchmarks/bench_sweep.py`
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml
from endpoint import start_endpoint

LATENCY, ALONE, TOGETHER, WORKERS = 1.0, 6, 48, 4
ROOT = Path(__file__).parent.parent
SETTINGS = {
    "simulator": "m",
    "corpus": str(ROOT / "data" / "sample.jsonl"),
    "judge": "m",
    "n_cases": 2,
    "max_concurrency": 4,
    "max_user_messages": 5,
}


def run_sweep(folder: Path, name: str, n: int, *more: str) -> float:
    """Seconds of a sweep over n seeds."""
    content = {"notebooks": ["03"], "parameters": SETTINGS, "seeds": list(range(n))}
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    started = time.perf_counter()
    command = [sys.executable, "-m", "realusersim_nb", "sweep", f"{name}.yaml", *more]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0 and f"{n} finished" in done.stdout, done.stdout + done.stderr[-2000:]
    return time.perf_counter() - started


def add_cells(folder: Path, pattern: str) -> float:
    """Seconds that cells of executed notebooks were at work, one after the other."""
    total = 0.0
    for path in (folder / "outputs").glob(pattern):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        total += sum(cell["metadata"].get("papermill", {}).get("duration") or 0 for cell in cells)
    return total


def report(name: str, value: float, limit: float, *, at_most: bool = True) -> None:
    """Print a figure and whether it keeps its limit."""
    holds = value <= limit if at_most else value >= limit
    print(f"  {name:<28} {value:7.2f}   {'<=' if at_most else '>='} {limit}  {'holds' if holds else 'FAILS'}")


def main() -> None:
    """Print overhead, speed and the time of a finished sweep."""
    with start_endpoint(latency=LATENCY) as url, tempfile.TemporaryDirectory() as place:
        os.environ |= {"OPENAI_BASE_URL": url, "OPENAI_API_KEY": "any"}
        folder = Path(place)
        (folder / "notebooks").symlink_to(ROOT / "notebooks")
        alone = run_sweep(folder, "alone", ALONE)
        together = run_sweep(folder, "together", TOGETHER, "--workers", str(WORKERS))
        busy = add_cells(folder, "together/*/03_*.ipynb") / WORKERS + add_cells(folder, "together/06_*.ipynb")
        again = run_sweep(folder, "together", TOGETHER)
    many = f"{TOGETHER} on {WORKERS} processes {together:.0f} s, {busy:.0f} s in cells"
    print(f"{ALONE} runs {alone:.0f} s; {many}")
    report("overhead / cells", together / busy - 1, 0.1)
    report("times as fast", (alone / ALONE) / (together / TOGETHER), 3, at_most=False)
    report("finished, once more (s)", again, 5)


if __name__ == "__main__":
    main()
