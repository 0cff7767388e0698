"""Seconds of the embedded model's replies on an idle machine, and beside programs that leave it one core.

The same server twice: with its threads waiting as the package sets them, and as they do by default.
`python benchmarks/bench_embedded.py`
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import httpx

from realusersim_nb.llm import local_server

WORDS = 60  # tokens of a reply


@contextmanager
def serve(variables: dict[str, str]) -> Iterator[str]:
    """The address of a server started with these environment variables."""
    with tempfile.TemporaryDirectory() as place:
        (Path(place) / "holders").mkdir()
        (Path(place) / "holders" / str(os.getpid())).touch()
        module, model = "realusersim_nb.llm.local_server", str(local_server.assemble_model())
        command = [sys.executable, "-m", module, model, place, "0"]
        server = subprocess.Popen(command, stderr=subprocess.DEVNULL, env=variables | os.environ)
        while (url := local_server.find_server(Path(place))) is None:
            time.sleep(0.2)
        yield url
        server.kill()
        server.wait()


def time_replies(url: str, n: int = 3) -> float:
    """Seconds a reply takes, the median of a few."""
    seconds = []
    for number in range(n):
        messages = [{"role": "user", "content": f"{number} Describe many animals."}]
        request = {"messages": messages, "max_tokens": WORDS}
        started = time.perf_counter()
        httpx.post(
            f"{url}/v1/chat/completions", json=request, timeout=600, trust_env=False
        ).raise_for_status()
        seconds.append(time.perf_counter() - started)
    return median(seconds)


def main() -> None:
    """Print both, idle and busy, and their ratios."""
    figures = {}
    for name, variables in {"here": local_server.SLEEP_SOONER, "default": {}}.items():
        with serve(variables) as url:
            figures[name] = [time_replies(url)]
            others = [
                subprocess.Popen([sys.executable, "-c", "while True: pass"])
                for _ in range((os.cpu_count() or 2) - 1)
            ]
            figures[name].append(time_replies(url))
            for other in others:
                other.kill()
    for when, here, default in zip(("idle", "busy"), figures["here"], figures["default"], strict=True):
        print(
            f"  {when}: {here:.1f} s for {WORDS} tokens, default {default:.1f} s, ratio {here / default:.2f}"
        )


if __name__ == "__main__":
    main()
