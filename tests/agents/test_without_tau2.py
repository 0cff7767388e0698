"""Without the extra ``agents`` all but agent runs works, and those name the command that brings it."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HIDE = """
import sys

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("tau2", "litellm", "deepdiff"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Hidden())
"""


def run_hidden(code, folder):
    """Standard output and error of code in a process that has no tau2-bench."""
    command = [sys.executable, "-c", HIDE + code]
    environment = {"PATH": "", "HOME": str(folder)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    return done.stdout, done.stderr


def test_tables_of_runs_widgets_and_the_command_line_need_no_tau2(tmp_path):
    out, err = run_hidden(
        """
import importlib
for room in "agents corpus gap llm parallel plots profiles prompts pt3 runs simulators widgets".split():
    importlib.import_module(f"realusersim_nb.{room}")
from realusersim_nb.__main__ import main
from realusersim_nb.agents import failures, measure_traits, user_errors
from realusersim_nb.records import AgentRun
run = AgentRun(task_id="t", trial=0, arm="oracle", agent="oracle", success=True)
print(measure_traits(["now!"])["angry"].tolist(), failures.find_mechanisms(run, None), main(["--help"]))
print([name for name in sys.modules if name.split(".")[0] in ("tau2", "litellm", "deepdiff")])
""",
        tmp_path,
    )
    assert "[1.0] [] 0\n[]\n" in out, err


@pytest.mark.parametrize("module", ["environment", "participants", "runner"])
def test_modules_that_need_tau2_name_the_command_that_installs_it(module, tmp_path):
    _, err = run_hidden(f"from realusersim_nb.agents import {module}", tmp_path)
    assert "MissingExtraError: tau2-bench is not installed: run `pip install 'realusersim_nb[agents]'`" in err


def test_a_dry_run_of_agents_ends_with_that_sentence(tmp_path):
    code = "from realusersim_nb.__main__ import main\nprint(main(['run', '04', '--dry-run']))"
    out, err = run_hidden(code, tmp_path)
    assert out == "2\n" and "realusersim_nb[agents]" in err and "Traceback" not in err
