"""Profiles in other tools' forms; tau2's are loaded by tau2 itself."""

import json

import pytest
from conftest import SAMPLE

from realusersim_nb.__main__ import main
from realusersim_nb.corpus import load_corpus
from realusersim_nb.files import write_lines
from realusersim_nb.profiles import extract_measured


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    profiles = [p for p in extract_measured(load_corpus(str(SAMPLE)).conversations) if p.commands]
    return write_lines(tmp_path_factory.mktemp("profiles") / "profiles.jsonl", profiles), profiles


@pytest.mark.parametrize("tool", ["deepeval", "mlflow", "sdialog", "scenario", "tau2"])
def test_every_profile_is_a_row_that_holds_its_commands(tool, written, capsys):
    path, profiles = written
    assert main(["export", str(path), "--to", tool, "--goal", "a refund"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert len(rows) == len(profiles)
    for row, profile in zip(rows, profiles, strict=True):
        assert all(any(c.command in value for value in row.values()) for c in profile.commands)
    if tool in ("deepeval", "mlflow", "scenario"):
        assert all(any("a refund" in value for value in row.values()) for row in rows)


def test_tau2_takes_its_rows(written, tmp_path, capsys):
    from tau2.data_model.tasks import UserScenario

    path, profiles = written
    assert main(["export", str(path), "--to", "tau2", "--out", str(tmp_path / "personas.json")]) == 0
    rows = json.loads((tmp_path / "personas.json").read_text())
    scenario = UserScenario(**rows[0], instructions="Ask for a refund.")
    assert profiles[0].commands[0].command in scenario.persona


def test_text_has_a_section_a_profile(written, capsys):
    path, profiles = written
    assert main(["export", str(path), "--to", "text"]) == 0
    assert capsys.readouterr().out.count("\n# ") + 1 == len(profiles)


@pytest.mark.parametrize(
    ("options", "problem"), [(["--to", "word"], "expected one of"), (["--to", "mlflow"], "--goal")]
)
def test_what_is_missing_is_one_sentence(options, problem, written, capsys):
    assert main(["export", str(written[0]), *options]) == 2
    said = capsys.readouterr().err
    assert problem in said and said.count("\n") == 1
