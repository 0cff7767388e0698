"""What endpoints answer to a request that they do not take, and the kind of failure that it is."""

import json
import time
from pathlib import Path

import httpx
import openai
import pytest
from conftest import with_models
from pydantic import BaseModel

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


def test_refusal_of_a_form_that_comes_after_replies_in_a_looser_one_is_asked_again(endpoint):
    """Of two calls that were sent in the form that the server does not know, one is refused late."""

    class Number(BaseModel):
        number: int

    def answer(request):
        if request["response_format"]["type"] != "json_schema":
            return '{"number": 1}'
        time.sleep(0.5 if "late" in str(request["messages"]) else 0)
        return 404, {}, {"error": {"message": "No endpoints found that can handle the requested parameters."}}

    endpoint(answer)

    async def ask(models):
        return await models.run_all([models.ask_json("m", p, Number) for p in ("early", "late")], "calls")

    assert [outcome.result.number for outcome in with_models(ask)] == [1, 1]
