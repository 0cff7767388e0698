"""Files that people have, through notebooks 01, 02 and 05 by the command: no model is called."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from realusersim_nb.__main__ import main
from realusersim_nb.runs.notebooks import find_notebooks
from realusersim_nb.runs.summary import read_parameters

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "tests" / "corpus" / "samples"
FILES = {  # how the users of each sample are named
    "abcd.json": ["abcd.json/3592", "abcd.json/3593"],
    "claude.json": ["acc-7"],
    "fine_tuning.jsonl": ["fine_tuning.jsonl/0", "fine_tuning.jsonl/1"],
    "histories.jsonl": ["histories.jsonl/0"],
    "schema_guided.json": ["schema_guided.json/1_00000"],
    "simulator_arena.json": ["w1", "w2"],
    "taskmaster.json": ["taskmaster.json/dlg-1"],
}
SHORT = ["assistant is GPT-4o", "English", "pleasantries trimmed", "3+ user turns", "no near-duplicate"]


@pytest.fixture
def run(tmp_path, monkeypatch):
    """``run(files, numbers)`` runs notebooks on a folder with these samples, and gives the run's folder."""
    (tmp_path / "notebooks").symlink_to(ROOT / "notebooks")
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path)
    parameters = {"corpus": "mine", "skip_steps": SHORT, "simulator": None, "compared_extractor": None}
    parameters |= {"systems": {"invented": str(ROOT / "data" / "sample.jsonl")}}

    def run(files, numbers):
        for name in files:
            shutil.copy(SAMPLES / name, tmp_path / "mine")
        has = {name for path in find_notebooks(numbers) for name in read_parameters(path)}
        words = [w for k, v in parameters.items() if k in has for w in ("-p", k, json.dumps(v))]
        assert main(["run", *numbers, *words]) == 0
        return tmp_path / "outputs" / "run"

    return run


def count(folder: Path) -> tuple[int, int]:
    """The conversations and users of a run's corpus."""
    corpus = json.loads((folder / "summary.json").read_text(encoding="utf-8"))["corpus"]
    return corpus["conversations"], corpus["users"]


def test_notebooks_have_as_many_users_and_conversations_as_the_files(run):
    folder, users = run(FILES, ["01", "02", "05"]), {user for names in FILES.values() for user in names}
    assert count(folder) == (11, len(users))
    profiles = (folder / "01_extract_profiles" / "profiles.jsonl").read_text(encoding="utf-8").splitlines()
    assert {json.loads(line)["user_id"] for line in profiles} == users
    described = pd.read_parquet(folder / "05_measure_gap" / "facets.parquet")
    assert described["system"].value_counts().to_dict() == {"real": 11, "invented": 12}


def test_one_persons_export_runs_through_the_notebook_on_populations(run):
    assert count(run(["claude.json"], ["02"])) == (2, 1)
