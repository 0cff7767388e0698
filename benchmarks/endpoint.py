"""An OpenAI-compatible endpoint on loopback that answers late and, if told so, badly.

``python benchmarks/endpoint.py --latency 0.1 --fault-rate 0.2 --log requests.jsonl`` prints its
address and serves until it is ended. The reply to a prompt is a function of the prompt, so that
runs can be compared; the log has a line for each request: its last message and what became of it.
"""

import argparse
import asyncio
import hashlib
import json
import logging
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from aiohttp import web

FAULTS = {
    "reset": None, "stall": None, "half_body": None, "page": None, "no_choices": None,
    "408": 408, "409": 409, "429": 429, "429_date": 429, "500": 500, "503": 503,
    "empty": "", "truncated": '{"number": ', "invalid": '{"numb": 1}', "prose": "Let me think about that.",
    "think": "<think>What could it be?</think>", "refusal": None,
}  # fmt: skip
"""Every way to answer badly: an HTTP status, a text, or something of its own."""


def answer(prompt: str) -> str:
    """What a faultless model says to a prompt: a number that depends on it."""
    return json.dumps({"number": int(hashlib.sha256(prompt.encode()).hexdigest()[:6], 16)})


def complete(text: str, *, finish_reason: str = "stop", refusal: str | None = None) -> dict:
    """A completion with this text."""
    message = {"role": "assistant", "content": text, "refusal": refusal}
    return {
        "id": "x", "object": "chat.completion", "created": 0, "model": "mock",
        "choices": [{"index": 0, "finish_reason": finish_reason, "message": message}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
    }  # fmt: skip


async def misbehave(fault: str, request: web.Request, text: str) -> web.StreamResponse:
    """Answer with a fault."""
    kind = FAULTS[fault]
    if fault == "reset":
        request.transport.abort()
    if fault == "stall":
        await asyncio.sleep(5)
    if fault == "half_body":
        response = web.StreamResponse(headers={"Content-Length": "500", "Content-Type": "application/json"})
        await response.prepare(request)
        await response.write(b'{"choices": [')
        request.transport.abort()
        return response
    if fault in ("page", "stall", "reset"):
        return web.Response(text="<html>Bad gateway</html>", content_type="text/html")
    if fault == "no_choices":
        return web.json_response({"error": {"message": "upstream is overloaded"}})
    if isinstance(kind, int):
        wait = {"429": "0.2", "429_date": "Wed, 21 Oct 2015 07:28:00 GMT"}.get(fault)
        headers = {"Retry-After": wait} if wait else {}
        return web.json_response({"error": {"message": "not now"}}, status=kind, headers=headers)
    if fault == "refusal":
        return web.json_response(complete("", refusal="I cannot help with that."))
    return web.json_response(complete(kind, finish_reason="length" if fault == "truncated" else "stop"))


def make_app(latency: float, fault_rate: float, log: str | None, seed: int) -> web.Application:
    """The server."""
    draw = random.Random(seed)
    if log:
        logging.basicConfig(filename=log, format="%(message)s", level=logging.INFO)

    async def chat(request: web.Request) -> web.StreamResponse:
        prompt = json.loads(await request.text())["messages"][0]["content"]
        fault = draw.choice(list(FAULTS)) if draw.random() < fault_rate else ""
        if log:
            logging.info(json.dumps({"prompt": prompt, "fault": fault}))
        await asyncio.sleep(latency)
        if fault:
            return await misbehave(fault, request, answer(prompt))
        return web.json_response(complete(answer(prompt)))

    app = web.Application()
    app.router.add_post("/v1/chat/completions", chat)
    return app


@contextmanager
def start_endpoint(
    *, latency: float = 0.0, fault_rate: float = 0.0, log: str | None = None, seed: int = 0
) -> Iterator[str]:
    """Its base URL, while it runs in a process of its own."""
    options = ["--latency", str(latency), "--fault-rate", str(fault_rate), "--seed", str(seed)]
    command = [sys.executable, __file__, *options, *(["--log", str(log)] if log else [])]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield process.stdout.readline().strip()
    finally:
        process.kill()
        process.wait()


async def serve(app: web.Application) -> None:
    """Serve on a free port and print the address."""
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, backlog=1024)
    await site.start()
    print(f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}/v1", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--latency", type=float, default=0.0)
    parser.add_argument("--fault-rate", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--log")
    options = parser.parse_args()
    asyncio.run(serve(make_app(options.latency, options.fault_rate, options.log, options.seed)))
