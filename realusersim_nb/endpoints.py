"""Where a model name leads: ``embedded``, a name in ``endpoints.yaml``, or OPENAI_BASE_URL.

``endpoints.yaml`` lies in the working folder and holds no secret, only names of variables::

    my-model: {model: Qwen/Qwen2.5-72B-Instruct, base_url: "http://localhost:8000/v1", api_key_env: MY_KEY}
"""

import os
from pathlib import Path

import yaml
from openai import AsyncOpenAI, DefaultAioHttpClient
from pydantic import BaseModel, ConfigDict, ValidationError

from realusersim_nb import embedded


class EndpointError(RuntimeError):
    """No call to this endpoint can work (wrong key, model or address); stops the notebook."""


class Endpoint(BaseModel):
    """Where a model name leads. Prices are USD per million tokens."""

    model_config = ConfigDict(extra="forbid")
    model: str
    base_url: str | None = None
    api_key_env: str = "OPENAI_API_KEY"
    input_price: float = 0.0
    output_price: float = 0.0

    @property
    def identity(self) -> str:
        """What decides a reply besides the request: the service, not the port it has today."""
        return self.base_url or os.environ.get("OPENAI_BASE_URL") or "openai"


EMBEDDED = Endpoint(model=embedded.MODEL, base_url=f"sha256:{embedded.SHA256}")


def find_endpoint(name: str) -> Endpoint:
    """The endpoint behind a model name; ValueError says what is wrong in ``endpoints.yaml``."""
    if name == "embedded":
        return EMBEDDED
    path = Path("endpoints.yaml")
    known = (yaml.safe_load(path.read_text()) or {}) if path.exists() else {}
    try:
        return Endpoint(**{"model": name, **known.get(name, {})})
    except ValidationError as error:
        problem = error.errors()[0]
        raise ValueError(
            f"endpoints.yaml, {name!r}, field {problem['loc'][0]!r}: {problem['msg']}; "
            f"expected fields are {', '.join(Endpoint.model_fields)}."
        ) from error


def connect(endpoint: Endpoint) -> AsyncOpenAI:
    """A client for an endpoint; the embedded server is started when it is the one."""
    if endpoint is EMBEDDED:
        try:
            address = f"{embedded.serve()}/v1"
        except embedded.EmbeddedError as error:
            raise EndpointError(str(error)) from error
        # The key is a dummy: an OpenAI client insists on one, the local server asks for none.
        return AsyncOpenAI(base_url=address, api_key="none", http_client=DefaultAioHttpClient())
    key = os.environ.get(endpoint.api_key_env)
    if not key:
        raise EndpointError(
            f"model {endpoint.model!r} needs the environment variable {endpoint.api_key_env}: set it "
            "(any text will do for a server that asks for no key) and run again."
        )
    return AsyncOpenAI(base_url=endpoint.base_url, api_key=key, http_client=DefaultAioHttpClient())
