"""Who answers a harness: a user of the profiles, whose manner is added to the harness's prompt."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from realusersim_nb.errors import InputError
from realusersim_nb.files import read_lines, read_records
from realusersim_nb.llm.endpoints import find_endpoint
from realusersim_nb.llm.errors import CallFailed
from realusersim_nb.llm.models import Models
from realusersim_nb.llm.replies import ToolCall
from realusersim_nb.profiles.release import read_profiles
from realusersim_nb.records import Persona, Profile
from realusersim_nb.simulators import role_breaks
from realusersim_nb.simulators.conditions import find_arm
from realusersim_nb.simulators.endings import hold_stop, strip_marks
from realusersim_nb.simulators.serving.requests import ChatRequest, Dialogue
from realusersim_nb.text import show_name

USER, DRAW, TASK_ONLY = "user:", "draw", "task_only"
MIN_COMMANDS = 3  # of a profile that is drawn: with fewer it would be task_only under another name
ANOTHER = 1_000_000  # added to the seed when a message is asked for again


class UnknownUserError(InputError):
    """A model's name that is no user's."""


def load_profiles(path: Path) -> list[Profile]:
    """The profiles in a file of ours, or in the released layout; InputError without any."""
    if not path.exists():
        raise InputError(f"{path}: there is no such file; notebook 01 writes one (profiles.jsonl).")
    released = path.is_dir() or "linguistic_profile" in next(read_lines(path), ("", {}))[1]
    profiles = list(read_profiles(path) if released else read_records(path, Profile))
    if not profiles:
        raise InputError(f"{path}: no profile in it; notebook 01 writes some (profiles.jsonl).")
    return profiles


@dataclass(frozen=True)
class ServedUser:
    """A user under an arm."""

    user_id: str
    arm: str
    persona: Persona


@dataclass(frozen=True)
class Written:
    """A user's next message: text or calls of tools, why it ended, its tokens, and its role break if any."""

    text: str
    calls: list[ToolCall]
    finish_reason: str = "stop"
    prompt_tokens: int = 0
    completion_tokens: int = 0
    role_break: str | None = None


class ServedUsers:
    """All users of some profiles, written by one model."""

    def __init__(self, models: Models, model: str, profiles: list[Profile]):
        self.models, self.model, self.endpoint = models, model, find_endpoint(model)
        self.profiles = {profile.user_id: profile for profile in profiles}
        rich = [p.user_id for p in profiles if p.demonstrations or len(p.commands) >= MIN_COMMANDS]
        self.drawn = sorted(rich or self.profiles)

    def list_names(self) -> Iterator[str]:
        """The names by which users are asked for."""
        yield from (f"{USER}{name}" for name in (DRAW, TASK_ONLY, *self.profiles))

    def find(self, name: str, opening: str) -> ServedUser:
        """The user of a model's name; of ``user:draw`` the one that the conversation's opening draws.

        A user whose profile holds demonstrations is shown those, else the profile. UnknownUserError.
        """
        wanted = name.removeprefix(USER)
        if not name.startswith(USER) or wanted not in (DRAW, TASK_ONLY, *self.profiles):
            expected = f"expected {USER}{DRAW}, {USER}{TASK_ONLY} or {USER}ID with an id of the profiles"
            raise UnknownUserError(f"model {show_name(name)!r} does not exist: {expected} (see /v1/models).")
        if wanted == TASK_ONLY:
            nobody = Profile(user_id=TASK_ONLY)
            return ServedUser(TASK_ONLY, TASK_ONLY, find_arm(TASK_ONLY)(nobody, nobody))
        user_id = self.drawn[int(opening, 16) % len(self.drawn)] if wanted == DRAW else wanted
        profile = self.profiles[user_id]
        arm = "demonstrations" if profile.demonstrations else "profile"
        return ServedUser(user_id, arm, find_arm(arm)(profile, profile))

    async def write(self, user: ServedUser, dialogue: Dialogue, request: ChatRequest) -> Written:
        """The user's next message; one with a role break is asked for once more, and then stands.

        CallFailed or EndpointError as from ``Models``.
        """
        written = await self._ask(user, dialogue, request)
        if written.role_break:
            sampling = request.sampling
            again = {"seed": sampling.get("seed", 0) + ANOTHER}
            again["temperature"] = max(sampling.get("temperature", 0.7), 0.7)
            try:
                written = await self._ask(user, dialogue, request.model_copy(update=again))
            except CallFailed:
                return written
        return written

    async def _ask(self, user: ServedUser, dialogue: Dialogue, request: ChatRequest) -> Written:
        prompt = dialogue.make_prompt(user.persona)
        reply, raw = await self.models.pass_on(self.model, prompt, request.fields, **request.sampling)
        text = self.endpoint.hide_key(reply.text)
        reason = "tool_calls" if reply.calls else "length" if raw.finish_reason == "length" else "stop"
        tokens = {"prompt_tokens": raw.prompt_tokens, "completion_tokens": raw.completion_tokens}
        written = Written(text, reply.calls, reason, **tokens)
        if reply.calls or request.response_format:  # JSON, and calls, are no prose of a person's
            return written
        kind = find_break_in(text, dialogue, user.persona)
        return replace(written, text=hold_stop(text, dialogue.replied), role_break=kind)


def find_break_in(text: str, dialogue: Dialogue, persona: Persona) -> str | None:
    """The role break of a message after a dialogue; a mark of the end alone is none."""
    before = [m.content for m in dialogue.messages if m.role == "user"]
    message = strip_marks(text)
    return role_breaks.find_break(message, before, persona, replied=dialogue.replied) if message else None
