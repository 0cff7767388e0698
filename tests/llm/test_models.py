"""Calling models: every reply is kept before it is used, and every failure has a reason."""

import asyncio
import json
import threading
import time
from pathlib import Path

import pytest
from conftest import with_models
from pydantic import BaseModel

from realusersim_nb.llm import endpoints, errors, requests
from realusersim_nb.llm.cache import Cache
from realusersim_nb.llm.errors import list_results
from realusersim_nb.llm.models import Models
from realusersim_nb.llm.usage import BudgetReached
from realusersim_nb.prompts import fill
from realusersim_nb.runs import folders


class Colour(BaseModel):
    colour: str


@pytest.fixture
def replies_at(place):
    """Everything here holds on SQLite and on PostgreSQL."""
    return place


def ask(model, prompt, schema=None, *, models=None, **settings):
    """One reply of the mock endpoint, as notebooks ask for it."""

    async def run():
        async with models or Models() as those:
            if schema:
                return await those.ask_json(model, prompt, schema, **settings)
            return await those.ask(model, prompt, **settings)

    return asyncio.run(run())


def test_reply_comes_as_text_or_as_the_schema(endpoint):
    endpoint(lambda request: '{"colour": "red"}' if "response_format" in request else " red ")
    assert ask("m", "which?") == "red"
    assert ask("m", "which?", Colour) == Colour(colour="red")


@pytest.mark.parametrize("other", [{"seed": 1}, {"temperature": 0.1}, {"sample": 1}, {"max_tokens": 9}])
def test_whatever_decides_the_reply_is_in_the_key(endpoint, other):
    mock = endpoint(lambda request: "red")
    ask("m", "which?")
    ask("m", "which?", **other)
    assert len(mock.requests) == 2


def test_usage_counts_live_cached_and_failed(endpoint):
    endpoint(lambda request: "" if "empty" in request["messages"][0]["content"] else "red")

    async def run():
        async with Models() as models:
            await models.ask("m", "which?")
            await models.ask("m", "which?")
            with pytest.raises(errors.CallFailed, match="empty: the reply has no text"):
                await models.ask("m", "empty")
            return models.usage

    usage = asyncio.run(run())
    assert (usage.live, usage.cached, usage.failed) == (4, 1, 1)  # silence was met with two more tries
    assert (usage.prompt_tokens, usage.completion_tokens) == (40, 20)


def test_missing_key_names_the_variable(monkeypatch, replies_at):
    monkeypatch.setenv("REALUSERSIM_CACHE", replies_at)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(endpoints.EndpointError, match="OPENAI_API_KEY"):
        ask("m", "which?")


def test_replay_never_calls_and_names_the_call_it_misses(endpoint):
    mock = endpoint(lambda request: "red")
    with pytest.raises(
        endpoints.EndpointError, match=r"no recorded reply of model 'm'.*which\?.*call [0-9a-f]{12}"
    ):
        ask("m", "which?", models=Models(llm_mode="replay"))
    assert not mock.requests


def test_recorded_replies_replay_elsewhere(endpoint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    mock = endpoint(lambda request: '{"colour": "red"}' if "response_format" in request else "blue")

    async def run(mode, cache=None):
        run = folders.Run("r", "00_x")
        async with run.open_models(llm_mode=mode, cache=cache) as models:
            found = [await models.ask_json("m", "which?", Colour), await models.ask("m", "which?")]
            run.finish(models)
            return found

    recorded = asyncio.run(run("record"))
    elsewhere = Cache(tmp_path / "elsewhere.sqlite")
    assert elsewhere.load(tmp_path / "outputs" / "r" / "replies.jsonl.gz") == 2
    assert asyncio.run(run("replay", elsewhere)) == recorded == [Colour(colour="red"), "blue"]
    assert len(mock.requests) == 2


def test_the_same_question_asked_at_once_is_one_call(endpoint):
    mock = endpoint(lambda request: time.sleep(0.1) or "red")

    async def run():
        async with Models(max_concurrency=9) as models:
            asked = [models.ask("m", "which?") for _ in range(9)]
            return list_results(await models.run_all(asked, "t")), models.usage

    replies, usage = asyncio.run(run())
    assert replies == ["red"] * 9 and len(mock.requests) == 1
    assert (usage.live, usage.cached) == (1, 8)


def test_when_a_study_stops_the_calls_under_way_are_finished_and_kept(endpoint):
    """One call is rejected while seven others are being answered: those are paid, so they are kept."""
    arrived = threading.Barrier(8)
    mock = endpoint(
        lambda r: arrived.wait(9) < 0 or (401 if r["model"] == "bad" else time.sleep(0.3) or "red")
    )

    def run(models):
        return models.run_all([models.ask("bad" if i == 3 else "m", str(i)) for i in range(8)], "t")

    with pytest.raises(endpoints.EndpointError):
        with_models(run, max_concurrency=8)
    assert len(list(Cache().replies())) == mock.models["m"] == 7


@pytest.mark.parametrize("stop", ["interrupt", "error"])
def test_when_a_study_stops_no_call_that_waits_for_its_turn_begins(endpoint, tmp_path, monkeypatch, stop):
    over = threading.Event()
    mock = endpoint(lambda request: 401 if request["model"] == "bad" else over.wait(9) and "red")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "endpoints.yaml").write_text("m: {max_concurrency: 2}")

    async def run(models):
        names = ["m"] * 7 + ["bad" if stop == "error" else "m"]
        asked = [models.ask(name, str(i)) for i, name in enumerate(names)]
        study = asyncio.create_task(models.run_all(asked, "t"))
        while mock.models["m"] < 2:
            await asyncio.sleep(0.01)
        _ = stop == "interrupt" and study.cancel()
        await asyncio.sleep(0.3)
        over.set()
        with pytest.raises((asyncio.CancelledError, endpoints.EndpointError)):
            await study

    with_models(run, max_concurrency=8)
    assert len(list(Cache().replies())) == mock.models["m"] == 2


