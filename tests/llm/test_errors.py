"""Faults: each is recognised, retried where that helps, and otherwise a failure with its kind."""

import asyncio
import sys
import threading
import time
from pathlib import Path

import pytest
from pydantic import BaseModel, Field

from realusersim_nb.llm import client, endpoints, errors, local_server
from realusersim_nb.llm.errors import list_results
from realusersim_nb.llm.models import Models
from realusersim_nb.llm.replies import Reply, parse_json
from realusersim_nb.parallel import limits

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
from endpoint import FAULTS, start_endpoint  # the endpoint that answers badly


class Colour(BaseModel):
    colour: str


class Number(BaseModel):
    number: int = Field(ge=0)


@pytest.fixture
def replies_at(place):
    """Everything here holds on SQLite and on PostgreSQL."""
    return place


def ask(model, prompt, schema=None, **settings):
    async def run():
        async with Models() as models:
            if schema:
                return await models.ask_json(model, prompt, schema, **settings), models.usage
            return await models.ask(model, prompt, **settings), models.usage

    return asyncio.run(run())


def script(*answers):
    """A reply function that gives these one after another, the last for ever."""
    left = list(answers)
    return lambda request: left.pop(0) if len(left) > 1 else left[0]


# --- replies that cannot be used ---------------------------------------------------------------

RED = '{"colour": "red"}'


@pytest.mark.parametrize(
    "text",
    [
        RED,
        f"```json\n{RED}\n```",
        f"Here it is: {RED} I hope it helps.",
        f"<think>{{a}}</think>{RED}",
        f"{{}}</think>{RED}",
    ],
)
def test_form_is_found_in_fences_sentences_and_after_thinking(text):
    assert parse_json(Reply(key="", model="m", text=text), Colour) == Colour(colour="red")


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        ({"text": ""}, "empty"),
        ({"text": "<think>Hm</think> "}, "reasoning"),
        ({"text": "<think>Hm"}, "reasoning"),
        ({"text": "", "reasoning": "Hm"}, "reasoning"),
        ({"text": "Red, I think"}, "prose"),
        ({"text": "{}"}, "invalid"),
        ({"text": '{"colour": "r', "finish_reason": "length"}, "truncated"),
        ({"text": "", "refusal": "No"}, "refused"),
        ({"text": RED, "finish_reason": "content_filter"}, "refused"),
        ({"text": "{" * 3000}, "invalid"),
    ],
)
def test_unusable_reply_has_its_kind(reply, kind):
    with pytest.raises(errors.CallFailed) as failure:
        parse_json(Reply(key="", model="m", **reply), Colour)
    assert failure.value.kind == kind and str(failure.value).startswith(f"{kind}: ")


def test_cut_off_reply_gets_twice_the_room(endpoint):
    cut = {"finish_reason": "length", "message": {"content": '{"colour": "r'}}
    mock = endpoint(lambda request: RED if request["max_tokens"] == 800 else cut)
    assert ask("m", "which?", Colour, max_tokens=400)[0] == Colour(colour="red")
    assert [r["max_tokens"] for r in mock.requests] == [400, 800]


def test_silence_is_met_with_another_seed(endpoint):
    mock = endpoint(script("", "red"))
    assert ask("m", "which?", seed=3)[0] == "red"
    assert mock.requests[0]["seed"] == 3 != mock.requests[1]["seed"]


def test_reply_of_the_wrong_form_is_sent_back_once_with_what_is_wrong(endpoint):
    mock = endpoint(lambda request: "I say red")
    with pytest.raises(errors.CallFailed, match="prose: the reply is not a Colour"):
        ask("m", "which?", Colour)
    assert len(mock.requests) == 2
    assert [m["role"] for m in mock.requests[1]["messages"]] == ["user", "assistant", "user"]
    assert "not a Colour" in mock.requests[1]["messages"][-1]["content"]


def test_refusal_stands(endpoint):
    mock = endpoint(lambda request: {"message": {"content": None, "refusal": "I will not."}})
    with pytest.raises(errors.CallFailed, match="refused: I will not"):
        ask("m", "which?", Colour)
    assert len(mock.requests) == 1


