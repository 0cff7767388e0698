"""What the package costs per call, against the ideal and against the bare OpenAI client.

Every measurement is a process of its own, against an endpoint of fixed latency in another one.
Peers run side by side, in turn, so that a noisy machine is noisy for both; the median counts.
"""

import asyncio
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import tracemalloc
from pathlib import Path

from endpoint import start_endpoint

CALLS, LATENCY, ROUNDS = 5000, 0.1, 3


async def call_with_package(concurrency: int) -> float:
    """All calls through ``Models.run_all``, cache writes included."""
    from pydantic import BaseModel

    from realusersim_nb.llm.models import Models

    class Answer(BaseModel):
        number: int

    started = time.perf_counter()
    async with Models(max_concurrency=concurrency) as models:
        await models.run_all((models.ask_json("m", f"question {i}", Answer) for i in range(CALLS)), "calls")
        assert models.usage.live + models.usage.cached == CALLS and models.usage.failed == 0, models.usage
    return time.perf_counter() - started


async def call_with_client(concurrency: int) -> float:
    """All calls by the OpenAI client alone: as many workers as calls in flight, nothing kept."""
    from openai import AsyncOpenAI, DefaultAioHttpClient

    started = time.perf_counter()
    async with AsyncOpenAI(http_client=DefaultAioHttpClient()) as client:
        numbers = iter(range(CALLS))

        async def work() -> None:
            for i in numbers:
                message = {"role": "user", "content": f"question {i}"}
                completion = await client.chat.completions.create(model="m", messages=[message])
                assert completion.choices[0].message.content

        await asyncio.gather(*(work() for _ in range(concurrency)))
    return time.perf_counter() - started


def measure(who: str, concurrency: int, cache: Path, *, traced: bool = False) -> tuple[float, float]:
    """Seconds and peak memory (KB: resident, or of Python objects if traced) of one process that makes all calls."""
    environment = {**os.environ, "REALUSERSIM_CACHE": str(cache)}
    command = [sys.executable, __file__, who, str(concurrency), *["traced"] * traced]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    seconds, kilobytes = map(float, done.stdout.split())
    return seconds, kilobytes


def main() -> None:
    """Print the ratios."""
    with start_endpoint(latency=LATENCY) as url, tempfile.TemporaryDirectory() as folder:
        os.environ |= {"OPENAI_BASE_URL": url, "OPENAI_API_KEY": "any", "REALUSERSIM_OWNER": "bench"}
        found = {(who, n): [] for n in (32, 64, 256) for who in ("package", "client")}
        rerun = []
        for number in range(ROUNDS):
            for who, n in found:
                cache = Path(folder) / f"{number}-{n}.sqlite"
                found[who, n].append(measure(who, n, cache))
                if (who, n) == ("package", 64):
                    rerun.append(measure(who, n, cache))
        peaks = {
            key: measure(*key, Path(folder) / f"{key[1]}.sqlite", traced=True)[1]
            for key in found
            if key[1] != 64
        }
    seconds = {key: statistics.median(s for s, _ in runs) for key, runs in found.items()}
    memory = {key: statistics.median(m for _, m in runs) for key, runs in found.items()}
    ideal = CALLS / 64 * LATENCY
    per_call = (memory["package", 256] - memory["package", 32]) / (256 - 32)
    peer = (memory["client", 256] - memory["client", 32]) / (256 - 32)
    print(f"{CALLS:,} calls of {LATENCY * 1000:.0f} ms, median of {ROUNDS}")
    report(
        "time / ideal, 64 in flight", seconds["package", 64] / ideal, "<=", 1.3, seconds["client", 64] / ideal
    )
    report(
        "calls/s / bare client's, 256 in flight",
        seconds["client", 256] / seconds["package", 256],
        ">=",
        0.8,
        1.0,
    )
    objects = [(peaks[who, 256] - peaks[who, 32]) / (256 - 32) for who in ("package", "client")]
    report("KB of Python objects a call in flight", objects[0], "<", 20, objects[1])
    report("KB of resident memory a call in flight", per_call, "<", 20, peer)
    report("seconds, all from the cache", statistics.median(s for s, _ in rerun), "<", 3, float("nan"))
    print(
        f"  (calls/s at 256: package {CALLS / seconds['package', 256]:.0f}, client {CALLS / seconds['client', 256]:.0f})"
    )


def report(what: str, value: float, sign: str, bound: float, peer: float) -> None:
    """One line: the measure, its bound, and the bare client's value."""
    holds = {"<=": value <= bound, ">=": value >= bound, "<": value < bound}[sign]
    print(
        f"  {what:<42} {value:6.2f}   {sign} {bound:<4} {'holds' if holds else 'FAILS'}   bare client {peer:.2f}"
    )


if __name__ == "__main__":
    if len(sys.argv) == 1:
        main()
    else:
        work = {"package": call_with_package, "client": call_with_client}[sys.argv[1]]
        traced = "traced" in sys.argv
        if traced:
            tracemalloc.start()
        seconds = asyncio.run(work(int(sys.argv[2])))
        peak = (
            tracemalloc.get_traced_memory()[1] / 1024
            if traced
            else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        )
        print(seconds, peak)
