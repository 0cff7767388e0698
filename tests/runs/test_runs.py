"""Running notebooks: parameters are checked first, files are whole or absent, notebooks keep their form."""

import ast
import asyncio
import json
import re
import threading
from contextlib import nullcontext
from datetime import date
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pandas as pd
import pytest
from conftest import SAMPLE

from realusersim_nb import __main__ as main
from realusersim_nb.corpus.loading import load_corpus
from realusersim_nb.errors import InputError
from realusersim_nb.profiles.extraction import describe_source
from realusersim_nb.records import Profile
from realusersim_nb.runs import estimate, folders, kernel, notebooks, summary
from realusersim_nb.runs.commands.options import parse_value
from realusersim_nb.runs.parameters import KINDS, check_value

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.fixture(autouse=True)
def in_project(monkeypatch):
    monkeypatch.chdir(ROOT)


def test_no_two_cells_have_one_id():
    """Not across notebooks either: a report holds the cells of all."""
    ids = [cell.id for path in NOTEBOOKS for cell in nbformat.read(path, 4).cells]
    assert len(ids) == len(set(ids))


def fits(path, name, value):
    """Whether a notebook's parameter can have a value."""
    try:
        check_value(path.stem, name, value)
    except InputError:
        return False
    return True


@pytest.mark.parametrize(
    ("name", "right", "wrong"),
    [
        ("n_users", [None, 1], ["ten", -1, 0, 1.5, True, date(2026, 1, 1)]),
        ("budget_usd", [None, 0, 2.5], ["5", -1, float("nan"), float("inf"), True]),
        ("seed", [0, 2**32 - 1], [None, -1, 2**32, 1.0]),
        ("judge", [None, "m", ["m", "measured"]], [[], "", 5]),
        ("arms", [["task_only", "stock"]], [[], ["nobody"], ["profile", "profile"], "profile"]),
        ("extractor", ["measured", "gpt-4o", "hybrid:gpt-4o", "llama3:8b"], ["hybrid:", "", None]),
        ("columns", [{}, {"role": "sender", "users": ["a"]}], [{"roles": "x"}, {"role": 1}]),
        ("judge_calls", [1, 2], [3, "2", None]),
        ("llm_mode", ["live"], ["off", None]),
        ("released", [None, "folder", Path("folder")], [5, ""]),
    ],
)
def test_value_of_a_parameter_has_its_kind_and_range(name, right, wrong):
    other = Path("05_measure_gap.ipynb")
    assert [fits(other, name, value) for value in right] == [True] * len(right)
    assert [fits(other, name, value) for value in wrong] == [False] * len(wrong)


def test_notebook_that_starts_with_a_wrong_value_stops_there(tmp_path, monkeypatch):
    """As in JupyterLab or by plain papermill, where nothing is checked before."""
    (tmp_path / "notebooks").symlink_to(ROOT / "notebooks")
    monkeypatch.chdir(tmp_path)
    for value, is_right in ((3, True), ("ten", False)):
        kernel_of = SimpleNamespace(user_ns={"n_users": value})
        monkeypatch.setattr(folders, "get_ipython", lambda kernel_of=kernel_of: kernel_of)
        with nullcontext() if is_right else pytest.raises(InputError, match="'n_users' of 01_"):
            run = folders.start_notebook("r", "01_extract_profiles")
    assert run.parameters["n_users"] == 3 and run.parameters["n_compared"] == 2


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
class TestNotebookForm:
    def test_has_one_parameters_cell_of_commented_literals_with_known_names(self, path):
        tagged = [c for c in nbformat.read(path, 4).cells if "parameters" in c.metadata.get("tags", [])]
        assert len(tagged) == 1
        for line in tagged[0].source.splitlines():
            name, _, value = line.partition(" = ")
            value, _, comment = value.partition("  # ")
            assert name in KINDS and comment and fits(path, name, ast.literal_eval(value)), line
            assert fits(path, name, None) == bool(re.search("(None|null):", comment)), line

    def test_is_committed_without_outputs(self, path):
        code = [c for c in nbformat.read(path, 4).cells if c.cell_type == "code"]
        assert all(not c.outputs and c.execution_count is None for c in code)

    def test_has_short_cells_and_says_what_was_found(self, path):
        cells = nbformat.read(path, 4).cells
        code = [
            c
            for c in cells
            if c.cell_type == "code" and not c.metadata.get("tags") and "import" not in c.source
        ]
        assert max(len(c.source.splitlines()) for c in code) <= 10
        assert "**Question.**" in cells[0].source
        assert any("Findings and limits" in c.source for c in cells)


