"""Files that people have, through notebooks 01, 02 and 05 by the command: no model is called."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from realusersim_nb.__main__ import main

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
OWN = {"claude.json": ["acc-7"]}
SHORT = ["assistant is GPT-4o", "English", "pleasantries trimmed", "3+ user turns", "no near-duplicate"]


@pytest.mark.parametrize(("files", "n"), [(FILES, 11), (OWN, 2)], ids=["many layouts", "one's own export"])
def test_notebooks_read_as_many_users_and_conversations_as_the_files_have(tmp_path, monkeypatch, files, n):
    (tmp_path / "notebooks").symlink_to(ROOT / "notebooks")
    (tmp_path / "mine").mkdir()
    for name in files:
        shutil.copy(SAMPLES / name, tmp_path / "mine")
    monkeypatch.chdir(tmp_path)
    systems = {"invented": str(ROOT / "data" / "sample.jsonl")}
    parameters = {"corpus": "mine", "skip_steps": SHORT, "simulator": None, "compared_extractor": None}
    words = [w for k, v in (parameters | {"systems": systems}).items() for w in ("-p", k, json.dumps(v))]
    assert main(["run", "01", "02", "05", *words]) == 0
    folder = tmp_path / "outputs" / "run"
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    users = {user for names in files.values() for user in names}
    assert (summary["corpus"]["conversations"], summary["corpus"]["users"]) == (n, len(users))
    profiles = (folder / "01_extract_profiles" / "profiles.jsonl").read_text(encoding="utf-8").splitlines()
    assert {json.loads(line)["user_id"] for line in profiles} == users
    described = pd.read_parquet(folder / "05_measure_gap" / "facets.parquet")
    assert described["system"].value_counts().to_dict() == {"real": n, "invented": 12}
    assert summary["calls"]["live"] == 0
