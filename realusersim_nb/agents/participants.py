"""Who plays in a run, as tau2-bench knows them: a user that is ours, and agents that a model can be.

tau2's classes are synchronous: each is given a function that asks a model and waits for its reply.
"""

import json
import pkgutil
from collections.abc import Callable
from typing import Any, Literal

from pydantic import BaseModel, Field, create_model
from tau2.agent.base import LocalAgent
from tau2.agent.llm_agent import LLMAgent, LLMAgentState
from tau2.data_model.message import AssistantMessage, MultiToolMessage, ToolCall, ToolMessage, UserMessage
from tau2.data_model.tasks import Task
from tau2.environment.tool import Tool
from tau2.environment.toolkit import ToolType
from tau2.user.base import STOP, UserState
from tau2.user.user_simulator import UserSimulator
from tau2.utils.llm_utils import to_litellm_messages

from realusersim_nb.errors import InputError
from realusersim_nb.llm.replies import ToolReply
from realusersim_nb.prompts.fill import fill_prompt
from realusersim_nb.records import CLOSE, Message

Ask = Callable[..., Any]


class SimulatedUser(UserSimulator):
    """tau2's user with our words: the scenario is what they want, the persona how they write."""

    def __init__(self, goal: str, context: str, write: Ask):
        super().__init__(instructions=goal)
        self.goal, self.context, self.write = goal, context, write

    def generate_next_message(
        self, message: AssistantMessage, state: UserState
    ) -> tuple[UserMessage, UserState]:
        """The next message, or tau2's stop mark when the user has what they want."""
        state.messages.append(message)
        so_far = [Message(role=m.role, content=m.content) for m in state.messages]
        text = self.write(goal=self.goal, context=self.context, messages=so_far)
        reply = UserMessage(role="user", content=text.replace(CLOSE, STOP))
        state.messages.append(reply)
        return reply, state


class StockUser(UserSimulator):
    """tau2's own user, its guidelines and tools; with a persona, which says how they write, in the persona's place."""

    def __init__(self, task: Task, tools: list[Tool], ask: Ask, persona: str | None = None):
        scenario = task.user_scenario if persona is None else task.user_scenario.instructions
        super().__init__(tools=tools or None, instructions=str(scenario))
        self.persona, self.ask, self.offered = persona, ask, list_schemas(tools)

    @property
    def system_prompt(self) -> str:
        """tau2's prompt, and the manner."""
        manner = [] if self.persona is None else [fill_prompt("user_manner", persona=self.persona)]
        return "\n\n".join([super().system_prompt, *manner])

    def generate_next_message(self, message: Any, state: UserState) -> tuple[UserMessage, UserState]:
        """Say something or call one's own tools."""
        state.messages.extend(message.tool_messages if isinstance(message, MultiToolMessage) else [message])
        said = self.ask(to_litellm_messages(state.system_messages + state.flip_roles()), self.offered)
        reply = UserMessage(role="user", content=said.text or None, tool_calls=make_calls(said, "user"))
        state.messages.append(reply)
        return reply, state


def list_schemas(tools: list[Tool]) -> list[dict]:
    """Tools as an endpoint is told of them."""
    return [tool.openai_schema for tool in tools]


def make_calls(said: ToolReply, requestor: Literal["user", "assistant"]) -> list[ToolCall] | None:
    """A model's calls as tau2's; None without any."""
    return [
        ToolCall(id=c.id, name=c.name, arguments=c.arguments, requestor=requestor) for c in said.calls
    ] or None


class ConstrainedAgent(LocalAgent):
    """An agent that takes one JSON step at a time, of a form that a schema enforces.

    Small models cannot keep to a tool-calling protocol by themselves; bound to the schema they
    can only name a tool that exists, with arguments of the right names and types. They also
    tend to make the same call for ever, so after a call that changed something they may only
    reply, and after any other the same tool is not offered again at once; and they fill in what
    nobody gave, so an optional argument is passed only if the customer has named it.
    """

    def __init__(self, tools: list[Tool], policy: str, ask: Ask):
        super().__init__(tools=tools, domain_policy=policy)
        self.ask = ask

    def get_init_state(self, message_history: list | None = None) -> list:
        """The messages so far."""
        return list(message_history or [])

    def generate_next_message(self, message: Any, state: list) -> tuple[AssistantMessage, list]:
        """Reply to the user or call one tool."""
        state.extend(message.tool_messages if isinstance(message, MultiToolMessage) else [message])
        offered = offer_tools(self.tools, state)
        told = {
            "policy": self.domain_policy,
            "transcript": render_steps(state),
            "tools": describe_tools(offered),
        }
        step = self.ask(fill_prompt("agent_step", **told), make_step_schema(offered)).step
        if step.action == "reply":
            reply = AssistantMessage(role="assistant", content=step.message)
        else:
            arguments = drop_unnamed(
                step.arguments.model_dump(mode="json", exclude_none=True), type(step.arguments), state
            )
            call = ToolCall(id=f"call_{len(state)}", name=step.action, arguments=arguments)
            reply = AssistantMessage(role="assistant", tool_calls=[call])
        state.append(reply)
        return reply, state