def test_parameter_files_fit_the_notebooks():
    for path in (ROOT / "notebooks" / "params").glob("*.yaml"):
        notebooks.check_parameters(notebooks.read_mapping(path, "parameter file"), notebooks.find_notebooks())


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("run 03 -p n_casse 5", "'n_casse' does not exist"),
        ("run 06 -p n_cases 5", "'n_cases' does not exist in 06"),
        ("run 03 -p n_cases five", "'n_cases'"),
        ("run 01 -p n_users ten", "'n_users'"),
        ("run 01 -p n_users 2026-01-01", "'n_users'"),
        ("run 03 -p simulator null", "'simulator' of 03"),
        ("run 09", "notebook '09' does not exist"),
        ("run -f missing.yaml", "no such file"),
        ("run --run-name ../x 00", "plain folder name"),
        ("report outputs/none", "no executed notebook"),
        ("curate data/sample.jsonl --skip nope", "'nope' does not exist"),
        ("curate no/such/file.jsonl", "no such file"),
    ],
)
def test_user_error_is_one_sentence_before_anything_runs(command, message, capsys, monkeypatch):
    monkeypatch.setattr(notebooks, "run_notebooks", lambda *a, **k: pytest.fail("something ran"))
    assert main.main(command.split()) == 2
    error = capsys.readouterr().err
    assert message in error and len(error.strip().splitlines()) == 1


def test_values_are_read_as_yaml():
    assert parse_value("5") == 5
    assert parse_value('["oracle", "do_nothing"]') == ["oracle", "do_nothing"]
    assert parse_value("null") is None
    assert parse_value("gpt-4o") == "gpt-4o"
    assert parse_value("{a: ") == "{a: "


