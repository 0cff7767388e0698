"""Answers of servers that people have, the calls that get them, and what should become of each call."""

import json
from pathlib import Path

from endpoint import fill
from pydantic import BaseModel

from realusersim_nb.llm import client
from realusersim_nb.llm.models import Models

LINES = (Path(__file__).with_name("llm") / "servers.jsonl").read_text(encoding="utf-8").splitlines()
CASES = {case["case"]: case for case in map(json.loads, LINES)}
KEY = "sk-abc/1234-of-the-test"
GOOD, FINE = '{"answer": "fine"}', "answer='fine'"
VECTORS = [[1.0, 2.0]] * 4
TOOL = {"type": "function", "function": {"name": "get_user", "parameters": {"type": "object"}}}
PROMPT = "BAD"  # in the one prompt of many that is refused
VECTOR = [1.0, 2.0, 3.0]
CALL = {"id": "1", "type": "function", "function": {"name": "find_weather", "arguments": '{"city": "Rome"}'}}


class Answer(BaseModel):
    answer: str


READ_CALL = "[ToolCall(id='{}', name='get_user', arguments={{'user_id': 'u1'}})]"
EXPECTED = {
    "content is a list of text parts": "hello",
    "content is a list with a thinking part": "hello",
    "reasoning is a list": "x",
    "half an emoji": "i want � tent",
    "NUL in the reply": "ab",
    "thought in channel marks": "i want a tent",
    "thought in <thinking> marks": "i want a tent",
    "thought that is never closed": "reasoning: only reasoning, no reply",
    "budget eaten by hidden reasoning": "truncated: the reply has no text, cut off at the token limit: "
    "set reasoning_tokens in endpoints.yaml",
    "JSON, then text with a brace": "answer='yes'",
    "refusal": "refused: I cannot help with that.",
    "a byte-order mark before the body": "hello",
    "server sends events though none were asked for": "hello",
    "status 201": "hello",
    "no usage, a budget given": "hello",
    "tokens as text": "hello",
    "usage is negative": "hello",
    "a key that is a common word": "I tested it, the latest test",
    "an empty data line": "hello",
    "choices: null": "hello",
    "event: error with plain text": "server: 500 upstream died",
    "ends inside a line": "disconnected: no reply: the stream broke off",
    "arguments as an object": f"ToolReply(text='', calls={READ_CALL.format('c1')})",
    "the call written in the text": f"ToolReply(text='', calls={READ_CALL.format('call_0')})",
    "index absent on the first": "[[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [0.0, 0.5]]",
    "index as text": "[[0.0, 1.0], [1.0, 1.0], [2.0, 1.0], [3.0, 1.0]]",
    "base64 though floats were asked for": str([[1.0, 0.0]] * 4),
}
"""What every call gives; of the others those of ``STOPPED`` stop the study with these words."""
STOPPED = {
    "200 with an error 401": "the environment variable OPENAI_API_KEY",
    "200 with a daily limit": "run again later",
    "quota used up, other words": "the account's limit or credit",
    "/v1 is missing": "ends in /v1",
    "a login page": "no model server answers so at that address",
    "redirect to https": "moved to https://elsewhere.example/v1/chat/completions",
    "the key comes back in a reply": r"provided: \*\*\*\)",
    "half the vectors": "2 embeddings came for 4 texts",
    "NaN inside": "embedding 3 of 4",
}
STRICT = {  # what check writes for a server that refuses something
    "schema refused, the sentence holds 'context'": {"structured": "json_object"},
    "schema refused with 404": {"structured": "json_object"},
    "any response_format refused": {"structured": "text"},
    "no system role": {"system_role": False},
    "roles must alternate": {"alternate": True},
    "only temperature 1": {"omit": ["temperature"]},
    "max_completion_tokens wanted": {"max_tokens_name": "max_completion_tokens"},
}


