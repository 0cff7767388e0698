"""The endpoint of a model name: ``embedded``, a name in ``endpoints.yaml``, or OPENAI_BASE_URL.

``endpoints.yaml`` is in the project folder and holds no secret, only names of variables. Its fields are
those of ``Endpoint``; ``docs/endpoints.example.yaml`` shows it for OpenAI, vLLM, Ollama, LM Studio and
OpenRouter.
"""

import importlib.metadata
import json
import os
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import AnyHttpUrl, BaseModel, ConfigDict, Field, ValidationError, field_validator

from realusersim_nb.errors import StudyError
from realusersim_nb.files import project_folder

FILE = "endpoints.yaml"
ReplyForm = Literal["json_schema", "json_object", "text"]


class EndpointError(StudyError):
    """No call to this endpoint can work (wrong key, model or address); ``status`` is HTTP's, if any."""

    def __init__(self, message: str, *, status: int | None = None):
        super().__init__(message)
        self.status = status


class Endpoint(BaseModel):
    """Address, prices and limits of a model.

    What a model refuses or needs is configured, not guessed from its name: request fields in ``omit``
    (``[temperature, seed]``) are not sent, ``options`` (``reasoning_effort: low``) are sent as they are
    and are part of the cache key.
    """

    model_config = ConfigDict(extra="forbid", validate_default=True)

    model: str
    base_url: str | None = None  # null: OPENAI_BASE_URL, else OpenAI itself
    api_key_env: str = "OPENAI_API_KEY"  # the variable that holds the key, never the key
    identity: str = ""  # name of this service in cache keys, if its address may change
    input_price: float | None = Field(None, ge=0)  # USD per million tokens; null: litellm's table
    output_price: float | None = Field(None, ge=0)
    max_concurrency: int | None = Field(None, ge=1)  # calls in flight, below the notebook's own limit
    requests_per_minute: float | None = Field(None, gt=0)
    tokens_per_minute: float | None = Field(None, gt=0)
    timeout_seconds: float = Field(300, gt=0)  # of one reply
    max_retries: int = Field(8, ge=0)  # of one call, after time-outs, resets, 429 and 5xx
    second_tries: int = Field(2, ge=0)  # after replies that cannot be used
    structured: ReplyForm = "json_schema"  # how replies are held to a schema
    max_tokens_name: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    reasoning_tokens: int = Field(0, ge=0)  # added to every limit: room to think before the reply
    omit: list[Literal["temperature", "seed"]] = []
    options: dict[str, Any] = {}

    @field_validator("base_url")
    def check_address(cls, address: str | None) -> str | None:
        """An http(s) address that holds no password."""
        if address and (AnyHttpUrl(address).password or "key=" in address):
            raise ValueError("an address with a secret in it; name the variable that holds it in api_key_env")
        return address

    @field_validator("options")
    def check_options(cls, options: dict) -> dict:
        """Fields that the package itself fills are not options."""
        if reserved := options.keys() & {"model", "messages", "stream", "n", "response_format"}:
            raise ValueError(f"{', '.join(sorted(reserved))} cannot be set here")
        return options

    @property
    def address(self) -> str:
        """Where the calls go."""
        return self.base_url or os.environ.get("OPENAI_BASE_URL") or "https://api.openai.com/v1"

    @property
    def service(self) -> str:
        """What decides a reply besides the request: the service, not its port of today."""
        return self.identity or self.base_url or os.environ.get("OPENAI_BASE_URL") or "openai"

    @property
    def prices(self) -> tuple[float, float] | None:
        """USD per million prompt and reply tokens, of ``endpoints.yaml`` or litellm; None if unknown."""
        if self.input_price is not None and self.output_price is not None:
            return self.input_price, self.output_price
        return read_price_table().get(self.model)

    def hide_key(self, text: str) -> str:
        """The text without the key, should an endpoint repeat it."""
        key = os.environ.get(self.api_key_env)
        return text.replace(key, "***") if key and len(key) > 3 else text

    def find_cost(self, prompt_tokens: int, completion_tokens: int) -> float | None:
        """USD; None where no price is known."""
        if (prices := self.prices) is None:
            return None
        per_prompt, per_reply = prices
        return (prompt_tokens * per_prompt + completion_tokens * per_reply) / 1e6


EMBEDDED_SHA256 = "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046"  # of the model file
EMBEDDED = Endpoint(
    model="qwen2.5-coder-1.5b-instruct-q4_k_m",
    base_url="http://127.0.0.1",
    identity=f"openvino, sha256:{EMBEDDED_SHA256}",
    input_price=0,
    output_price=0,
    max_concurrency=8,
    timeout_seconds=1800,  # a long prompt on a slow machine is not a fault
    max_retries=2,  # a local server that fails has ended
    second_tries=0,  # a small model repeats an unusable reply, and takes a minute for it
)


def find_endpoint(name: str) -> Endpoint:
    """The endpoint of a model name; EndpointError names what is wrong in ``endpoints.yaml``."""
    if name == "embedded":
        return EMBEDDED
    return read_endpoints().get(name) or Endpoint(model=name)


def read_endpoints(path: Path | None = None) -> dict[str, Endpoint]:
    """All endpoints of a file (None: of the project) by name; none if there is no such file.

    EndpointError names the line, or the endpoint, field and what was expected.
    """
    try:
        known = yaml.safe_load((path or project_folder() / FILE).read_text(encoding="utf-8")) or {}
    except FileNotFoundError:
        return {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        place = getattr(error, "problem_mark", None)
        line = f", line {place.line + 1}" if place else ""
        problem = getattr(error, "problem", error)
        raise EndpointError(f"{FILE}{line}: not YAML: {problem}; correct that line.") from error
    if not isinstance(known, dict) or not all(isinstance(fields, dict) for fields in known.values()):
        raise EndpointError(
            f"{FILE}: expected a mapping 'name: {{model: ..., base_url: ...}}' for each endpoint."
        )
    return {str(name): check_endpoint(str(name), fields) for name, fields in known.items()}


def check_endpoint(name: str, fields: dict) -> Endpoint:
    """One endpoint of the file; EndpointError names the first field that is wrong."""
    try:
        return Endpoint.model_validate({"model": name, **fields})
    except ValidationError as error:
        problem = error.errors()[0]
        raise EndpointError(
            f"{FILE}, {name!r}, field {'.'.join(map(str, problem['loc']))!r}: {problem['msg']}; "
            f"the fields are {', '.join(Endpoint.model_fields)}."
        ) from error


@cache
def read_price_table() -> dict[str, tuple[float, float]]:
    """litellm's prices by model name, USD per million tokens, read without importing it; none without it."""
    try:
        package = importlib.metadata.distribution("litellm")
    except importlib.metadata.PackageNotFoundError:
        return {}
    file = Path(str(package.locate_file("litellm/model_prices_and_context_window_backup.json")))
    prices = {}
    for model, entry in json.loads(file.read_text(encoding="utf-8")).items():
        pair = entry.get("input_cost_per_token"), entry.get("output_cost_per_token")
        if None not in pair:
            prices[model] = pair[0] * 1e6, pair[1] * 1e6
    return prices


def find_key(endpoint: Endpoint) -> str:
    """The key of an endpoint, from the environment; EndpointError if there is none."""
    key = os.environ.get(endpoint.api_key_env)
    if not key:
        raise EndpointError(
            f"model {endpoint.model!r} needs the environment variable {endpoint.api_key_env}: set it "
            "(any text will do for a server that asks for no key) and run again."
        )
    return key
