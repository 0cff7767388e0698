"""What served users wrote: one conversation a line, in a file that is whole whenever it is read.

A harness sends the whole conversation with every call and no name for it, so it is known by what it holds: a
call whose messages are those of a conversation in the file goes on with it, any other begins one. Two
conversations in which everything is the same, seed and prompt too, are one.
"""

import asyncio
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

from realusersim_nb.errors import InputError
from realusersim_nb.files import read_records, write_lines
from realusersim_nb.records import Conversation, Message
from realusersim_nb.simulators.serving.requests import digest

PAUSE = 1.0  # seconds between two writes at least
SHARE = 20  # of the time at most one in so many is spent writing


class Transcripts:
    """The conversations of a file, those of earlier starts too; InputError if it is another server's."""

    def __init__(self, path: Path):
        self.path, self.changed = path, False
        path.parent.mkdir(parents=True, exist_ok=True)
        self.lock = FileLock(f"{path}.lock")
        try:
            self.lock.acquire(timeout=0)
        except Timeout as error:
            raise InputError(f"{path}: another server writes to it; give this one another --out.") from error
        self.conversations: dict[str, Conversation] = {}
        self.states: dict[str, str] = {}  # of every state so far, the conversation that was in it
        self.newest: dict[str, str] = {}  # of every conversation, the state it is in
        self.counts: Counter[str] = Counter()  # conversations that begin alike
        for conversation in read_records(path, Conversation) if path.exists() else ():
            self._take(conversation)

    def _take(self, conversation: Conversation) -> None:
        key = conversation.conversation_id.rpartition("-")[0]
        self.conversations[conversation.conversation_id] = conversation
        self.counts[key] += 1
        for n, message in enumerate(conversation.messages, 1):
            if message.role == "user":
                self._move(conversation.conversation_id, digest_state(key, conversation.messages[:n]))

    def _move(self, conversation_id: str, state: str) -> None:
        self.states[state], self.newest[conversation_id] = conversation_id, state

    def note(self, key: str, messages: list[Message], text: str, **about: str | None) -> None:
        """Take in a user's reply ``text`` ("": none) after ``messages``, in a conversation that began as
        ``key``; ``about`` are fields of the record. One that is there already is not taken in again.
        """
        whole = [*messages, *([Message(role="user", content=text)] if text else [])]
        before, after = digest_state(key, messages), digest_state(key, whole)
        if text and after in self.states:
            return
        conversation_id = self.states.get(before, "")
        if self.newest.get(conversation_id) != before:  # a new one, or another way on from an earlier state
            conversation_id = f"{key}-{self.counts[key]}"
            self.counts[key] += 1
        elif earlier := self.conversations[conversation_id].role_break:
            about["role_break"] = earlier
        self.conversations[conversation_id] = Conversation(
            conversation_id=conversation_id, messages=whole, **about
        )
        self._move(conversation_id, after)
        self.changed = True

    async def write(self) -> float:
        """Write the file if anything is new; returns the seconds that it took."""
        started = time.monotonic()
        if self.changed:
            self.changed = False
            await asyncio.to_thread(write_lines, self.path, list(self.conversations.values()))
        return time.monotonic() - started

    async def keep_writing(self) -> None:
        """Write whenever something is new, until cancelled, and a last time then."""
        try:
            while True:
                await asyncio.sleep(max(PAUSE, SHARE * await self.write()))
        finally:
            await self.write()
            with suppress(OSError):
                self.lock.release()


def digest_state(key: str, messages: list[Message]) -> str:
    """What a conversation is known by: all up to the user's last message."""
    last = max((n for n, m in enumerate(messages, 1) if m.role == "user"), default=0)
    return digest([key, *((m.role, m.content) for m in messages[:last])])