def is_answered_badly(case: dict, request: dict, number: int, seconds: float) -> bool:
    """Whether the server of a case answers so now."""
    when, form = case["when"], request.get("response_format", {}).get("type")
    roles = [message["role"] for message in request.get("messages", [])]
    turns = roles[1:] if roles[:1] == ["system"] else roles
    rules = {
        "one prompt of many": PROMPT in str(request),
        "first three calls, then good": number <= 3,
        "calls with json_schema": form == "json_schema",
        "calls with response_format": form is not None,
        "calls with a system message": "system" in roles,
        "calls with another temperature": request.get("temperature", 1) != 1,
        "calls with max_tokens": "max_tokens" in request,
        "from the 20th call on": number >= 20,
        "for five seconds": seconds < 0.1,
    }
    if "whose roles" in when:
        return turns != (["user", "assistant"] * len(turns))[: len(turns)]
    return rules.get(when, True)


def answer(case: dict | None, request: dict, number: int, seconds: float) -> object:
    """What the mock of a case answers to its ``number``-th request; None: one that is well."""
    if case and is_answered_badly(case, request, number, seconds):
        return case["status"], case["headers"], case["body"].encode()
    return VECTORS if "input" in request else GOOD


def reply(request: dict) -> object:
    """A server that can do everything."""
    if "input" in request:
        return [VECTOR] * len(request["input"])
    if "prompt" in request:
        scores = {"tokens": ["A", " b"], "text_offset": [0, 1], "token_logprobs": [None, -1.5]}
        choice = {"text": request["prompt"], "logprobs": scores}
        return json.dumps({"choices": [choice], "usage": {"prompt_tokens": 2}}).encode()
    if request.get("tools"):
        return {"message": {"content": None, "tool_calls": [CALL]}}
    if form := request.get("response_format", {}).get("json_schema"):
        return json.dumps(fill(form["schema"], form["schema"], 3))
    if "schema" in (words := request["messages"][-1]["content"]):
        schema = json.loads(words[words.index("{") :])
        return json.dumps(fill(schema, schema, 3))
    return "a house of cloth"


def needs_form(case: dict) -> bool:
    """Whether the calls of a case ask for a form."""
    return any(word in case["case"] for word in ("JSON", "chema", "response_format"))


async def ask_case(models: Models, name: str, case: dict, shown: list[str]) -> list[str]:
    """What became of some calls of the kind of a case; ``shown`` gets what is seen of streams."""

    async def call(i):
        greeting = {"role": "assistant", "content": "hi"}
        asked = {"role": "user", "content": f"{PROMPT if i == 2 else ''}{i}"}
        messages = [{"role": "system", "content": "S"}, greeting, asked]
        if case["request"] == "tools":
            return await models.ask_tools(name, messages, [TOOL])
        with client.watch_replies(shown.append if case["request"] == "stream" else None):
            if needs_form(case):
                return await models.ask_json(name, messages, Answer)
            return await models.ask(name, messages)

    if case["request"] == "embeddings":
        return [str((await models.embed(name, list("abcd"))).tolist())]
    calls = [call(i) for i in range(24 if "20th" in case["when"] else 4)]
    return list(map(str, await models.run_all(calls, name)))


def list_unexpected(case: dict, outcomes: list[str], shown: list[str]) -> list[str]:
    """Of the outcomes those that are not as they should be; of a case that stops no study."""
    name, fine = case["case"], FINE if needs_form(case) else GOOD
    if case["expected"] == "shown" and "hello" not in shown:
        return ["nothing was shown"]
    wanted = [EXPECTED.get(name, fine)] * (1 if case["request"] == "embeddings" else 4)
    if case["when"] == "one prompt of many":
        wanted[2] = f"{'too_long' if name.startswith('too ') else 'refused'}: {case['status']} "
    pairs = zip(outcomes, wanted, strict=True)
    return [o for o, w in pairs if not (o.startswith(w) if w.endswith(" ") else o == w)]


def list_unhealed(case: dict, outcomes: list[str]) -> list[str]:
    """The same after the server was mended: replies that it sent before are kept."""
    healed = {str(VECTORS)} if case["request"] == "embeddings" else {FINE if needs_form(case) else GOOD}
    healed |= {f"ToolReply(text='{GOOD}', calls=[])", EXPECTED.get(case["case"])}
    n = 1 if case["request"] == "embeddings" else 24 if "20th" in case["when"] else 4
    return [o for o in outcomes if o not in healed] + ["calls are missing"] * (len(outcomes) != n)
