"""``python -m realusersim_nb.llm.local_engine MODEL.gguf FOLDER PORT``: serve while a process needs it."""

import asyncio
import json
import os
import sys
from pathlib import Path

from aiohttp import web
from filelock import FileLock, Timeout

from realusersim_nb.llm.endpoints import EMBEDDED
from realusersim_nb.llm.local_engine.engine import convert_model
from realusersim_nb.llm.local_engine.routes import Server
from realusersim_nb.llm.local_server import living_holders


async def serve(model: Path, folder: Path, port: int) -> None:
    """Load the model, write the address, then serve until no process uses it."""
    server = Server(EMBEDDED.model, convert_model(model))
    runner = web.AppRunner(server.make_app(), handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port)
    await site.start()
    address = folder / "server.json"
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    address.write_text(json.dumps({"url": url, "pid": os.getpid()}), encoding="utf-8")
    print(f"{EMBEDDED.model} is served at {url}", flush=True)  # the log's first line
    while True:
        await asyncio.sleep(1)
        try:
            with FileLock(folder / "lock").acquire(
                timeout=0
            ):  # nobody can begin to use a server about to end
                if not list(living_holders(folder)):
                    address.unlink(missing_ok=True)
                    os._exit(0)  # there is nothing to save
        except Timeout:  # a process is looking for the server, and waits for its answer
            continue


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])))
