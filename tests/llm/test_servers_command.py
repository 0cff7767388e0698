"""The same servers behind the command: what people see, what is kept, and that it then completes."""

import json
import os
import re
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import nbformat
import pandas as pd
import pytest
import servers
import yaml
from conftest import MockEndpoint
from nbformat.v4 import new_code_cell, new_notebook
from servers import CASES, KEY, STOPPED, STRICT

from realusersim_nb.llm import endpoints
from realusersim_nb.llm.cache import Cache

ROOT = Path(__file__).parents[2]
KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3"}, "language_info": {"name": "python"}}
PARAMETERS = 'run_name = "run"\ncases = []\nstops = []\nlast = None'
START = """
import pandas as pd
import servers
from realusersim_nb.runs import start_notebook

run = start_notebook(run_name, "07_ask")
models, rows = run.open_models(), []

async def ask(name):
    shown = []
    outcomes = await servers.ask_case(models, name, servers.CASES[name], shown)
    rows.append({"case": name, "outcomes": outcomes, "shown": shown})
"""
ASK = "for name in cases:\n    await ask(name)"
STOP = "if stops:\n    await ask(stops.pop(0))"
END = """
run.save_table(pd.DataFrame(rows), "asked")
if last:
    await ask(last)
run.finish(models)
"""
FINISHED = [name for name in CASES if name not in STOPPED]
RETRIES = {"for five seconds": 8, "first three calls, then good": 3}


class Servers:
    """The servers of all cases at one address, each a model of its own; ``bad`` are those not mended."""

    def __init__(self):
        self.bad, self.n, self.n_bad = {*CASES}, Counter(), Counter()
        self.started: dict[str, float] = {}
        self.mock = MockEndpoint(self.reply)

    def reply(self, request: dict) -> object:
        name, now = request["model"], time.monotonic()
        self.n[name] += 1
        seconds = (now - self.started.setdefault(name, now)) / 10
        if name in self.bad and servers.is_answered_badly(CASES[name], request, self.n[name], seconds):
            self.n_bad[name] += 1
            return servers.answer(CASES[name], request, self.n[name], seconds)
        return self.answer_well(request)

    def answer_well(self, request: dict) -> object:
        return servers.answer(None, request, 0, 0)


@pytest.fixture
def place(tmp_path):
    """A project folder with one small notebook that makes the calls of cases, and the servers of all of them.

    The cells between its first and its last go on after an error, as in JupyterLab.
    """
    all_servers = Servers()
    middle = [new_code_cell(STOP, metadata={"tags": ["raises-exception"]}) for _ in STOPPED]
    first = [new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]}), *map(new_code_cell, (START, ASK))]
    cells = [*first, *middle, new_code_cell(END)]
    (tmp_path / "notebooks").mkdir()
    nbformat.write(new_notebook(cells=cells, metadata=KERNEL), tmp_path / "notebooks" / "07_ask.ipynb")
    entries = {
        name: {
            "base_url": all_servers.mock.url,
            "max_retries": RETRIES.get(case["when"], 1),
            "api_key_env": "SHORT_KEY" if "common word" in name else "OPENAI_API_KEY",
        }
        for name, case in CASES.items()
    }
    (tmp_path / "endpoints.yaml").write_text(yaml.safe_dump(entries, allow_unicode=True), encoding="utf-8")
    yield tmp_path, all_servers
    all_servers.mock.server.shutdown()


def call(folder: Path, *arguments: str, **parameters: object) -> subprocess.CompletedProcess:
    """The command, as people type it."""
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests"), str(ROOT / "benchmarks")])
    environment = {**os.environ, "OPENAI_API_KEY": KEY, "SHORT_KEY": "test", "PYTHONPATH": paths}
    environment.pop("REALUSERSIM_CACHE", None)
    words = [word for name, value in parameters.items() for word in ("-p", name, json.dumps(value))]
    command = [sys.executable, "-m", "realusersim_nb", *arguments, *words]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def read_rows(folder: Path) -> dict[str, tuple[list[str], list[str]]]:
    """What the notebook saved of each case: its outcomes, and what was seen of streams."""
    table = pd.read_parquet(folder / "outputs" / "run" / "07_ask" / "asked.parquet")
    return {row.case: ([*row.outcomes], [*row.shown]) for row in table.itertuples()}


