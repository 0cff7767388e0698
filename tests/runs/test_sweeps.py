"""Sweeps: planned before money is spent, resumed, and carried through when workers die."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from functools import partial
from pathlib import Path

import nbformat
import pandas as pd
import psutil
import pytest

from realusersim_nb import files
from realusersim_nb.__main__ import main
from realusersim_nb.errors import InputError, MissingExtraError, StudyError
from realusersim_nb.parallel.processes import run_here
from realusersim_nb.runs import estimate, sweeps

KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3"}, "language_info": {"name": "python"}}
PARAMETERS = 'run_name = "run"\nseed = 1\ncorpus = "sharegpt"\nsystems = {}\nsimulator = "m"\nn_cases = 3\nllm_mode = "live"'
CODE = """
import asyncio
from realusersim_nb.errors import InputError
from realusersim_nb.runs import start_notebook
run = start_notebook(run_name, "00_tiny")
models = run.open_models(llm_mode=llm_mode)
replies = await models.run_all([models.ask(simulator, f"{seed} {i}") for i in range(n_cases)], "asking")
if simulator == "bad":
    raise ValueError("no such simulator")
if simulator == "misspelt":
    raise InputError("simulator 'misspelt' does not exist.")
run.finish(models, gap={"arm": {"js": 0.1, "n": len(replies), "floor_high": 0.2}})
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with one small notebook, in which the test goes on."""
    tags = {"tags": ["parameters"]}
    cells = [nbformat.v4.new_code_cell(PARAMETERS, metadata=tags), nbformat.v4.new_code_cell(CODE)]
    (tmp_path / "notebooks").mkdir()
    notebook = nbformat.v4.new_notebook(cells=cells, metadata=KERNEL)
    nbformat.write(notebook, tmp_path / "notebooks" / "00_tiny.ipynb")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def plan(**content):
    return sweeps.plan_runs(sweeps.Sweep(**content), "s")


def test_every_combination_is_a_run_in_a_folder_that_says_what_varies(place):
    planned = plan(parameters={"n_cases": 2}, grid={"simulator": ["a/b", "c"]}, seeds=[1, 2])
    assert [run.name for run in planned] == [
        "s/simulator=a_b,seed=1",
        "s/simulator=a_b,seed=2",
        "s/simulator=c,seed=1",
        "s/simulator=c,seed=2",
    ]
    assert planned[1].parameters == {"n_cases": 2, "simulator": "a/b", "seed": 2}
    assert planned[1].notebooks == ["00"]
    listed = plan(runs=[{"simulator": "a"}, {"n_cases": 9}])
    assert [run.name for run in listed] == ["s/simulator=a", "s/n_cases=9"]
    assert [run.varied["seed"] for run in sweeps.choose_runs(planned, "*b,seed=*")] == [1, 2]
    table = sweeps.save_sweep_table(
        "s", plan(runs=[{"simulator": "a"}, {"simulator": None}, {"n_cases": 9}]), ["t"]
    )
    assert table["simulator"].tolist()[:2] == ["a", "null"] and set(table["state"]) == {"new"}
    assert pd.read_parquet("outputs/s/sweep.parquet")["n_cases"].iloc[2] == 9
    with pytest.raises(InputError, match="fits none of the 4 runs"):
        sweeps.choose_runs(planned, "gpt")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"grid": {"simulator": []}}, "'simulator' has no values"),
        ({"runs": []}, "'runs' has no values"),
        ({"grid": {"models": ["a"]}}, "parameter 'models' does not exist"),
        ({"grid": {"seed": ["one"]}}, "parameter 'seed'"),
        ({"grid": {"simulator": ["a/b", "a b"]}}, "would both have the folder outputs/s/simulator=a_b"),
        ({"parameters": {"seed": 1}, "seeds": [1, 2]}, "'seed' is set in two places"),
        ({"parameters": {"run_name": "x"}}, "run_name is made of what varies"),
        ({"notebooks": ["09"]}, "notebook '09' does not exist"),
    ],
)
def test_a_sweep_that_cannot_be_carried_out_is_a_sentence_before_anything_runs(place, content, message):
    with pytest.raises(ValueError, match=message):
        plan(**content)
    assert not (place / "outputs").exists()


def test_a_wrong_file_is_a_sentence(tmp_path):
    texts = {
        "grids: {}": "field 'grids'",
        "a: [": "not YAML",
        "- 1": "expected lines",
        "seeds: [1]\nparameters: {seed: 1}": "s.yaml: 'seed' is set in two places",
    }
    for text, message in texts.items():
        (tmp_path / "s.yaml").write_text(text)
        with pytest.raises(InputError, match=message):
            sweeps.read_sweep(tmp_path / "s.yaml")
    with pytest.raises(StudyError, match="no such file"):
        sweeps.read_sweep(tmp_path / "t.yaml")


def start(place, *more):
    """The command in a process of its own, which Ctrl-C reaches wherever the tests were started."""
    command = [sys.executable, "-m", "realusersim_nb", "sweep", "s.yaml", *more]
    heed = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    return subprocess.Popen(
        command, cwd=place, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=heed
    )


@pytest.fixture
def run(capfd):
    """``run(*more)`` gives what the command writes to both streams, and its status."""

    def run(*more):
        status = main(["sweep", "s.yaml", *more])
        return *capfd.readouterr(), status

    return run


def test_failed_runs_stop_no_other_and_finished_ones_are_not_run_again(place, run, endpoint):
    mock = endpoint(lambda r: "yes")
    (place / "s.yaml").write_text("grid: {simulator: [m, bad]}\ntags: [pilot]")
    out, err, status = run()
    assert status == 1 and "1 failed" in out and "1 finished" in out
    table = pd.read_parquet(place / "outputs/s/sweep.parquet").set_index("simulator")
    assert table.loc["m", ["state", "calls", "tags"]].tolist() == ["finished", 3, "pilot"]
    assert "no such simulator" in table.loc["bad", "error"] and "no such simulator" in out + err
    kept = nbformat.read(place / "outputs/s/simulator=bad/00_tiny.ipynb", 4)
    assert any(output.output_type == "error" for cell in kept.cells for output in cell.get("outputs", []))
    n = len(mock.requests)
    run("--retry-failed")
    assert len(mock.requests) == n  # replies were kept
    (place / "outputs/s/simulator=m/manifest.json").write_text("{")  # half-written
    out, _, status = run("--only", "bad")
    assert "2 runs: " in out and "1 begun" in out and "1 failed" in out and status == 1
    assert "1 finished" in run()[0] and len(mock.requests) == n
    assert run("--only", "simulator=m")[2] == 0  # of these runs none has failed


def test_run_is_not_finished_without_all_it_has_made_nor_of_other_files(place, run, endpoint):
    endpoint(lambda r: "yes")
    named = {"corpus": "c.jsonl", "systems": {"other": "folder"}}
    (place / "folder").mkdir()
    for name in ("c.jsonl", "folder/t.jsonl"):
        (place / name).write_text("one")
    (place / "s.yaml").write_text(json.dumps({"parameters": named, "seeds": [1]}))
    run()
    [planned], folder = plan(parameters=named, seeds=[1]), place / "outputs/s/seed=1"
    written = (folder / "manifest.json").read_bytes()
    assert sweeps.execute_run(planned) == "finished" and (folder / "manifest.json").read_bytes() == written
    for name in ("c.jsonl", "folder/t.jsonl"):
        (place / name).write_text("two")
        assert sweeps.find_state(planned) == "begun", name
        (place / name).write_text("one")
    for lost in ("00_tiny", "00_tiny.ipynb", "00_tiny/summary_part.json", "summary.json"):
        assert sweeps.find_state(planned) == "finished"
        (folder / lost).rename(place / "away")
        assert sweeps.find_state(planned) == "begun", lost
        (place / "away").rename(folder / lost)


def test_defect_keeps_its_trace_and_what_a_user_can_mend_is_a_sentence(place, run, endpoint, capfd):
    endpoint(lambda r: "yes")
    (place / "s.yaml").write_text("grid: {simulator: [bad, misspelt]}")
    run()
    for simulator, is_defect in (("bad", True), ("misspelt", False)):
        folder = place / f"outputs/s/simulator={simulator}"
        assert json.loads((folder / "failed.json").read_text(encoding="utf-8"))["is_defect"] is is_defect
        assert ("Traceback" in (folder / "log.txt").read_text(encoding="utf-8")) is is_defect
        assert main(["run", "00", "-p", "simulator", simulator]) == 1
        printed = capfd.readouterr().err
        assert (
            ("Traceback" in printed) is is_defect
            and "Error: " in printed
            and "run the same command" in printed
        )


def test_dry_run_lists_the_runs_and_asks_nobody(place, run, endpoint):
    mock = endpoint(lambda r: "yes")
    (place / "s.yaml").write_text("grid: {simulator: [m, n]}")
    out, _, status = run("--dry-run")
    assert status == 0 and "s/simulator=m" in out and "total" in out and "calls" in out
    assert not mock.requests and not (place / "outputs").exists()


def test_a_key_that_is_missing_is_known_before_anything_runs(place, run, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setattr(estimate, "plan_calls", lambda notebook, p, before: [("turn", p["simulator"], 1)])
    (place / "s.yaml").write_text("grid: {simulator: [m, n]}")
    _, err, status = run()
    assert (
        status == 2
        and "'m' needs the environment variable OPENAI_API_KEY" in err
        and not (place / "outputs").exists()
    )


def find_workers(process):
    """Worker processes: children of the command's children that run no notebook."""
    workers = []
    for child in psutil.Process(process.pid).children():
        with suppress(psutil.Error):  # it has just ended
            if "spawn_main" in " ".join(child.cmdline()):
                workers.append(child)
    return workers


