"""How long agent runs take beside tau2-bench's runner, on one endpoint that answers after 100 ms.

All 114 retail tasks, three times, 32 at once: here three arms of tau2's user with a persona, there three
trials of that user; the same kind of agent, which calls a tool in every other step.
`python benchmarks/bench_agents.py`
"""

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from endpoint import start_endpoint

LATENCY, CONCURRENCY, REPEATS = 0.1, 32, 3


async def run_ours() -> tuple[float, int]:
    """Seconds and runs of this package."""
    from realusersim_nb.agents.environment import load_tasks
    from realusersim_nb.agents.runner import run_arms
    from realusersim_nb.llm.models import Models
    from realusersim_nb.records import Profile
    from realusersim_nb.simulators.users import Simulator

    tasks = load_tasks("retail")
    profiles = [Profile(user_id=str(i), background=f"Person {i}.") for i in range(300)]
    arms, settings = ["task_only", "profile", "shuffled_profile"], {"agent_format": "function_calling"}
    started = time.perf_counter()
    async with Models(max_concurrency=CONCURRENCY) as models:
        user = Simulator(models, "m", "roles")
        runs = await run_arms(user, "retail", tasks, arms, profiles, agent="m", **settings)
    assert all(run.ended_by == "user_stop" for run in runs), {run.error or run.ended_by for run in runs}
    return time.perf_counter() - started, len(runs)


def run_tau2() -> tuple[float, int]:
    """Seconds and runs of tau2's runner."""
    from tau2.registry import registry
    from tau2.run import run_tasks

    tasks = registry.get_tasks_loader("retail")("base")
    llm = {"api_base": os.environ["OPENAI_BASE_URL"], "api_key": "any"}
    sides = {"llm_agent": "openai/m", "llm_args_agent": llm, "llm_user": "openai/m", "llm_args_user": llm}
    options = {"num_trials": REPEATS, "max_concurrency": CONCURRENCY}
    quiet = {"console_display": False, "log_level": "ERROR"}
    started = time.perf_counter()
    results = run_tasks("retail", tasks, "llm_agent", "user_simulator", **sides, **options, **quiet)
    assert all(run.termination_reason.value == "user_stop" for run in results.simulations)
    return time.perf_counter() - started, len(results.simulations)


def measure(side: str, folder: str) -> float:
    """Seconds of one side in a separate process."""
    environment = {**os.environ, "REALUSERSIM_CACHE": str(Path(folder) / "replies.sqlite")}
    command, pipes = (
        [sys.executable, __file__, side],
        {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL},
    )
    done = subprocess.run(command, env=environment, text=True, check=True, **pipes)
    seconds, n = done.stdout.split()[-2:]
    assert int(n) == 114 * REPEATS, n
    return float(seconds)


def main() -> None:
    """Print both and their ratio."""
    with start_endpoint(latency=LATENCY) as url, tempfile.TemporaryDirectory() as folder:
        os.environ |= {"OPENAI_BASE_URL": url, "OPENAI_API_KEY": "any", "REALUSERSIM_HEADLESS": "1"}
        ours, theirs = measure("ours", folder), measure("tau2", folder)
    runs, ratio = f"{114 * REPEATS} agent runs, {CONCURRENCY} at once", ours / theirs
    print(f"{runs}, calls of {LATENCY * 1000:.0f} ms: {ours:.0f} s, tau2's runner {theirs:.0f} s")
    print(f"  time / tau2's runner          {ratio:5.2f}   <= 1.0  {'holds' if ratio <= 1 else 'FAILS'}")


if __name__ == "__main__":
    if len(sys.argv) == 1:
        main()
    else:
        print(*(asyncio.run(run_ours()) if sys.argv[1] == "ours" else run_tau2()))
