"""``check``: what a model's server can do, and that a study runs with what it learns."""

import json

import pytest
from conftest import with_models
from servers import VECTOR, Answer, reply

from realusersim_nb import __main__ as cli
from realusersim_nb.llm import endpoints


def refuse(message: str, status: int = 400) -> tuple:
    return status, {}, json.dumps({"error": {"message": message}}).encode()


def speak_strictly(request: dict) -> object:
    """One that takes no more than it must."""
    roles = [message["role"] for message in request.get("messages", [])]
    if "system" in roles:
        return refuse("System role not supported")
    if roles != (["user", "assistant"] * len(roles))[: len(roles)]:
        return refuse("Conversation roles must alternate user/assistant/user/assistant/...")
    if "max_tokens" in request and roles:
        return refuse("'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.")
    if request.get("temperature", 1) != 1:
        return refuse("'temperature' does not support 0.7 with this model.")
    if "seed" in request or "tools" in request:
        named = "seed" if "seed" in request else "tools"
        detail = [
            {"type": "extra_forbidden", "loc": ["body", named], "msg": "Extra inputs are not permitted"}
        ]
        return 422, {}, json.dumps({"detail": detail}).encode()
    if "response_format" in request:
        return refuse("No endpoints that can handle the requested parameters.", 404)
    return (
        refuse("There is nothing here.", 404) if "input" in request or "prompt" in request else reply(request)
    )


STRICT = {
    "structured": "text",
    "max_tokens_name": "max_completion_tokens",
    "omit": ["seed", "temperature"],
    "system_role": False,
    "alternate": True,
}


def ignore_form(request: dict) -> object:
    """One that takes a schema and does not keep to it."""
    return "hello" if "response_format" in request else reply(request)


def think(request: dict) -> object:
    """One that thinks before it replies, and needs room for it."""
    if not request.get("messages") or request.get("tools"):
        return reply(request)
    if request["max_tokens"] < 1000:
        return {"finish_reason": "length", "message": {"content": "<think>A tent"}}
    return f"<think>A tent?</think>{reply(request)}"


SERVERS = {
    "good": (reply, {}),
    "strict": (speak_strictly, STRICT),
    "ignoring": (ignore_form, {"structured": "text"}),
    "thinking": (think, {"reasoning_tokens": 2000}),
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("server", SERVERS)
def test_what_check_writes_lets_a_study_run_without_one_refusal(endpoint, folder, capsys, server):
    answer, needed = SERVERS[server]
    mock = endpoint(answer)
    (folder / "endpoints.yaml").write_text(
        "# ours\nother:\n  model: x  # kept\n\n# mine\nm:\n  input_price: 0\n"
    )
    assert cli.main(["check", "m", "--write"]) == 0
    text = (folder / "endpoints.yaml").read_text(encoding="utf-8")
    assert text.startswith("# ours\nother:\n  model: x  # kept\n\n# mine\nm:\n  input_price: 0")
    written = endpoints.read_endpoints()["m"]
    assert {name: getattr(written, name) for name in needed} == needed
    n = len(mock.requests)

    async def work(models):
        messages = [{"role": "system", "content": "S"}, {"role": "assistant", "content": "hi"}]
        messages.append({"role": "user", "content": "what is a tent?"})
        return await models.ask("m", messages), (await models.ask_json("m", "?", Answer)).answer

    text, answered = with_models(work)
    assert text == "a house of cloth" and answered.startswith("Text ") and len(mock.requests) == n + 2


def read_table(text: str) -> dict[str, str]:
    """The result of each thing that a printed table names."""
    cells = [(line[:24].strip(), line[24:].split()) for line in text.splitlines() if len(line) > 25]
    return {what: words[0] for what, words in cells if words}


def test_table_says_what_works_what_works_otherwise_and_what_does_not(endpoint, folder, capsys):
    endpoint(reply)
    cli.main(["check", "m"])
    table = read_table(capsys.readouterr().out)
    assert {what for what, result in table.items() if result != "ok"} == {"price"} and len(table) == 19
    endpoint(speak_strictly)
    cli.main(["check", "m"])
    table = read_table(capsys.readouterr().out)
    otherwise = {what for what, result in table.items() if result == "other"}
    assert otherwise == {"system role", "roles", "temperature", "seed repeats"}
    missing = {what for what, result in table.items() if result == "no"}
    assert missing == {"JSON by schema", "JSON mode", "tools", "prompt log-probabilities", "embeddings"}


def test_embedder_is_usable_and_a_wrong_key_address_or_model_is_named(
    endpoint, folder, capsys, quick, monkeypatch
):
    endpoint(lambda request: [VECTOR] * 2 if "input" in request else 404)
    assert cli.main(["check", "e"]) == 0
    assert read_table(capsys.readouterr().out)["embeddings"] == "ok"
    for answer, faulty in ((401, "key"), (b"<html>", "address"), (refuse("no such model m", 404), "chat")):
        endpoint(lambda request, answer=answer: answer)
        assert cli.main(["check", "m"]) == 1
        assert read_table(capsys.readouterr().out)[faulty] == "no"
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    assert cli.main(["check", "m"]) == 1
    assert read_table(capsys.readouterr().out)["address"] == "no"
