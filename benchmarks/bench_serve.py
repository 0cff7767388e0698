"""64 conversations at once with served users, beside the ideal: `python benchmarks/bench_serve.py`

Each has TURNS turns of an agent, who takes 100 ms, and of a user, whose model takes 100 ms. Server, upstream and
callers are processes of their own; rounds without the server (the callers on the upstream itself) say what they take.
"""

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import aiohttp
import psutil
from endpoint import start_endpoint

CONVERSATIONS, TURNS, LATENCY, ROUNDS = 64, 10, 0.1, 3


async def talk(session: aiohttp.ClientSession, address: str, number: int) -> None:
    """One conversation: the agent greets and goes on asking."""
    messages = [{"role": "system", "content": f"You want to cancel order {number}."}]
    for turn in range(TURNS):
        messages.append({"role": "user", "content": f"What now? ({turn})"})
        await asyncio.sleep(LATENCY)  # the agent's
        body = {"model": "user:draw", "messages": messages}
        async with session.post(f"{address}/chat/completions", json=body) as answer:
            [choice] = (await answer.json())["choices"]
        messages.append({"role": "assistant", "content": choice["message"]["content"]})


async def talk_all(address: str, first: int) -> float:
    """Seconds of all conversations."""
    async with aiohttp.ClientSession() as session:
        started = time.perf_counter()
        await asyncio.gather(*(talk(session, address, first + n) for n in range(CONVERSATIONS)))
        return time.perf_counter() - started


def measure(address: str, first: int) -> float:
    """The same in a process of its own."""
    command = [sys.executable, __file__, address, str(first)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def write_profiles(path: Path) -> None:
    """200 profiles of three commands."""
    from realusersim_nb.files import write_lines
    from realusersim_nb.records import Command, Profile

    rules = [
        Command(dimension="formality", command=f"Write in manner {n}.", examples=["ok"]) for n in range(3)
    ]
    write_lines(path, (Profile(user_id=f"u{n}", commands=rules) for n in range(200)))


def main() -> None:
    """Print the seconds of each round, and the median over the ideal."""
    ideal, taken = 2 * TURNS * LATENCY, {"served": [], "upstream alone": []}
    with start_endpoint(latency=LATENCY) as url, tempfile.TemporaryDirectory() as folder:
        write_profiles(Path(folder) / "profiles.jsonl")
        os.environ |= {"OPENAI_BASE_URL": url, "OPENAI_API_KEY": "any"}
        os.environ["REALUSERSIM_CACHE"] = str(Path(folder) / "replies.sqlite")
        command = [sys.executable, "-m", "realusersim_nb", "serve", "--port", "0", "--model", "m"]
        command += ["--profiles", f"{folder}/profiles.jsonl", "--out", f"{folder}/served.jsonl"]
        environment = os.environ | {"PYTHONUNBUFFERED": "1"}
        server = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        try:
            address = server.stdout.readline().split("served at ")[1].split(" (")[0]
            before = psutil.Process(server.pid).cpu_times()
            for number in range(ROUNDS):
                taken["served"].append(measure(address, number * CONVERSATIONS))
                taken["upstream alone"].append(measure(url, -CONVERSATIONS * (number + 1)))
            used = psutil.Process(server.pid).cpu_times()
        finally:
            server.terminate()
            server.wait()
    for name, seconds in taken.items():
        rounds = ", ".join(f"{s:.2f}" for s in seconds)
        print(f"{name:<15} {rounds} s; median / ideal {ideal:.1f} s = {median(seconds) / ideal:.2f}")
    spent = used.user + used.system - before.user - before.system
    print(f"the server's processor: {1000 * spent / (ROUNDS * CONVERSATIONS * TURNS):.2f} ms a call")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(asyncio.run(talk_all(sys.argv[1], int(sys.argv[2]))))
    else:
        main()
