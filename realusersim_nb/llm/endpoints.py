"""The endpoint of a model name: ``embedded``, a name in ``endpoints.yaml``, or OPENAI_BASE_URL.

``endpoints.yaml`` is in the project folder and holds no secret, only names of variables. Its fields are
those of ``Endpoint``; ``docs/endpoints.example.yaml`` shows it for OpenAI, vLLM, Ollama, LM Studio and
OpenRouter.
"""

import importlib.metadata
import json
import os
import re
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

import httpx
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from realusersim_nb.errors import StudyError
from realusersim_nb.files import project_folder, replace_whole
from realusersim_nb.text import parse_yaml, read_yaml

FILE = "endpoints.yaml"
AROUND = " \t\r\n\"'"  # what comes along when a key or an address is pasted
SECRET = re.compile(
    r"(?<![^/=])(?=[A-Za-z_-]*\d)(?:[A-Za-z0-9]{20,}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})(?![^/?])"
)
ReplyForm = Literal["json_schema", "json_object", "text"]


class EndpointError(StudyError):
    """No call to this endpoint can work (wrong key, model or address); ``concern`` is what is at fault."""

    def __init__(self, message: str, *, concern: str = ""):
        super().__init__(message)
        self.concern = concern


def clean_address(written: str) -> str:
    """An address as it is called: without quotes and the path of one call, and with a scheme.

    ValueError says what is wrong with one that cannot be called, or that holds a secret.
    """
    text = written.strip(AROUND)
    if "://" not in text:
        local = re.match(r"(localhost|[\d.]+|\[[\da-f:]+\]|[^/.]+:\d+)([:/]|$)", text)
        text = f"{'http' if local else 'https'}://{text}"
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL as error:
        raise ValueError(str(error)) from error
    if url.userinfo or re.search("key|token|secret", url.query.decode(), re.IGNORECASE):
        raise ValueError("an address with a secret in it; name the variable that holds it in api_key_env")
    if url.scheme not in ("http", "https") or not url.host:
        raise ValueError("not an address such as http://localhost:8000/v1")
    path = re.sub(r"/(chat/completions|completions|embeddings|models|responses)?/*$", "", url.path)
    return str(url.copy_with(path=path or "/", fragment=None)).rstrip("/")


@cache
def spell_key(key: str) -> set[str]:
    """How a key may be written in a message; none of a key that is no secret."""
    if len(key) < 8 or key.isalpha():
        return set()
    escaped = json.dumps(key)[1:-1]
    return {key, quote(key, safe=""), quote(key), escaped, escaped.replace("/", "\\/")}