def test_unusable_replies_are_cached_too_so_a_rerun_pays_nothing_and_finds_the_same(endpoint):
    mock = endpoint(script("", "", "red"))
    assert ask("m", "which?")[0] == "red"
    reply, usage = ask("m", "which?")
    assert (reply, usage.live, usage.cached, len(mock.requests)) == ("red", 0, 3, 3)


# --- faults of the wire ------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [408, 409, 500, 502, 503, 529, (429, {"Retry-After": "0.1"}), (429, {})])
def test_passing_faults_are_retried(endpoint, quick, fault):
    mock = endpoint(script(fault, fault, "red"))
    reply, usage = ask("m", "which?")
    assert (reply, len(mock.requests), usage.live, usage.retried) == ("red", 3, 1, 2)


def test_fault_that_stays_is_a_row_of_its_kind(endpoint, quick):
    endpoint(lambda request: 500)
    with pytest.raises(errors.CallFailed, match="server: 500 no"):
        ask("m", "which?")


def test_retry_after_is_read_as_seconds_and_as_a_date():
    assert errors.read_retry_after("1.5") == 1.5
    assert errors.read_retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0
    assert errors.read_retry_after("soon") is errors.read_retry_after(None) is None


REMEDIES = [
    (400, "OPENAI_API_KEY"),
    (401, "OPENAI_API_KEY"),
    (402, "account"),
    (404, "/v1"),
    (301, "address"),
]


@pytest.mark.parametrize(("status", "remedy"), REMEDIES)
def test_rejection_stops_at_once_names_what_to_check_and_hides_the_key(endpoint, status, remedy):
    mock = endpoint(lambda request: status)
    with pytest.raises(endpoints.EndpointError, match=rf"127.0.0.1.*'m'.*{remedy}") as stop:
        ask("m", "which?")
    assert len(mock.requests) == 1
    assert "key-of-the-test" not in str(stop.value) and "***" in str(stop.value)


def test_unreachable_host_stops_soon_with_its_address(endpoint, monkeypatch, quick):
    endpoint(lambda request: "red")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    with pytest.raises(
        endpoints.EndpointError, match=r"http://127.0.0.1:9/v1, model 'm': nobody answers there"
    ):
        ask("m", "which?")


def test_wait_of_hours_stops_with_a_sentence(endpoint):
    mock = endpoint(lambda request: (429, {"Retry-After": "7200"}))
    with pytest.raises(endpoints.EndpointError, match="asks to wait"):
        ask("m", "which?")
    assert len(mock.requests) == 1


# --- limits ------------------------------------------------------------------------------------


def make_calls(
    limiter: limits.RateLimiter, n: int, *, tokens: int = 1, seconds: float = 0.0
) -> tuple[float, int]:
    """Time that n calls take through a rate limiter, and the most that were in flight at once."""
    most = in_flight = 0

    async def call():
        nonlocal most, in_flight
        async with limiter.enter(tokens):
            in_flight += 1
            most = max(most, in_flight)
            await asyncio.sleep(seconds)
            in_flight -= 1
        limiter.note_reply()

    async def run():
        await asyncio.gather(*(call() for _ in range(n)))

    started = time.monotonic()
    asyncio.run(run())
    return time.monotonic() - started, most


def test_limiter_holds_calls_in_flight_below_both_limits():
    three = endpoints.Endpoint(model="m", max_concurrency=3)
    for asked, most in ((8, 3), (2, 2)):
        limiter = client.Connection(three, asked, print).limiter
        assert make_calls(limiter, 20, seconds=0.01)[1] == most


@pytest.mark.parametrize(
    ("limit", "tokens"), [({"requests_per_minute": 1200}, 1), ({"tokens_per_minute": 120_000}, 100)]
)
def test_limiter_holds_the_rate(limit, tokens):
    """20 requests, or 2,000 tokens, a second: of 30 calls the first second's worth goes at once."""
    seconds, _ = make_calls(limits.RateLimiter(64, **limit), 30, tokens=tokens)
    assert 0.4 < seconds < 3


def test_429_pauses_all_calls_halves_them_and_replies_bring_them_back():
    limiter = limits.RateLimiter(8)
    make_calls(limiter, 8)

    async def throttle():
        limiter.note_throttled(0.2)
        limiter.note_throttled(0.1)  # of the same burst: counts once

    asyncio.run(throttle())
    assert limiter.slots.total_tokens == 4
    seconds, most = make_calls(limiter, 60, seconds=0.001)
    assert seconds > 0.15 and 4 <= most <= 8
    assert limiter.slots.total_tokens == 8


