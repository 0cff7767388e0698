"""How fast a corpus of WildChat's schema is curated, by one and by two processes, and in how much memory.

The file is generated: a million rows with WildChat's columns, of which about as many are toxic, in
another language or too short as in WildChat; their words are drawn at random.
"""

import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil
import pyarrow as pa
import pyarrow.parquet as pq

ROWS, GROUP = int(os.environ.get("BENCH_ROWS", 1_000_000)), 20_000
TURN = pa.struct(
    [
        ("content", pa.string()),
        ("country", pa.string()),
        ("hashed_ip", pa.string()),
        ("header", pa.struct([("accept-language", pa.string()), ("user-agent", pa.string())])),
        ("language", pa.string()),
        ("redacted", pa.bool_()),
        ("role", pa.string()),
        ("state", pa.string()),
        ("timestamp", pa.timestamp("us")),
        ("toxic", pa.bool_()),
        ("turn_identifier", pa.int64()),
    ]
)
SCHEMA = pa.schema(
    [
        ("conversation_hash", pa.string()),
        ("model", pa.string()),
        ("timestamp", pa.timestamp("us")),
        ("conversation", pa.list_(TURN)),
        ("turn", pa.int64()),
        ("language", pa.string()),
        ("toxic", pa.bool_()),
        ("redacted", pa.bool_()),
        ("state", pa.string()),
        ("country", pa.string()),
        ("hashed_ip", pa.string()),
        ("header", pa.struct([("accept-language", pa.string()), ("user-agent", pa.string())])),
    ]
)
ENGLISH = """
    how do i write a short function that reads the file and gives me back all of the names in it please make this
    text better and shorter can you explain why the second one is not what we want
"""
FRENCH = """
    comment est ce que je peux écrire une lettre courte pour demander des nouvelles de la commande merci de
    corriger le texte suivant sans changer le sens des phrases
"""


def make_group(number: int) -> pa.Table:
    """One row group of conversations."""
    draw = random.Random(number)
    rows = []
    for i in range(GROUP):
        words = (ENGLISH if draw.random() < 0.55 else FRENCH).split()
        turns = min(20, 1 + int(draw.expovariate(1 / 1.5)))
        user = f"{draw.randrange(ROWS // 3):064x}"
        spoken = []
        for _ in range(turns):
            for role, length in (("user", 25), ("assistant", 120)):
                text = " ".join(draw.choices(words, k=1 + int(draw.expovariate(1 / length))))
                spoken.append(
                    {
                        "content": text,
                        "role": role,
                        "language": "English",
                        "toxic": False,
                        "hashed_ip": user,
                        "country": "France",
                    }
                )
        model = draw.choice(["gpt-4o-2024-08-06", "gpt-3.5-turbo-0613", "gpt-4o-mini", "gpt-4"])
        rows.append(
            {
                "conversation_hash": f"{number}-{i}",
                "model": model,
                "conversation": spoken,
                "turn": turns,
                "toxic": draw.random() < 0.3,
                "hashed_ip": user,
            }
        )
    return pa.Table.from_pylist(rows, SCHEMA)


def watch_memory(peaks: list[float], stop: threading.Event) -> None:
    """Note the memory of this process and its children, in GB (shared pages counted once a process)."""
    while not stop.wait(0.25):
        total = 0
        for process in [psutil.Process(), *psutil.Process().children(recursive=True)]:
            try:
                total += process.memory_full_info().uss
            except psutil.Error:
                continue
        peaks.append(total / 1e9)


def main() -> None:
    """Print rows a second for one and two workers, and the peak of memory."""
    from realusersim_nb.corpus import loading, sources
    from realusersim_nb.corpus.shards import curate_shards

    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "wildchat.parquet"
        subprocess.run([sys.executable, __file__, str(path)], check=True)  # apart, lest its memory counts
        print(f"{ROWS:,} rows, {path.stat().st_size / 1e6:.0f} MB on disk")
        seconds = {}
        for workers in (2, 1):
            folder = Path(name) / f"curated-{workers}"
            folder.mkdir()
            os.chdir(folder)
            memory, stop = [0.0], threading.Event()
            watcher = threading.Thread(target=watch_memory, args=(memory, stop))
            watcher.start()
            started = time.perf_counter()
            shards = sources.find_shards(str(path))
            settings = {"workers": workers, "skip_steps": loading.DEFAULT_SKIPPED}
            left, funnel = curate_shards(str(path), shards, **settings)
            n = sum(1 for _ in left)
            seconds[workers] = time.perf_counter() - started
            stop.set(), watcher.join()
            speed, peak = ROWS / seconds[workers], max(memory)
            print(f"  workers {workers}: {speed:8,.0f} rows/s   peak {peak:.2f} GB   {n:,} left")
            if workers == 2:
                fast, small = ("holds" if goal else "FAILS" for goal in (speed >= 5000, peak < 1))
                print(f"    >= 5,000 rows/s {fast}   < 1 GB {small}")
    print(f"  two workers take {seconds[2] / seconds[1]:.2f} of one's time")
    print(funnel.tabulate().to_string(index=False))


def make_file(path: Path) -> None:
    """Write the corpus."""
    with pq.ParquetWriter(path, SCHEMA) as writer:
        some = [make_group(number) for number in range(min(5, ROWS // GROUP))]
        for number in range(ROWS // GROUP):
            writer.write_table(some[number] if number < len(some) else vary(some[number % len(some)], number))


def vary(table: pa.Table, number: int) -> pa.Table:
    """The same conversations with other words, fast: each word gets the group's number behind it now and then."""
    draw = random.Random(number)
    rows = table.to_pylist()
    for i, row in enumerate(rows):
        row["conversation_hash"], row["hashed_ip"] = f"{number}-{i}", f"{draw.randrange(ROWS // 3):064x}"
        for turn in row["conversation"]:
            words = turn["content"].split()
            draw.shuffle(words)
            turn["content"] = " ".join(words)
    return pa.Table.from_pylist(rows, SCHEMA)


if __name__ == "__main__":
    main() if len(sys.argv) == 1 else make_file(Path(sys.argv[1]))
