"""What a harness sends to its user simulator, as a dialogue that the user goes on with.

Harnesses differ in the roles. Most, tau2-bench too, give the user the model's role: the agent's messages are
``user``, the user's ``assistant``. Others send the roles as they are; then the last message is the agent's,
``assistant``, and the roles are swapped before a model is asked.
"""

import hashlib
import json
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from realusersim_nb.errors import InputError
from realusersim_nb.llm.replies import clean, read_text
from realusersim_nb.prompts.fill import fill_prompt
from realusersim_nb.records import Message, Persona
from realusersim_nb.simulators.endings import strip_marks
from realusersim_nb.simulators.users import PRIMER, ROLE_TOKENS, SWAPPED
from realusersim_nb.text import parse_json

SYSTEM = ("system", "developer")
ROLES = (*SYSTEM, "user", "assistant", "tool", "function")
PASSED_ON = """tools tool_choice parallel_tool_calls response_format stop top_p presence_penalty
    frequency_penalty""".split()


class ResponseFormat(BaseModel):
    """The form that a reply is to have."""

    model_config = ConfigDict(extra="allow")

    type: Literal["text", "json_object", "json_schema"]


class ChatRequest(BaseModel):
    """The fields of a chat completion that are read; ``model`` names the user. Others are not passed on."""

    model: str
    messages: list[dict[str, Any]] = Field(min_length=1)
    stream: bool | None = None
    stream_options: dict | None = None
    n: Literal[1] | None = None
    temperature: float | None = Field(None, ge=0, le=2)
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    seed: int | None = None
    tools: list[dict] | None = None
    tool_choice: str | dict | None = None
    parallel_tool_calls: bool | None = None
    response_format: ResponseFormat | None = None
    stop: str | list[str] | None = None
    top_p: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None

    @field_validator("messages")
    def check_roles(cls, messages: list[dict]) -> list[dict]:
        """The messages, each of a role that there is."""
        if odd := [m.get("role") for m in messages if m.get("role") not in ROLES]:
            raise ValueError(f"the role {odd[0]!r} is none of {', '.join(ROLES)}")
        return messages

    @property
    def sampling(self) -> dict[str, Any]:
        """Temperature, seed and the limit of tokens, as ``Models`` takes them."""
        given = {"temperature": self.temperature, "seed": self.seed}
        limit = self.max_completion_tokens or self.max_tokens or ROLE_TOKENS
        return {name: value for name, value in given.items() if value is not None} | {"max_tokens": limit}

    @property
    def fields(self) -> dict[str, Any]:
        """What goes along with the messages as it is."""
        fields = self.model_dump(include=set(PASSED_ON), exclude_none=True)
        if fields.get("response_format", {}).get("type") == "text":
            del fields["response_format"]
        return {name: value for name, value in fields.items() if value != []}


def read_request(body: str) -> ChatRequest:
    """The request in a body; InputError names the first field that is wrong."""
    try:
        content = parse_json(body)
        return ChatRequest.model_validate(clean(content) if "\\u" in body else content)
    except ValidationError as error:
        problem = error.errors()[0]
        place = ".".join(map(str, problem["loc"])) or "the body"
        raise InputError(f"{place}: {problem['msg']}; expected a chat completion of OpenAI's API.") from error
    except ValueError as error:
        raise InputError(f"the body is not JSON ({error}); expected a chat completion.") from error


@dataclass(frozen=True)
class Dialogue:
    """A conversation so far.

    ``system`` is the harness's prompt; ``turns`` are in the format of OpenAI with the user as ``assistant``;
    ``messages`` are its texts, with the user as ``user`` and without marks of the end; ``opening`` is a
    digest of what does not change while it goes on: prompt, greeting and seed.
    """

    system: str
    turns: list[dict]
    messages: list[Message]
    opening: str

    @property
    def replied(self) -> str:
        """The agent's last message."""
        return next((m.content for m in self.messages[::-1] if m.role == "assistant"), "")

    def make_prompt(self, persona: Persona) -> list[dict]:
        """The messages with the persona at the end of the system's; a user who speaks first gets a primer."""
        manner = fill_prompt("user_manner", persona=persona.render())
        system = {"role": "system", "content": "\n\n".join(filter(None, [self.system, manner]))}
        primer = [{"role": "user", "content": PRIMER}]
        begins = not self.turns or self.turns[0]["role"] == "assistant"
        return [system, *(primer if begins else []), *self.turns]


def read_dialogue(request: ChatRequest) -> Dialogue:
    """The dialogue of a request, in whichever roles it came."""
    rows = [{name: value for name, value in m.items() if value is not None} for m in request.messages]
    rows = [row | {"content": read_text(row.get("content"))} for row in rows]
    system = "\n\n".join(row["content"] for row in rows if row["role"] in SYSTEM)
    turns = [row for row in rows if row["role"] not in SYSTEM]
    if turns and turns[-1]["role"] == "assistant":
        spoken = [row for row in turns if row["role"] in SWAPPED and row["content"]]
        turns = [{"role": SWAPPED[row["role"]], "content": row["content"]} for row in spoken]
    texts = [(SWAPPED[row["role"]], strip_marks(row["content"])) for row in turns if row["role"] in SWAPPED]
    messages = [Message.model_construct(role=role, content=text) for role, text in texts if text]
    first = next((n for n, m in enumerate(messages) if m.role == "user"), len(messages))
    greeting = [m.content for m in messages[: min(first, 1)]]
    return Dialogue(system, turns, messages, digest([system, greeting, request.seed]))


def digest(value: Any) -> str:
    """12 hex digits that stand for a value."""
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:12]