def test_endpoint_that_throttles_gets_what_it_bears_and_every_call_is_answered(endpoint):
    """A server that bears 4 calls at once and answers 429 to the rest."""
    under_way = threading.Semaphore(4)

    def reply(request):
        if not under_way.acquire(blocking=False):
            return (429, {"Retry-After": "0.05"})
        time.sleep(0.01)
        under_way.release()
        return "red"

    endpoint(reply)

    async def run():
        async with Models(max_concurrency=16) as models:
            outcomes = await models.run_all([models.ask("m", str(i)) for i in range(60)], "t")
            return list_results(outcomes), models.usage

    replies, usage = asyncio.run(run())
    assert replies == ["red"] * 60 and usage.live == 60 and usage.retried > 0


# --- all of them -------------------------------------------------------------------------------


def test_with_a_fifth_of_all_answers_bad_every_call_ends_as_a_reply_or_a_failure(
    monkeypatch, tmp_path, quick, replies_at
):
    """20% faults of every kind, from a server in a process of its own."""
    monkeypatch.setenv("REALUSERSIM_CACHE", replies_at)
    monkeypatch.setenv("OPENAI_API_KEY", "key-of-the-test")
    monkeypatch.chdir(tmp_path)
    n = 400

    async def attempt(models, i):
        try:
            return (await models.ask_json("flaky", f"question {i}", Number)).number
        except errors.CallFailed as failure:
            return failure.kind

    async def run():
        async with Models(max_concurrency=32) as models:
            outcomes = await models.run_all([attempt(models, i) for i in range(n)], "t")
            return list_results(outcomes), models.usage

    with start_endpoint(fault_rate=0.2, log=tmp_path / "log") as url:
        (tmp_path / "endpoints.yaml").write_text(f"flaky: {{base_url: '{url}', timeout_seconds: 1}}")
        results, usage = asyncio.run(run())
        again, usage_again = asyncio.run(run())
    failed = [r for r in results if isinstance(r, str)]
    assert set(failed) <= set(errors.FailureKind.__args__) and len(failed) == usage.failed < n / 10
    log = (tmp_path / "log").read_text(encoding="utf-8")
    assert all(f'"fault": "{fault}"' in log for fault in FAULTS)
    assert usage.live + usage.retried + usage_again.live + usage_again.retried == len(log.splitlines())
    assert all(r == a for r, a in zip(results, again, strict=True) if not isinstance(r, str))


# --- embeddings --------------------------------------------------------------------------------


def embed(texts):
    async def run():
        async with Models() as models:
            return (await models.embed("e", texts)).tolist()

    return asyncio.run(run())


GOOD, NAN = [[1.0, 2.0], [3.0, 4.0]], float("nan")


@pytest.mark.parametrize(
    "wrong",
    [GOOD[:1], GOOD + GOOD[:1], [[1.0], [2.0, 3.0]], [[], []], [[1.0, NAN], [1.0, 2.0]], [[[1.0]]] * 2],
)
def test_embeddings_of_a_wrong_number_width_or_value_are_a_sentence_and_not_kept(endpoint, wrong):
    mock = endpoint(script(wrong, GOOD))
    with pytest.raises(endpoints.EndpointError, match=r"no embeddings of texts 1 to 2 \(invalid: "):
        embed(["a", "b"])
    assert embed(["a", "b"]) == GOOD and len(mock.requests) == 2


def test_embeddings_of_another_width_than_those_of_other_texts_are_not_kept(endpoint):
    """Also where those others come from an earlier run."""
    texts = [str(i) for i in range(66)]
    first, narrow, good = [[1.0, 2.0]] * 64, [[1.0]] * 2, GOOD
    left = [narrow, narrow, good]
    mock = endpoint(lambda request: first if len(request["input"]) == 64 else time.sleep(0.1) or left.pop(0))
    for _ in range(2):
        with pytest.raises(
            endpoints.EndpointError, match=r"texts 65 to 66 .*1 numbers a text, where others have 2"
        ):
            embed(texts)
    assert embed(texts) == first + good and len(mock.requests) == 4


