"""The embedded model's server on the study's kind of work, and what is asked of it; beside llama.cpp's where it is.

24 requests with a JSON schema, some 340 prompt tokens of which half are new, 50 tokens written.
`python benchmarks/bench_embedded.py` (`pip install xllamacpp` for the comparison)
"""

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from statistics import median

import httpx

from realusersim_nb.llm import local_server

REQUESTS, WORDS, REPEATS = 24, 50, 3
SHARED = (
    "You play a person who asks an assistant for help. " + "Write as this person does, in short words. " * 16
)
LLAMA = """
import sys, time, json, xllamacpp
p = xllamacpp.CommonParams()
p.model.path, p.hostnames, p.port = sys.argv[1], ["127.0.0.1"], 0
p.n_parallel, p.n_ctx, p.cache_prompt = 2, 32768, True
server = xllamacpp.Server(p)
open(sys.argv[2] + "/server.json", "w").write(json.dumps({"url": server.listening_address}))
time.sleep(100_000)
"""
SCHEMA = {"type": "object", "properties": {"reply": {"type": "string"}}, "required": ["reply"]}
FORM = {"type": "json_schema", "json_schema": {"name": "Turn", "schema": SCHEMA}}
NUMBERS = count(time.time_ns())


@contextmanager
def serve(*program: str, variables: dict[str, str] | None = None) -> Iterator[str]:
    """The address of a server started with these arguments to Python."""
    with tempfile.TemporaryDirectory() as place:
        (Path(place) / "holders").mkdir()
        (Path(place) / "holders" / str(os.getpid())).touch()
        command = [sys.executable, *program, str(local_server.assemble_model()), place, "0"]
        server = subprocess.Popen(command, stderr=subprocess.DEVNULL, env=(variables or {}) | os.environ)
        while (url := local_server.find_server(Path(place))) is None:
            time.sleep(0.05)
        yield url
        server.kill()
        server.wait()


def make_request(temperature: float = 0.7, seed: int = 0) -> dict:
    """One of the study's kind, with a text that no server has read before."""
    number = next(NUMBERS)
    new = f"{number} is the number of this case. " + "The assistant asks what the person wants now. " * 15
    messages = [
        {"role": "user", "content": f"{SHARED}\n{new}\nWrite a long message to the assistant, in JSON."}
    ]
    sampling = {"temperature": temperature, "seed": seed, "max_tokens": WORDS}
    return {"messages": messages, "response_format": FORM} | sampling


async def post_all(url: str, path: str, requests: list[dict], in_flight: int) -> list[dict]:
    """The answers, so many calls at a time."""
    slots = asyncio.Semaphore(in_flight)
    async with httpx.AsyncClient(
        timeout=3600, trust_env=False, limits=httpx.Limits(max_connections=99)
    ) as client:

        async def post(request: dict) -> dict:
            async with slots:
                return (await client.post(f"{url}/v1/{path}", json=request)).raise_for_status().json()

        return await asyncio.gather(*map(post, requests))


def time_work(url: str, in_flight: int) -> float:
    """Seconds of the whole workload, for as many tokens as are asked for."""
    started = time.perf_counter()
    answers = asyncio.run(
        post_all(url, "chat/completions", [make_request() for _ in range(REQUESTS)], in_flight)
    )
    seconds = time.perf_counter() - started
    return seconds * REQUESTS * WORDS / sum(answer["usage"]["completion_tokens"] for answer in answers)


@contextmanager
def keep_busy() -> Iterator[None]:
    """Within this, other programs leave one core."""
    programs = [
        subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range((os.cpu_count() or 2) - 1)
    ]
    yield
    for program in programs:
        program.kill()


def score_texts(url: str, prompts: list[str], in_flight: int = 8) -> list[list[float]]:
    """The log-probabilities of the tokens of each text."""
    asked = {"max_tokens": 0, "echo": True, "logprobs": 1}
    answers = asyncio.run(post_all(url, "completions", [asked | {"prompt": p} for p in prompts], in_flight))
    return [answer["choices"][0]["logprobs"]["token_logprobs"][1:] for answer in answers]


def compare_engines(url: str) -> None:
    """Requests a second of both engines, in turns, each at its best concurrency."""
    figures = {"llama.cpp, 2 in flight": [], "here, 8 in flight": [], "here, 2 in flight": []}
    with serve("-c", LLAMA, variables={"GOMP_SPINCOUNT": "1000"}) as llama:
        for _ in range(REPEATS):
            for name, seconds in figures.items():
                seconds.append(time_work(llama if "llama" in name else url, 8 if "8" in name else 2))
    for name, seconds in figures.items():
        print(
            f"  {name}: {median(seconds):.1f} s for {REQUESTS} requests ({', '.join(f'{s:.0f}' for s in seconds)})"
        )
    pairs = zip(*list(figures.values())[:2], strict=True)
    print(f"  llama.cpp / here: {median(theirs / ours for theirs, ours in pairs):.2f} (at least 1.8 wanted)")


def check_repeats(url: str) -> None:
    """The same request twice, alone in flight, and with other seeds."""

    def write(request: dict) -> str:
        answer = asyncio.run(post_all(url, "chat/completions", [request], 1))
        return answer[0]["choices"][0]["message"]["content"]

    fixed, drawn = make_request(temperature=0), make_request()
    print(f"  temperature 0, twice: {'the same' if write(fixed) == write(fixed) else 'DIFFERENT'}")
    texts = {write(drawn | {"seed": seed}) for seed in (1, 2, 3)}
    print(
        f"  three seeds: {len(texts)} texts; a seed twice: {'the same' if write(drawn | {'seed': 1}) in texts else 'new'}"
    )


def check_scores(url: str) -> None:
    """Seconds of scoring, and a text in one piece against the same tokens in two."""
    words = "the person writes what they want and the assistant answers in a few words then".split()
    prompts = [f"{n} " + " ".join(words[(n * k + k) % 16 - 1] for k in range(247)) for n in range(100)]
    score_texts(url, ["A first text."])
    started = time.perf_counter()
    scores = score_texts(url, prompts)
    tokens = sum(map(len, scores)) + len(scores)
    print(f"  100 texts, {tokens} tokens: {time.perf_counter() - started:.0f} s (at most 240 wanted)")
    begins = score_texts(url, [" ".join(prompt.split()[:150]) for prompt in prompts[:5]])
    gaps = [abs(sum(b) - sum(whole[: len(b)])) for whole, b in zip(scores[:5], begins, strict=True)]
    print(f"  one piece against two: {max(gaps):.4f} at most (0.01 wanted)")


def main() -> None:
    """Print every figure and what is wanted."""
    started = time.perf_counter()
    with serve("-m", "realusersim_nb.llm.local_engine") as url:
        short = {"messages": [{"role": "user", "content": "Name a city."}], "response_format": FORM}
        for name, most in {"start and first reply": 45, "reply of the warm server": 1}.items():
            asyncio.run(post_all(url, "chat/completions", [short | {"max_tokens": 8}], 1))
            print(f"  {name}: {time.perf_counter() - started:.1f} s (at most {most} wanted)", flush=True)
            started = time.perf_counter()
        check_repeats(url)
        if find_spec("xllamacpp"):
            compare_engines(url)
        idle = median(time_work(url, 8) for _ in range(REPEATS))
        with keep_busy():
            busy = median(time_work(url, 8) for _ in range(REPEATS))
        print(
            f"  with another program on all cores but one: {idle / busy:.2f} of the idle pace (at least 0.5 wanted)"
        )
        check_scores(url)


if __name__ == "__main__":
    main()