# --- endpoints that take no schema --------------------------------------------------------------


def test_endpoint_without_schemas_gets_json_mode_and_one_warning(endpoint, caplog):
    def reply(request):
        if request.get("response_format", {}).get("type") == "json_schema":
            return 400
        return '{"colour": "red"}'

    mock = endpoint(reply)

    async def run():
        async with Models() as models:
            return [await models.ask_json("m", str(i), Colour) for i in range(3)]

    assert asyncio.run(run()) == [Colour(colour="red")] * 3
    kinds = [r["response_format"]["type"] for r in mock.requests]
    assert kinds == ["json_schema", "json_object", "json_object", "json_object"]
    assert '"colour"' in mock.requests[1]["messages"][-1]["content"]
    assert caplog.text.count("structured: json_object") == 1
    assert asyncio.run(run()) == [Colour(colour="red")] * 3
    assert len(mock.requests) == 4  # a rerun asks nothing, not even whether schemas are taken


def test_rejection_that_is_not_about_the_schema_is_told_as_it_was(endpoint):
    endpoint(lambda request: 400)
    with pytest.raises(endpoints.EndpointError, match="refused"):
        ask("m", "which?", Colour)


# --- endpoints.yaml ----------------------------------------------------------------------------


def test_endpoints_yaml_names_address_key_and_price(endpoint, tmp_path, monkeypatch):
    mock = endpoint(lambda request: "red")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "endpoints.yaml").write_text(
        json.dumps(
            {
                "mine": {
                    "model": "big",
                    "base_url": mock.url,
                    "api_key_env": "MY_KEY",
                    "input_price": 1e5,
                    "output_price": 0,
                }
            }
        )
    )
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    monkeypatch.setenv("MY_KEY", "secret-of-the-test")

    async def run():
        async with Models(budget_usd=4.5) as models:
            await models.ask("mine", "which?")
            with pytest.raises(BudgetReached):
                await models.ask("mine", "another?")
            return models.usage.cost_usd

    assert asyncio.run(run()) == 1.0
    assert mock.models == {"big": 1}
    assert not any("secret-of-the-test" in str(reply) for reply in Cache().replies())


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("mine: {url: x}", "'mine', field 'url'"),
        ("mine: {base_url: 'http://u:p@h'}", "a secret in it"),
        ("mine: {max_retries: -1}", "'mine', field 'max_retries'"),
        ("mine: {options: {stream: true}}", "stream cannot be set"),
        ("mine: [", "line 2: not YAML"),
        ("mine: 3", "expected a mapping"),
        ("- mine", "expected a mapping"),
    ],
)
def test_mistake_in_endpoints_yaml_is_one_sentence(tmp_path, monkeypatch, text, sentence):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "endpoints.yaml").write_text(text + "\n")
    with pytest.raises(endpoints.EndpointError, match=f"^endpoints.yaml.*{sentence}"):
        endpoints.find_endpoint("mine")


def test_example_of_endpoints_yaml_is_valid_and_holds_no_key():
    example = Path(__file__).parents[2] / "docs" / "endpoints.example.yaml"
    named = {name.split("-")[0] for name in endpoints.read_endpoints(example)}
    assert {"gpt", "vllm", "ollama", "lmstudio", "openrouter"} <= named


def test_model_that_refuses_temperature_and_wants_to_think_gets_what_endpoints_yaml_says(
    endpoint, tmp_path, monkeypatch
):
    mock = endpoint(lambda request: "red")
    monkeypatch.chdir(tmp_path)
    own = {
        "omit": ["temperature", "seed"],
        "max_tokens_name": "max_completion_tokens",
        "reasoning_tokens": 1000,
    }
    own |= {"options": {"reasoning_effort": "low"}}
    (tmp_path / "endpoints.yaml").write_text(json.dumps({"thinker": own}))
    ask("thinker", "which?", max_tokens=100)
    sent = {name: value for name, value in mock.requests[0].items() if name != "messages"}
    assert sent == {"model": "thinker", "max_completion_tokens": 1100, "reasoning_effort": "low"}


def test_price_comes_from_litellm_when_endpoints_yaml_has_none():
    assert endpoints.find_endpoint("gpt-4o").prices == pytest.approx((2.5, 10))
    assert endpoints.find_endpoint("nobody-knows-me").prices is None


