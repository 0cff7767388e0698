"""An OpenAI-compatible endpoint on loopback that answers late and, if told so, badly.

``python benchmarks/endpoint.py --latency 0.1 --fault-rate 0.2 --log requests.jsonl`` prints its
address and serves until it is ended. The reply to a prompt is a function of the prompt, so that
runs can be compared; the log has a line for each request and what became of it.
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
    "reset": None,
    "stall": None,
    "half_body": None,
    "page": None,
    "no_choices": None,
    "408": 408,
    "409": 409,
    "429": 429,
    "429_date": 429,
    "500": 500,
    "503": 503,
    "empty": "",
    "truncated": '{"number": ',
    "invalid": '{"numb": 1}',
    "prose": "Let me think about that.",
    "think": "<think>What could it be?</think>",
    "refusal": None,
}
"""Every way to answer badly: an HTTP status, a text, or something of its own."""


def answer(request: dict) -> str:
    """What a faultless model says: a function of the prompt, of the form that is asked for."""
    chosen = int(hashlib.sha256(json.dumps(request["messages"]).encode()).hexdigest()[:6], 16)
    if "###STOP###" in str(request["messages"][0]["content"]) and len(request["messages"]) > 9:
        return "###STOP###"  # a user of tau2-bench who has talked enough
    bound = request.get("response_format", {}).get("json_schema")
    return json.dumps(fill(bound["schema"], bound["schema"], chosen)) if bound else f"Answer {chosen}."


def fill(part: dict, schema: dict, chosen: int) -> object:
    """A value of the kind a JSON schema asks for."""
    if "$ref" in part:
        return fill(schema["$defs"][part["$ref"].rpartition("/")[2]], schema, chosen)
    if "anyOf" in part:
        return fill(part["anyOf"][0], schema, chosen)
    if "enum" in part or "const" in part:
        return part.get("const", part.get("enum", [None])[0])
    low, high = part.get("minimum", 0), part.get("maximum", 10**6)
    values = {
        "string": lambda: f"Text {chosen}, long enough to be taken for one."[: part.get("maxLength")],
        "integer": lambda: low + chosen % (high - low + 1),
        "number": lambda: low + chosen % 100 / 100 * (min(high, low + 1) - low),
        "boolean": lambda: chosen % 3 > 0,
        "array": lambda: [fill(part["items"], schema, chosen)] * part.get("minItems", 1),
        "object": lambda: {name: fill(p, schema, chosen) for name, p in part.get("properties", {}).items()},
    }
    return values[part["type"]]()


def call_tool(request: dict) -> list[dict]:
    """A call of the tool ``calculate``, if it is offered and a person has just spoken."""
    offered = {tool["function"]["name"] for tool in request.get("tools") or []}
    if "calculate" not in offered or request["messages"][-1]["role"] != "user":
        return []
    return [
        {
            "id": "1",
            "type": "function",
            "function": {"name": "calculate", "arguments": '{"expression": "1 + 1"}'},
        }
    ]


def complete(
    text: str, *, finish_reason: str = "stop", refusal: str | None = None, calls: list[dict] = ()
) -> dict:
    """A completion with this text, or with these tool calls."""
    message = {"role": "assistant", "content": None if calls else text, "refusal": refusal}
    message |= {"tool_calls": calls} if calls else {}
    return {
        "id": "x",
        "object": "chat.completion",
        "created": 0,
        "model": "mock",
        "choices": [{"index": 0, "finish_reason": finish_reason, "message": message}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
    }


async def misbehave(fault: str, request: web.Request) -> web.StreamResponse:
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
        asked = json.loads(await request.text())
        fault = draw.choice(list(FAULTS)) if draw.random() < fault_rate else ""
        if log:
            logging.info(json.dumps({"request": asked, "fault": fault}))
        await asyncio.sleep(latency)
        if fault:
            return await misbehave(fault, request)
        return web.json_response(complete(answer(asked), calls=call_tool(asked)))

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
