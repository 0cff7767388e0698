"""What endpoints answer to a request that they do not take, and the kind of failure that it is."""

import json
from pathlib import Path

import httpx
import openai
import pytest

from realusersim_nb.llm import errors

LINES = Path(__file__).with_name("refusals.jsonl").read_text(encoding="utf-8").splitlines()
ANSWERS = [json.loads(line) for line in LINES]


@pytest.mark.parametrize("answer", ANSWERS, ids=[answer["server"] for answer in ANSWERS])
def test_only_a_prompt_that_is_too_long_or_not_wanted_is_a_row(answer):
    response = httpx.Response(answer["status"], text=answer["body"])
    client = httpx.Client(transport=httpx.MockTransport(lambda request: response))
    bare = openai.OpenAI(api_key="any", max_retries=0, http_client=client)
    with pytest.raises(openai.APIStatusError) as problem:
        bare.post("/chat/completions", cast_to=object)
    assert errors.read_fault(problem.value).kind == answer["kind"]
