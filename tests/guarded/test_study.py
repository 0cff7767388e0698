"""A whole study on a corpus that attacks, with replies and names that do, and no network but loopback."""

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pandas as pd
import pytest
from hostile import FILE, TEXTS, Inspector, N

from benchmarks.endpoint import fill
from realusersim_nb.text import INVISIBLE

ROOT = Path(__file__).parents[2]
NAME = "<img src=x onerror=alert(1)> $x_$ `b`"
WRITTEN = [text for text in TEXTS if "\ud83d" not in text]  # a reply with half a character is none
SMALL = {
    "corpus": f"{NAME}.jsonl",
    "compared_extractor": None,
    "n_cases": 2,
    "n_predicted": 0,
    "n_demonstrations": 2,
    "max_user_messages": 2,
    "arms": ["task_only", "profile"],
    "n_tasks": 1,
    "max_steps": 4,
    "directives": ["polite"],
    "n_triplets": 2,
    "n_rejudged": 0,
    "simulator": f"$$ \\foo {NAME}",
    "agent": NAME,
    "judge": f"[a](javascript:alert(1)) {NAME}",
    "systems": {f"_$$ {NAME}": "systems.jsonl"},
}


FORBID = """
import sys

def forbid(event, arguments):
    if event == "socket.connect" and isinstance(arguments[1], tuple) and arguments[1][0] not in ("127.0.0.1", "::1"):
        raise PermissionError(f"connects to {arguments[1]}")
    if event == "socket.getaddrinfo" and arguments[0] not in ("127.0.0.1", "localhost", "::1", None, ""):
        raise PermissionError(f"looks up {arguments[0]}")
    if event == "socket.bind" and isinstance(arguments[1], tuple) and arguments[1][0] not in ("127.0.0.1", "::1"):
        raise PermissionError(f"listens on {arguments[1]}")

def note(event, arguments):
    try:
        forbid(event, arguments)
    except PermissionError as error:
        with open(FILE, "a") as file:
            file.write(f"{error}\\n")
        raise

sys.addaudithook(note)
"""


def forbid_network(folder: Path) -> tuple[dict[str, str], Path]:
    """Variables under which Python processes reach and open loopback alone, and the file of their attempts."""
    attempts = folder / "attempts.txt"
    (folder / "sitecustomize.py").write_text(f"FILE = {str(attempts)!r}\n{FORBID}")
    paths = [str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {"PYTHONPATH": os.pathsep.join(paths)}, attempts


def answer_hostile(request):
    """What is asked for, with a text that attacks in every field that takes any."""
    if "response_format" not in request:
        return f"An answer. {WRITTEN[len(str(request)) % len(WRITTEN)]}"
    schema, size = request["response_format"]["json_schema"]["schema"], len(str(request["messages"]))
    text = WRITTEN[size % len(WRITTEN)]

    def attack(value):
        if isinstance(value, dict):
            return {name: attack(inner) for name, inner in value.items()}
        if isinstance(value, list):
            return [attack(inner) for inner in value]
        return f"{text} {value}" if isinstance(value, str) and value.startswith("Text ") else value

    return json.dumps(attack(fill(schema, schema, size)))


@pytest.fixture
def study(tmp_path, endpoint):
    """A folder after notebooks 01 to 06; what the command printed."""
    endpoint(answer_hostile)
    (tmp_path / "notebooks").symlink_to(ROOT / "notebooks")
    (tmp_path / f"{NAME}.jsonl").write_bytes(FILE.read_bytes())
    (tmp_path / "systems.jsonl").write_bytes(FILE.read_bytes())
    (tmp_path / "p.yaml").write_text(json.dumps(SMALL))
    network = tmp_path / "network"
    network.mkdir()
    variables, _ = forbid_network(network)
    command = [
        sys.executable,
        "-m",
        "realusersim_nb",
        "run",
        *"01 02 03 04 05 06 -f p.yaml --run-name".split(),
        "h `x`",
    ]
    done = subprocess.run(command, cwd=tmp_path, env=os.environ | variables, capture_output=True)
    assert done.returncode == 0, done.stderr.decode(errors="replace")[-3000:]
    return tmp_path, done.stdout.decode() + re.sub(r"\r|\x1b\[A", "", done.stderr.decode())


def test_must_hold_and_13_hostile_study_runs_through_acts_nowhere_and_opens_loopback_alone(study):
    folder, printed = study
    run = folder / "outputs" / "h `x`"
    assert not (folder / "network" / "attempts.txt").exists()
    assert not INVISIBLE.search(printed)
    pages = {path.name: Inspector(path.read_text(encoding="utf-8")).found for path in run.glob("*.html")}
    assert not any(pages.values()) and len(pages) == 7
    for path in run.glob("*.ipynb"):
        cells = nbformat.read(path, as_version=4).cells
        pages = [
            o.data["text/html"]
            for c in cells
            for o in c.get("outputs", [])
            if "text/html" in o.get("data", {})
        ]
        assert [Inspector("".join(page)).found for page in pages] == [[]] * len(pages), path
    given = {"notebooks", f"{NAME}.jsonl", "systems.jsonl", "p.yaml", "network", "outputs", "replies.sqlite"}
    assert {path.name.split("-")[0] for path in folder.iterdir()} == given
    assert {path.name for path in (folder / "outputs").iterdir()} <= {"h `x`", ".lock", "replies.sqlite"}
    funnel = pd.read_parquet(run / "01_extract_profiles/funnel.parquet").set_index("step")
    unread = len(FILE.read_bytes().splitlines()) - N - 1
    assert funnel.loc["read", "conversations"] == N + 1
    notebook = (run / "01_extract_profiles.ipynb").read_text(encoding="utf-8")
    assert (
        sum(map(int, re.findall(r": (\d+)", re.search(r"unreadable rows: \{(.*?)\}", notebook)[1]))) == unread
    )
    for path in run.rglob("*.csv"):
        with path.open(encoding="utf-8", newline="") as file:
            cells = [cell for row in csv.reader(file) for cell in row]
        assert not [c for c in cells if re.match(r"[=+@\t\r]|-(?!\d+(\.\d+)?(e-?\d+)?$)", c)], path
