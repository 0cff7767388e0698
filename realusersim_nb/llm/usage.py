"""What calls cost: counted in a notebook, kept with its run, and held to a budget that is never exceeded.

Each paid call is a line of ``<run>/<notebook>/calls.jsonl`` as soon as it is answered, so that the cost of a
run is that of all its starts together, whatever ended them.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from realusersim_nb.errors import StudyError
from realusersim_nb.llm.endpoints import Endpoint
from realusersim_nb.llm.replies import Reply
from realusersim_nb.llm.requests import count_most_tokens

CALLS_FILE = "calls.jsonl"


class BudgetReached(StudyError):
    """``budget_usd`` is spent; every reply so far is cached, so a rerun goes on from here."""


@dataclass
class Usage:
    """Calls, and the tokens and cost of the live ones.

    ``cached`` replies came from the cache or from another task's call, ``failed`` prompts have no usable
    reply after all tries, ``retried`` calls got no answer and were made again. ``cost_usd`` is NaN as soon
    as a call was made whose price is not known.
    """

    live: int = 0
    cached: int = 0
    failed: int = 0
    retried: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: float = 0.0

    def add(self, prompt_tokens: int, completion_tokens: int, cost_usd: float | None) -> None:
        """Count a live call; None: its price is not known."""
        self.live += 1
        self.prompt_tokens += prompt_tokens
        self.completion_tokens += completion_tokens
        self.cost_usd += float("nan") if cost_usd is None else cost_usd

    def __str__(self) -> str:
        tokens = f"{self.prompt_tokens + self.completion_tokens:,} tokens"
        failed = f", {self.failed} failed" if self.failed else ""
        return f"{self.live} calls, {self.cached} cached, {tokens}, {format_cost(self.cost_usd)}{failed}"


def format_cost(usd: float | None) -> str:
    """Dollars as text; where a price is not known (None or NaN) it says so."""
    if usd is None or usd != usd:
        return "cost unknown"
    return f"${usd:,.4f}" if 0 < usd < 0.1 else f"${usd:,.2f}"


def note_call(file: Path, endpoint: Endpoint, reply: Reply) -> None:
    """Add a paid call to a notebook's file of calls; ``cost_usd`` is null where the price is not known."""
    tokens = {"prompt_tokens": reply.prompt_tokens, "completion_tokens": reply.completion_tokens}
    row = {"key": reply.key, "model": reply.model, "service": reply.service, **tokens}
    row |= {"cost_usd": endpoint.find_cost(**tokens), "at": round(time.time(), 3)}
    with file.open("a", encoding="utf-8") as lines:
        lines.write(json.dumps(row, ensure_ascii=False) + "\n")


def sum_calls(*files: Path) -> Usage:
    """What the calls in these files cost together (files that are not there: nothing)."""
    total = Usage()
    for file in files:
        if file.exists():
            one = read_usage(file, file.stat().st_size)
            total.live += one.live - 1
            total.add(one.prompt_tokens, one.completion_tokens, one.cost_usd)
    return total


@lru_cache(maxsize=4096)
def read_usage(file: Path, size: int) -> Usage:
    """What the calls in a file of ``size`` bytes cost; a line that a kill cut off does not count."""
    total = Usage()
    for line in file.read_text(encoding="utf-8").splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        total.add(row["prompt_tokens"], row["completion_tokens"], row["cost_usd"])
    return total


class Budget:
    """USD that calls may cost together (None: any amount), with those in a run's ``files`` of calls."""

    def __init__(self, usd: float | None, usage: Usage, files: list[Path]):
        self.usd, self.usage = usd, usage
        self.before = sum_calls(*files).cost_usd if usd is not None else 0.0
        self.reserved = 0.0  # by calls in flight

    @asynccontextmanager
    async def reserve(self, endpoint: Endpoint, request: dict) -> AsyncIterator[None]:
        """Set aside the most that a call can cost while it is made; BudgetReached if that is not left, or if
        what earlier calls cost is not known.
        """
        if self.before != self.before:
            raise BudgetReached(
                f"budget_usd {self.usd}: the price of earlier calls of this run was unknown, so what is left "
                "is not either; choose another run_name (replies in the cache cost nothing) or set no budget."
            )
        reply_tokens = request.get(endpoint.max_tokens_name, 0)
        cost = endpoint.find_cost(count_most_tokens(request), reply_tokens) or 0.0
        while self.usd is not None and self.before + self.usage.cost_usd + self.reserved + cost > self.usd:
            spent = self.before + self.usage.cost_usd
            if self.reserved <= 1e-12:
                raise BudgetReached(
                    f"budget_usd {self.usd}: ${spent:.4f} are spent in this run, and the next call may cost "
                    f"${cost:.4f}; raise it and run again to go on."
                )
            await asyncio.sleep(0.05)  # calls in flight may turn out cheaper
        self.reserved += cost
        try:
            yield
        finally:
            self.reserved -= cost
