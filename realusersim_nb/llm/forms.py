"""In what form an endpoint takes requests: what its refusals teach, said once and used from then on.

What a call asks is its key in the cache; the form in which it is put is not part of it, so that a rerun
needs not learn it again.
"""

import re
from dataclasses import asdict, dataclass, replace
from typing import Any, get_args

from realusersim_nb.llm.endpoints import Endpoint, ReplyForm
from realusersim_nb.llm.errors import CallFailed
from realusersim_nb.llm.requests import NO_REASONING, name_schema

FORMS = list(get_args(ReplyForm))  # each looser than the one before
OPTIONAL = ["temperature", "seed", "encoding_format"]  # fields that a reply does not need
OPENING = {"role": "user", "content": "Hello!"}  # for those who want the user to begin
REFUSALS = (400, 404, 405, 415, 422, 501)
SCHEMA = r"response.?format|json|structured|schema|grammar|guided"
ALTERNATE = r"alternat|(first|last|after).{0,40}(message|role|turn)|unexpected role|roles? must|consecutive"
SYSTEM = (
    r"system.{0,3}(role|message|prompt|instruction)|(role|instruction)s?\W{1,3}system|only user and assistant"
)


@dataclass(frozen=True)
class Form:
    """What an endpoint takes; ``omit`` are fields that it does not."""

    structured: ReplyForm = "json_schema"
    max_tokens_name: str = "max_tokens"
    omit: frozenset[str] = frozenset()
    system_role: bool = True
    alternate: bool = False

    def apply(self, request: dict) -> dict:
        """The request in this form."""
        if self == USUAL:
            return request
        request = {name: value for name, value in request.items() if not self.leaves_out(name, value)}
        if "max_tokens" in request:
            request[self.max_tokens_name] = request.pop("max_tokens")
        if "messages" in request:
            request = loosen(request, self.structured)
            messages = request["messages"] if self.system_role else move_system(request["messages"])
            request["messages"] = alternate_roles(messages) if self.alternate else messages
        return request

    def leaves_out(self, name: str, value: object) -> bool:
        """Whether a field is not sent; of those that turn reasoning off, only with that value."""
        return name in self.omit and value == NO_REASONING.get(name, value)

    def join(self, other: "Form") -> "Form":
        """What an endpoint takes that refused what either form leaves out."""
        return Form(
            FORMS[max(FORMS.index(self.structured), FORMS.index(other.structured))],
            max(self.max_tokens_name, other.max_tokens_name, key=len),
            self.omit | other.omit,
            self.system_role and other.system_role,
            self.alternate or other.alternate,
        )

    def list_changes(self, other: "Form") -> dict[str, Any]:
        """The fields of ``endpoints.yaml`` by which another form differs from this one."""
        mine, others = asdict(self), asdict(other)
        changes = {name: value for name, value in others.items() if value != mine[name]}
        return {n: sorted(v) if isinstance(v, frozenset) else v for n, v in changes.items()}


USUAL = Form()


def read_form(endpoint: Endpoint) -> Form:
    """The form that ``endpoints.yaml`` names."""
    fields = endpoint.model_dump(include={"structured", "max_tokens_name", "system_role", "alternate"})
    return Form(**fields, omit=frozenset(endpoint.omit))


def propose(form: Form, request: dict, failure: CallFailed, *, proven: bool, tries: int = 0) -> Form | None:
    """The form to try after a refusal; None where it is not the form that was refused.

    ``proven``: replies came in the form of the schema that was sent, so that one refusal of it without
    words on it means something else. Servers that fail with 500 need not name what they failed at.
    """
    if failure.kind not in ("rejected", "server") or failure.status is None:
        return None
    sent, words = form.apply(request), failure.detail
    if changed := read_words(form, sent, words):
        return changed
    switches = {name for name, value in NO_REASONING.items() if sent.get(name) == value}
    if switches and (failure.status in REFUSALS or has("|".join(switches), words)):
        return replace(form, omit=form.omit | ({n for n in switches if n in words} or switches))
    unclear = failure.status in REFUSALS or (failure.status >= 500 and tries > 1)
    unclear = unclear and failure.concern in ("", "address") and not proven
    if "response_format" in sent and (has(SCHEMA, words) or unclear):
        return replace(form, structured=loosest_but(sent))
    return None


def read_words(form: Form, sent: dict, words: str) -> Form | None:
    """The form after a refusal that names what it refuses, other than a schema."""
    if "max_tokens" in sent and "max_completion_tokens" in words:
        return replace(form, max_tokens_name="max_completion_tokens")
    if named := {name for name in OPTIONAL if name in sent and name in words}:
        return replace(form, omit=form.omit | named)
    roles = [message["role"] for message in sent.get("messages", [])]
    if "system" in roles and has(SYSTEM, words):
        return replace(form, system_role=False)
    if roles and not form.alternate and has(ALTERNATE, words):
        return replace(form, alternate=True)
    return None


def has(pattern: str, words: str) -> bool:
    """Whether a pattern is in the words."""
    return re.search(pattern, words, re.IGNORECASE) is not None


def loosest_but(sent: dict) -> ReplyForm:
    """The form of a reply that is looser by one than that of the request."""
    return FORMS[FORMS.index(sent["response_format"]["type"]) + 1]


def names_field(request: dict, words: str) -> bool:
    """Whether the words name a field of the request, apart from those that a prompt is in."""
    fields = request.keys() - {"model", "messages", "input", "prompt"}
    return any(
        has(rf"(?<![a-z_]){re.escape(name)}(?![a-z_])", words) for name in [*fields, "response_format"]
    )


def loosen(request: dict, structured: ReplyForm) -> dict:
    """The request with its schema in a looser form: in words, with or without JSON mode."""
    asked = request.get("response_format")
    if asked is None or FORMS.index(asked["type"]) >= FORMS.index(structured):
        return request
    request = {name: value for name, value in request.items() if name != "response_format"}
    if asked["type"] == "json_schema":
        request["messages"] = name_schema(request["messages"], asked["json_schema"]["schema"])
    return request | ({"response_format": {"type": structured}} if structured == "json_object" else {})


def move_system(messages: list[dict]) -> list[dict]:
    """The messages with the system's text before the first message, which becomes one of the user."""
    system = "\n\n".join(m["content"] for m in messages if m["role"] == "system")
    rest = [m for m in messages if m["role"] != "system"]
    if not system:
        return rest
    if rest and rest[0]["role"] == "user":
        return [rest[0] | {"content": f"{system}\n\n{rest[0]['content']}"}, *rest[1:]]
    return [{"role": "user", "content": system}, *rest]


def alternate_roles(messages: list[dict]) -> list[dict]:
    """The messages with user and assistant in turn after the system, the user first."""
    turns: list[dict] = []
    for message in messages:
        last = turns[-1] if turns else None
        if message["role"] == "assistant" and (last is None or last["role"] == "system"):
            turns.append(OPENING)
        if last and last["role"] == message["role"] and message["role"] in ("user", "assistant"):
            texts = [m["content"] for m in (last, message) if m.get("content")]
            turns[-1] = last | message | {"content": "\n\n".join(texts)}
        else:
            turns.append(message)
    return turns
