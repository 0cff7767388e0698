"""Harnesses of others with served users: their programs, a mock model, and what comes out; skipped where absent."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import MockEndpoint
from served import PROFILES, start_server

from realusersim_nb.corpus import read_transcripts
from realusersim_nb.files import write_lines

ROOT = Path(__file__).parents[2]
TAU2 = Path(sys.executable).with_name("tau2")
INSPECT = shutil.which("inspect")


def write(request):
    """A user who asks once and then stops, and an agent who does it and says so."""
    texts = str(request["messages"])
    if request["model"] == "big":
        asked = any(m["role"] == "assistant" for m in request["messages"])
        return "thx bye ###STOP###" if asked else "need a task 'Important Meeting' for user_1"
    if (
        not request.get("tools")
        or "Important Meeting'" not in texts
        or request["messages"][-1]["role"] == "tool"
    ):
        return "Done."
    arguments = {"user_id": "user_1", "title": "Important Meeting"}
    function = {"name": "create_task", "arguments": json.dumps(arguments)}
    return {
        "message": {"content": None, "tool_calls": [{"id": "1", "type": "function", "function": function}]}
    }


@pytest.fixture
def served(tmp_path):
    """A mock of both models, the address of the users, and what ends the server and reads its transcripts."""
    upstream = MockEndpoint(write)
    write_lines(tmp_path / "profiles.jsonl", PROFILES)
    process, address = start_server(tmp_path, upstream.url)

    def read():
        process.terminate()
        process.wait(timeout=20)
        return read_transcripts(str(tmp_path / "served.jsonl"))

    yield upstream, address, read
    process.kill()
    process.wait()


def run(folder, command, **environment):
    """Run a program in a folder; it must end well, and goes to no proxy and fetches no prices."""
    environment |= {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "NO_PROXY": "127.0.0.1", "SERVED_API_KEY": "any"}
    done = subprocess.run(
        list(map(str, command)),
        cwd=folder,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


@pytest.mark.skipif(not TAU2.exists(), reason="tau2-bench is not installed (the extra agents)")
def test_tau2_s_program_runs_its_user_simulator_on_served_users(served, tmp_path):
    upstream, address, read = served
    command = [TAU2, "run", "--domain", "mock", "--task-ids", "create_task_1", "--num-trials", 2]
    command += ["--agent-llm", "openai/agent", "--agent-llm-args", json.dumps({"api_base": upstream.url})]
    command += [
        "--user-llm",
        "openai/user:draw",
        "--user-llm-args",
        json.dumps({"api_base": address, "api_key": "any"}),
    ]
    command += ["--results-dir", tmp_path, "--save-to", "results"]
    run(tmp_path, command)
    results = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))["simulations"]
    assert [simulation["reward_info"]["reward"] for simulation in results] == [1.0, 1.0]
    assert {simulation["termination_reason"] for simulation in results} == {"user_stop"}
    assert [t.user_messages for t in read()] == [
        ["need a task 'Important Meeting' for user_1", "thx bye"]
    ] * 2
    prompts = [r["messages"][0]["content"] for r in upstream.requests if r["model"] == "big"]
    assert all("<scenario>" in prompt and "Begin as u" in prompt for prompt in prompts)


@pytest.mark.skipif(not INSPECT, reason="the program inspect (of inspect_ai) is not on the path")
def test_inspect_runs_the_example_of_the_docs_on_served_users(served, tmp_path):
    upstream, address, read = served
    page = (ROOT / "docs" / "with_other_tools.md").read_text(encoding="utf-8")
    (tmp_path / "talk.py").write_text(
        re.search(r"```python\n(# talk\.py.*?)```", page, re.DOTALL)[1], encoding="utf-8"
    )
    urls = {"SERVED_BASE_URL": address, "AGENT_BASE_URL": upstream.url, "AGENT_API_KEY": "any"}
    roles = ["--model", "openai-api/agent/agent", "--model-role", "user=openai-api/served/user:draw"]
    run(tmp_path, [INSPECT, "eval", "talk.py", *roles, "--log-dir", tmp_path, "--display", "none"], **urls)
    [talk] = read()
    assert talk.user_messages == ["need a task 'Important Meeting' for user_1", "thx bye"]
    assert [m.content for m in talk.messages if m.role == "assistant"] == ["Done."]
