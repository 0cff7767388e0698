"""Toy data and a mock model. The mock model answers from a script; it is used by tests only."""

import json
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from realusersim_nb.records import Conversation, Message

SAMPLE = Path(__file__).parent.parent / "data" / "sample.jsonl"


def make_conversation(*texts: str, user: str = "u", number: int = 0) -> Conversation:
    """A conversation in which the user says these texts and the assistant says 'ok'."""
    messages = [
        m for text in texts for m in (Message(role="user", content=text), Message(role="assistant", content="ok"))
    ]
    return Conversation(conversation_id=f"{user}-{number}", user_id=user, messages=messages)


class MockEndpoint:
    """An OpenAI-compatible server on loopback; ``reply(request)`` gives a text or an HTTP status."""

    def __init__(self, reply):
        self.requests: list[dict] = []
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                endpoint.requests.append(request)
                answer = reply(request)
                status, text = (answer, "") if isinstance(answer, int) else (200, answer)
                choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
                usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
                body = {
                    "id": "x",
                    "object": "chat.completion",
                    "created": 0,
                    "model": "mock",
                    "choices": [choice],
                    "usage": usage,
                }
                content = json.dumps(body if status == 200 else {"error": {"message": "no"}}).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/v1"

    @property
    def models(self) -> Counter:
        return Counter(request["model"] for request in self.requests)


@pytest.fixture
def endpoint(monkeypatch, tmp_path):
    """``endpoint(reply)`` starts a mock endpoint that OPENAI_BASE_URL then points to."""
    started = []

    def start(reply):
        mock = MockEndpoint(reply)
        started.append(mock)
        monkeypatch.setenv("OPENAI_BASE_URL", mock.url)
        monkeypatch.setenv("OPENAI_API_KEY", "key-of-the-test")
        monkeypatch.setenv("REALUSERSIM_CACHE", str(tmp_path / "replies.sqlite"))
        return mock

    yield start
    for mock in started:
        mock.server.shutdown()
