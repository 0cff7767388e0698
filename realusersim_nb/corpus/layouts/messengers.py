"""Chats between people: Slack, Discord, Telegram, Messenger (and Instagram), WhatsApp, as rows of messages.

A row is a message: ``chat``, ``speaker``, ``text``, ``time``; ``columns`` makes conversations of them once it
is known which speakers are the users. A pause of eight hours begins another conversation. What is no text
that its speaker wrote (notices, deleted and forwarded messages, attachments) is counted by kind.
"""

import html
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from pathlib import PurePosixPath

import numpy as np

from realusersim_nb.corpus.layouts.columns import Columns, ColumnsError
from realusersim_nb.corpus.layouts.rows import BOT, CHAT, NOTES
from realusersim_nb.corpus.layouts.times import read_times

PAUSE = 8 * 3600  # seconds
NOTICE, DELETED, FORWARDED = (
    f"{what} left out" for what in ("a notice of the system", "a deleted message", "a forwarded message")
)
ATTACHED, EDITED = "an attachment left out", "an edited message, read as it is now"
DAY = re.compile(r"([^/]+)/\d{4}-\d\d-\d\d\.json$")  # of Slack: a day of a channel

Message = dict[str, object]


def make_message(
    speaker: object, text: object, time: float | str | None, *notes: str, bot: bool = False
) -> Message:
    """A message as a row, of which ``notes`` count what is left out."""
    text = text if isinstance(text, str) and speaker and not {NOTICE, DELETED, FORWARDED} & {*notes} else ""
    return {"speaker": speaker, "text": text, "time": time, NOTES: [*notes], BOT: bot}


def cut_at_pauses(chat: str, messages: list[Message]) -> Iterator[Message]:
    """The messages in order of time, where all have one, with ``chat``: its name and number."""
    readings = [times for times in read_times(messages, "time") if not np.isnan(times).any()]
    steady = [times for times in readings if (np.diff(times) >= 0).all()]
    times = (steady or (readings if len(readings) == 1 else [np.zeros(len(messages))]))[0]
    order = times.argsort(kind="stable")
    numbers = np.cumsum(np.diff(times[order], prepend=times[order][:1]) > PAUSE)
    for i, number in zip(order, numbers, strict=True):
        yield messages[i] | {CHAT: f"{chat}/{number}"}


def complete_chat_columns(given: Columns, rows: list[dict]) -> Columns:
    """The columns of messages between people, where programs are assistants; ColumnsError: who is the user?"""
    names = {
        "role": "speaker",
        "content": "text",
        "conversation_id": CHAT,
        "user_id": "speaker",
        "time": None,
    }
    columns = given.model_copy(update=names)
    speakers = Counter(str(row["speaker"]) for row in rows if row["text"])
    if not (given.users or given.assistants):
        columns.assistants = sorted({str(row["speaker"]) for row in rows if row[BOT]})
    users = [speaker for speaker in speakers if columns.is_user(speaker)]
    if not users or (len(users) == len(speakers) and not given.users):
        counts = ", ".join(f"{name!r} ({n:,})" for name, n in speakers.most_common(12))
        more = f" and {len(speakers) - 12} more" if len(speakers) > 12 else ""
        todo = "name them with `-c users NAME` of the command look ('*': all of them)"
        question = f"who is the user? These write: {counts or 'nobody'}{more}; {todo}."
        raise ColumnsError(question, speakers)
    return columns


# --- JSON, a chat an object ----------------------------------------------------------------------


def read_telegram(chat: dict) -> Iterator[Message]:
    """A chat of Telegram's ``result.json``; ``text`` is a text, or a list of texts and marked pieces."""
    media = ("photo", "file", "media_type", "poll", "location_information", "contact_information")
    for message in chat["messages"]:
        text = message.get("text") or ""
        if isinstance(text, list):
            text = "".join(piece if isinstance(piece, str) else piece.get("text", "") for piece in text)
        notes = [NOTICE] * (message.get("type") == "service") + [EDITED] * bool(message.get("edited"))
        notes += [FORWARDED] * bool(message.get("forwarded_from")) + [ATTACHED] * any(
            m in message for m in media
        )
        speaker = message.get("from") or message.get("from_id")
        is_bot = chat.get("type") == "bot_chat" and speaker == chat.get("name")
        yield make_message(
            speaker, text, message.get("date_unixtime") or message.get("date"), *notes, bot=is_bot
        )


