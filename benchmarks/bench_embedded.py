"""What the embedded model's replies take on an idle machine, and with as many other programs as leave it one core.

The same server twice: as it is started here, and with its threads waiting as they do by default.
`python benchmarks/bench_embedded.py`
"""

import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from realusersim_nb.llm import local_server

WORDS = 60  # tokens of a reply


@contextmanager
def serve(calm: dict[str, str]) -> Iterator[str]:
    """The address of a server of one's own."""
    with tempfile.TemporaryDirectory() as place:
        (Path(place) / "holders").mkdir()
        (Path(place) / "holders" / str(os.getpid())).touch()
        command = [
            sys.executable,
            "-m",
            "realusersim_nb.llm.local_server",
            str(local_server.assemble_model()),
            place,
            "0",
        ]
        server = subprocess.Popen(command, stderr=subprocess.DEVNULL, env=calm | os.environ)
        while (url := local_server.find_server(Path(place))) is None:
            time.sleep(0.2)
        yield url
        server.kill()
        server.wait()


def time_replies(url: str, n: int = 3) -> float:
    """Seconds a reply takes, the median of a few."""
    taken = []
    for number in range(n):
        asked = {
            "messages": [{"role": "user", "content": f"{number} Describe many animals."}],
            "max_tokens": WORDS,
        }
        started = time.perf_counter()
        urllib.request.urlopen(
            urllib.request.Request(f"{url}/v1/chat/completions", json.dumps(asked).encode())
        ).read()
        taken.append(time.perf_counter() - started)
    return median(taken)


def main() -> None:
    """Print both, idle and busy, and their ratios."""
    figures = {}
    for name, calm in {"here": local_server.CALM, "default": {}}.items():
        with serve(calm) as url:
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
            f"  {when}: {here:.1f} s for {WORDS} tokens, {default:.1f} s by default, ratio {here / default:.2f}"
        )


if __name__ == "__main__":
    main()
