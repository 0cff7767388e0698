"""Limits on calls: how many are in flight, how many begin in a minute, and that none begins after a stop."""

import asyncio
import random
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar

from aiolimiter import AsyncLimiter
from anyio import CapacityLimiter

STOPPED: ContextVar[threading.Event | None] = ContextVar("stopped", default=None)


class RateLimiter:
    """Calls in flight, and requests and tokens a minute, of one endpoint.

    After a 429 half as many calls may be in flight, and none begins before the time that the endpoint
    asked for; then calls begin one by one, and one more may be in flight after every round of replies
    (additive increase, multiplicative decrease). The limits are those of one process: machines that
    share a quota must divide it.
    """

    def __init__(
        self,
        ceiling: int,
        *,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
    ):
        self.ceiling = ceiling
        self.slots: CapacityLimiter | None = None
        self.requests, self.tokens = map(make_limiter, [requests_per_minute, tokens_per_minute])
        self.paused_until = 0.0
        self._answered_since_change = 0

    @property
    def n_in_flight(self) -> int:
        """Calls that have been made and not been answered."""
        return int(self.slots.borrowed_tokens) if self.slots else 0

    @asynccontextmanager
    async def enter(self, tokens: int) -> AsyncIterator[None]:
        """Wait until a call of about so many tokens may be made, and count it as in flight."""
        if self.slots is None:  # belongs to the running loop, so not made before there is one
            self.slots = CapacityLimiter(self.ceiling)
        async with self.slots:
            while (pause := self.paused_until - time.monotonic()) > 0:
                await rest(pause + random.uniform(0, 1))  # lest all begin at once
            if self.requests:
                await self.requests.acquire()
            while self.tokens and tokens > 0:  # a call may need more than the bucket holds at once
                await self.tokens.acquire(min(tokens, self.tokens.max_rate))
                tokens -= self.tokens.max_rate
            yield

    def note_throttled(self, wait: float) -> None:
        """The endpoint answered 429 and asks to wait so many seconds."""
        now = time.monotonic()
        if now >= self.paused_until:  # the first of a burst
            self.slots.total_tokens = max(1, int(self.slots.total_tokens) // 2)
            self._answered_since_change = 0
        self.paused_until = max(self.paused_until, now + wait)

    def note_reply(self) -> None:
        """The endpoint answered a call."""
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


def leave_if_stopped() -> None:
    """Raise CancelledError if the ``run_all`` that this task or thread works for was stopped: what is in
    flight then ends, and no other call begins.
    """
    if (stopped := STOPPED.get()) and stopped.is_set():
        raise asyncio.CancelledError


async def rest(seconds: float) -> None:
    """Wait, but no longer than the study goes on."""
    while seconds > 0:
        await asyncio.sleep(min(seconds, 1.0))
        leave_if_stopped()
        seconds -= 1