@lru_cache(maxsize=64)
def hide_secrets(address: str) -> str:
    """An address without what may be a secret in its path: a long row of letters and digits."""
    return SECRET.sub("***", address)


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
    timeout_seconds: float = Field(300, gt=0)  # of one reply, from the request to its last byte
    max_retries: int = Field(8, ge=0)  # of one call, after time-outs, resets, 429 and 5xx
    second_tries: int = Field(2, ge=0)  # after replies that cannot be used
    structured: ReplyForm = "json_schema"  # how replies are held to a schema
    system_role: bool = True  # false: the system's text goes before the first message of the user
    alternate: bool = False  # true: user and assistant take turns, and the user begins
    texts_per_call: int = Field(64, ge=1)  # of one request for embeddings
    max_tokens_name: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    reasoning_tokens: int = Field(0, ge=0)  # added to every limit: room to think before the reply
    omit: list[
        Literal["temperature", "seed", "encoding_format", "chat_template_kwargs", "reasoning_effort"]
    ] = []
    options: dict[str, Any] = {}

    @field_validator("base_url")
    def check_address(cls, address: str | None) -> str | None:
        """An address that can be called, as it is written."""
        if address:
            clean_address(address)
        return address

    @field_validator("api_key_env")
    def check_variable(cls, name: str) -> str:
        """The name of a variable, and not a key, which would be shown."""
        if not re.fullmatch("[A-Z_][A-Z0-9_]*", name) and name not in os.environ:
            raise ValueError(
                "not the name of an environment variable (in capitals), which holds the key; "
                "a key itself must not be in this file"
            )
        return name

    @field_validator("options")
    def check_options(cls, options: dict) -> dict:
        """Fields that the package itself fills are not options."""
        if reserved := options.keys() & {"model", "messages", "stream", "n", "response_format"}:
            raise ValueError(f"{', '.join(sorted(reserved))} cannot be set here")
        return options

    @property
    def address(self) -> str:
        """Where the calls go, perhaps with a query; EndpointError if it cannot be an address."""
        written = self.base_url or os.environ.get("OPENAI_BASE_URL") or "https://api.openai.com/v1"
        try:
            return clean_address(written)
        except ValueError as error:
            shown = "" if "secret" in str(error) else f" {hide_secrets(written)}"
            where = f"OPENAI_BASE_URL{shown}, model {self.model!r}"
            raise EndpointError(f"{where}: {error}; correct the address.", concern="address") from error

    @property
    def shown(self) -> str:
        """The address and the model, as messages name them."""
        return f"{self.hide_key(hide_secrets(self.address))}, model {self.model!r}"

    @property
    def service(self) -> str:
        """What decides a reply besides the request: the ``identity`` if it has one, else the address."""
        written = self.base_url or os.environ.get("OPENAI_BASE_URL") or "openai"
        return self.identity or self.hide_key(hide_secrets(written))

    @property
    def prices(self) -> tuple[float, float] | None:
        """USD per million prompt and reply tokens, of ``endpoints.yaml`` or litellm; None if unknown."""
        if self.input_price is not None and self.output_price is not None:
            return self.input_price, self.output_price
        return read_price_table().get(self.model)

    def hide_key(self, text: str) -> str:
        """The text without the key, should an endpoint repeat it, also as addresses and JSON write it.

        For messages, never for replies; a short key or a plain word is no secret.
        """
        for spelling in spell_key((os.environ.get(self.api_key_env) or "").strip(AROUND)):
            text = text.replace(spelling, "***")
        return text

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
        known = read_yaml(path or project_folder() / FILE) or {}
    except FileNotFoundError:
        return {}
    except yaml.YAMLError as error:
        place = getattr(error, "problem_mark", None)
        line = f", line {place.line + 1}" if place else ""
        problem = getattr(error, "problem", error)
        raise EndpointError(f"{FILE}{line}: not YAML: {problem}; correct that line.") from error
    if not isinstance(known, dict) or not all(isinstance(fields, dict) for fields in known.values()):
        raise EndpointError(
            f"{FILE}: expected a mapping 'name: {{model: ..., base_url: ...}}' for each endpoint."
        )
    return {str(name): check_endpoint(str(name), fields) for name, fields in known.items()}


def write_settings(name: str, settings: dict[str, Any]) -> Path:
    """Add fields to a model's entry in ``endpoints.yaml``; comments outside that entry stay."""
    path = project_folder() / FILE
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    known = parse_yaml(text) or {}
    entry = yaml.safe_dump({name: {**known.get(name, {}), **settings}}, sort_keys=False).rstrip()
    root = yaml.compose(text)
    if root is not None and root.flow_style:
        text = yaml.safe_dump(known | yaml.safe_load(entry), sort_keys=False)
    elif name in known:
        key, value = next(pair for pair in root.value if str(pair[0].value) == name)
        text = text[: key.start_mark.index] + entry + text[find_end(value) :]
    else:
        text = f"{text.rstrip()}\n\n{entry}\n".lstrip()
    with replace_whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


def find_end(node: yaml.Node) -> int:
    """Where a value ends, without the comments after it."""
    if isinstance(node, yaml.CollectionNode) and node.value and not node.flow_style:
        last = node.value[-1]
        return find_end(last[1] if isinstance(last, tuple) else last)
    return node.end_mark.index


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
    """The key of an endpoint, from the environment; EndpointError if there is none, or none that can be."""
    key = (os.environ.get(endpoint.api_key_env) or "").strip(AROUND)
    if re.search(r"[^!-~]", key):
        raise EndpointError(
            f"model {endpoint.model!r}: the environment variable {endpoint.api_key_env} holds spaces, line "
            "breaks or letters that no key has; set it to the key alone and run again.",
            concern="key",
        )
    if not key:
        raise EndpointError(
            f"model {endpoint.model!r} needs the environment variable {endpoint.api_key_env}: set it "
            "(any text will do for a server that asks for no key) and run again.",
            concern="key",
        )
    return key
