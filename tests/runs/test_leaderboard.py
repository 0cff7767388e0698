"""Runs side by side: settings are compared between runs that are alike in all else, two runs by what made them."""

import nbformat
import numpy as np
import pandas as pd
import pytest

from realusersim_nb import files
from realusersim_nb.__main__ import main
from realusersim_nb.plots.comparison import plot_board
from realusersim_nb.runs import leaderboard, summary
from realusersim_nb.runs.folders import Run
from realusersim_nb.runs.leaderboard import compare_runs


def write_run(name, *, parameters, fidelity, js):
    """A run as its notebooks would leave it, with two arms of these figures."""
    run, gap = Run(name, "03_benchmark_fidelity"), Run(name, "05_measure_gap")
    table = pd.DataFrame(
        {"judge": "measured", "arm": list(fidelity), "rate": fidelity.values(), "n_cases": 9}
    )
    table = table.assign(ci_low=table["rate"] - 0.1, ci_high=table["rate"] + 0.1, n_failed=0)
    run.save_table(table, "fidelity")
    run.save_table(table.rename(columns={"rate": "normalised"}), "normalised")
    run.finish(fidelity_by_judge={"measured": table.set_index("arm").to_dict("index")})
    gaps = {"above_floor": js, "floor": 0.1, "ci_low": js, "ci_high": js + 0.2}
    gap.save_table(pd.DataFrame([{"system": arm, **gaps} for arm in fidelity]), "gap")
    gap.finish()
    manifest = {
        "parameters": {"03_benchmark_fidelity": parameters},
        "prompts": {"a.md": "1" * 64},
        "versions": {"pandas": "2"},
        "git_commit": None,
    }
    files.write_json(run.run_folder / "manifest.json", manifest)
    return run.run_folder


def test_settings_are_compared_between_runs_that_are_alike_in_all_else(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for simulator, bonus in (("big-70b", 0.3), ("small-7b", 0.0)):
        for seed in (1, 2):
            rates = {"task_only": 0.2 + bonus, "profile": 0.3 + bonus + seed / 100}
            write_run(
                f"s/{simulator}{seed}",
                parameters={"simulator": simulator, "seed": seed, "n": 5, "run_name": simulator},
                fidelity=rates,
                js=0.2 - bonus / 2,
            )
    folders = summary.find_runs("s")
    settings = leaderboard.read_settings(folders)
    assert list(settings) == ["simulator", "seed"]
    board = leaderboard.rank_simulators(folders, settings)
    assert board.index[0] == ("s/big-70b2", "profile") and len(board) == 8
    assert board.loc[("s/small-7b1", "profile"), "above_floor"] == 0.2
    changed = leaderboard.compare_settings(board, settings, "fidelity").set_index("setting")
    assert changed.loc["simulator", ["baseline", "value", "n_pairs"]].tolist() == ["big-70b", "small-7b", 2]
    assert changed.loc["simulator", "difference"] == pytest.approx(-0.3)
    assert changed.loc["seed", "difference"] == pytest.approx(0.005)
    assert leaderboard.compare_settings(board, settings, "shift").empty
    ranks = leaderboard.compare_measures(board, arm="profile").set_index(["one", "other"])
    assert ranks.loc[("fidelity", "normalised"), ["tau", "n"]].tolist() == [pytest.approx(1), 4]
    assert ranks.loc[("fidelity", "above_floor"), "tau"] > 0.7  # a smaller gap is more like people
    assert leaderboard.list_sizes(board, settings, arm="profile")["size"].tolist() == [7, 7, 70, 70]
    rows = [label.get_text() for label in plot_board(board, settings).get_yticklabels()]
    assert rows[:2] == ["profile, big-70b, 1", "task_only, big-70b, 1"]
    assert [leaderboard.read_size(name) for name in ("mixtral-8x7b-v0.1", "Qwen2.5-1.5B")] == [56, 1.5]
    assert np.isnan(leaderboard.read_size("gpt-4o"))


def write_parameters(name, given, *, declared=None, **manifest):
    """A run of which only the manifest is there and, if ``declared``, notebook 03 as it was executed."""
    folder = files.outputs_folder() / name
    files.write_json(folder / "manifest.json", {"parameters": given, **manifest})
    if declared:
        tagged = nbformat.v4.new_code_cell(declared, metadata={"tags": ["parameters"]})
        nbformat.write(nbformat.v4.new_notebook(cells=[tagged]), folder / "03_x.ipynb")
    return folder


def test_default_and_the_same_value_given_are_one_setting(tmp_path, monkeypatch):
    """Of an older manifest, which has only what was given, too."""
    monkeypatch.chdir(tmp_path)
    cell = "seed = 1\nn_cases = 4"
    folders = [
        write_parameters("older", {"03_x": {"seed": 1}}, declared=cell),
        write_parameters("given", {"03_x": {"seed": 1, "n_cases": 4}}, declared=cell, code="d"),
        write_parameters("other", {"03_x": {"seed": 2}}, declared=cell),
    ]
    assert leaderboard.read_settings(folders)["seed"].to_dict() == {"older": 1, "given": 1, "other": 2}
    assert list(leaderboard.read_settings(folders)) == ["seed"]


def test_parameter_with_several_values_in_one_run_names_them_all(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    same = {"03_x": {"n_cases": 4, "arms": ["a"]}, "05_y": {"n_cases": 4, "arms": ["a"]}}
    mixed = same | {"05_y": {"n_cases": 9, "arms": ["a"]}}
    folders = [write_parameters(*run, code="d") for run in (("same", same), ("mixed", mixed))]
    settings = leaderboard.read_settings(folders)
    assert settings.to_dict() == {"n_cases": {"same": 4, "mixed": "4 in 03, 9 in 05"}}


def test_two_runs_are_compared_by_what_made_them_and_what_they_measured(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    one = write_run(
        "one", parameters={"simulator": "<a>", "run_name": "one", "n": 5}, fidelity={"profile": 0.4}, js=0.1
    )
    two = write_run(
        "two", parameters={"simulator": "b", "run_name": "two", "n": 5}, fidelity={"profile": 0.5}, js=0.1
    )
    manifests, results = compare_runs(one, two).values()
    assert manifests.to_numpy().tolist() == [["parameter", "03 simulator", "<a>", "b"]]
    results = results.set_index(["measure", "arm"])
    assert results.loc[("fidelity by measured", "profile"), "change"] == pytest.approx(0.1)
    for folder in (one, two):
        (folder / "03_x.ipynb").touch()
    assert main(["report", str(one), str(two)]) == 0 and "03 simulator" in capsys.readouterr().out
    (one / "manifest.json").write_text("{")
    assert main(["report", str(one), str(two)]) == 2 and "not complete" in capsys.readouterr().err