def read_discord(chat: dict) -> Iterator[Message]:
    """A channel as DiscordChatExporter writes it."""
    for message in chat["messages"]:
        notes = [NOTICE] * (message["type"] not in ("Default", "Reply")) + [EDITED] * bool(
            message.get("timestampEdited")
        )
        notes += [ATTACHED] * sum(len(message.get(n) or ()) for n in ("attachments", "stickers", "embeds"))
        author = message["author"]
        is_bot = bool(author.get("isBot"))
        yield make_message(author["name"], message["content"], message["timestamp"], *notes, bot=is_bot)


def read_messenger(chat: dict) -> Iterator[Message]:
    """A thread of Messenger or Instagram, newest first; its texts are UTF-8 that was taken for Latin-1."""
    media = "photos videos audio_files files gifs sticker share media".split()
    for message in chat["messages"]:
        is_deleted = message.get("is_unsent") or message.get("isUnsent")
        is_notice = message.get("type", "Generic") in (
            "Call",
            "Subscribe",
            "Unsubscribe",
            "call",
            "subscribe",
        )
        notes = [DELETED] * bool(is_deleted) + [NOTICE] * is_notice
        for name in media:
            held = message.get(name) or ()
            notes += [ATTACHED] * (len(held) if isinstance(held, list) else 1)
        speaker, text = (
            mend_text(message.get(old, message.get(new)))
            for old, new in (("sender_name", "senderName"), ("content", "text"))
        )
        yield make_message(speaker, text, message.get("timestamp_ms", message.get("timestamp")), *notes)


def mend_text(text: object) -> object:
    """A text whose bytes of UTF-8 were written as characters each, as it was."""
    try:
        return text.encode("latin-1").decode() if isinstance(text, str) else text
    except UnicodeError:
        return text


def has_messages(*fields: str) -> Callable[[dict], bool]:
    """Whether the first messages of a chat have all these fields, a notice aside."""

    def fits(chat: dict) -> bool:
        messages = [m for m in chat["messages"][:20] if isinstance(m, dict)]
        return any(all(field in message for field in fields) for message in messages)

    return fits


CHATS: dict[str, tuple[Callable[[dict], bool], Callable[[dict], Iterator[Message]]]] = {
    "Discord": (has_messages("author", "content", "timestamp", "type"), read_discord),
    "Telegram": (has_messages("type", "date", "from", "text"), read_telegram),
    "Messenger": (has_messages("sender_name", "timestamp_ms"), read_messenger),
    "Messenger of today": (has_messages("senderName", "timestamp", "type"), read_messenger),
}
"""Of each messenger: whether an object is a chat of it, and what reads its messages."""


def list_chats(row: dict, name: str) -> Iterator[dict | str]:
    """The messages of a row that is a whole chat; another row as it is."""
    messages = row.get("messages")
    reads = [read for fits, read in CHATS.values() if isinstance(messages, list) and fits(row)]
    if not reads:
        yield row
        return
    channel = row.get("channel") or {}
    names = [row.get("name"), channel.get("name"), row.get("title"), row.get("threadName")]
    chat = next((str(mend_text(each)) for each in names if each), PurePosixPath(name).stem)
    try:
        yield from cut_at_pauses(chat, list(reads[0](row)))
    except (KeyError, TypeError, AttributeError) as error:
        yield f"the chat {chat!r} cannot be read: {type(error).__name__} {error}; export it once more"


# --- Slack ----------------------------------------------------------------------------------------


def is_slack(names: Iterable[str]) -> bool:
    """Whether files of these names are an export of Slack."""
    names = [*names]
    return any(PurePosixPath(n).name == "users.json" for n in names) and any(map(DAY.search, names))


def read_slack(users: Iterable[dict | str], days: dict[str, Iterable[dict | str]]) -> Iterator[Message | str]:
    """The messages of an export of Slack, ``channel/YYYY-MM-DD.json``; a thread is a conversation."""
    names, bots = {}, set()
    for user in filter(lambda user: isinstance(user, dict) and "id" in user, users):
        about = user.get("profile") or {}
        names[user["id"]] = (
            about.get("display_name") or about.get("real_name") or user.get("name") or user["id"]
        )
        bots |= {user["id"]} if user.get("is_bot") else set()
    for channel, files in groupby(sorted(days), key=lambda name: DAY.search(name).group(1)):
        rows = [row for name in files for row in days[name]]
        yield from (row for row in rows if isinstance(row, str))
        messages, threads = [], {}
        for row in rows:
            if isinstance(row, dict) and "ts" in row:
                thread = row.get("thread_ts")
                (threads.setdefault(thread, []) if thread else messages).append(
                    read_slack_message(row, names, bots)
                )
        yield from cut_at_pauses(channel, messages)
        for thread, replies in threads.items():
            yield from (reply | {CHAT: f"{channel}/{thread}"} for reply in replies)


