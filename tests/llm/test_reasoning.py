"""Models that reason, and servers that take little: strict ones, which refuse what they do not know."""

import pytest
from conftest import with_models
from pydantic import BaseModel
from toy import CONVERSATIONS, make_case_of

from realusersim_nb.llm.errors import CallFailed
from realusersim_nb.llm.replies import drop_reasoning
from realusersim_nb.records import Persona
from realusersim_nb.simulators import Simulator, roll_out

KNOWN = {"model", "messages", "temperature", "seed", "max_tokens", "response_format"}
SWITCHES = {"chat_template_kwargs": {"enable_thinking": False}, "reasoning_effort": "none"}
UNTAGGED = "Thinking Process:\n\n1. **Analyze the request.** The user wants a list.\n\nsort it"


class Answer(BaseModel):
    answer: str


def refuse(words):
    return (
        400,
        {"Content-Type": "application/json"},
        {"error": {"message": words, "type": "invalid_request_error"}},
    )


def serve(endpoint, rule, *, takes=()):
    """A server that refuses fields it does not know by name, then whatever ``rule(request)`` refuses or replies."""

    def reply(request):
        unknown = request.keys() - KNOWN - set(takes)
        return refuse(f"Unrecognized request argument supplied: {min(unknown)}") if unknown else rule(request)

    return endpoint(reply)


def is_off(request):
    return any(request.get(name) == value for name, value in SWITCHES.items())


@pytest.mark.parametrize(
    "thought",
    [
        UNTAGGED,
        "**Thinking Process:** first",
        "Here's a thinking process:\n1. so",
        "Okay, so the user wants a tent.",
        "<think>well",
        "<think>well</think>",
        "Reasoning: they ask.",
    ],
)
def test_reply_that_is_only_reasoning_is_none_and_one_after_its_mark_is(thought):
    assert drop_reasoning(thought) == ""
    assert drop_reasoning("<think>well</think>sort it") == "sort it"


@pytest.mark.parametrize(
    "text", ["ok so the list is wrong", "i was thinking: process it later", "So what now?"]
)
def test_what_people_write_is_no_reasoning(text):
    assert drop_reasoning(text) == text


@pytest.mark.parametrize("switch", SWITCHES)
def test_reply_that_is_only_reasoning_is_asked_for_again_with_reasoning_off(endpoint, quick, switch):
    """By whichever field the server takes; the other, refused once, is not sent again."""
    mock = serve(endpoint, lambda r: "sort it" if is_off(r) else UNTAGGED, takes=[switch])
    texts = with_models(lambda m: ask_each(m, "ab"), max_concurrency=1)
    assert texts == ["sort it", "sort it"]
    refused = [r for r in mock.requests if r.keys() - KNOWN - {switch}]
    assert len(refused) == 1 and len(mock.requests) == 5


async def ask_each(models, prompts):
    return [await models.ask("m", prompt) for prompt in prompts]


@pytest.mark.parametrize("takes", [[], list(SWITCHES)], ids=["no switch", "switches that do nothing"])
def test_where_nothing_turns_reasoning_off_the_call_fails_as_such_after_few_tries(endpoint, quick, takes):
    mock = serve(
        endpoint, lambda r: {"finish_reason": "length", "message": {"content": UNTAGGED}}, takes=takes
    )
    with pytest.raises(CallFailed) as failed:
        with_models(lambda m: m.ask("m", "a", max_tokens=2048))
    assert failed.value.kind == "reasoning" and "set reasoning_tokens" in failed.value.detail
    assert len(mock.requests) <= 4


def test_configured_effort_is_kept_though_turning_reasoning_off_is_refused(
    endpoint, quick, monkeypatch, tmp_path
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "endpoints.yaml").write_text(
        "m: {model: m, options: {reasoning_effort: low}, reasoning_tokens: 500}"
    )

    def rule(request):
        if request.get("reasoning_effort") == "none":
            return refuse("Unsupported value: 'reasoning_effort' does not support 'none'")
        return UNTAGGED if "a" in str(request["messages"]) else "sort it"

    mock = serve(endpoint, rule, takes=["reasoning_effort"])

    async def work(models):
        with pytest.raises(CallFailed, match="only reasoning"):
            await models.ask("m", "a", max_tokens=100)
        return await models.ask("m", "b", max_tokens=100)

    assert with_models(work) == "sort it"
    assert mock.requests[-1]["reasoning_effort"] == "low" and mock.requests[-1]["max_tokens"] == 600


def test_no_reasoning_reaches_a_conversation(endpoint, quick):
    """Of a user who thinks in tags and an assistant who thinks without any, unless it is turned off."""

    def rule(request):
        n = len(request["messages"])
        if request["model"] == "helper":
            return f"Sorted, part {n}." if is_off(request) else UNTAGGED
        return f"<think>As the user I ask.</think>sort it {n}"

    serve(endpoint, rule, takes=SWITCHES)
    case = make_case_of(CONVERSATIONS[0])

    async def work(models):
        return await roll_out(
            Simulator(models, "user", "roles", assistant="helper"), case, "profile", Persona()
        )

    talk = with_models(work)
    assert len(talk.messages) == 9 and talk.error is None and talk.role_break is None
    assert not [m for m in talk.messages if "hink" in m.content or "user" in m.content]


def test_assistant_that_only_reasons_is_a_failed_rollout_with_its_reason(endpoint, quick):
    mock = serve(endpoint, lambda r: UNTAGGED if r["model"] == "helper" else "sort it")
    case = make_case_of(CONVERSATIONS[0])

    async def work(models):
        return await roll_out(
            Simulator(models, "user", "roles", assistant="helper"), case, "profile", Persona()
        )

    talk = with_models(work)
    assert talk.error.startswith("reasoning: only reasoning") and [m.content for m in talk.messages] == [
        "sort it"
    ]
    assert mock.models["helper"] <= 4


def one_temperature(request):
    if request.get("temperature", 1) != 1:
        return refuse(
            "Unsupported value: 'temperature' does not support 0.7 with this model. Only the default (1)."
        )
    return "sort it"


def no_system(request):
    roles = {m["role"] for m in request["messages"]}
    return refuse("System role not supported") if "system" in roles else "sort it"


def in_turn(request):
    roles = [m["role"] for m in request["messages"] if m["role"] != "system"]
    expected = (["user", "assistant"] * len(roles))[: len(roles)]
    return (
        "sort it"
        if roles == expected and roles[-1] == "user"
        else refuse("Conversation roles must alternate")
    )


def all_of_them(request):
    answers = [rule(request) for rule in (one_temperature, no_system, in_turn)]
    return next((answer for answer in answers if answer != "sort it"), "sort it")


@pytest.mark.parametrize("rule", [one_temperature, no_system, in_turn, all_of_them])
def test_strict_model_is_asked_in_the_form_that_it_takes_after_one_refusal_of_each(endpoint, quick, rule):
    mock = serve(endpoint, rule)
    chat = [{"role": "system", "content": "S"}, {"role": "assistant", "content": "hi"}]
    chat += [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]

    async def work(models):
        return [await models.ask("m", [*chat, {"role": "user", "content": str(i)}]) for i in range(3)]

    assert with_models(work) == ["sort it"] * 3
    assert len(mock.requests) <= 6 and all(
        text in str(mock.requests[-1]["messages"]) for text in ("S", "hi", "a", "2")
    )
