"""Servers that people have: whatever one answers is a reply, a failed row or one sentence, and never more."""

import asyncio
import copy
import json
import ssl
import time
from contextlib import suppress
from pathlib import Path

import pytest
import servers
from conftest import with_models
from hypothesis import given, settings
from hypothesis import strategies as st
from servers import CASES, GOOD, KEY, Answer

from realusersim_nb import __main__ as cli
from realusersim_nb.llm import answers, client, endpoints, errors, replies
from realusersim_nb.llm.cache import Cache
from realusersim_nb.llm.models import Models
from realusersim_nb.llm.usage import BudgetReached
from realusersim_nb.simulators.role_breaks import find_role_break


def run_case(case: dict, shown: list[str]) -> list[str]:
    """What became of the calls of a case, each model being called m."""
    return with_models(lambda models: servers.ask_case(models, "m", case, shown))


@pytest.fixture
def serve(endpoint, monkeypatch):
    """``serve(case)`` starts the server of a case; clearing ``bad`` of what it gives heals it."""

    def start(case):
        bad, started = [True], time.monotonic()

        def reply(request):
            seconds = time.monotonic() - started
            return servers.answer(case if bad else None, request, len(mock.requests), seconds)

        mock = endpoint(reply)
        monkeypatch.setenv("OPENAI_API_KEY", "test" if "common word" in case["case"] else KEY)
        mock.bad = bad
        return mock

    return start


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_each_answer_of_a_real_server_ends_as_it_should_and_nothing_wrong_stays(case, serve, quick, capsys):
    mock, shown = serve(case), []
    if words := servers.STOPPED.get(case["case"]):
        with pytest.raises(endpoints.EndpointError, match=words) as stop:
            run_case(case, shown)
        assert KEY not in str(stop.value)
    else:
        assert servers.list_unexpected(case, run_case(case, shown), shown) == []
    mock.bad.clear()
    assert servers.list_unhealed(case, run_case(case, shown)) == []
    assert cli.main(["cache", "stats"]) == 0 and capsys.readouterr().out


# --- what a server may send --------------------------------------------------------------------

FREE = settings(deadline=None, database=None, derandomize=True)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None), max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=6,
)
BODIES = [json.loads(c["body"]) for c in CASES.values() if c["status"] == 200 and c["body"].startswith("{")]


