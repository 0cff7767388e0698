"""What the calls of a notebook have cost, and the budget that they never exceed."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from realusersim_nb.errors import StudyError
from realusersim_nb.llm.endpoints import Endpoint
from realusersim_nb.llm.replies import Reply
from realusersim_nb.llm.requests import count_tokens


class BudgetReached(StudyError):
    """``budget_usd`` is spent; every reply so far is cached, so a rerun goes on from here."""


@dataclass
class Usage:
    """Calls, and the tokens and cost of the live ones.

    ``cached`` replies came from the cache or from another task's call, ``failed`` prompts have no usable
    reply after all tries, ``retried`` calls got no answer and were made again.
    """

    live: int = 0
    cached: int = 0
    failed: int = 0
    retried: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: float = 0.0

    def add(self, endpoint: Endpoint, reply: Reply) -> None:
        """Count a live call."""
        self.live += 1
        self.prompt_tokens += reply.prompt_tokens
        self.completion_tokens += reply.completion_tokens
        self.cost_usd += endpoint.find_cost(reply.prompt_tokens, reply.completion_tokens)

    def __str__(self) -> str:
        tokens = f"{self.prompt_tokens + self.completion_tokens:,} tokens"
        failed = f", {self.failed} failed" if self.failed else ""
        return f"{self.live} calls, {self.cached} cached, {tokens}, ${self.cost_usd:.2f}{failed}"


class Budget:
    """USD that calls may cost together (None: any amount)."""

    def __init__(self, usd: float | None, usage: Usage):
        self.usd, self.usage = usd, usage
        self.reserved = 0.0  # by calls in flight

    @asynccontextmanager
    async def reserve(self, endpoint: Endpoint, request: dict) -> AsyncIterator[None]:
        """Set aside the most that a call can cost while it is made; BudgetReached if that is not left."""
        cost = endpoint.find_cost(count_tokens(request), request.get(endpoint.max_tokens_name, 0))
        while self.usd is not None and self.usage.cost_usd + self.reserved + cost > self.usd:
            if self.reserved <= 1e-12:
                raise BudgetReached(
                    f"budget_usd {self.usd}: ${self.usage.cost_usd:.4f} are spent, and the next call may "
                    f"cost ${cost:.4f}; raise it and run again to go on."
                )
            await asyncio.sleep(0.05)  # calls in flight may turn out cheaper
        self.reserved += cost
        try:
            yield
        finally:
            self.reserved -= cost
