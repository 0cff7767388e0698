"""How many calls an endpoint bears now: its limits, and what its complaints say about them."""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiolimiter import AsyncLimiter
from anyio import CapacityLimiter

from realusersim_nb.llm.endpoints import Endpoint


class RateLimiter:
    """The gate in front of one endpoint, which every call passes.

    It holds calls in flight, requests and tokens per minute below the endpoint's limits. When the
    endpoint complains (429), the calls in flight it allows are halved and nobody passes before the
    time it asked for; after that, calls come back one by one, and one more may be in flight for
    every round of replies without complaint (additive increase, multiplicative decrease).
    The limits are those of one process: machines that share a quota must share it out.
    """

    def __init__(self, endpoint: Endpoint, max_concurrency: int):
        self.ceiling = min(max_concurrency, endpoint.max_concurrency or max_concurrency)
        self.slots: CapacityLimiter | None = None
        self.requests = make_limiter(endpoint.requests_per_minute)
        self.tokens = make_limiter(endpoint.tokens_per_minute)
        self.paused_until = 0.0
        self.answered = 0  # replies so far
        self._answered_since_change = 0

    @asynccontextmanager
    async def enter(self, tokens: int) -> AsyncIterator[None]:
        """Wait until a call of about so many tokens may be made, and hold its place while it is."""
        if self.slots is None:  # belongs to the running loop, so not made before there is one
            self.slots = CapacityLimiter(self.ceiling)
        async with self.slots:
            while (pause := self.paused_until - time.monotonic()) > 0:
                await asyncio.sleep(pause + random.uniform(0, 1))  # apart, lest all come at once
            if self.requests:
                await self.requests.acquire()
            while self.tokens and tokens > 0:  # a call may need more than the bucket holds at once
                await self.tokens.acquire(min(tokens, self.tokens.max_rate))
                tokens -= self.tokens.max_rate
            yield

    def note_complaint(self, wait: float) -> None:
        """The endpoint asked to be left alone for ``wait`` seconds."""
        now = time.monotonic()
        if now >= self.paused_until:  # the first of a burst: the others say the same
            self.slots.total_tokens = max(1, int(self.slots.total_tokens) // 2)
            self._answered_since_change = 0
        self.paused_until = max(self.paused_until, now + wait)

    def note_reply(self) -> None:
        """A call was answered."""
        self.answered += 1
        self._answered_since_change += 1
        if self.slots.total_tokens < self.ceiling and self._answered_since_change >= self.slots.total_tokens:
            self.slots.total_tokens += 1
            self._answered_since_change = 0


def make_limiter(per_minute: float | None) -> AsyncLimiter | None:
    """A leaky bucket of one second's worth (at least one), so that no minute holds a double share."""
    if per_minute is None:
        return None
    seconds = max(1.0, 60 / per_minute)
    return AsyncLimiter(per_minute * seconds / 60, seconds)