def test_a_sweep_on_four_processes_is_carried_through_when_workers_are_killed(place, endpoint):
    slow = threading.Event()
    mock = endpoint(lambda r: slow.wait(0.3) or "yes")
    (place / "s.yaml").write_text("grid: {n_cases: [4]}\nseeds: [1, 2, 3, 4, 5, 6]")
    process, killed = start(place, "--workers", "4"), 0
    reader = threading.Thread(target=process.stderr.read, daemon=True)
    reader.start()
    while killed < 3 and process.poll() is None:
        if len(mock.requests) > 4 * (killed + 1) and (workers := find_workers(process)):
            os.kill(workers[0].pid, signal.SIGKILL)
            killed += 1
        time.sleep(0.1)
    out = process.stdout.read()
    process.wait(timeout=300)
    assert killed == 3 and "6 runs: 6 finished" in out
    asked = [request["messages"][0]["content"] for request in mock.requests]
    assert set(asked) == {f"{seed} {i}" for seed in range(1, 7) for i in range(4)}
    assert len(asked) <= 24 + 3 * 2  # at most the calls in flight of the runs that were killed are paid again
    assert not list((place / "outputs/s").glob("*/failed.json"))


@pytest.mark.parametrize("workers", ["1", "2"])
def test_interrupted_sweep_says_how_to_go_on(place, run, endpoint, workers):
    mock = endpoint(lambda r: time.sleep(0.3) or "yes")
    (place / "s.yaml").write_text("grid: {n_cases: [6]}\nseeds: [1, 2, 3]")
    process = start(place, "--workers", workers)
    while not mock.requests:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert (
        process.returncode == 130 and "run the same command again to go on" in err and "Traceback" not in err
    )
    assert "3 finished" in run("--workers", "2")[0]


