"""Who takes part in a run, as tau2-bench's classes: simulated users, agents, and the pairs of reference arms.

tau2's classes are synchronous: each gets a function that asks a model and waits for its reply.
"""

import json
import pkgutil
from collections import deque
from collections.abc import Callable
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field, create_model

from realusersim_nb.agents.environment import Environment, Task  # first: names the extra where tau2 is absent

# isort: split
from tau2.agent.base import AgentError, LocalAgent
from tau2.agent.llm_agent import LLMAgent, LLMAgentState
from tau2.data_model.message import AssistantMessage, MultiToolMessage, ToolCall, ToolMessage, UserMessage
from tau2.data_model.tasks import Action
from tau2.environment.tool import Tool
from tau2.environment.toolkit import ToolType
from tau2.user.base import STOP, UserState
from tau2.user.user_simulator import UserSimulator
from tau2.utils.llm_utils import to_litellm_messages

from realusersim_nb.agents.scores import AgentReferenceArm
from realusersim_nb.errors import InputError
from realusersim_nb.llm.client import leave_if_stopped
from realusersim_nb.llm.replies import ToolReply
from realusersim_nb.prompts.fill import fill_prompt
from realusersim_nb.records import Message
from realusersim_nb.simulators.endings import hold_stop
from realusersim_nb.simulators.users import split_close

Ask = Callable[..., Any]
YOUR_TURN, DONE = "Please do the next step.", "That is all."


class SimulatedUser(UserSimulator):
    """A user whose messages ``write`` gives, from the goal, the context and the messages so far.

    It stays as long as it says yes to what is still to be done (``simulators.endings``).
    """

    def __init__(self, goal: str, context: str, write: Ask):
        super().__init__(instructions=goal)
        self.goal, self.context, self.write = goal, context, write

    def generate_next_message(self, message: Any, state: UserState) -> tuple[UserMessage, UserState]:
        state.messages.append(message)
        so_far = [Message(role=m.role, content=m.content) for m in state.messages]
        text, closes = split_close(self.write(goal=self.goal, context=self.context, messages=so_far))
        text = hold_stop(f"{text} {STOP}".strip(), message.content or "") if closes else text
        state.messages.append(UserMessage(role="user", content=text))
        return state.messages[-1], state


class StockUser(UserSimulator):
    """tau2's user with its guidelines and tools; a persona of ours replaces the one of the task.

    If it ``stays``, it does not leave in a message that says yes to what is still to be done, as it may when
    tau2 ships it.
    """

    def __init__(self, task: Task, tools: list[Tool], ask: Ask, persona: str | None = None, *, stays: bool):
        scenario = task.user_scenario if persona is None else task.user_scenario.instructions
        super().__init__(tools=tools or None, instructions=str(scenario))
        self.persona, self.ask, self.stays = persona, ask, stays
        self.offered = [tool.openai_schema for tool in tools]

    @property
    def system_prompt(self) -> str:
        persona = [] if self.persona is None else [fill_prompt("user_manner", persona=self.persona)]
        return "\n\n".join([super().system_prompt, *persona])

    def generate_next_message(self, message: Any, state: UserState) -> tuple[UserMessage, UserState]:
        state.messages.extend(unpack(message))
        reply = self.ask(to_litellm_messages(state.system_messages + state.flip_roles()), self.offered)
        calls, text = make_calls(reply, "user"), reply.text
        if self.stays:
            text = hold_stop(text, str(state.messages[-1].content or ""))
        state.messages.append(UserMessage(role="user", content=text or None, tool_calls=calls))
        return state.messages[-1], state


def save_user_prompt(path: str | Path) -> None:
    """Write what tau2 tells its simulated users by default, as the prompt of an arm ``prompt:FILE``."""
    Path(path).write_text(UserSimulator(instructions="{goal}").system_prompt, encoding="utf-8")


def unpack(message: Any) -> list:
    """The messages that tau2 hands over as one."""
    return message.tool_messages if isinstance(message, MultiToolMessage) else [message]


def make_calls(reply: ToolReply, requestor: Literal["user", "assistant"]) -> list[ToolCall] | None:
    """A model's calls as tau2's; None without any."""
    return [ToolCall(**call._asdict(), requestor=requestor) for call in reply.calls] or None


