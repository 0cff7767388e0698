"""What a whole PT3 study costs beside its calls: 600 cases, 6 arms, two judges, against a fast endpoint.

The bound is the critical path: every stage takes at least its calls x latency / calls in flight.
Goals, conversations and judgements are all asked anew, and every reply is kept before it is used.
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
    """Seconds, the bound in seconds, and calls."""
    from realusersim_nb.llm.models import Models
    from realusersim_nb.pt3 import cases as pt3_cases
    from realusersim_nb.pt3 import judges
    from realusersim_nb.records import Conversation, Message, Profile
    from realusersim_nb.simulators import conditions, rollouts, users

    def talk(i: int, number: int) -> Conversation:
        texts = [
            f"question {i} {number} {turn} about something that takes some words to say" for turn in range(5)
        ]
        messages = [Message(role=role, content=text) for text in texts for role in ("user", "assistant")]
        return Conversation(conversation_id=f"u{i}_{number}", user_id=f"u{i}", messages=messages)

    held_out, profiled = [talk(i, 0) for i in range(n_cases)], [talk(i, 1) for i in range(n_cases)]
    own = {c.user_id: Profile(user_id=c.user_id, background=f"Person {c.user_id}.") for c in held_out}
    arms = list(conditions.ARMS)
    started, bound = time.perf_counter(), 0.0
    async with Models(max_concurrency=CONCURRENCY) as models:
        found, _ = await pt3_cases.make_cases(models, "m", held_out, seed=SEED)
        transcripts = await rollouts.roll_out_arms(
            users.Simulator(models, "m", seed=SEED), found, arms, own
        )
        transcripts += pt3_cases.draw_reference_arms(found, profiled, first=5, seed=SEED)
        judged = await judges.judge_transcripts(
            models, "m", found, transcripts, judges.JudgeSettings(seed=SEED)
        )
        seconds = time.perf_counter() - started
        assert len(judged) == n_cases * (len(arms) + 2) and models.usage.failed == 0, models.usage
        bound = models.usage.live * LATENCY / CONCURRENCY
        return seconds, bound, models.usage.live


def measure(n_cases: int, folder: str) -> list[float]:
    """Seconds, bound, calls and peak resident MB of one study in a process of its own."""
    environment = {**os.environ, "REALUSERSIM_CACHE": str(Path(folder) / f"{n_cases}.sqlite")}
    done = subprocess.run(
        [sys.executable, __file__, str(n_cases)],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return [float(word) for word in done.stdout.split()]


def main() -> None:
    """Print the ratios."""
    with start_endpoint(latency=LATENCY) as url, tempfile.TemporaryDirectory() as folder:
        os.environ |= {"OPENAI_BASE_URL": url, "OPENAI_API_KEY": "any", "REALUSERSIM_HEADLESS": "1"}
        small, large = measure(150, folder), measure(600, folder)
    ratio, growth = large[0] / large[1], large[3] / small[3]
    print(
        f"600 cases x 6 arms, {large[2]:,.0f} calls of {LATENCY * 1000:.0f} ms at {CONCURRENCY}: {large[0]:.0f} s"
    )
    print(f"  time / critical path          {ratio:5.2f}   <= 1.2  {'holds' if ratio <= 1.2 else 'FAILS'}")
    print(
        f"  peak memory / of 150 cases    {growth:5.2f}   <= 1.2  {'holds' if growth <= 1.2 else 'FAILS'}   ({small[3]:.0f} -> {large[3]:.0f} MB)"
    )


if __name__ == "__main__":
    if len(sys.argv) == 1:
        main()
    else:
        found = asyncio.run(run_study(int(sys.argv[1])))
        print(*found, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