def read_slack_message(row: dict, names: dict[str, str], bots: set[str]) -> Message:
    """A message of Slack, with names for ids of people and plain characters for escaped ones."""
    kind, user = row.get("subtype"), row.get("user")
    speaker = names.get(user, user) or row.get("username") or row.get("bot_id")
    text = re.sub(r"<@(\w+)(?:\|[^>]*)?>", lambda m: "@" + names.get(m[1], m[1]), row.get("text") or "")
    text = html.unescape(re.sub(r"<([^>|]+)(?:\|([^>]*))?>", lambda m: m[2] or m[1], text))
    written = (None, "bot_message", "me_message", "thread_broadcast", "file_share", "file_comment")
    is_deleted = kind in ("tombstone", "message_deleted")
    notes = [DELETED] * is_deleted + [NOTICE] * (kind not in written and not is_deleted)
    notes += [EDITED] * ("edited" in row) + [ATTACHED] * len(row.get("files") or ())
    return make_message(speaker, text, float(row["ts"]), *notes, bot="bot_id" in row or user in bots)


# --- WhatsApp -------------------------------------------------------------------------------------

DATE, CLOCK = r"(\d{1,4}[./-]\d{1,2}[./-]\d{1,4})", r"(\d{1,2}[:.]\d\d(?:[:.]\d\d)?(?:\s?[ap]\.?\s?m\.?)?)"
HEADER = re.compile(rf"(?i)[\u200e\u200f]*(?:\[{DATE},?\s{CLOCK}\]|{DATE},?\s{CLOCK}\s[-–])\s(.*)", re.DOTALL)
SPOKEN = re.compile(r"([^:\"“\n]{1,60}?): ?(.*)", re.DOTALL)
PICTURE = re.compile(r"\u200e?<[^<>\n]{3,60}>|\u200e?\S[^\n]* (?:omitted|\(file attached\))")
CHANGED = re.compile(r"\s*\u200e?<This message was edited>\s*$")
GONE = re.compile(
    "\u200e?(?:This message was deleted|You deleted this message|Diese Nachricht wurde gelöscht"
    "|Du hast diese Nachricht gelöscht|Se eliminó este mensaje|Eliminaste este mensaje"
    "|Ce message a été supprimé|Vous avez supprimé ce message|Questo messaggio è stato eliminato"
    "|Hai eliminato questo messaggio|Mensagem apagada|Você apagou esta mensagem)[.]?"
)


def read_whatsapp(lines: Iterable[str]) -> Iterator[Message | str]:
    """The messages of ``_chat.txt``; a line without a date goes on the message before it."""
    messages: list[Message] = []
    texts: list[str] = []
    stray = 0
    for line in lines:
        if match := HEADER.fullmatch(line.rstrip("\r\n")):
            date, clock, rest = [group for group in match.groups() if group is not None]
            clock = re.sub(r"(?<=\d)\.(?=\d)", ":", clock)
            clock = re.sub(r"(?i)\s?([ap])\.?\s?m\.?$", r" \1m", clock)
            messages.append({"time": f"{date} {clock}"})
            texts.append(rest)
        elif texts:
            texts[-1] += "\n" + line.rstrip("\r\n")
        else:
            stray += bool(line.strip())
    yield from [
        "the line stands before the first message; a chat begins with a date, a time and a name"
    ] * stray
    messages = [
        read_whatsapp_text(text, message["time"]) for text, message in zip(texts, messages, strict=True)
    ]
    yield from cut_at_pauses("chat", messages)


def read_whatsapp_text(text: str, time: str) -> Message:
    """A message by what stands behind its date: a name and a text, or a notice."""
    if not (match := SPOKEN.fullmatch(text)):
        return make_message(None, "", time, NOTICE)
    speaker, text = match.group(1).strip("\u200e\u202a\u202c~ "), match.group(2)
    if GONE.fullmatch(text.strip()):
        return make_message(speaker, "", time, DELETED)
    notes = [EDITED] * bool(CHANGED.search(text))
    lines = CHANGED.sub("", text).split("\n")
    kept = [line for line in lines if not PICTURE.fullmatch(line.strip())]
    notes += [ATTACHED] * (len(lines) - len(kept))
    if lines[0].startswith("\u200e") and len(kept) == len(lines):
        notes.append(NOTICE)
    return make_message(speaker, "\n".join(kept), time, *notes)