class ConstrainedAgent(LocalAgent):
    """An agent that takes one JSON step at a time, of a form that a schema enforces.

    A small model does not keep to a tool-calling protocol; with the schema it can only name a tool that
    exists, with arguments of the right names and types. It also repeats a call without end, so after a call
    that changed something it may only reply, and after any other the same tool is not offered at once. And it
    fills in values that nobody gave, so an optional argument is passed only if the customer has named it.
    """

    def __init__(self, tools: list[Tool], policy: str, ask: Ask):
        super().__init__(tools=tools, domain_policy=policy)
        self.ask = ask

    def get_init_state(self, message_history: list | None = None) -> list:
        return list(message_history or [])

    def generate_next_message(self, message: Any, state: list) -> tuple[AssistantMessage, list]:
        state.extend(unpack(message))
        offered = offer_tools(self.tools, state)
        texts = {"transcript": render_steps(state), "tools": describe_tools(offered)}
        prompt = fill_prompt("agent_step", policy=self.domain_policy, **texts)
        step = self.ask(prompt, make_step_schema(offered)).step
        if step.action == "reply":
            reply = AssistantMessage(role="assistant", content=step.message)
        else:
            arguments = drop_unnamed(step.arguments, state)
            call = ToolCall(id=f"call_{len(state)}", name=step.action, arguments=arguments)
            reply = AssistantMessage(role="assistant", tool_calls=[call])
        state.append(reply)
        return reply, state


class FunctionCallingAgent(LLMAgent):
    """tau2's agent, whose model calls tools by itself, through ``Models``; subclasses replace ``reply``."""

    def __init__(self, tools: list[Tool], policy: str, ask: Ask):
        super().__init__(tools=tools, domain_policy=policy)
        self.ask, self.offered = ask, [tool.openai_schema for tool in tools]

    def generate_next_message(self, message: Any, state: LLMAgentState) -> tuple[AssistantMessage, Any]:
        state.messages.extend(unpack(message))
        reply = self.reply(to_litellm_messages(state.system_messages + state.messages))
        texts = {"role": "assistant", "content": reply.text or None}
        state.messages.append(AssistantMessage(**texts, tool_calls=make_calls(reply, "assistant")))
        return state.messages[-1], state

    def reply(self, messages: list[dict]) -> ToolReply:
        """The text or the calls that follow these messages in OpenAI's form."""
        return self.ask(messages, self.offered)


AGENTS: dict[str, Callable[[list[Tool], str, Ask], LocalAgent]] = {
    "constrained": ConstrainedAgent,
    "function_calling": FunctionCallingAgent,
}
"""Kinds of agent that a model can be, each made of tools, policy and a function that asks the model: the
constrained one with a prompt and a schema, the others with messages and tools."""


def find_agent(agent_format: str) -> Callable[[list[Tool], str, Ask], LocalAgent]:
    """The kind of agent of this name, or the reader's: ``my_module:answer`` names a Python function.

    It is called with the messages so far (the first holds the policy) and the tools, both in OpenAI's form,
    and returns a text, or a ``ToolReply`` with the tools to be called. InputError if there is neither.
    """
    if agent_format in AGENTS:
        return AGENTS[agent_format]
    try:
        answer = pkgutil.resolve_name(agent_format) if ":" in agent_format else None
    except (ImportError, AttributeError, ValueError) as error:
        advice = f"there is no such function ({error}); put its file into the folder you work in."
        raise InputError(f"agent_format {agent_format!r}: {advice}") from error
    if not callable(answer):
        expected = f"expected one of {', '.join(AGENTS)}, or my_module:answer."
        raise InputError(f"agent_format {agent_format!r} does not exist: {expected}")

    class FunctionAgent(FunctionCallingAgent):
        def reply(self, messages: list[dict]) -> ToolReply:
            leave_if_stopped()
            try:
                reply = answer(messages, self.offered)
            except Exception as error:  # whatever code from outside raises ends this run, not the study
                raise AgentError(f"{agent_format} raised {type(error).__name__}: {error}") from error
            return reply if isinstance(reply, ToolReply) else ToolReply(str(reply), [])

    return FunctionAgent


def offer_tools(tools: list[Tool], messages: list) -> list[Tool]:
    """The tools a small model may call next: see ``ConstrainedAgent``."""
    if not messages or not isinstance(messages[-1], ToolMessage):
        return tools
    called = {call.name for call in messages[-2].tool_calls or []}
    changed = any(t.name in called and t._func.__tool_type__ != ToolType.READ for t in tools)
    return [] if changed and not messages[-1].error else [t for t in tools if t.name not in called]


