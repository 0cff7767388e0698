"""Calling models: every reply is kept before it is used, and every failure has a reason."""

import asyncio
import json

import pytest
from pydantic import BaseModel

from realusersim_nb import endpoints, llm


class Colour(BaseModel):
    colour: str


def ask(*arguments, models=None, **settings):
    """One reply of the mock endpoint, as notebooks ask for it."""

    async def run():
        async with models or llm.Models() as those:
            return await those.ask(*arguments, **settings)

    return asyncio.run(run())


def test_reply_comes_as_text_or_as_the_schema(endpoint):
    endpoint(lambda request: '{"colour": "red"}' if "response_format" in request else " red ")
    assert ask("m", "which?") == "red"
    assert ask("m", "which?", Colour) == Colour(colour="red")


def test_second_ask_is_answered_from_the_cache(endpoint):
    mock = endpoint(lambda request: "red")
    assert ask("m", "which?") == ask("m", "which?") == "red"
    assert len(mock.requests) == 1


@pytest.mark.parametrize("other", [{"seed": 1}, {"temperature": 0.1}, {"sample": 1}, {"max_tokens": 9}])
def test_whatever_decides_the_reply_is_in_the_key(endpoint, other):
    mock = endpoint(lambda request: "red")
    ask("m", "which?")
    ask("m", "which?", **other)
    assert len(mock.requests) == 2


def test_usage_counts_live_cached_and_failed(endpoint):
    endpoint(lambda request: "" if "empty" in request["messages"][0]["content"] else "red")

    async def run():
        async with llm.Models() as models:
            await models.ask("m", "which?")
            await models.ask("m", "which?")
            with pytest.raises(llm.CallFailed, match="empty reply"):
                await models.ask("m", "empty")
            return models.usage

    usage = asyncio.run(run())
    assert (usage.live, usage.cached, usage.failed) == (2, 1, 1)
    assert (usage.prompt_tokens, usage.completion_tokens) == (20, 10)


@pytest.mark.parametrize(
    ("text", "reason"), [('{"colour"', "not a Colour"), ("{}", "Field required"), ("red", "Invalid JSON")]
)
def test_reply_that_does_not_fit_is_a_failure_with_its_reason(endpoint, text, reason):
    endpoint(lambda request: text)
    with pytest.raises(llm.CallFailed, match=reason):
        ask("m", "which?", Colour)


@pytest.mark.parametrize("status", [401, 403, 404])
def test_refusal_stops_at_once_and_names_model_and_variable(endpoint, status):
    mock = endpoint(lambda request: status)
    with pytest.raises(endpoints.EndpointError, match=r"'m'.*OPENAI_API_KEY"):
        ask("m", "which?")
    assert len(mock.requests) == 1


def test_missing_key_names_the_variable(monkeypatch, tmp_path):
    monkeypatch.setenv("REALUSERSIM_CACHE", str(tmp_path / "r.sqlite"))
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(endpoints.EndpointError, match="OPENAI_API_KEY"):
        ask("m", "which?")


def test_replay_never_calls(endpoint):
    mock = endpoint(lambda request: "red")
    with pytest.raises(endpoints.EndpointError, match="no recorded reply"):
        ask("m", "which?", models=llm.Models(llm_mode="replay"))
    assert not mock.requests


def test_endpoints_yaml_names_address_key_and_price(endpoint, tmp_path, monkeypatch):
    mock = endpoint(lambda request: "red")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "endpoints.yaml").write_text(
        json.dumps({"mine": {"model": "big", "base_url": mock.url, "api_key_env": "MY_KEY", "input_price": 1e5}})
    )
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    monkeypatch.setenv("MY_KEY", "secret-of-the-test")

    async def run():
        async with llm.Models(budget_usd=0.5) as models:
            await models.ask("mine", "which?")
            with pytest.raises(llm.BudgetReached):
                await models.ask("mine", "another?")
            return models.usage.cost_usd

    assert asyncio.run(run()) == 1.0
    assert mock.models == {"big": 1}
    assert b"secret-of-the-test" not in (tmp_path / "replies.sqlite").read_bytes()


def test_unknown_field_in_endpoints_yaml_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "endpoints.yaml").write_text("mine: {url: x}")
    with pytest.raises(ValueError, match=r"endpoints.yaml, 'mine', field 'url'"):
        endpoints.find_endpoint("mine")


def test_run_all_keeps_order_and_raises_what_stops_a_study(endpoint):
    endpoint(lambda request: 401 if request["model"] == "bad" else request["messages"][0]["content"])

    async def run(model):
        async with llm.Models(max_concurrency=3) as models:
            return await models.run_all([models.ask(model, str(i)) for i in range(7)], "t")

    assert asyncio.run(run("m")) == [str(i) for i in range(7)]
    with pytest.raises(endpoints.EndpointError):
        asyncio.run(run("bad"))


def test_prompt_refuses_missing_and_unused_variables_and_never_reads_values():
    with pytest.raises(ValueError, match=r"missing \['words'\], not used \['other'\]"):
        llm.fill_prompt("assistant", other="x")
    assert "$words ${words} {words}" in llm.fill_prompt("assistant", words="$words ${words} {words}")