def list_places(value: object, place: tuple = ()) -> list[tuple]:
    """Where in a JSON value something can be put in place of something else."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else []
    return [place, *(inner for key, item in pairs for inner in list_places(item, (*place, key)))]


@st.composite
def change(draw, bodies):
    """The bytes of a body in which one thing is dropped, or replaced by any other, or which is cut off."""
    body = copy.deepcopy(draw(st.sampled_from(bodies)))
    *before, last = draw(st.sampled_from([place for place in list_places(body) if place]))
    inner = body
    for key in before:
        inner = inner[key]
    if draw(st.booleans()):
        inner[last] = draw(JSON)
    else:
        del inner[last]
    text = json.dumps(body)
    text = text[: draw(st.integers(0, len(text)))] if draw(st.integers(0, 5)) == 0 else text
    return draw(st.sampled_from(["", "", "\ufeff", "data: "])) + text


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return Cache(tmp_path_factory.mktemp("cache") / "r.sqlite")


@settings(FREE, max_examples=120)
@given(text=change(BODIES), number=st.integers(0, 10**9))
def test_any_answer_is_a_reply_that_can_be_kept_or_a_failure(cache, text, number):
    about = {"key": f"k{number}", "model": "m"}
    with cache.engine.begin() as connection:
        for table in ("replies", "checks"):
            connection.exec_driver_sql(f"DELETE FROM {table}")
    other = replies.Reply(key="other", model="m", text="red")
    try:
        reply = answers.read_completion(text, about, 7)
    except errors.CallFailed as failure:
        assert failure.kind in errors.FailureKind.__args__
        return
    assert cache.put([reply, other]) == [reply, other] == Cache(cache.name).get([f"k{number}", "other"])
    assert 0 < reply.prompt_tokens <= 10**7 and 0 < reply.completion_tokens <= 10**7
    for parse in (
        replies.parse_text,
        lambda reply: replies.parse_json(reply, Answer),
        replies.parse_tool_calls,
    ):
        with suppress(errors.CallFailed):
            parse(reply)


@settings(FREE)
@given(text=change([b for b in BODIES if "data" in b]))
def test_any_answer_with_embeddings_is_finite_vectors_of_one_width_or_a_failure(text):
    try:
        reply = answers.read_embeddings(text, {"key": "k", "model": "e"}, 4)
    except errors.CallFailed:
        return
    assert replies.parse_embeddings(reply, 4, None).shape[0] == 4


@settings(FREE)
@given(status=st.integers(300, 599), body=JSON, wait=st.text(max_size=5))
def test_any_refusal_is_a_failure(status, body, wait):
    for text in (json.dumps(body), json.dumps({"error": body}), json.dumps([{"error": {"message": body}}])):
        assert errors.read_status(status, text, {"retry-after": wait}).kind in errors.FailureKind.__args__


def test_row_that_the_database_does_not_take_takes_no_other_along(place):
    """Replies are made fit to be kept before; this is the second line."""
    cache = Cache(place)
    with pytest.raises(replies.CacheError, match="a reply cannot be saved"):
        cache.put([replies.Reply(key=str(i), model="m", text="\ud83d" if i == 1 else "x") for i in range(4)])
    assert [reply.key for reply in Cache(place).replies()] == ["0", "2", "3"]


# --- one prompt, or all ------------------------------------------------------------------------

UNKNOWN = (400, {}, json.dumps({"error": {"message": "The text cannot be handled."}}).encode())


def ask_each(prompts: list[str], **options) -> list[str]:
    """What became of these prompts, asked one by one."""

    async def work(models):
        return await models.run_all([models.ask("m", prompt) for prompt in prompts], "t")

    return list(map(str, with_models(work, max_concurrency=1, **options)))


def test_prompts_that_are_refused_in_unknown_words_are_rows_also_in_a_rerun(endpoint):
    endpoint(lambda request: UNKNOWN if "no" in str(request) else "red")
    prompts = ["a", "no 1", "b", "no 2"]
    expected = ["red", "refused: 400 The text cannot be handled."] * 2
    assert ask_each(prompts) == expected == ask_each(prompts)


def test_several_different_prompts_that_are_refused_in_a_row_stop_the_study(endpoint):
    mock = endpoint(lambda request: "red" if len(mock.requests) < 3 else UNKNOWN)
    with pytest.raises(endpoints.EndpointError, match="The text cannot be handled"):
        ask_each([str(i) for i in range(20)])
    assert len(mock.requests) == 2 + client.SEVERAL


def test_refusal_before_any_reply_or_of_a_field_stops_at_once(endpoint):
    mock = endpoint(lambda request: UNKNOWN)
    with pytest.raises(endpoints.EndpointError):
        ask_each(["a", "b"])
    assert len(mock.requests) == 1
    field = (400, {}, b'{"error": {"message": "Unknown field: max_tokens"}}')
    mock = endpoint(lambda request: "red" if len(mock.requests) < 2 else field)
    with pytest.raises(endpoints.EndpointError, match=r"lower max_tokens|omit"):
        ask_each(["a", "b"])


def test_schema_that_is_taken_and_not_kept_is_written_out_after_two_replies(endpoint):
    """37 conversations need 37 replies and a few more."""
    mock = endpoint(lambda request: GOOD if "schema" in request["messages"][-1]["content"] else "hello")

    async def work(models):
        return await models.run_all([models.ask_json("m", str(i), Answer) for i in range(37)], "t")

    assert set(map(str, with_models(work, max_concurrency=1))) == {"answer='fine'"}
    assert len(mock.requests) <= 40


def test_calls_without_usage_count_against_the_budget(serve, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "endpoints.yaml").write_text("m: {input_price: 10000, output_price: 0}")
    serve(CASES["no usage, a budget given"])
    with pytest.raises(BudgetReached):
        ask_each([f"{i:040}" for i in range(20)], budget_usd=3.0)


# --- time and size -----------------------------------------------------------------------------


def start_raw(write) -> "asyncio.Server":
    """A server that answers any request by ``await write(writer)``."""

    async def handle(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        with suppress(OSError):
            await write(writer)
        writer.close()

    return asyncio.start_server(handle, "127.0.0.1", 0)


def ask_raw(write, tmp_path, monkeypatch, **fields) -> str:
    """What becomes of a call that such a server answers."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)

    async def run():
        async with await start_raw(write) as server:
            address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
            entry = {"base_url": address, "max_retries": 0, **fields}
            (tmp_path / "endpoints.yaml").write_text(json.dumps({"m": entry}))
            async with Models(cache=str(tmp_path / "r.sqlite")) as models:
                [outcome] = await models.run_all([models.ask("m", "which?")], "t")
                return str(outcome)

    return asyncio.run(run())


def test_server_that_drips_times_out_as_a_whole(tmp_path, monkeypatch):
    async def drip(writer):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        while True:
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.05)

    started = time.monotonic()
    assert ask_raw(drip, tmp_path, monkeypatch, timeout_seconds=0.5).startswith("timeout: ")
    assert time.monotonic() - started < 5


def test_answer_without_end_is_a_failed_row(tmp_path, monkeypatch):
    async def flood(writer):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")
        while True:
            writer.write(b" " * 2**16)
            await writer.drain()

    monkeypatch.setattr(client, "MOST_BYTES", 2**20)
    assert ask_raw(flood, tmp_path, monkeypatch).startswith("invalid: the answer has more than")


