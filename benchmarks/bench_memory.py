"""How much memory and time curation and notebook 01 take for a corpus, and for one four times as large.

The corpus is ShareGPT's conversations again and again under other names, each message with its words in another
order and replies cut to 100 words. Printed for each command: the peak of its largest process and of all its
processes together (resident memory), seconds, and both as multiples of those of the smaller corpus.
"""

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from realusersim_nb.corpus import load_corpus

ROOT = Path(__file__).parents[1]
SIZES = [int(n) for n in os.environ.get("BENCH_SIZES", "80000 320000").split()]  # conversations left
REPLY = 100  # words
RUN = [sys.executable, "-m", "realusersim_nb"]
NOTEBOOK = "run 01 -p compared_extractor null -p corpus".split()


def make_file(path: Path, n: int) -> None:
    """Write n conversations and some more, since some of them look like no English in another order."""
    talks, draw = load_corpus("sharegpt").conversations, random.Random(n)
    with path.open("w", encoding="utf-8") as file:
        for copy in range(int(1.08 * n / len(talks)) + 1):
            for talk in talks:
                messages = [
                    {"role": m.role, "content": shuffle(m.content, m.role, draw)} for m in talk.messages
                ]
                ids = {"id": f"{copy}-{talk.conversation_id}", "user_id": f"{copy}-{talk.user_id}"}
                file.write(json.dumps(ids | {"messages": messages}) + "\n")


def shuffle(text: str, role: str, draw: random.Random) -> str:
    """The words of a message in another order, first and last in their places."""
    words = text.split()[: REPLY if role == "assistant" else None]
    inner = words[1:-1]
    draw.shuffle(inner)
    return " ".join([*words[:1], *inner, *words[1:][-1:]])


def watch(command: list[str], folder: Path) -> tuple[float, float, float, str]:
    """Run a command in a folder: MB of its largest process, MB of all, seconds, and what it printed."""
    started, largest, together = time.perf_counter(), 0.0, 0.0
    process = subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    while True:
        try:
            printed = process.communicate(timeout=0.1)[0]
            break
        except subprocess.TimeoutExpired:
            sizes = [measure(p) for p in [*tree(process.pid)]]
            largest, together = max(largest, *sizes, 0), max(together, sum(sizes))
    if process.returncode:
        sys.exit(printed)
    return largest, together, time.perf_counter() - started, printed


def tree(pid: int) -> list[psutil.Process]:
    """A process and those below it."""
    try:
        return [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    except psutil.Error:
        return []


def measure(process: psutil.Process) -> float:
    """MB of resident memory."""
    try:
        return process.memory_info().rss / 1e6
    except psutil.Error:
        return 0.0


def main() -> None:
    """Print the peaks at each size."""
    before: dict[str, tuple] = {}
    for n in SIZES:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            make_file(folder / "corpus.jsonl", n)
            (folder / "notebooks").symlink_to(ROOT / "notebooks")
            print(f"{n:,} conversations, {(folder / 'corpus.jsonl').stat().st_size / 1e6:,.0f} MB")
            for command in (["curate"], NOTEBOOK):
                *figures, printed = watch([*RUN, *command, "corpus.jsonl"], folder)
                ratios = [a / b for a, b in zip(figures, before.get(command[0], figures), strict=True)]
                before.setdefault(command[0], figures)
                texts = [
                    f"{f:6,.0f} {unit} (x {r:.2f})"
                    for f, unit, r in zip(figures, ("MB", "MB", "s"), ratios, strict=True)
                ]
                print(f"  {command[0]:<6} largest process {texts[0]}, all {texts[1]}, {texts[2]}", flush=True)
                if command[0] == "curate":
                    print("    " + printed.strip().splitlines()[-1])


if __name__ == "__main__":
    main()
