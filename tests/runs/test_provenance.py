"""Where figures come from: what a run cost over all its starts, and what made each headline."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import nbformat
import pandas as pd
import psutil
import pytest

from realusersim_nb import files
from realusersim_nb.llm import Models
from realusersim_nb.llm.endpoints import Endpoint
from realusersim_nb.llm.requests import count_most_tokens
from realusersim_nb.llm.usage import BudgetReached, format_cost, sum_calls
from realusersim_nb.records import Profile
from realusersim_nb.runs import folders, summary

KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3"}, "language_info": {"name": "python"}}
PARAMETERS = 'run_name = "run"\nseed = 1\nn = 3\nbudget_usd = None'
CODE = """
from realusersim_nb.runs import start_notebook
run = start_notebook(run_name, "NAME")
models = run.open_models(budget_usd=budget_usd, max_concurrency=3)
replies = await models.run_all([models.ask("priced", f"NAME {i}") for i in range(n)], "asking")
run.finish(models, NAME={"replies": len(replies)})
"""
PRICED = "priced: {input_price: 2000, output_price: 0}"  # 10 tokens of the mock: 2 cents a call


@pytest.fixture
def study(tmp_path, monkeypatch):
    """A project of two small notebooks, in which the test goes on."""
    (tmp_path / "notebooks").mkdir()
    for name in ("00_one", "01_two"):
        code = CODE.replace("NAME=", "x" + name[:2] + "=").replace("NAME", name)
        cells = [nbformat.v4.new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]})]
        notebook = nbformat.v4.new_notebook(cells=[*cells, nbformat.v4.new_code_cell(code)], metadata=KERNEL)
        nbformat.write(notebook, tmp_path / "notebooks" / f"{name}.ipynb")
    (tmp_path / "endpoints.yaml").write_text(PRICED, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def start_run(*arguments: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "realusersim_nb", "run", *arguments]
    output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(command, env=os.environ | {"PYTHONUTF8": "1"}, **output)


def read_json(path: str) -> dict:
    return json.loads(Path(path).read_text(encoding="utf-8"))


def kill_tree(process: subprocess.Popen) -> None:
    """Kill a process and all that it started, at once."""
    for one in [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]:
        os.kill(one.pid, signal.SIGKILL)
    process.wait()


def test_cost_of_all_starts_is_what_the_endpoint_saw_and_every_headline_is_traced(study, endpoint):
    """Killed in both notebooks, then run to the end."""
    mock = endpoint(lambda request: time.sleep(0.05) or "red")
    for kill_at in (8, 26):
        process = start_run("-p", "n", "20")
        while len(mock.requests) < kill_at and process.poll() is None:
            time.sleep(0.005)
        kill_tree(process)
    process = start_run("-p", "n", "20")
    assert "calls paid in all starts" in process.communicate()[0] and process.returncode == 0
    result = read_json("outputs/run/summary.json")
    paid, seen = result["calls"]["live"], len(mock.requests)
    assert paid <= seen <= paid + 2 * 3 and seen >= 40  # three calls in flight at each kill
    assert result["calls"]["cost_usd"] == pytest.approx(0.02 * paid)
    manifest = read_json("outputs/run/manifest.json")
    assert manifest["cost_usd"] == result["calls"]["cost_usd"] and manifest["calls"] == result["calls"]
    assert manifest["given"] == {"n": 20} and set(manifest["parameters"]) == {"00_one", "01_two"}

    assert result["made_by"] == {"x00": "00_one", "x01": "01_two"}
    for notebook in result["made_by"].values():
        origin, folder = read_json(f"outputs/run/{notebook}/provenance.json"), Path("outputs/run") / notebook
        parameters = {"run_name": "run", "seed": 1, "n": 20, "budget_usd": None}
        assert origin["parameters"] == parameters == manifest["parameters"][notebook]
        assert origin["code"] == files.digest_code() and "user_turn.md" in origin["prompts"]
        replies = pd.read_parquet(folder / "replies.parquet")
        calls = pd.read_json(folder / "calls.jsonl", lines=True)
        assert len(replies) == 20 and set(replies["key"]) <= set(calls["key"])
        assert origin["last_start"]["live"] <= origin["calls"]["live"] == len(calls)
        assert all(Models().cache.get(list(replies["key"])))
    assert Counter(c["messages"][0]["content"] for c in mock.requests).keys() == {
        f"{name} {i}" for name in ("00_one", "01_two") for i in range(20)
    }


def test_budget_is_that_of_all_starts_and_all_notebooks(tmp_path, endpoint, monkeypatch):
    """A dollar pays for 50 calls of two cents in all, however often and where the run is begun anew."""
    mock = endpoint(lambda request: "red")
    (tmp_path / "endpoints.yaml").write_text(PRICED, encoding="utf-8")
    monkeypatch.chdir(tmp_path)

    async def ask_many(notebook: str) -> None:
        async with folders.Run("r", notebook).open_models(budget_usd=1.0) as models:
            asked = [models.ask("priced", f"{notebook} {i}") for i in range(60)]
            await models.run_all(asked, "asking")

    for notebook in ("00_x", "00_x", "01_y", "00_x"):
        with pytest.raises(BudgetReached, match="are spent in this run"):
            asyncio.run(ask_many(notebook))
    assert 40 < len(mock.requests) <= 50


def test_no_text_has_more_tokens_than_the_budget_expects():
    """One byte a token is the most that tokenizers over bytes make."""
    messages = [{"role": "user", "content": "订" * 260}]
    assert count_most_tokens({"messages": messages}) >= 780


def test_unknown_price_is_said_and_never_counted_as_nothing(tmp_path, endpoint, monkeypatch):
    endpoint(lambda request: "red")
    monkeypatch.chdir(tmp_path)
    run = folders.Run("r", "00_x")

    async def ask_once() -> Models:
        async with run.open_models() as models:
            await models.ask("nobody-knows-me", "which?")
            return models

    models = asyncio.run(ask_once())
    run.finish(models)
    assert "cost unknown" in str(models.usage) and format_cost(None) == "cost unknown"
    assert (format_cost(0.0), format_cost(0.0012), format_cost(12.5)) == ("$0.00", "$0.0012", "$12.50")
    assert read_json("outputs/r/summary.json")["calls"]["cost_usd"] is None
    assert Endpoint(model="nobody-knows-me").find_cost(10, 5) is None
    assert summary.read_usage(run.run_folder)["calls"] == 1


def test_calls_noted_before_a_kill_count_and_half_a_line_does_not(tmp_path):
    file = tmp_path / "calls.jsonl"
    line = '{"prompt_tokens": 10, "completion_tokens": 5, "cost_usd": 0.02}'
    file.write_text(f"{line}\n{line}\n{line[:30]}", encoding="utf-8")
    usage = sum_calls(file, tmp_path / "none.jsonl")
    assert (usage.live, usage.prompt_tokens, usage.cost_usd) == (2, 20, pytest.approx(0.04))


def test_notebooks_of_two_corpora_never_stand_in_one_summary(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    a, b = ({"name": name, "conversations": 1, "users": 1, "digest": name} for name in ("a", "b"))
    table = pd.DataFrame({"system": ["x"], "js": [0.1]})
    for notebook, corpus in (("03_x", a), ("05_y", a), ("03_x", b)):
        run = folders.Run("r", notebook)
        run.save_table(table, "gap")
        run.finish(corpus=corpus, **{f"of_{notebook}": corpus["name"]})
    result = read_json("outputs/r/summary.json")
    assert result["corpus"]["name"] == "b" and result["of_03_x"] == "b" and "of_05_y" not in result
    assert result["left_out"] == {"05_y": "a"}
    assert (
        len(summary.collect_table("05_y/gap", ["js"])) == 0 < len(summary.collect_table("03_x/gap", ["js"]))
    )


def test_records_of_other_code_or_prompts_are_not_taken(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = folders.Run("r", "01_x")
    run.save_records("profiles", [Profile(user_id="u")], made_from={"seed": 1})
    assert run.read_records("01_x/profiles.jsonl", Profile, made_from={"seed": 1})
    monkeypatch.setattr(files, "digest_code", lambda: "other")
    assert run.read_records("01_x/profiles.jsonl", Profile, made_from={"seed": 1}) is None
