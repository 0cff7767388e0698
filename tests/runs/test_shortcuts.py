"""Three calls without a notebook, against a mock model."""

import asyncio

import pytest
from conftest import SAMPLE, MockEndpoint

import realusersim_nb as ru


@pytest.fixture
def endpoint(monkeypatch, tmp_path):
    def reply(request):
        if "response_format" in request:
            return '{"next_request": "The user wants it shorter.", "parts_left": 1}'
        return "make it shorter pls"

    mock = MockEndpoint(reply)
    monkeypatch.setenv("OPENAI_BASE_URL", mock.url)
    monkeypatch.setenv("OPENAI_API_KEY", "any")
    monkeypatch.setenv("REALUSERSIM_CACHE", str(tmp_path / "replies.sqlite"))
    yield mock
    mock.server.shutdown()


def answer(text):
    return f"You wrote: {text}"


async def answer_later(text):
    await asyncio.sleep(0)
    return answer(text)


@pytest.mark.parametrize("agent", [answer, answer_later])
def test_a_profile_talks_to_any_function(agent, endpoint):
    profile = ru.profiles_of(SAMPLE)[0]

    def talk():
        return ru.simulate(profile, agent, "The user wants a poem.", model="m", max_user_messages=2)

    async def talk_in_a_loop():
        return talk()

    talks = [talk(), asyncio.run(talk_in_a_loop())]
    for talked in talks:
        assert [m.role for m in talked.messages] == ["user", "assistant", "user"] and not talked.error
        assert talked.messages[1].content == "You wrote: make it shorter pls"
    assert talks[0] == talks[1] and talks[0].user_id == profile.user_id


def test_other_names_are_unknown():
    with pytest.raises(AttributeError, match="no attribute 'measur'"):
        ru.measur  # noqa: B018