# --- connections -------------------------------------------------------------------------------


@pytest.fixture
def proxy(endpoint, monkeypatch):
    """A mock endpoint that the environment names as the proxy of all addresses."""
    mock = endpoint(lambda request: "by proxy")
    monkeypatch.setenv("http_proxy", mock.url.removesuffix("/v1"))
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return mock


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_loopback_goes_through_no_proxy(proxy, endpoint, monkeypatch, host):
    monkeypatch.setenv("OPENAI_BASE_URL", endpoint(lambda request: "red").url.replace("127.0.0.1", host))
    assert ask("m", "which?")[0] == "red" and not proxy.requests


def test_other_addresses_go_through_the_proxy_of_the_environment(proxy, monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", "http://models.invalid/v1")
    assert ask("m", "which?")[0] == "by proxy" and len(proxy.requests) == 1


def test_loopback_is_127_8_the_same_of_ipv6_and_localhost():
    loopback = ["127.0.0.1", "127.9.9.9", "[::1]", "localhost"]
    other = ["10.0.0.1", "0.0.0.0", "localhost.example.org", "models.invalid", "[2001:db8::1]"]
    assert [client.is_loopback(f"http://{host}:80/v1") for host in loopback + other] == [True] * 4 + [
        False
    ] * 5


def test_loopback_server_is_found_without_the_proxy(proxy, tmp_path):
    """The server of the embedded model: nothing answers GET there, and the proxy is not asked."""
    (tmp_path / "server.json").write_text('{"url": "http://127.0.0.1:9"}')
    assert local_server.find_server(tmp_path) is None and not proxy.requests


@pytest.mark.parametrize("address", ["127.0.0.1:8000/v1", "models/v1", "http://[1/v1", "ftp://127.0.0.1/v1"])
def test_wrong_address_is_one_sentence(endpoint, monkeypatch, address):
    endpoint(lambda request: "red")
    monkeypatch.setenv("OPENAI_BASE_URL", address)
    with pytest.raises(
        endpoints.EndpointError, match=r"model 'm': .*; (correct the address|check the (name|address))"
    ):
        ask("m", "which?")


def test_connections_are_as_many_as_calls_in_flight(endpoint):
    """The transport's default is 100; here each of 120 calls waits until all have arrived."""
    arrived = threading.Barrier(120)
    endpoint(lambda request: "red" if arrived.wait(60) is not None else "")

    async def run():
        async with Models(max_concurrency=120) as models:
            return list_results(await models.run_all([models.ask("m", str(i)) for i in range(120)], "t"))

    assert asyncio.run(run()) == ["red"] * 120


ANSWERS = [b'{"choices": [', b"[]", b'{"error": {"message": "busy"}}', b"\xff", b'{"choices": []}']


@pytest.mark.parametrize("body", ANSWERS)
def test_answer_200_without_a_completion_is_a_failed_call(endpoint, quick, body):
    endpoint(lambda request: body)
    with pytest.raises(errors.CallFailed, match=r"(disconnected: no reply in the answer|server: 500 busy)"):
        ask("m", "which?")


@pytest.mark.parametrize(
    "body",
    [b"data: <html>\n\n", b"data: [1]\n\n", b"data: \xff\n\n", b'data: {"error": {"message": "busy"}}\n\n'],
)
def test_stream_without_a_completion_is_a_failed_call(endpoint, quick, body):
    endpoint(lambda request: body)
    with (
        client.watch_replies(print),
        pytest.raises(errors.CallFailed, match=r"disconnected: |server: 500 busy"),
    ):
        ask("m", "which?")


def test_whole_answer_to_a_request_for_a_stream_is_used_and_not_paid_again(endpoint):
    mock = endpoint(lambda request: {"message": {"content": "red"}}, streams=False)
    with client.watch_replies(print):
        assert ask("m", "which?")[0] == "red"
    assert [request.get("stream") for request in mock.requests] == [True]


def test_defect_inside_a_call_keeps_its_own_exception(endpoint, monkeypatch):
    endpoint(lambda request: "red")

    async def send(*arguments, **options):
        raise ZeroDivisionError

    monkeypatch.setattr(client.DefaultAioHttpClient, "send", send)
    with pytest.raises(ZeroDivisionError):
        ask("m", "which?")
