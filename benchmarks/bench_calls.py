"""The package's calls beside the ideal and the bare OpenAI client, in one run, with the same requests.

Every measurement is a process of its own, against an endpoint of fixed latency in another one. The two
take turns, so that a busy machine is busy for both; medians count. `python benchmarks/bench_calls.py`
"""

import asyncio
import os
import resource
import subprocess
import sys
import tempfile
import time
import tracemalloc
from pathlib import Path
from statistics import median

from endpoint import start_endpoint
from pydantic import BaseModel

CALLS, LATENCY, ROUNDS = 5000, 0.1, 3


class Answer(BaseModel):
    """What is asked for."""

    number: int


async def call_with_package(concurrency: int) -> float:
    """Seconds of all calls through ``Models.run_all``, cache writes included."""
    from realusersim_nb.llm.models import Models

    started = time.perf_counter()
    async with Models(max_concurrency=concurrency) as models:
        await models.run_all((models.ask_json("m", f"question {i}", Answer) for i in range(CALLS)), "calls")
        assert models.usage.live + models.usage.cached == CALLS and models.usage.failed == 0, models.usage
    return time.perf_counter() - started


async def call_with_client(concurrency: int) -> float:
    """Seconds of all calls by the OpenAI client alone: a worker for each call in flight, nothing cached."""
    from openai import AsyncOpenAI, DefaultAioHttpClient

    json_schema = {"name": "Answer", "schema": Answer.model_json_schema()}
    form = {"type": "json_schema", "json_schema": json_schema}
    sampling = {"temperature": 0.7, "seed": 0, "max_tokens": 400, "response_format": form}
    started = time.perf_counter()
    async with AsyncOpenAI(http_client=DefaultAioHttpClient()) as client:
        numbers = iter(range(CALLS))

        async def work() -> None:
            for i in numbers:
                messages = [{"role": "user", "content": f"question {i}"}]
                completion = await client.chat.completions.create(model="m", messages=messages, **sampling)
                Answer.model_validate_json(completion.choices[0].message.content)

        await asyncio.gather(*(work() for _ in range(concurrency)))
    return time.perf_counter() - started


CALLERS = {"package": call_with_package, "client": call_with_client}


def measure(caller: str, concurrency: int, cache: Path, *, traced: bool = False) -> tuple[float, float]:
    """Seconds and peak memory (KB; resident, or of Python objects if traced) of a process with all calls."""
    command = [sys.executable, __file__, caller, str(concurrency), *["traced"] * traced]
    environment = {**os.environ, "REALUSERSIM_CACHE": str(cache)}
    output = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    seconds, kilobytes = map(float, output.split())
    return seconds, kilobytes


def measure_here(caller: str, concurrency: int, traced: bool) -> tuple[float, float]:
    """The same of this process."""
    if traced:
        tracemalloc.start()
    seconds = asyncio.run(CALLERS[caller](concurrency))
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return seconds, tracemalloc.get_traced_memory()[1] / 1024 if traced else resident


def main() -> None:
    """Print the measures of both."""
    seconds: dict[tuple, list[float]] = {}
    memory: dict[tuple, list[float]] = {}
    with start_endpoint(latency=LATENCY) as url, tempfile.TemporaryDirectory() as folder:
        os.environ |= {"OPENAI_BASE_URL": url, "OPENAI_API_KEY": "any", "REALUSERSIM_HEADLESS": "1"}
        for number in range(ROUNDS):
            for n in (32, 64, 256):
                cache = Path(folder) / f"{number}-{n}.sqlite"
                for caller in CALLERS:
                    taken, resident = measure(caller, n, cache)
                    seconds.setdefault((caller, n), []).append(taken)
                    memory.setdefault((caller, n), []).append(resident)
            seconds.setdefault(("rerun", 256), []).append(measure("package", 256, cache)[0])
        for caller in CALLERS:
            for n in (32, 256):
                cache = Path(folder) / f"traced-{n}.sqlite"
                memory["traced", caller, n] = [measure(caller, n, cache, traced=True)[1]]
    ideal = {n: CALLS / n * LATENCY for n in (64, 256)}
    print(f"{CALLS:,} calls of {LATENCY * 1000:.0f} ms, median of {ROUNDS}")
    times = {key: median(values) for key, values in seconds.items()}
    for n, most in ((64, 1.3), (256, None)):
        package, client = (times[caller, n] / ideal[n] for caller in CALLERS)
        report(f"time / ideal, {n} in flight", package, client, most=most)
    for n, least in ((64, None), (256, 0.9)):
        report(
            f"calls/s / bare client's, {n} in flight",
            times["client", n] / times["package", n],
            1,
            least=least,
        )
    peaks = {key: median(values) for key, values in memory.items()}
    for kind, what in (((), "resident memory"), (("traced",), "Python objects")):
        package, client = ((peaks[*kind, c, 256] - peaks[*kind, c, 32]) / (256 - 32) for c in CALLERS)
        report(f"KB of {what} a call in flight", package, client)
    report("seconds, all from the cache", times["rerun", 256], None, most=3)


def report(
    what: str, value: float, client: float | None, *, most: float | None = None, least: float | None = None
) -> None:
    """Print a measure, its limit if it has one, and the bare client's value."""
    limit, holds = "", True
    if most is not None:
        limit, holds = f"<= {most}", value <= most
    elif least is not None:
        limit, holds = f">= {least}", value >= least
    verdict = ("holds" if holds else "FAILS") if limit else ""
    beside = "" if client is None else f"bare client {client:.2f}"
    print(f"  {what:<40} {value:6.2f}   {limit:<7} {verdict:<6} {beside}")


if __name__ == "__main__":
    if len(sys.argv) == 1:
        main()
    else:
        print(*measure_here(sys.argv[1], int(sys.argv[2]), "traced" in sys.argv))