class FunctionCallingAgent(LLMAgent):
    """tau2's own agent, whose model calls tools by itself; the call goes through ``Models`` instead of around it."""

    def __init__(self, tools: list[Tool], policy: str, ask: Ask):
        super().__init__(tools=tools, domain_policy=policy)
        self.ask, self.offered = ask, list_schemas(tools)

    def generate_next_message(
        self, message: Any, state: LLMAgentState
    ) -> tuple[AssistantMessage, LLMAgentState]:
        """Reply to the user or call tools."""
        state.messages.extend(message.tool_messages if isinstance(message, MultiToolMessage) else [message])
        said = self.reply(to_litellm_messages(state.system_messages + state.messages))
        reply = AssistantMessage(
            role="assistant", content=said.text or None, tool_calls=make_calls(said, "assistant")
        )
        state.messages.append(reply)
        return reply, state

    def reply(self, messages: list[dict]) -> ToolReply:
        """What to say or call next, after these messages in the format of OpenAI; an agent from outside has its own."""
        return self.ask(messages, self.offered)


def find_agent(agent_format: str) -> Callable[[list[Tool], str, Ask], LocalAgent]:
    """The kind of agent of this name, or one of your own: ``my_module:answer`` names a function in Python.

    It is called with the messages so far and the tools, both in the format of OpenAI (the first message holds the
    policy), and returns a text, or ``Said`` with the tools that are to be called. ValueError if there is neither.
    """
    if agent_format in AGENTS:
        return AGENTS[agent_format]
    try:
        answer = pkgutil.resolve_name(agent_format) if ":" in agent_format else None
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(
            f"agent_format {agent_format!r}: there is no such function ({error}); put its file into the folder you work in."
        ) from error
    if not callable(answer):
        raise InputError(
            f"agent_format {agent_format!r} does not exist: expected one of {', '.join(AGENTS)}, or my_module:answer."
        )

    class OwnAgent(FunctionCallingAgent):
        """An agent whose replies are those of a function."""

        def reply(self, messages: list[dict]) -> ToolReply:
            said = answer(messages, self.offered)
            return said if isinstance(said, ToolReply) else ToolReply(str(said), [])

    return OwnAgent


def offer_tools(tools: list[Tool], messages: list) -> list[Tool]:
    """The tools a small model may call next: see ``ConstrainedAgent``."""
    if not messages or not isinstance(messages[-1], ToolMessage):
        return tools
    called = {call.name for call in messages[-2].tool_calls or []}
    changed = any(t.name in called and t._func.__tool_type__ != ToolType.READ for t in tools)
    return [] if changed and not messages[-1].error else [t for t in tools if t.name not in called]


def make_step_schema(tools: list[Tool]) -> type[BaseModel]:
    """The form of one agent step: a reply, or a call of one of these tools with its arguments."""
    forms = [
        create_model(
            "Reply", action=(Literal["reply"], ...), message=(str, Field(min_length=1, max_length=400))
        )
    ]
    forms += [create_model(t.name, action=(Literal[t.name], ...), arguments=(t.params, ...)) for t in tools]
    union = forms[0]
    for form in forms[1:]:
        union = union | form
    return create_model("AgentStep", customer_wants=(str, Field(max_length=120)), step=(union, ...))


def drop_unnamed(arguments: dict, form: type[BaseModel], messages: list) -> dict:
    """The arguments without optional ones whose name no user message holds."""
    said = " ".join(m.content or "" for m in messages if m.role == "user").lower()
    return {
        n: v
        for n, v in arguments.items()
        if form.model_fields[n].is_required() or n.replace("_", " ") in said
    }


def describe_tools(tools: list[Tool]) -> str:
    """One line a tool: its name, arguments and purpose."""
    lines = []
    for function in (tool.openai_schema["function"] for tool in tools):
        required = function["parameters"].get("required", [])
        names = [
            n if n in required else f"{n} (optional)" for n in function["parameters"].get("properties", {})
        ]
        lines.append(
            f"- {function['name']}({', '.join(names)}): {function['description'].strip().splitlines()[0]}"
        )
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


AGENTS: dict[str, Callable[[list[Tool], str, Ask], LocalAgent]] = {
    "constrained": ConstrainedAgent,
    "function_calling": FunctionCallingAgent,
}
"""Kinds of agent that a model can be. Each is made of tools, policy and a function that asks the model: the
constrained one with a prompt and a schema, the other with messages and tools."""
