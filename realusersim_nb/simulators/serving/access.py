"""Who may ask a server: programs of this machine, and with a token others; never a page of another site."""

import hmac
import os
from collections.abc import Callable
from dataclasses import dataclass

import httpx
from aiohttp import web

from realusersim_nb.errors import InputError
from realusersim_nb.llm.client import is_loopback
from realusersim_nb.llm.local_engine.protocol import answer_fault


def is_local(host: str) -> bool:
    """Whether a host, perhaps with a port, is this machine by a name that no other machine reaches."""
    try:
        return is_loopback(f"http://{f'[{host}]' if host.count(':') > 1 and '[' not in host else host}")
    except (ValueError, httpx.InvalidURL):
        return False


def read_token(host: str, variable: str | None) -> str:
    """The token in an environment variable, "" where none is needed; InputError where one is missing."""
    token = os.environ.get(variable, "").strip() if variable else ""
    if variable and not token:
        raise InputError(f"--token-env {variable}: this variable is empty; put a token into it.")
    if not token and not is_local(host):
        raise InputError(
            f"--host {host}: other machines can reach it; name a variable that holds a token by --token-env."
        )
    return token


@dataclass(frozen=True)
class Access:
    """The rules of one server; ``token`` "" asks for none, ``local``: it listens on loopback alone."""

    token: str
    local: bool

    def find_fault(self, request: web.Request) -> str:
        """Why a request is refused, "" if it is not.

        A page's own address may be anything that leads here, so a server on loopback asks for its name too.
        """
        if self.local and not is_local(request.host):
            return f"this server is called by a name of this machine, not by {request.host!r}"
        if request.headers.get("Origin", f"http://{request.host}") != f"http://{request.host}":
            return "requests from pages of other sites are refused"
        return ""

    def has_token(self, request: web.Request) -> bool:
        """Whether a request brings the token, if there is one."""
        given = request.headers.get("Authorization", "").removeprefix("Bearer ").strip()
        return not self.token or hmac.compare_digest(given.encode(), self.token.encode())

    @web.middleware
    async def check(self, request: web.Request, handler: Callable) -> web.StreamResponse:
        """Answer 403 or 401 in place of the handler where a request is refused."""
        if fault := self.find_fault(request):
            return answer_fault(fault, 403, kind="permission_error")
        if request.path != "/health" and not self.has_token(request):
            return answer_fault("a wrong token, or none: send it as the API key", 401)
        return await handler(request)
