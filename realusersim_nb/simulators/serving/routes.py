"""The endpoint: OpenAI's chat completions, whose models are users."""

import asyncio
import json
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from aiohttp import web

from realusersim_nb.errors import InputError, StudyError
from realusersim_nb.llm.errors import CallFailed
from realusersim_nb.llm.local_engine.protocol import (
    answer_fault,
    answer_health,
    count_usage,
    describe_answer,
    stream_events,
)
from realusersim_nb.llm.models import Models
from realusersim_nb.llm.usage import BudgetReached
from realusersim_nb.simulators.endings import END_MARKS, strip_marks
from realusersim_nb.simulators.serving.access import Access, is_local, read_token
from realusersim_nb.simulators.serving.requests import digest, read_dialogue, read_request
from realusersim_nb.simulators.serving.transcripts import Transcripts
from realusersim_nb.simulators.serving.users import ServedUsers, UnknownUserError, Written, load_profiles

MOST_BYTES = 2**20  # of a request
CONCURRENCY = 64  # calls of the model in flight; endpoints.yaml can set fewer


class UserServer:
    """The routes of some users, whose conversations are kept in a file."""

    def __init__(self, users: ServedUsers, transcripts: Transcripts, access: Access):
        self.users, self.transcripts, self.access = users, transcripts, access

    def make_app(self) -> web.Application:
        """The application with all routes, which writes the transcripts while it runs."""
        app = web.Application(client_max_size=MOST_BYTES, middlewares=[answer_errors, self.access.check])
        app.router.add_get("/health", answer_health)
        app.router.add_get("/v1/models", self.list_models)
        app.router.add_post("/v1/chat/completions", self.complete_chat)
        app.cleanup_ctx.append(self.write_transcripts)
        return app

    async def write_transcripts(self, _: web.Application):
        """Write transcripts for as long as the application runs."""
        task = asyncio.create_task(self.transcripts.keep_writing())
        yield
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    async def list_models(self, _: web.Request) -> web.Response:
        """``/v1/models``: the users."""
        about = {"object": "model", "created": 0, "owned_by": "realusersim_nb"}
        rows = [{"id": name, **about} for name in self.users.list_names()]
        return web.json_response({"object": "list", "data": rows})

    async def complete_chat(self, request: web.Request) -> web.StreamResponse:
        """``/v1/chat/completions``: the user's next message, whole or as events once it is whole.

        It is checked before any of it goes out, so nothing can be streamed while it is written.
        """
        asked = read_request(await request.text())
        dialogue = read_dialogue(asked)
        user = self.users.find(asked.model, dialogue.opening)
        written = await self.users.write(user, dialogue, asked)
        about = {"user_id": user.user_id, "arm": user.arm, "simulator": self.users.model}
        key = digest([dialogue.opening, *about.values()])
        ended_by = "close" if END_MARKS.search(written.text) else "max_turns"
        about |= {"ended_by": ended_by, "role_break": written.role_break}
        self.transcripts.note(key, dialogue.messages, strip_marks(written.text), **about)
        if asked.stream:
            with_usage = bool((asked.stream_options or {}).get("include_usage"))
            return await stream_events(request, list_chunks(written, asked.model, with_usage=with_usage))
        return web.json_response(make_completion(written, asked.model))


def make_message(written: Written) -> dict:
    """A message in OpenAI's form."""
    message = {"role": "assistant", "content": written.text or None}
    functions = [{"name": c.name, "arguments": json.dumps(c.arguments)} for c in written.calls]
    calls = [
        {"id": call.id, "type": "function", "function": function}
        for call, function in zip(written.calls, functions, strict=True)
    ]
    return message | ({"tool_calls": calls} if calls else {})


def make_completion(written: Written, name: str) -> dict:
    """A whole answer."""
    choice = {"index": 0, "message": make_message(written), "finish_reason": written.finish_reason}
    usage = count_usage(written.prompt_tokens, written.completion_tokens)
    return describe_answer("chat.completion", name) | {"choices": [choice], "usage": usage}


def list_chunks(written: Written, name: str, *, with_usage: bool) -> list[dict]:
    """The same as chunks of a stream: the message, why it ended, and the usage if it is asked for."""
    about, delta = describe_answer("chat.completion.chunk", name), make_message(written)
    for index, call in enumerate(delta.get("tool_calls", [])):
        call["index"] = index
    steps = [(delta, None), ({}, written.finish_reason)]
    chunks = [{"choices": [{"index": 0, "delta": d, "finish_reason": why}]} for d, why in steps]
    if with_usage:
        usage = count_usage(written.prompt_tokens, written.completion_tokens)
        chunks.append({"choices": [], "usage": usage})
    return [about | chunk for chunk in chunks]


@web.middleware
async def answer_errors(request: web.Request, handler: Callable) -> web.StreamResponse:
    """Errors as OpenAI answers them; those of the package are sentences, without a key in them."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        return answer_fault(error.reason, error.status)
    except UnknownUserError as error:
        return answer_fault(str(error), 404)
    except InputError as error:
        return answer_fault(str(error), 400)
    except BudgetReached as error:
        return answer_fault(str(error), 429, kind="insufficient_quota")
    except CallFailed as failure:
        return answer_fault(f"the model gave no usable reply ({failure})", 502, kind="server_error")
    except StudyError as error:
        return answer_fault(str(error), 503, kind="server_error")


async def serve_users(
    profiles: Path,
    model: str,
    *,
    out: Path,
    host: str = "127.0.0.1",
    port: int = 0,
    token_env: str | None = None,
    announce: Callable[[str], object] = print,
) -> None:
    """Serve the users of a file of profiles, written by ``model``, until cancelled.

    ``announce`` gets the address once it listens (``port`` 0: a free one). Conversations are in ``out``.
    InputError for a file without profiles, a host that needs a token, a port or an ``out`` that is taken.
    """
    access = Access(read_token(host, token_env), local=is_local(host))
    known = load_profiles(profiles)
    async with Models(max_concurrency=CONCURRENCY) as models:
        users = ServedUsers(models, model, known)
        runner = web.AppRunner(UserServer(users, Transcripts(out), access).make_app(), access_log=None)
        await runner.setup()
        try:
            address = await listen(runner, host, port)
            announce(f"{len(known):,} users are served at {address}/v1 (transcripts: {out})")
            await wait_for_end()
        finally:
            await runner.cleanup()
            await asyncio.to_thread(models.cache.checkpoint)


async def listen(runner: web.AppRunner, host: str, port: int) -> str:
    """Begin to listen; returns the address. InputError if that cannot be done."""
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as error:
        raise InputError(f"--host {host} --port {port}: {error.strerror}; choose others.") from error
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{runner.addresses[0][1]}"


async def wait_for_end() -> None:
    """Wait for Ctrl-C or SIGTERM."""
    task = asyncio.current_task()
    with suppress(NotImplementedError):  # Windows has no such signals
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    with suppress(asyncio.CancelledError):
        await asyncio.Event().wait()