def test_identity_keeps_the_cache_when_an_address_changes():
    one, other = (
        endpoints.Endpoint(model="m", base_url=f"http://{host}/v1", identity="ours") for host in "ab"
    )
    assert requests.request_key(one, {}, 0) == requests.request_key(other, {}, 0)


# --- money -------------------------------------------------------------------------------------


def test_budget_is_never_passed_and_what_is_left_can_go_on(endpoint, tmp_path, monkeypatch):
    """Each call costs $0.10 and can cost $0.34 at most: 7 fit into $1.00, however many ask at once."""
    mock = endpoint(lambda request: "red")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "endpoints.yaml").write_text("mine: {input_price: 10000, output_price: 0}")

    async def run(budget):
        models = Models(max_concurrency=16, budget_usd=budget)
        try:
            async with models:
                asked = [models.ask("mine", f"{i:02}") for i in range(16)]
                return list_results(await models.run_all(asked, "t"))
        finally:
            spent.append(models.usage.cost_usd)

    spent = []
    with pytest.raises(BudgetReached, match="raise it and run again"):
        asyncio.run(run(1.0))
    assert 0.6 < spent[0] <= 0.8 and len(mock.requests) == round(spent[0] / 0.1)
    assert asyncio.run(run(2.0)) == ["red"] * 16
    assert len(mock.requests) == 16


def test_budget_needs_a_price(endpoint):
    endpoint(lambda request: "red")
    with pytest.raises(
        endpoints.EndpointError, match=r"input_price and output_price .* for 'm' in endpoints.yaml"
    ):
        ask("m", "which?", models=Models(budget_usd=1))


def test_budget_of_a_run_with_calls_of_unknown_price_lets_no_call_through(endpoint, tmp_path, monkeypatch):
    mock, calls_file = endpoint(lambda request: "red"), tmp_path / "run" / "01" / "calls.jsonl"
    calls_file.parent.mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert ask("m", "which?", models=Models(calls_file=calls_file)) == "red"
    (tmp_path / "endpoints.yaml").write_text("m: {input_price: 1, output_price: 1}")
    with pytest.raises(BudgetReached, match=r"was unknown.* choose another run_name"):
        ask("m", "and which?", models=Models(calls_file=calls_file, budget_usd=1))
    assert ask("m", "which?", models=Models(calls_file=calls_file, budget_usd=1)) == "red"  # cached
    assert len(mock.requests) == 1


def test_run_all_keeps_order_and_failures_apart_from_results_and_raises_what_stops_a_study(endpoint):
    def answer(request):
        text = request["messages"][0]["content"]
        return 401 if request["model"] == "bad" else "" if text == "3" else text

    endpoint(answer)

    async def run(model):
        async with Models(max_concurrency=3) as models:
            found = await models.run_all([models.ask(model, str(i)) for i in range(7)], "t")
            assert models.last_exchange[0] in map(str, range(7))
            return found

    outcomes = asyncio.run(run("m"))
    assert [o.result for o in outcomes] == ["0", "1", "2", None, "4", "5", "6"]
    assert [o.failure and o.failure.kind for o in outcomes] == [None] * 3 + ["empty"] + [None] * 3
    with pytest.raises(errors.CallFailed, match="empty"):
        list_results(outcomes)
    with pytest.raises(endpoints.EndpointError):
        asyncio.run(run("bad"))


def test_prompt_refuses_missing_and_unused_variables_and_never_reads_values():
    with pytest.raises(ValueError, match=r"missing \['words'\], not used \['other'\]"):
        fill.fill_prompt("assistant", other="x")
    assert "$words ${words} {words}" in fill.fill_prompt("assistant", words="$words ${words} {words}")


def test_score_gives_the_log_probabilities_of_the_continuation_alone_and_asks_once(endpoint):
    def answer(request):
        described = {
            "tokens": ["Hello", ",", " wor", "ld", "!"],  # the last one is written, not of the prompt
            "text_offset": [0, 5, 6, 10, 12],
            "token_logprobs": [None, -1.0, -2.0, -0.5, -9.0],
        }
        choice = {"text": "Hello, world!", "logprobs": described, "finish_reason": "length"}
        usage = {"prompt_tokens": 4, "completion_tokens": 1}
        return json.dumps({"choices": [choice], "usage": usage}).encode()

    async def work(models):
        first = await models.score("m", "Hello,", " world")
        return first, await models.score("m", "Hello,", " world"), models.usage

    server = endpoint(answer)
    first, again, usage = with_models(work)
    assert first == again == [-2.0, -0.5]
    assert (usage.live, usage.cached, usage.prompt_tokens, len(server.requests)) == (1, 1, 4, 1)
    assert server.requests[0]["prompt"] == "Hello, world" and server.requests[0]["echo"]


@pytest.mark.parametrize("answer", [404, "no log-probabilities"])
def test_endpoint_that_gives_no_log_probabilities_of_a_prompt_says_so(endpoint, answer):
    endpoint(lambda request: answer)
    with pytest.raises(endpoints.EndpointError, match=r"no log-probabilities of a prompt.*vLLM does"):
        with_models(lambda models: models.score("m", "a", "b"))
