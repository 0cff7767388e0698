"""Three questions without a notebook, each one call that may be made in a notebook, a script or a test.

import realusersim_nb as ru

ru.measure("transcripts.json")                       # how unlike people are these users? A page in a notebook
ru.profiles_of("chats.jsonl")                        # how does each of these people write?
ru.simulate(profile, agent, "wants a refund")        # one of them talks to an agent of yours
"""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor

from realusersim_nb.corpus import load_corpus
from realusersim_nb.gap.meter import measure_files as measure
from realusersim_nb.llm.models import Models
from realusersim_nb.profiles import extract_measured, make_persona
from realusersim_nb.records import Case, Conversation, Message, Profile
from realusersim_nb.simulators import Simulator, roll_out

Agent = Callable[[str], str | Awaitable[str]]
__all__ = ["measure", "profiles_of", "simulate"]


def profiles_of(corpus: str, *, sureness: float = 0.9) -> list[Profile]:
    """The profile of every user of a corpus (a name, or a path), by measurement: no model is called.

    A habit becomes a command where it is sure with this probability. InputError if nothing can be read.
    """
    return extract_measured(load_corpus(str(corpus)).conversations, sureness=sureness)


def simulate(
    profile: Profile,
    agent: Agent,
    goal: str,
    *,
    model: str = "embedded",
    max_user_messages: int = 4,
    seed: int = 0,
) -> Conversation:
    """One conversation of a user who writes by ``profile`` and wants ``goal`` with an agent.

    ``agent`` takes the user's message and returns a reply, or a coroutine of one; it keeps its own history.
    ``model`` writes the user's messages: the local model, or any that an endpoint has. Works with and without
    a running event loop. A call of the model that fails ends the conversation, which then has an ``error``.
    """
    nobody = Conversation(conversation_id="simulated", user_id=profile.user_id)
    case = Case(case_id="simulated", user_id=profile.user_id, goal=goal, key_context="", original=nobody)

    async def answer(messages: list[Message]) -> str:
        reply = agent(messages[-1].content)
        return str(await reply if inspect.isawaitable(reply) else reply)

    async def talk() -> Conversation:
        simulator = Simulator(Models(), model, seed=seed, max_user_messages=max_user_messages)
        return await roll_out(simulator, case, "profile", make_persona(profile), answer=answer)

    return run_anywhere(talk)


def run_anywhere(work: Callable[[], Awaitable[Conversation]]) -> Conversation:
    """The result of a coroutine, also where an event loop runs (as in JupyterLab): there in a thread."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work())
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work()).result()