@pytest.fixture
def elsewhere(tmp_path_factory):
    """Another folder, and a Dask scheduler: ``elsewhere(worker=True)`` starts a worker there; gives the address."""
    folder, started = tmp_path_factory.mktemp("elsewhere"), []

    def start(what, *more):
        command = [sys.executable, "-m", f"distributed.cli.dask_{what}", "--no-dashboard", *more]
        started.append(subprocess.Popen(command, cwd=folder, stderr=subprocess.DEVNULL))

    start("scheduler", "--port", "0", "--host", "127.0.0.1", "--scheduler-file", str(folder / "file"))
    while not (folder / "file").exists():
        time.sleep(0.1)
    address = json.loads((folder / "file").read_text(encoding="utf-8"))["address"]
    yield folder, address, lambda: start("worker", address, "--nthreads", "1")
    for process in started[::-1]:
        process.terminate()
        process.wait()


def test_scheduler_that_is_not_there_or_sees_other_notebooks_is_a_sentence(place, run, elsewhere):
    (place / "s.yaml").write_text("seeds: [1]")
    _, err, status = run("--scheduler", "tcp://127.0.0.1:9")
    assert status == 2 and "nobody answers there" in err
    _, address, start_worker = elsewhere
    assert "has no workers" in run("--scheduler", address)[1]
    start_worker()
    while "has no workers" in (err := run("--scheduler", address)[1]):
        time.sleep(0.5)
    assert "the notebooks is missing" in err and "start it with the same installation" in err


