"""Simulated users of one tool, with its own prompt, on tasks: a step of ``default_users.py``.

``python docs/run_tool.py deepeval TASKS FILE``, by the Python of an environment that holds the tool, so that
nothing but the standard library and the tool is imported. ``OPENAI_BASE_URL`` and ``MODEL`` name the model.
"""

import json
import os
import sys
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

TURNS, LONGEST = 3, 150  # messages of a user in a conversation, and tokens of a message
AT_ONCE = 12  # conversations
AGENT = "You are a helpful assistant. Answer in one short sentence."


def answer(messages: list) -> str:
    """The agent: the local model, the same for every tool."""
    said = [{"role": m["role"], "content": m["content"]} for m in messages]
    body = {"model": os.environ["MODEL"], "temperature": 0, "max_tokens": 60}
    body["messages"] = [{"role": "system", "content": AGENT}, *said]
    url, kind = f"{os.environ['OPENAI_BASE_URL']}/chat/completions", {"Content-Type": "application/json"}
    request = urllib.request.Request(url, json.dumps(body).encode(), kind)
    reply = json.load(urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request))
    return reply["choices"][0]["message"]["content"]


def try_each(talk, tasks: list[str]) -> list:
    """What ``talk`` makes of each task; of a conversation that fails the reason is printed, and no row made."""

    def attempt(task: str):
        try:
            return talk(task)
        except Exception as error:  # whatever a tool raises ends one conversation
            print(f"failed: {type(error).__name__}: {str(error)[:200]}", file=sys.stderr)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return [row for row in pool.map(attempt, tasks) if row is not None]


def run_deepeval(tasks: list[str], model: str) -> list:
    from deepeval.dataset import ConversationalGolden
    from deepeval.models import LocalModel
    from deepeval.simulator import ConversationSimulator
    from deepeval.test_case import Turn

    def reply(input, turns):
        return Turn(role="assistant", content=answer([t.model_dump() for t in turns]))

    def talk(task: str) -> dict:
        writer = LocalModel(
            model, "any", os.environ["OPENAI_BASE_URL"], generation_kwargs={"max_tokens": LONGEST}
        )
        simulator = ConversationSimulator(reply, simulator_model=writer, async_mode=False)
        return simulator.simulate([ConversationalGolden(scenario=task)], TURNS)[0].model_dump(mode="json")

    return try_each(talk, tasks)


def run_mlflow(tasks: list[str], model: str) -> dict:
    import mlflow
    from mlflow.genai.simulators import ConversationSimulator

    mlflow.set_tracking_uri("sqlite:///mlflow.db")
    cases = [{"goal": task} for task in tasks]
    simulator = ConversationSimulator(cases, TURNS, f"openai:/{model}", max_tokens=LONGEST)
    talks = simulator.simulate(lambda messages, mlflow_session_id: answer(messages))
    return {"traces": [trace.to_dict() for talk in talks for trace in talk]}


def run_openevals(tasks: list[str], model: str) -> list:
    from langchain_openai import ChatOpenAI
    from openevals.simulators import create_llm_simulated_user, run_multiturn_simulation

    def talk(task: str) -> dict:
        user = create_llm_simulated_user(system=task, client=ChatOpenAI(model=model, max_tokens=LONGEST))
        history = []

        def reply(message: dict, **_) -> dict:
            history.append(message)
            history.append({"role": "assistant", "content": answer(history)})
            return history[-1]

        return run_multiturn_simulation(app=reply, user=user, max_turns=TURNS)

    return try_each(talk, tasks)


def run_scenario(tasks: list[str], model: str) -> list:
    import asyncio

    import scenario

    class Agent(scenario.AgentAdapter):
        async def call(self, input):
            return answer(input.messages)

    def talk(task: str) -> dict:
        user = scenario.UserSimulatorAgent(model=f"openai/{model}", max_tokens=LONGEST)
        script = [scenario.proceed(turns=TURNS), scenario.succeed()]
        made = scenario.run(name=task, description=task, agents=[Agent(), user], script=script)
        return asyncio.run(made).model_dump(mode="json")

    return try_each(talk, tasks)


def run_tau2(tasks: list[str], model: str) -> list:
    from tau2.config import DEFAULT_LLM_ARGS_USER
    from tau2.data_model.message import AssistantMessage
    from tau2.data_model.tasks import StructuredUserInstructions
    from tau2.orchestrator.orchestrator import DEFAULT_FIRST_AGENT_MESSAGE
    from tau2.user.user_simulator import UserSimulator

    def talk(task: str) -> dict:
        arguments = DEFAULT_LLM_ARGS_USER | {"max_tokens": LONGEST}
        wanted = StructuredUserInstructions(domain="any", reason_for_call=task, task_instructions="")
        user = UserSimulator(instructions=wanted, llm=f"openai/{model}", llm_args=arguments)
        state, history = (
            user.get_init_state(),
            [{"role": "assistant", "content": DEFAULT_FIRST_AGENT_MESSAGE.content}],
        )
        for _ in range(TURNS):
            written, state = user.generate_next_message(AssistantMessage(**history[-1]), state)
            history.append({"role": "user", "content": written.content})
            if user.is_stop(written):
                break
            history.append({"role": "assistant", "content": answer(history)})
        return {"task_id": tasks.index(task), "traj": history}

    return try_each(talk, tasks)


if __name__ == "__main__":
    tool, tasks, place = sys.argv[1:]
    talks = globals()[f"run_{tool}"](
        Path(tasks).read_text(encoding="utf-8").splitlines(), os.environ["MODEL"]
    )
    Path(place).write_text(json.dumps(talks), encoding="utf-8")