def read_errors(folder: Path) -> list[str]:
    """What the executed notebook shows of each cell that ended with an error."""
    notebook = nbformat.read(folder / "outputs" / "run" / "07_ask.ipynb", as_version=4)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return ["\n".join(output.traceback) for output in outputs if output.output_type == "error"]


def find_key(folder: Path) -> list[str]:
    """The files under outputs/ that hold the key, however it is written."""
    spelt = [text.encode() for text in (KEY, KEY.replace("/", "\\/"), KEY.replace("/", "%2F"))]
    files = [path for path in (folder / "outputs").rglob("*") if path.is_file()]
    return [path.name for path in files if any(text in path.read_bytes() for text in spelt)]


def test_run_ends_as_it_should_with_every_server_and_completes_once_they_are_mended(place):
    folder, all_servers = place
    *stops, last = [name for name in STOPPED if "key" not in name] + [n for n in STOPPED if "key" in n]
    done = call(folder, "run", "07", cases=FINISHED, stops=stops, last=last)
    assert "notebook stopped: " in done.stderr and re.search(STOPPED[last], done.stderr), done.stderr
    asked = read_rows(folder)
    unexpected = {name: servers.list_unexpected(CASES[name], *asked[name]) for name in FINISHED}
    assert {name: wrong for name, wrong in unexpected.items() if wrong} == {}
    for name, shown in zip([*stops, last], read_errors(folder), strict=True):
        assert re.search(STOPPED[name], shown) and "Traceback" not in shown, name
    assert done.returncode == 1 and re.search(f"notebook stopped: .*{STOPPED[last]}", done.stderr)
    assert "run the same command again" in done.stderr
    assert not (folder / "outputs" / "run" / "manifest.json").exists()
    assert KEY not in done.stdout + done.stderr and find_key(folder) == []
    for name in STRICT:  # said once
        assert done.stderr.count(f"model {name!r}: requests are sent as with") == 1, name
    all_servers.bad.clear()
    done = call(folder, "run", "07", cases=FINISHED, stops=stops, last=last)
    assert done.returncode == 0 and read_errors(folder) == [], done.stderr[-3000:]
    unhealed = {
        name: servers.list_unhealed(CASES[name], asked[0]) for name, asked in read_rows(folder).items()
    }
    assert {name: wrong for name, wrong in unhealed.items() if wrong} == {}
    assert {*unhealed} == {*CASES} - {last} and (folder / "outputs" / "run" / "manifest.json").exists()
    kept = {}
    for reply in Cache(folder / "outputs" / "replies.sqlite").replies():
        kept.setdefault(reply.model, []).append(reply)
    assert {*kept} == {*CASES}
    tokens = {(reply.prompt_tokens, reply.completion_tokens) for reply in kept["tokens as text"]}
    assert tokens == {(10, 5)} and all(r.prompt_tokens > 0 for r in kept["usage is negative"])


def test_check_says_what_each_strict_server_refuses_and_a_run_then_meets_no_refusal(place):
    folder, all_servers = place
    all_servers.answer_well = servers.reply
    done = call(folder, "check", *STRICT, "--write")
    assert done.returncode == 0, done.stdout
    known = endpoints.read_endpoints(folder / "endpoints.yaml")
    written = {name: {n: getattr(known[name], n) for n in needed} for name, needed in STRICT.items()}
    assert written == STRICT and done.stdout.count("A study can run.") == len(STRICT)
    all_servers.n_bad.clear()
    done = call(folder, "run", "07", cases=[*STRICT])
    assert done.returncode == 0 and not all_servers.n_bad, done.stderr[-3000:]
    outcomes = {outcome for asked, _ in read_rows(folder).values() for outcome in asked}
    assert all(outcome == "a house of cloth" or outcome.startswith("answer='Text ") for outcome in outcomes)
