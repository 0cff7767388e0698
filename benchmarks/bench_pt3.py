"""What a whole PT3 study costs beside its calls: 600 cases, 13 arms, one judge, against a fast endpoint.

The lower limit is the critical path: calls x latency / calls in flight. Goals, conversations and judgements
are all asked anew, and every reply is cached before it is used.
"""

import asyncio
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from endpoint import start_endpoint

LATENCY, CONCURRENCY, SEED = 0.1, 64, 1


async def run_study(n_cases: int) -> tuple[float, float, int]:
    """Seconds, the critical path in seconds, and calls."""
    from realusersim_nb import pt3, simulators
    from realusersim_nb.llm import Models
    from realusersim_nb.records import Conversation, Message, Profile

    def write(i: int, number: int) -> Conversation:
        texts = [f"question {i} {number} {turn} about something in a few words" for turn in range(5)]
        messages = [Message(role=role, content=text) for text in texts for role in ("user", "assistant")]
        return Conversation(conversation_id=f"u{i}_{number}", user_id=f"u{i}", messages=messages)

    held_out, profiled = ([write(i, number) for i in range(n_cases)] for number in (0, 1))
    profiles = {c.user_id: Profile(user_id=c.user_id, background=f"Person {c.user_id}.") for c in held_out}
    arms, started = list(simulators.ARMS), time.perf_counter()
    async with Models(max_concurrency=CONCURRENCY) as models:
        cases, _ = await pt3.make_cases(models, "m", held_out, seed=SEED)
        simulator = simulators.Simulator(models, "m", seed=SEED)
        transcripts = await simulators.roll_out_arms(simulator, cases, arms, profiles)
        transcripts += pt3.draw_reference_arms(cases, profiled, first=5, seed=SEED)
        settings = pt3.JudgeSettings(seed=SEED)
        judgements = await pt3.judge_transcripts(models, "m", cases, transcripts, settings)
        seconds = time.perf_counter() - started
        assert len(judgements) == n_cases * (len(arms) + 2) and models.usage.failed == 0, models.usage
        return seconds, models.usage.live * LATENCY / CONCURRENCY, models.usage.live


def measure(n_cases: int, folder: str) -> list[float]:
    """Seconds, critical path, calls and peak resident MB of one study in a separate process."""
    environment = {**os.environ, "REALUSERSIM_CACHE": str(Path(folder) / f"{n_cases}.sqlite")}
    command, options = [sys.executable, __file__, str(n_cases)], {"stdout": subprocess.PIPE, "text": True}
    done = subprocess.run(command, env=environment, check=True, **options)
    return [float(word) for word in done.stdout.split()]


def judge_ratio(ratio: float) -> str:
    """A ratio beside its limit."""
    return f"{ratio:5.2f}   <= 1.2  {'holds' if ratio <= 1.2 else 'FAILS'}"


def main() -> None:
    """Print the ratios."""
    with start_endpoint(latency=LATENCY) as url, tempfile.TemporaryDirectory() as folder:
        os.environ |= {"OPENAI_BASE_URL": url, "OPENAI_API_KEY": "any", "REALUSERSIM_HEADLESS": "1"}
        small, large = measure(150, folder), measure(600, folder)
    calls = f"{large[2]:,.0f} calls of {LATENCY * 1000:.0f} ms at {CONCURRENCY}"
    print(f"600 cases x all arms, {calls}: {large[0]:.0f} s")
    print(f"  time / critical path          {judge_ratio(large[0] / large[1])}")
    megabytes = f"({small[3]:.0f} -> {large[3]:.0f} MB)"
    print(f"  peak memory / of 150 cases    {judge_ratio(large[3] / small[3])}   {megabytes}")


if __name__ == "__main__":
    if len(sys.argv) == 1:
        main()
    else:
        figures = asyncio.run(run_study(int(sys.argv[1])))
        print(*figures, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
