"""Toy data and a mock model. The mock model answers from a script; it is used by tests only."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import sqlalchemy as sql

from realusersim_nb.llm.models import Models
from realusersim_nb.records import Conversation, Message

SAMPLE = Path(__file__).parent.parent / "data" / "sample.jsonl"


def make_conversation(*texts: str, user: str = "u", number: int = 0) -> Conversation:
    """A conversation in which the user says these texts and the assistant says 'ok'."""
    messages = [
        m
        for text in texts
        for m in (Message(role="user", content=text), Message(role="assistant", content="ok"))
    ]
    return Conversation(conversation_id=f"{user}-{number}", user_id=user, messages=messages)


def with_models(work, **settings):
    """The result of ``await work(models)``."""

    async def run():
        async with Models(**settings) as models:
            return await work(models)

    return asyncio.run(run())


class Server(ThreadingHTTPServer):
    request_queue_size = 256  # connections that may come at once


class MockEndpoint:
    """An OpenAI-compatible server on loopback, played by ``reply(request)``.

    It gives a text, an HTTP status, a status with headers and perhaps a body, (a dict) fields of the choice,
    (a list) vectors, or (bytes) the whole body. Unless it ``streams``, it answers a request for a stream in one piece.
    """

    def __init__(self, reply, streams=True):
        self.requests: list[dict] = []
        self.paths: list[str] = []
        self.headers: list = []
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                endpoint.requests.append(request)
                endpoint.paths.append(self.path)
                endpoint.headers.append(self.headers)
                answer = reply(request)
                whole = isinstance(answer, tuple) and len(answer) == 3
                status, headers, body = (
                    answer if whole else make_answer(answer, self.headers["Authorization"])
                )
                content = answer if isinstance(answer, bytes) else body
                content = content if isinstance(content, bytes) else json.dumps(body).encode()
                content = content.replace(b"KEY", endpoint.find_key(self.headers)) if whole else content
                if status == 200 and request.get("stream") and streams and not whole:
                    content = answer if isinstance(answer, bytes) else split_answer(body)
                    headers = {"Content-Type": "text/event-stream"}
                self.send_response(status)
                for name, value in {"Content-Length": str(len(content)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_):
                pass

        self.server = Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, args=[0.02], daemon=True).start()

    @staticmethod
    def find_key(headers) -> bytes:
        """The key of a request, which bad gateways send back."""
        return (headers["Authorization"] or "").removeprefix("Bearer ").encode()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/v1"

    @property
    def models(self) -> Counter:
        return Counter(request["model"] for request in self.requests)


def make_answer(answer, authorization: str) -> tuple[int, dict, dict]:
    """Status, headers and body of what the mock says; errors echo the key, as bad gateways do."""
    status, headers = (
        answer if isinstance(answer, tuple) else (answer if isinstance(answer, int) else 200, {})
    )
    if status != 200:
        return status, headers, {"error": {"message": f"no, {authorization}"}}
    if isinstance(answer, bytes):
        return 200, headers, {}
    if isinstance(answer, list):
        rows = [{"index": i, "embedding": point} for i, point in enumerate(answer)]
        return 200, headers, {"data": rows[::-1], "usage": {"prompt_tokens": 10}}
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": answer}}
    if isinstance(answer, dict):
        choice |= answer
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
    about = {"id": "x", "object": "chat.completion", "model": "mock"}
    return 200, headers, about | {"choices": [choice], "usage": usage}


def split_answer(body: dict) -> bytes:
    """The same as server-sent events, a word at a time."""
    [choice] = body["choices"]
    words = [
        {"choices": [{"delta": {"content": f"{word} "}}]} for word in choice["message"]["content"].split(" ")
    ]
    words[-1]["choices"][0]["delta"]["content"] = words[-1]["choices"][0]["delta"]["content"][:-1]
    ends = [
        {"choices": [{"delta": {}, "finish_reason": choice["finish_reason"]}]},
        {"choices": [], "usage": body["usage"]},
    ]
    return (
        b"".join(b"data: %s\n\n" % json.dumps(part).encode() for part in [*words, *ends])
        + b"data: [DONE]\n\n"
    )


@pytest.fixture(scope="session")
def postgres(tmp_path_factory):
    """URL of a real PostgreSQL server, started for the tests on a socket of its own."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not programs:
        pytest.skip("no PostgreSQL here (Debian: apt-get install postgresql)")
    folder = tmp_path_factory.mktemp("postgres", numbered=True)
    owner = "postgres" if os.geteuid() == 0 else None  # PostgreSQL does not run as root
    for path in (folder, *folder.parents[:3]):  # of a worker of pytest-xdist too
        path.chmod(0o755)
    if owner:
        shutil.chown(folder, owner)
    options = {"cwd": folder, "user": owner, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run(
        [programs[-1] / "initdb", "-D", folder / "data", "-U", "tester", "-A", "trust"], check=True, **options
    )
    command = [
        programs[-1] / "postgres",
        "-D",
        folder / "data",
        "-k",
        folder,
        "-c",
        "listen_addresses=",
        "-c",
        "max_connections=300",
    ]
    server = subprocess.Popen(command, **options)
    url = f"postgresql+psycopg://tester@/postgres?host={folder}"
    for _ in range(600):
        try:
            sql.create_engine(url).connect().close()
            break
        except sql.exc.OperationalError:
            time.sleep(0.1)
    yield url
    server.send_signal(signal.SIGINT)  # does not wait for clients to leave
    server.wait()


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request, tmp_path):
    """Where an empty cache can be: a file, or a database of a real server."""
    if request.param == "sqlite":
        return str(tmp_path / "deep" / "replies.sqlite")
    url = sql.make_url(request.getfixturevalue("postgres"))
    name = f"t{time.time_ns()}"
    with sql.create_engine(url, isolation_level="AUTOCOMMIT").connect() as connection:
        connection.execute(sql.text(f"CREATE DATABASE {name}"))
    return url.set(database=name).render_as_string(hide_password=False)


@pytest.fixture
def replies_at(tmp_path):
    """Where the replies of a test are kept; modules on model calls ask for both kinds of ``place``."""
    return str(tmp_path / "replies.sqlite")


@pytest.fixture
def endpoint(monkeypatch, replies_at):
    """``endpoint(reply)`` starts a mock endpoint that OPENAI_BASE_URL then points to."""
    started = []

    def start(reply, **options):
        mock = MockEndpoint(reply, **options)
        started.append(mock)
        monkeypatch.setenv("OPENAI_BASE_URL", mock.url)
        monkeypatch.setenv("OPENAI_API_KEY", "key-of-the-test")
        monkeypatch.setenv("REALUSERSIM_CACHE", replies_at)
        return mock

    yield start
    for mock in started:
        mock.server.shutdown()


@pytest.fixture
def quick(monkeypatch):
    """Waits a hundred times shorter."""
    sleep = asyncio.sleep
    monkeypatch.setattr(asyncio, "sleep", lambda seconds, *rest: sleep(seconds / 100, *rest))