def test_profiles_of_a_changed_corpus_or_setting_are_made_anew(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    corpus = tmp_path / "corpus.jsonl"
    settings = {"extractor": "measured", "n_users": None, "profile_messages": None, "seed": 1}

    def take(**changed):
        real = load_corpus(str(corpus))
        source = describe_source(real.digest, **settings | changed)
        return asyncio.run(folders.Run("r", "02_x").take_profiles(real.conversations, source, models=None))

    corpus.write_text(SAMPLE.read_text(encoding="utf-8"))
    source = describe_source(load_corpus(str(corpus)).digest, **settings)
    folders.Run("r", "01_extract_profiles").save_records("profiles", [Profile(user_id="u")], made_from=source)
    assert list(take()) == [Profile(user_id="u")]
    for name, value in {"n_users": 3, "profile_messages": 9, "seed": 2}.items():
        assert len(take(**{name: value})) == 6
    corpus.write_text("\n".join(SAMPLE.read_text(encoding="utf-8").splitlines()[::-1]))
    assert len(take()) == 6


def test_records_are_taken_only_if_made_from_the_same_settings(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folders.Run("r", "01_x").save_records("profiles", [Profile(user_id="u")], made_from={"seed": 1})
    later = folders.Run("r", "02_y")
    saved = later.read_records("01_x/profiles.jsonl", Profile, made_from={"seed": 1})
    assert list(saved) == [Profile(user_id="u")]
    assert later.read_records("01_x/profiles.jsonl", Profile, made_from={"seed": 2}) is None
    assert later.read_records("01_x/nothing.jsonl", Profile, made_from={}) is None


def test_only_start_notebook_moves_to_the_project_folder(tmp_path, monkeypatch):
    """JupyterLab starts kernels beside the notebooks; paths that users type are relative to the folder above."""
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")
    assert folders.Run("r", "01_x").folder == tmp_path / "outputs/r/01_x" and Path.cwd().name == "notebooks"
    assert folders.start_notebook("r", "02_y").folder.is_dir() and Path.cwd() == tmp_path


def test_damaged_record_is_named_by_file_and_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = folders.Run("r", "01_x")
    run.save_records("profiles", [Profile(user_id="u")], made_from={})
    for line, problem in (
        ('{"user_id": ', "expected a Profile, but Invalid JSON"),
        ('{"user": 1}', "expected"),
    ):
        (run.folder / "profiles.jsonl").write_text(f'{{"user_id": "u"}}\n{line}\n')
        with pytest.raises(ValueError, match=rf"profiles.jsonl, line 2: {problem}"):
            list(run.read_records("01_x/profiles.jsonl", Profile, made_from={}))


def test_summary_adds_up_calls_and_its_measures_are_described_with_interval_n_and_failures(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    rates = {"ci_low": float("nan"), "ci_high": 1.0, "n_cases": 2, "n_failed": 1}
    by_judge = {"j": {"profile": {"rate": 0.5, **rates}, "same_user": {"rate": float("nan"), **rates}}}
    folders.Run("r", "03_x").finish(fidelity=by_judge["j"], fidelity_by_judge=by_judge)
    folders.Run("r", "04_y").finish(stress={})
    saved = json.loads(Path("outputs/r/summary.json").read_text(encoding="utf-8"))
    assert saved["fidelity"]["profile"]["ci_low"] is None and saved["calls"]["live"] == 0
    texts = summary.pivot_measures(summary.collect_measures(summary.find_runs()))["fidelity by j"]
    assert texts.to_dict() == {
        "same_user": "none scored (n = 2, 1 failed)",
        "profile": "50% (no interval, n = 2, 1 failed)",
    }


def test_tables_and_figures_leave_no_half_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = folders.Run("r", "01_x")
    table = pd.DataFrame({"arm": ["profile"], "rate": [0.5]}).set_index("arm")
    run.save_table(table, "scores")
    run.save_figure(table.plot(), "scores")
    run.save_table(table.rename(index={"profile": "task_only & 5 %"}), "latex", latex=True)
    assert sorted(p.suffix for p in run.folder.glob("scores*")) == [".csv", ".parquet", ".png", ".svg"]
    assert r"task\_only \& 5 \%" in (run.folder / "latex.tex").read_text(encoding="utf-8") and not list(
        run.folder.glob(".*")
    )
    assert pd.read_csv(run.folder / "scores.csv").equals(pd.read_parquet(run.folder / "scores.parquet"))


def plan(number, **given):
    """What one notebook asks, with these parameters: calls by kind and model."""
    [path] = notebooks.find_notebooks([number])
    planned = estimate.plan_calls(path.stem, notebooks.fill_parameters(path, given), before={})
    return {(asked, model): calls for asked, model, calls in planned}


def test_openings_under_directives_are_counted_for_every_trial():
    given = {"n_tasks": 2, "n_trials": 3, "arms": ["task_only"], "max_steps": 8, "turn_format": "roles"}
    calls = plan("04", **given, simulator="s", agent="a", judge=["measured", "j"], directives=["polite"])
    assert calls == {("agent step", "a"): 24, ("turn", "s"): 24 + 2 * 6 + 3, ("analysis", "j"): 6}


def test_extractor_of_two_kinds_asks_its_model():
    calls = plan("01", extractor="hybrid:w", compared_extractor="hybrid:c", n_users=5, n_compared=2)
    assert calls == {("profile", "w"): 5, ("profile", "c"): 2}
    assert plan("01", compared_extractor="measured") == {}


def test_dry_run_says_calls_tokens_and_dollars_and_runs_nothing(capsys, monkeypatch):
    monkeypatch.setattr(notebooks, "run_notebooks", lambda *a, **k: pytest.fail("something ran"))
    given = "-p simulator gpt-4o -p n_cases 600 -p extractor nobody-knows-me"
    assert main.main(f"run 03 05 06 --dry-run {given}".split()) == 0
    printed = capsys.readouterr().out
    # 4 x 600 x (5 steps + 6 demonstrations) + 600 tags; 600 x 3 arms x (3 x 5 messages + 4 answers);
    # (600 x (3 arms + 2 reference arms) + 2 x 4 again) x 2 judge calls
    assert "67,216" in printed and "$" in printed
    assert "05_" not in printed  # what 03 asked already
    assert (
        "nobody-knows-me" in printed and "?" in printed
    )  # neither the number of users nor the price is known


@pytest.mark.parametrize(
    ("written", "left"),
    [
        ("a: 0%\ra: 50%\ra: 100%", "a: 100%"),
        ("a: 0%\r      \r", "      "),
        ("plain", "plain"),
        ("a\r\x1b[A", "a"),
        ("", ""),
    ],
)
def test_bar_comes_to_what_a_terminal_shows_at_its_end(written, left):
    assert notebooks.overwrite(written) == left


def test_next_kernel_is_started_meanwhile_and_only_taken_where_it_would_be_the_same(tmp_path, monkeypatch):
    """A kernel takes over folder and environment when it starts, so one from elsewhere is not used."""
    monkeypatch.chdir(tmp_path)
    with kernel.take_kernel() as first:
        waiting = kernel.IDLE[threading.get_ident()]
        assert waiting is not first and waiting.has_kernel
    with kernel.take_kernel() as second:
        assert second is waiting
        other = kernel.IDLE[threading.get_ident()]
    monkeypatch.setenv("OF_ANOTHER_RUN", "1")
    with kernel.take_kernel() as third:
        assert third is not other and not other.has_kernel
    kernel.stop_idle()
    assert not [k for k in (first, second, third, other) if k.has_kernel or Path(k.folder.name).exists()]


def test_findings_of_all_notebooks_are_in_the_summary(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for notebook in ("02_two", "03_three"):
        run = folders.Run("r", notebook)
        run.add_finding(f"seen in {notebook}", 0.5, ci_low=0.4, ci_high=float("nan"), n=24)
        run.add_finding("not measured", float("nan"), n=24)
        run.add_finding("of nine people", 0.5, n=9)
        run.finish()
    summary = json.loads((tmp_path / "outputs/r/summary.json").read_text(encoding="utf-8"))
    figures = {"value": 0.5, "ci_low": 0.4, "ci_high": None, "n": 24, "p": None}
    figures |= dict.fromkeys(("limit", "figure", "unit", "counted"), "")
    assert summary["findings"] == [
        {"notebook": notebook, "sentence": f"seen in {notebook}"} | figures
        for notebook in ("02_two", "03_three")
    ]
    assert "findings" not in summary["made_by"]