def make_step_schema(tools: list[Tool]) -> type[BaseModel]:
    """The form of one agent step: a reply, or a call of one of these tools with its arguments."""
    message = (str, Field(min_length=1, max_length=400))
    forms = [create_model("Reply", action=(Literal["reply"], ...), message=message)]
    forms += [create_model(t.name, action=(Literal[t.name], ...), arguments=(t.params, ...)) for t in tools]
    wants = (str, Field(max_length=120))
    return create_model("AgentStep", customer_wants=wants, step=(reduce(or_, forms), ...))


def drop_unnamed(arguments: BaseModel, messages: list) -> dict:
    """The arguments of a call, without optional ones whose name no user message holds."""
    texts = " ".join(m.content or "" for m in messages if m.role == "user").lower()
    fields, values = type(arguments).model_fields, arguments.model_dump(mode="json", exclude_none=True)
    return {n: v for n, v in values.items() if fields[n].is_required() or n.replace("_", " ") in texts}


def describe_tools(tools: list[Tool]) -> str:
    """One line a tool: its name, arguments and purpose."""
    lines = []
    for function in (tool.openai_schema["function"] for tool in tools):
        form, purpose = function["parameters"], function["description"].strip().splitlines()[0]
        required, names = form.get("required", []), form.get("properties", {})
        arguments = [name if name in required else f"{name} (optional)" for name in names]
        lines.append(f"- {function['name']}({', '.join(arguments)}): {purpose}")
    return "\n".join(lines)


def render_steps(messages: list) -> str:
    """The conversation with calls and results as text."""
    lines = []
    for m in messages:
        if isinstance(m, ToolMessage):
            lines.append(f"Result: {m.content}")
        elif m.tool_calls:
            lines += [f"You called {c.name}({json.dumps(c.arguments)})" for c in m.tool_calls]
        else:
            lines.append(f"{'You' if m.role == 'assistant' else 'Customer'}: {m.content}")
    return "\n".join(lines)


class OracleAgent(LocalAgent):
    """Makes a task's gold actions in order, then states the expected facts; without actions, no call."""

    get_init_state = ConstrainedAgent.get_init_state

    def __init__(self, tools: list[Tool], policy: str, actions: list[Action], facts: list[str]):
        super().__init__(tools=tools, domain_policy=policy)
        self.actions, self.facts = deque(actions), facts

    def generate_next_message(self, message: Any, state: list) -> tuple[AssistantMessage, list]:
        if not self.actions:
            return AssistantMessage(role="assistant", content=" ".join([DONE, *self.facts])), state
        action = self.actions.popleft()
        if action.requestor == "user":
            return AssistantMessage(role="assistant", content=YOUR_TURN), state
        return AssistantMessage(role="assistant", tool_calls=[to_call(action)]), state


class ScriptedUser(UserSimulator):
    """The user of a reference arm: makes the gold actions that are the user's, then stops."""

    get_init_state = ConstrainedAgent.get_init_state

    def __init__(self, actions: list[Action]):
        super().__init__()
        self.actions = deque(actions)

    def generate_next_message(self, message: Any, state: list) -> tuple[UserMessage, list]:
        text = message.content if isinstance(message, AssistantMessage) else ""
        if text == YOUR_TURN:
            return UserMessage(role="user", tool_calls=[to_call(self.actions.popleft())]), state
        return UserMessage(role="user", content=STOP if text.startswith(DONE) else "Please go on."), state


def to_call(action: Action) -> ToolCall:
    """A gold action as a tool call."""
    return ToolCall(id=action.action_id, **action.model_dump(include={"name", "arguments", "requestor"}))


def make_reference_pair(environment: Environment, task: Task, arm: AgentReferenceArm) -> tuple:
    """The agent and the user of a reference arm; neither calls a model."""
    criteria = task.evaluation_criteria if arm == "oracle" else None
    actions, facts = (criteria.actions or [], criteria.communicate_info or []) if criteria else ([], [])
    agent = OracleAgent(environment.get_tools(), environment.get_policy(), actions, facts)
    return agent, ScriptedUser([a for a in actions if a.requestor == "user"])
