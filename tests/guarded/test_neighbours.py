"""Other processes and machines: who listens, who runs twice, who pays, what a kill and a damaged file do."""

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from conftest import with_models

from realusersim_nb import files
from realusersim_nb.errors import StudyError
from realusersim_nb.llm.cache import Cache
from realusersim_nb.llm.replies import CacheError, Reply
from realusersim_nb.parallel.processes import run_here
from realusersim_nb.runs import kernel, notebooks, summary
from realusersim_nb.text import hide_credentials

PACKAGE = Path(files.__file__).parent


def list_listening(pid: int) -> list[tuple[str, int]]:
    """Where a process and those below it listen."""
    addresses = set()
    for process in [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]:
        with suppress(psutil.NoSuchProcess):  # it has ended since
            connections = process.net_connections("inet")
            addresses |= {(c.laddr.ip, c.laddr.port) for c in connections if c.status == psutil.CONN_LISTEN}
    return sorted(addresses)


def test_9_workers_of_this_machine_listen_on_nothing():
    pid = os.getpid()
    before = {*list_listening(pid)}
    [[(_, inside)]] = [some for some in run_here(list_listening, [pid], workers=2, each=60) if some]
    assert not {tuple(each) for each in inside} - before
    code = "".join(path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py"))
    assert "LocalCluster" not in code and "0.0.0.0" not in code


HOLDER = """
import sys, time
from realusersim_nb import files
with files.hold_run(files.outputs_folder() / "r"):
    print("held", flush=True)
    time.sleep(100)
"""


def test_10_second_run_of_one_name_is_told_who_has_it_and_a_killed_owner_has_it_no_more(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    folder = files.outputs_folder() / "r"
    with subprocess.Popen([sys.executable, "-c", HOLDER], stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout.readline() == "held\n"
        with pytest.raises(files.RunTaken, match=f"process {owner.pid} on .* is at work there; wait"):
            notebooks.run_notebooks([], {}, run_name="r")
        owner.kill()
    with files.hold_run(folder):
        assert files.read_json(folder / "running.json")["pid"] == os.getpid()
    assert not (folder / "running.json").exists()
    files.write_json(folder / "running.json", {"pid": 1, "host": "elsewhere", "began": 1})
    with pytest.raises(files.RunTaken, match="process 1 on elsewhere"), files.hold_run(folder):
        pass


ASKER = """
import asyncio
from realusersim_nb.llm.models import Models

async def ask_all():
    async with Models(max_concurrency=8) as models:
        done = await models.run_all([models.ask("m", f"question {n}") for n in range(20)], "asking")
        print(len([d for d in done if d.result]), models.usage.live, models.usage.cached)

asyncio.run(ask_all())
"""


def test_11_processes_that_share_a_cache_pay_for_a_request_once(endpoint):
    mock = endpoint(lambda request: time.sleep(0.5) or "yes")
    askers = [
        subprocess.Popen([sys.executable, "-c", ASKER], stdout=subprocess.PIPE, text=True) for _ in "abc"
    ]
    counts = [tuple(map(int, asker.communicate(timeout=300)[0].split())) for asker in askers]
    assert len(mock.requests) == 20 and [done for done, _, _ in counts] == [20, 20, 20]
    assert sum(live for _, live, _ in counts) == 20 and sum(cached for _, _, cached in counts) == 40


def test_11_claim_of_a_process_that_was_killed_ends_and_a_failed_one_at_once(place, monkeypatch):
    one, other = Cache(place).claims, Cache(place).claims
    assert (one.take(["a", "b"]), other.take(["a", "c"])) == ([True, True], [False, True])
    one.end(["a"])
    assert other.take(["a", "b"]) == [True, False]
    monkeypatch.setattr(time, "time", lambda now=time.time: now() + 61)
    assert other.take(["b"]) == [True]

    async def fail(models):
        async with models.cache.claims.hold("x"):
            raise ValueError("unusable")

    with pytest.raises(ValueError, match="unusable"):
        with_models(fail, cache=place)
    assert other.take(["x"]) == [True]


def test_12_no_message_has_the_password_of_an_address(monkeypatch, tmp_path):
    secret = "s3cr/et@word"
    for address in (f"nowhere://me:{secret}@host/x", "nowhere://host/x?token=s3cr/et@word"):
        monkeypatch.setenv(files.OUTPUTS_URL, address)
        with pytest.raises(StudyError, match=r"REALUSERSIM_OUTPUTS=nowhere://") as failed:
            files.download(files.outputs_folder() / "r")
        assert secret not in str(failed.value) and failed.value.__cause__ is None
    with pytest.raises(CacheError) as failed:
        Cache("postgresql+psycopg://me@127.0.0.1:1/x?password=hunter22")
    assert "hunter22" not in str(failed.value)
    assert hide_credentials("s3://a:b%20c@h b c", "s3://a:b%20c@h") == "s3://***@h ***"


def test_12_nothing_is_read_from_a_name_that_others_can_foresee():
    code = {path: path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py")}
    assert not [path for path, text in code.items() if re.search(r"gettempdir|mktemp\(|['\"]/tmp", text)]


KERNEL = """
import os, sys, time
from realusersim_nb.runs.kernel import Kernel
running = Kernel()
print(running.provisioner.pid, running.life.lock_file, flush=True)
time.sleep(100)
"""
WATCHER = """
import sys, time
from realusersim_nb.runs import kernel
kernel.end_with_runner()
print("started", flush=True)
time.sleep(100)
"""


def test_14_kernel_ends_at_once_with_a_runner_that_was_killed():
    with subprocess.Popen([sys.executable, "-c", KERNEL], stdout=subprocess.PIPE, text=True) as runner:
        pid, lock = runner.stdout.readline().split()
        variables = os.environ | {kernel.LIFE: lock}
        watcher = subprocess.Popen([sys.executable, "-c", WATCHER], stdout=subprocess.PIPE, env=variables)
        watcher.stdout.readline()
        assert watcher.poll() is None and psutil.pid_exists(int(pid))
        runner.send_signal(signal.SIGKILL)
        assert watcher.wait(timeout=10) == 1
        watcher.stdout.close()


def test_14_altered_reply_is_seen_and_one_of_an_older_cache_is_used(tmp_path):
    cache = Cache(tmp_path / "r.sqlite")
    cache.put([Reply(key="a", model="m", text='{"D1": false}'), Reply(key="b", model="m", text="red")])
    with sqlite3.connect(tmp_path / "r.sqlite") as database:
        database.execute("""UPDATE replies SET text = '{"D1": true}' WHERE key = 'a'""")
        database.execute("DELETE FROM checks WHERE key = 'b'")
    assert [reply.text for reply in cache.get(["b"])] == ["red"]
    with pytest.raises(CacheError, match="reply a was altered in it; remove those of model 'm'"):
        cache.get(["a"])


def test_14_truncated_files_are_named_and_made_anew_or_asked_for(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "outputs/r"
    files.write_json(folder / "01_extract_profiles/summary_part.json", {"wall_seconds": 1, "calls": {}})
    for name in ("manifest.json", "summary.json", "01_extract_profiles/summary_part.json"):
        (folder / name).write_text('{"cut": ')
    assert summary.read_manifest(folder) is None  # so that the run counts as not complete
    with pytest.warns(UserWarning, match=r"summary_part\.json: cut off or damaged; remove it and run again"):
        assert summary.read_summary(folder)["findings"] == []  # made anew
    for name, read in {"a.ipynb": notebooks.read_executed, "a.parquet": files.read_table}.items():
        (folder / name).write_bytes(b'{"cells": [')
        with pytest.raises(files.DamagedFileError, match=f"{name}: cut off or damaged"):
            read(folder / name)


KILLED = """
import asyncio, sys
from realusersim_nb.llm.models import Models

async def ask_all():
    async with Models(max_concurrency=4) as models:
        done = await models.run_all([models.ask("m", f"question {n}") for n in range(24)], "asking")
        print("|".join(d.result for d in done))

asyncio.run(ask_all())
"""


def test_15_study_that_is_killed_again_and_again_ends_alike_and_pays_little_twice(endpoint):
    mock = endpoint(lambda request: time.sleep(0.1) or f"answer to {request['messages'][0]['content']}")
    for kills in range(3):
        process = subprocess.Popen([sys.executable, "-c", KILLED], stdout=subprocess.DEVNULL)
        wanted = len(mock.requests) + 5
        while len(mock.requests) < wanted and process.poll() is None:
            time.sleep(0.01)
        process.kill()
        process.wait()
        assert kills < 3
    done = subprocess.run([sys.executable, "-c", KILLED], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "|".join(f"answer to question {n}" for n in range(24))
    assert len(mock.requests) <= 24 + 3 * 5


def test_15_damaged_cache_and_folder_that_cannot_be_written_are_sentences(tmp_path):
    (tmp_path / "bad.sqlite").write_bytes(b"not a database" * 100)
    with pytest.raises(CacheError, match="not a database"):
        Cache(tmp_path / "bad.sqlite")
    (tmp_path / "file").write_text("")
    with pytest.raises(CacheError, match="reply cache"):
        Cache(tmp_path / "file" / "r.sqlite")
    whole = tmp_path / "whole.json"
    files.write_json(whole, {"a": 1})
    with pytest.raises(OSError, match="full"), files.replace_whole(whole) as temporary:
        temporary.write_text("half")
        raise OSError(28, "disk full")
    assert json.loads(whole.read_text()) == {"a": 1} and [p.name for p in tmp_path.glob(".*")] == []


POOL = """
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from realusersim_nb.parallel.processes import watch_parent
if __name__ == "__main__":
    with ProcessPoolExecutor(2, get_context("spawn"), watch_parent) as pool:
        list(pool.map(time.sleep, [0, 0]))
        print("at work", flush=True)
        list(pool.map(time.sleep, [100, 100]))
"""


def test_14_workers_of_a_pool_end_with_the_process_that_was_killed(tmp_path):
    (tmp_path / "pool.py").write_text(POOL, encoding="utf-8")
    with subprocess.Popen([sys.executable, "pool.py"], cwd=tmp_path, stdout=subprocess.PIPE) as owner:
        assert owner.stdout.readline() == b"at work\n"
        workers = psutil.Process(owner.pid).children(recursive=True)
        owner.kill()
    assert len(workers) >= 2 and psutil.wait_procs(workers, timeout=30)[1] == []
