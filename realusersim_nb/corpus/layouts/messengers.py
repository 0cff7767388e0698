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

from realusersim_nb.corpus.layouts.columns import Columns, ColumnsError, quote_names
from realusersim_nb.corpus.layouts.rows import BOT, CHAT, NOTES, UNREADABLE, explain_error
from realusersim_nb.corpus.layouts.times import read_times

PAUSE = 8 * 3600  # seconds
NOTICE, DELETED = "a notice of the system left out", "a deleted message left out"
FORWARDED, NAMELESS = "a forwarded message left out", "a message without a speaker left out"
ATTACHED, EDITED = "an attachment left out", "an edited message, read as it is now"
DAY = re.compile(r"([^/]+)/\d{4}-\d\d-\d\d\.json$")  # of Slack: a day of a channel

Message = dict[str, object]


def make_message(
    speaker: object, text: object, time: float | str | None, *notes: str, bot: bool = False
) -> Message:
    """A message as a row, of which ``notes`` count what is left out."""
    text = text if isinstance(text, str) and not {NOTICE, DELETED, FORWARDED} & {*notes} else ""
    if text and not speaker:
        text, notes = "", (*notes, NAMELESS)
    return {"speaker": speaker, "text": text, "time": time, NOTES: [*notes], BOT: bot}


def cut_at_pauses(chat: str, messages: list[Message]) -> Iterator[Message]:
    """The messages in order of time, where all have one, with ``chat``: its name and number."""
    if not messages:
        return
    readings = [times for times in read_times(messages, "time") if not np.isnan(times).any()]
    steady = [times for times in readings if (np.diff(times) >= 0).all()]
    times = (steady or (readings if len(readings) == 1 else [np.zeros(len(messages))]))[0]
    order = times.argsort(kind="stable")
    numbers = np.cumsum(np.diff(times[order], prepend=times[order][:1]) > PAUSE)
    for i, number in zip(order, numbers, strict=True):
        yield messages[i] | {CHAT: f"{chat}/{number}"}


def complete_chat_columns(given: Columns, rows: list[dict]) -> Columns:
    """The columns of messages between people; ColumnsError where it is open who the users are.

    It is not for one person who writes with programs.
    """
    names = {"role": "speaker", "content": "text", "user_id": "speaker", "conversation_id": CHAT}
    columns = given.model_copy(update=names | {"time": None})
    speakers = Counter(str(row["speaker"]) for row in rows if row["text"])
    programs = sorted({str(row["speaker"]) for row in rows if row[BOT]})
    is_named = given.users or given.assistants
    if not is_named and len(speakers.keys() - programs) == 1:
        columns.assistants = programs
    users = [speaker for speaker in speakers if columns.is_user(speaker)]
    if not users or (len(users) == len(speakers) and not given.users):
        who = quote_names(name for name, _ in speakers.most_common())
        todo = "name the users with `-c users NAME` of the command look, '*' for all"
        problem = "no user that is named writes here" if is_named else "who is the user?"
        question = f"{problem} ({who or 'nobody'} write here); {todo}."
        raise ColumnsError(question, speakers, programs)
    return columns


# --- JSON, a chat an object ----------------------------------------------------------------------


def read_telegram(message: dict, chat: dict) -> Message:
    """A message of Telegram's ``result.json``; ``text`` is a text, or a list of texts and marked pieces."""
    media = ("photo", "file", "media_type", "poll", "location_information", "contact_information")
    text = message.get("text") or ""
    if isinstance(text, list):
        text = "".join(piece if isinstance(piece, str) else piece.get("text", "") for piece in text)
    notes = [NOTICE] * (message["type"] == "service") + [EDITED] * bool(message.get("edited"))
    notes += [FORWARDED] * bool(message.get("forwarded_from"))
    notes += [ATTACHED] * any(name in message for name in media)
    speaker = message.get("from") or message.get("from_id")
    is_bot = chat.get("type") == "bot_chat" and speaker == chat.get("name")
    return make_message(speaker, text, message.get("date_unixtime") or message["date"], *notes, bot=is_bot)


def read_discord(message: dict, chat: dict) -> Message:
    """A message of a channel as DiscordChatExporter writes it."""
    notes = [NOTICE] * (message["type"] not in ("Default", "Reply"))
    notes += [EDITED] * bool(message.get("timestampEdited"))
    notes += [ATTACHED] * sum(len(message.get(n) or ()) for n in ("attachments", "stickers", "embeds"))
    author = message["author"]
    is_bot = bool(author.get("isBot"))
    return make_message(author["name"], message["content"], message["timestamp"], *notes, bot=is_bot)


def read_messenger(message: dict, chat: dict) -> Message:
    """A message of Messenger or Instagram, in which UTF-8 was taken for Latin-1; or as they write it now."""
    names = ("sender_name", "content", "timestamp_ms")
    speaker, text, time = ("senderName", "text", "timestamp") if "senderName" in message else names
    is_notice = str(message.get("type", "Generic")).lower() in ("call", "subscribe", "unsubscribe")
    is_deleted = bool(message.get("is_unsent") or message.get("isUnsent"))
    notes = [DELETED] * is_deleted + [NOTICE] * is_notice
    for name in "photos videos audio_files files gifs sticker share media".split():
        files = message.get(name)
        notes += [ATTACHED] * (len(files) if isinstance(files, list) else files is not None)
    return make_message(mend_text(message[speaker]), mend_text(message.get(text)), message[time], *notes)


def mend_text(text: object) -> object:
    """A text whose bytes of UTF-8 were written as characters each, as it was."""
    try:
        return text.encode("latin-1").decode() if isinstance(text, str) else text
    except UnicodeError:
        return text


def find_messenger(chat: dict) -> tuple[str, Callable[[dict, dict], Message]] | None:
    """Of an object that is a chat of people: the messenger, and what reads a message."""
    messages = chat.get("messages")
    if not isinstance(messages, list):
        return None
    fields = {name for message in messages[:20] if isinstance(message, dict) for name in message}
    if {"guild", "channel"} <= chat.keys():
        return "Discord", read_discord
    if {"date", "type"} <= fields and {"from_id", "actor", "date_unixtime"} & fields:
        return "Telegram", read_telegram
    if "participants" in chat and {"timestamp_ms", "senderName"} & fields:
        return "Messenger", read_messenger
    return None


def list_chats(row: dict, name: str) -> Iterator[dict | str]:
    """The messages of a row that is a whole chat; another row as it is."""
    if not (known := find_messenger(row)):
        yield row
        return
    title, read = known
    channel = row.get("channel") or {}
    names = [row.get("name"), channel.get("name"), row.get("title"), row.get("threadName")]
    chat = next((str(mend_text(each)) for each in names if each), PurePosixPath(name).stem)
    messages = []
    for message in row["messages"]:
        try:
            messages.append(read(message, row))
        except UNREADABLE as error:
            problem = f"it looks like a message of {title}, but {explain_error(error)}"
            yield f"{problem}; export the chat once more, or leave the message out"
    yield from cut_at_pauses(chat, messages)


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
        "the line stands before the first message; a chat of WhatsApp begins with a date, a time and a name"
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