def test_machines_without_a_shared_disk_share_an_address(
    place, run, elsewhere, endpoint, monkeypatch, tmp_path_factory
):
    """The worker has other outputs; what it has finished is here, and finished for a third machine too."""
    mock = endpoint(lambda r: "yes")
    folder, address, start_worker = elsewhere
    (folder / "notebooks").symlink_to(place / "notebooks")
    (place / "s.yaml").write_text("seeds: [1, 2]")
    monkeypatch.setenv(files.OUTPUTS_URL, f"file://{tmp_path_factory.mktemp('store')}/study")
    start_worker()
    while "has no workers" in (printed := run("--scheduler", address))[1]:
        time.sleep(0.5)
    assert "2 runs: 2 finished; 6 calls" in printed[0]
    assert (folder / "outputs/s/seed=1/manifest.json").exists() and (
        place / "outputs/s/seed=1/00_tiny.ipynb"
    ).exists()
    third = tmp_path_factory.mktemp("third")
    for name in ("notebooks", "s.yaml"):
        (third / name).symlink_to(place / name)
    monkeypatch.chdir(third)
    assert "2 finished" in run()[0] and len(mock.requests) == 6
    monkeypatch.setenv(files.OUTPUTS_URL, "nowhere://study")
    _, err, status = run("--only", "seed=1", "--retry-failed")
    assert status == 0, err  # finished here: nothing to fetch
    (third / "outputs/s/seed=1/manifest.json").unlink()
    _, err, status = run()
    assert status == 2 and "REALUSERSIM_OUTPUTS=nowhere://study: " in err and "check the address" in err


def test_results_come_as_they_end_and_failures_are_values():
    ended = dict(pair for some in run_here(divide, [1, 2, 0], workers=2) for pair in some)
    assert (ended[1], ended[2]) == (1.0, 0.5) and isinstance(ended[0], ZeroDivisionError)


def divide(number):
    return 1 / number


def test_failure_that_another_process_cannot_read_is_a_value_too():
    ended = dict(pair for some in run_here(miss_package, [1, 0], workers=2) for pair in some)
    assert ended[1] == 1 and "tau2 is not installed" in str(ended[0])


def miss_package(number):
    if not number:
        raise MissingExtraError("tau2", extra="agents")
    return number


EXAMPLES = sorted((Path(__file__).parents[2] / "notebooks" / "sweeps").glob("*.yaml"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example_fits_the_notebooks(path, monkeypatch):
    monkeypatch.chdir(path.parents[2])
    runs = sweeps.plan_runs(sweeps.read_sweep(path), path.stem)
    assert len(runs) > 2 and all(run.varied for run in runs)
