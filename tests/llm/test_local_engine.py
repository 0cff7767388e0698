"""The embedded model's engine: its routes' forms on toy tokens, and what is asked of the real one."""

import json
import os
import signal
from itertools import pairwise

import pytest
from conftest import with_models

from realusersim_nb.llm import local_server
from realusersim_nb.llm.cache import Cache
from realusersim_nb.llm.endpoints import EndpointError

routes = pytest.importorskip("realusersim_nb.llm.local_engine.routes")


def test_every_token_begins_at_its_character_also_where_tokens_share_one():
    described = routes.describe_tokens([b"a", b" \xf0\x9f", b"\x8e\x89", b"!"], [None, -1.0, -2.0, -3.0])
    assert described["text_offset"] == [0, 1, 2, 3]  # in "a 🎉!", whose third character two tokens share
    assert described["token_logprobs"] == [None, -1.0, -2.0, -3.0]


@pytest.mark.parametrize("begin, end", routes.CALL_MARKS)
def test_tool_call_is_read_with_and_without_its_marks(begin, end):
    message = routes.read_tool_call(f'Yes. {begin}{{"name": "find", "arguments": {{"id": "7"}}}}{end}')
    assert message["content"] == "Yes."
    [call] = message["tool_calls"]
    assert (call["function"]["name"], json.loads(call["function"]["arguments"])) == ("find", {"id": "7"})


@pytest.mark.parametrize("text", ["No call.", '{"name": "find", "arguments": {"id": '])
def test_reply_without_a_whole_tool_call_is_a_text(text):
    assert routes.read_tool_call(text) == {"content": text, "tool_calls": []}


def test_reply_ends_before_the_first_of_its_stop_strings():
    assert routes.cut_at("one. two! three", {"!", "."}) == "one"
    assert routes.cut_at("one", set()) == "one"


def test_live_engine_repeats_itself_and_scores_a_text_in_pieces_as_in_one(tmp_path):
    text = "The capital of France is Paris, and the capital of Italy is Rome."
    cuts = [0, text.index(" is Paris"), text.index(" Italy"), len(text)]

    async def work(models):
        whole = await models.score("embedded", "", text)
        pieces = [await models.score("embedded", text[:a], text[a:b]) for a, b in pairwise(cuts)]
        draws = [await models.ask("embedded", "Name a city.", temperature=0, sample=n) for n in range(2)]
        seeds = {await models.ask("embedded", "Write a short poem.", max_tokens=20, seed=n) for n in range(3)}
        return whole, pieces, draws, seeds

    whole, pieces, draws, seeds = with_models(work, cache=Cache(tmp_path / "replies.sqlite"))
    assert sum(map(len, pieces)) == len(whole) and sum(map(sum, pieces)) == pytest.approx(
        sum(whole), abs=0.01
    )
    assert whole[-3] > -5 and draws[0] == draws[1] and len(seeds) == 3


def test_killed_server_is_one_sentence_and_the_same_call_goes_on(tmp_path):
    async def ask(models):
        return await models.ask("embedded", "Name a city.", temperature=0, max_tokens=5)

    async def kill_and_ask(models):
        await ask(models)
        os.kill(json.loads((folder / "server.json").read_text())["pid"], signal.SIGKILL)
        return await models.ask("embedded", "Name a river.", temperature=0, max_tokens=5)

    folder, cache = local_server.cache_folder() / "server", tmp_path / "replies.sqlite"
    with pytest.raises(EndpointError, match=r"(?s)no answer from model .*log:\nqwen.* is served at"):
        with_models(kill_and_ask, cache=Cache(cache))
    assert with_models(ask, cache=Cache(cache))
