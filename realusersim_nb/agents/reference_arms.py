"""What any agent's score lies between: ``oracle`` plays a task's gold actions, ``do_nothing`` makes no call and says that this is all.

Neither calls a model, and the scripted user beside them says nothing of its own.
"""

from collections import deque
from typing import Any, Literal

from tau2.agent.base import LocalAgent
from tau2.data_model.message import AssistantMessage, ToolCall, UserMessage
from tau2.data_model.tasks import Action, Task
from tau2.environment.environment import Environment
from tau2.environment.tool import Tool
from tau2.user.base import STOP, BaseUser
from tau2.user.user_simulator import UserSimulator

AgentReferenceArm = Literal["oracle", "do_nothing"]
YOUR_TURN, DONE = "Please do the next step.", "That is all."


class OracleAgent(LocalAgent):
    """Plays a task's gold actions in order and tells what is to be told; no actions: does nothing."""

    def __init__(self, tools: list[Tool], policy: str, actions: list[Action], facts: list[str]):
        super().__init__(tools=tools, domain_policy=policy)
        self.actions, self.facts = deque(actions), facts

    def get_init_state(self, message_history: list | None = None) -> list:
        """No state is kept."""
        return message_history or []

    def generate_next_message(self, message: Any, state: list) -> tuple[AssistantMessage, list]:
        """The next gold action, by call if it is the agent's, else by asking the user."""
        if not self.actions:
            return AssistantMessage(role="assistant", content=" ".join([DONE, *self.facts])), state
        action = self.actions.popleft()
        if action.requestor == "user":
            return AssistantMessage(role="assistant", content=YOUR_TURN), state
        return AssistantMessage(role="assistant", tool_calls=[to_call(action, "assistant")]), state


class ScriptedUser(BaseUser):
    """The user beside a bound: does the gold actions that are the user's, then stops."""

    is_stop = UserSimulator.is_stop

    def __init__(self, actions: list[Action]):
        super().__init__()
        self.actions = deque(actions)

    def get_init_state(self, message_history: list | None = None) -> list:
        """No state is kept."""
        return message_history or []

    def generate_next_message(self, message: Any, state: list) -> tuple[UserMessage, list]:
        """Greet, do as asked, or stop."""
        if isinstance(message, AssistantMessage) and message.content == YOUR_TURN:
            return UserMessage(role="user", tool_calls=[to_call(self.actions.popleft(), "user")]), state
        if isinstance(message, AssistantMessage) and message.content.startswith(DONE):
            return UserMessage(role="user", content=STOP), state
        return UserMessage(role="user", content="Please go on."), state


def to_call(action: Action, requestor: str) -> ToolCall:
    """A gold action as a tool call."""
    return ToolCall(id=action.action_id, name=action.name, arguments=action.arguments, requestor=requestor)


def make_reference_pair(
    environment: Environment, task: Task, bound: AgentReferenceArm
) -> tuple[OracleAgent, ScriptedUser]:
    """The agent and the user of a bound."""
    criteria = task.evaluation_criteria
    playing = bound == "oracle" and criteria is not None
    actions = list(criteria.actions or []) if playing else []
    facts = list(criteria.communicate_info or []) if playing else []
    agent = OracleAgent(environment.get_tools(), environment.get_policy(), actions, facts)
    return agent, ScriptedUser([a for a in actions if a.requestor == "user"])
