"""kill -9 at random moments: no cached reply is requested again, and the result is the same.

A run of notebooks 03 and 05 against an endpoint in a process of its own is killed, with all its kernels,
again and again, and then completed. Its tables must be those of an undisturbed run, byte by byte, and no
request may reach the endpoint whose reply was in the cache when its run began.
"""

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import psutil
from endpoint import start_endpoint

from realusersim_nb.llm.cache import Cache
from realusersim_nb.llm.endpoints import Endpoint
from realusersim_nb.llm.requests import request_key
from realusersim_nb.llm.usage import CALLS_FILE

ROOT = Path(__file__).parent.parent
KILLS, KEY = 20, "a-key-that-must-be-nowhere"
ARMS = ["task_only", "directive", "profile", "profile_no_examples", "shuffled_profile", "placebo"]
PARAMETERS = {
    "corpus": ROOT / "data" / "sample.jsonl",
    "simulator": "m",
    "n_demonstrations": 2,
    "arms": json.dumps(ARMS),
    "max_concurrency": 4,
}


def start_run(folder: Path) -> subprocess.Popen:
    """Begin the run in this folder, or go on with it."""
    (folder / "notebooks").is_symlink() or (folder / "notebooks").symlink_to(ROOT / "notebooks")
    given = [word for name, value in PARAMETERS.items() for word in ("-p", name, str(value))]
    command = [sys.executable, "-m", "realusersim_nb", "run", "03", "05", "--run-name", "r", *given]
    log = (folder / "log.txt").open("a", encoding="utf-8")
    return subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)


def kill(process: subprocess.Popen) -> None:
    """End a run and all its kernels at once, without a word."""
    with suppress(psutil.NoSuchProcess):  # it has ended by itself
        for one in [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]:
            one.kill()
    process.wait()


def wait_for(log: Path, n_requests: int, process: subprocess.Popen) -> None:
    """Wait until the endpoint has had so many requests, and a random moment more, or the run has ended."""
    time.sleep(random.uniform(0, 5))
    while process.poll() is None and log.read_bytes().count(b"\n") < n_requests:
        time.sleep(0.02)
    time.sleep(random.uniform(0, 0.2))


def read_tables(folder: Path) -> dict[str, bytes]:
    """The tables of the run, by name; not the log of paid calls, which has their times."""
    files = [f for f in (folder / "outputs" / "r").glob("0?_*/*.*") if f.name != CALLS_FILE]
    return {
        f"{f.parent.name}/{f.name}": f.read_bytes()
        for f in files
        if f.suffix in (".csv", ".jsonl", ".parquet")
    }


def read_end(folder: Path) -> str:
    """The end of a run's log."""
    return (folder / "log.txt").read_text(encoding="utf-8")[-2000:]


def read_keys(log: Path, service: str) -> list[set[str]]:
    """For each request in the endpoint's log, the cache keys that its reply may have."""
    lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
    requests = [json.loads(line)["request"] for line in lines]
    endpoint = Endpoint(model="m", base_url=service)
    return [
        {request_key(endpoint, request, sample) for sample in (0, 1, 1_000_000, 1_000_001, 2_000_000)}
        for request in requests
    ]


def read_cache(folder: Path) -> set[str]:
    """The keys of all replies in the cache of the run in this folder."""
    return {reply.key for reply in Cache(folder / "outputs" / "replies.sqlite").replies()}


def main() -> None:
    """Print how many kills, how many requests were made twice, and whether the tables are the same."""
    os.environ |= {"OPENAI_API_KEY": KEY, "REALUSERSIM_CACHE": "outputs/replies.sqlite"}
    draw = random.Random(0)
    with tempfile.TemporaryDirectory() as name, start_endpoint(latency=0.15, log=f"{name}/requests") as url:
        os.environ["OPENAI_BASE_URL"] = url
        undisturbed, killed, log = Path(name) / "undisturbed", Path(name) / "killed", Path(name) / "requests"
        undisturbed.mkdir()
        killed.mkdir()
        started = time.monotonic()
        assert start_run(undisturbed).wait() == 0, read_end(undisturbed)
        seconds, n_undisturbed = time.monotonic() - started, len(read_keys(log, url))
        seen, again, kills, kept, expected = n_undisturbed, 0, 0, set(), read_cache(undisturbed)
        for number in range(KILLS + 1):
            process = start_run(killed)
            if number < KILLS:
                wait_for(log, seen + draw.randint(0, 3 * n_undisturbed // KILLS // 2), process)
                kills += process.poll() is None
                kill(process)
            assert number < KILLS or process.wait() == 0, read_end(killed)
            asked = read_keys(log, url)
            again += sum((keys & expected) <= kept for keys in asked[seen:])
            seen, kept = len(asked), read_cache(killed)
        same = read_tables(undisturbed) == read_tables(killed) and len(read_tables(undisturbed)) > 5
        leaks = [f for f in Path(name).rglob("*") if f.is_file() and KEY.encode() in f.read_bytes()]
    print(f"{kills} kills of a run of {seconds:.0f} s and {n_undisturbed} requests")
    print(f"  requests whose reply was kept already   {again:4}   == 0 {'holds' if again == 0 else 'FAILS'}")
    print(f"  tables the same, byte by byte           {same!s:>4}   {'holds' if same else 'FAILS'}")
    print(
        f"  files that hold the key                 {len(leaks):4}   == 0 {'holds' if not leaks else 'FAILS'}"
    )
    print(
        f"  (requests in all {seen - n_undisturbed}: {seen - 2 * n_undisturbed} were in flight "
        "when their run was killed)"
    )


if __name__ == "__main__":
    main()