def test_endpoint_that_asks_for_no_wait_again_and_again_is_given_time():
    waits = [
        client.find_wait(errors.CallFailed("throttled", "", retry_after=0.0), tries) for tries in range(8)
    ]
    assert waits[:2] == [0, 0] and sum(waits) > 30
    assert client.find_wait(errors.CallFailed("throttled", "", retry_after=60.0), 4) == 60


# --- surroundings ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "called"),
    [
        (' "http://h:8000/v1/" \n', "http://h:8000/v1"),
        ("localhost:11434/v1", "http://localhost:11434/v1"),
        ("10.0.0.7:8000/v1", "http://10.0.0.7:8000/v1"),
        ("api.example.org/v1", "https://api.example.org/v1"),
        ("https://api.example.org/v1/chat/completions", "https://api.example.org/v1"),
        (
            "https://x.openai.azure.com/openai/deployments/d/chat/completions?api-version=2024-10-21",
            "https://x.openai.azure.com/openai/deployments/d?api-version=2024-10-21",
        ),
    ],
)
def test_address_is_called_as_it_is_meant(written, called):
    assert endpoints.clean_address(written) == called


def test_azure_gets_its_query_and_its_header(endpoint, monkeypatch):
    mock = endpoint(lambda request: "red")
    monkeypatch.setenv("OPENAI_BASE_URL", f"{mock.url}/chat/completions?api-version=2024-10-21")
    assert ask_each(["a"]) == ["red"]
    assert mock.paths == ["/v1/chat/completions?api-version=2024-10-21"]
    assert mock.headers[0]["api-key"] == "key-of-the-test"


@pytest.mark.parametrize("key", [f"{KEY}\n", f' "{KEY}" '])
def test_key_is_taken_without_what_was_pasted_around_it_and_never_from_netrc(
    endpoint, monkeypatch, tmp_path, key
):
    mock = endpoint(lambda request: "red")
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login u password p\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("OPENAI_API_KEY", key)
    assert ask_each(["a"]) == ["red"] and mock.headers[0]["Authorization"] == f"Bearer {KEY}"


def test_key_that_cannot_be_one_is_a_sentence_without_it(endpoint, monkeypatch):
    endpoint(lambda request: "red")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-abc\ndef")
    with pytest.raises(endpoints.EndpointError, match="OPENAI_API_KEY holds spaces, line breaks") as stop:
        ask_each(["a"])
    assert "sk-abc" not in str(stop.value)


def test_key_that_is_pasted_in_place_of_a_variable_is_not_shown(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "endpoints.yaml").write_text("m: {api_key_env: gsk_abc123DEF456}")
    with pytest.raises(endpoints.EndpointError, match=r"'api_key_env': .*not the name of an env") as stop:
        endpoints.find_endpoint("m")
    assert "gsk_abc" not in str(stop.value)


def test_secrets_are_hidden_in_messages_however_they_are_written(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-a/b+c1234")
    one = endpoints.Endpoint(model="m", base_url="https://h/a1b2c3d4e5f6a7b8c9d0e1f2/v1")
    assert one.hide_key("sk-a/b+c1234 sk-a%2Fb%2Bc1234 sk-a\\/b+c1234") == "*** *** ***"
    assert one.shown == "https://h/***/v1, model 'm'" and one.service == "https://h/***/v1"
    monkeypatch.setenv("OPENAI_API_KEY", "password")
    assert one.hide_key("the password") == "the password"


def test_what_is_wrong_with_an_address_is_known_before_a_notebook_runs(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("OPENAI_BASE_URL", "ftp://h/v1")
    monkeypatch.chdir(Path(__file__).parents[2])
    assert cli.main(["run", "03", "-p", "simulator", "m", "--run-name", "none"]) == 2
    assert "OPENAI_BASE_URL ftp://h/v1" in capsys.readouterr().err and not Path("outputs/none").exists()


def test_fault_of_a_proxy_or_a_certificate_is_not_one_of_the_address(endpoint, monkeypatch):
    mock = endpoint(lambda request: "red")
    monkeypatch.setenv("OPENAI_BASE_URL", mock.url.replace("http:", "https:"))
    with pytest.raises(endpoints.EndpointError, match="SSL_CERT_FILE"):
        ask_each(["a"])
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://models.invalid/v1")
    with pytest.raises(endpoints.EndpointError, match="no_proxy"):
        ask_each(["a"])
    assert issubclass(ssl.SSLCertVerificationError, errors.CAUSES[1][2])


def test_message_that_shows_reasoning_is_a_role_break():
    assert find_role_break(["i want a tent [/THINK]"]) == "thinks aloud"
    assert find_role_break(["i want a tent"]) is None
