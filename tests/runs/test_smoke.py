"""The check of an installation, as a person types it."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_smoke_says_what_is_well_and_what_to_type_next():
    done = subprocess.run(
        [sys.executable, "-m", "realusersim_nb", "smoke"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    *rows, last = done.stdout.strip().splitlines()
    assert all(row.startswith("ok") for row in rows) and last == "Next: make lab, or make run"
    assert re.search(r"toy run +\d+ commands; the simulated user writes '.+'", done.stdout)
