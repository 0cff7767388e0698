"""The two sides of a comparison, made alike: transcripts of simulated users, and conversations of people.

Both are cut to the same numbers of messages, people's are drawn so that these are as frequent as in the
transcripts, private data is masked in both, and what a harness adds to a message (``###STOP###``) is no
text of its user.
"""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from realusersim_nb.corpus.cleaning import mask_pii
from realusersim_nb.corpus.curation import keep_english
from realusersim_nb.corpus.loading import DEFAULT_SKIPPED, load_corpus, read_transcripts
from realusersim_nb.errors import InputError
from realusersim_nb.records import CLOSE, Conversation

PEOPLE = "sharegpt"  # the embedded corpus
N_PEOPLE = 4000  # conversations of it that are read
FIRST = 6  # messages of each conversation by which manner is compared
FEW = 30  # conversations, below which nothing is claimed
SKIPPED = (*DEFAULT_SKIPPED, "pleasantries trimmed", "3+ user turns")
SIGNAL = re.compile(
    rf"#{{2,}}[A-Z_ -]+#{{2,}}|(?<!\S){re.escape(CLOSE)}\b|<\|?(?:end|stop|done)[\w-]*\|?>", re.I
)


@dataclass
class Side:
    """Conversations of one side: ids, ``users``, all user ``texts``, and how many ``first`` are compared.

    ``is_whole``: whether the last text ends the conversation, which a source may continue elsewhere.
    """

    name: str
    ids: list[str]
    users: np.ndarray
    texts: list[list[str]]
    first: np.ndarray
    is_whole: np.ndarray

    @property
    def messages(self) -> list[list[str]]:
        """The messages by which manner is compared."""
        return [texts[:n] for texts, n in zip(self.texts, self.first, strict=True)]

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: np.ndarray) -> "Side":
        """The side with these conversations."""
        ids, texts = ([column[i] for i in rows] for column in (self.ids, self.texts))
        return Side(self.name, ids, self.users[rows], texts, self.first[rows], self.is_whole[rows])


def make_side(name: str, conversations: Sequence[Conversation], *, cut: Collection[str] = ()) -> Side:
    """A side of conversations whose user writes something, with private data masked and signals removed.

    ``cut``: users whose conversation goes on elsewhere.
    """
    rows = [(c.conversation_id, c.user_id, clean_texts(c.user_messages)) for c in conversations]
    rows = [row for row in rows if row[2]]
    ids, users, texts = zip(*rows, strict=True) if rows else ((), (), ())
    codes, first = pd.factorize(np.array(users, dtype=object))[0], [min(len(t), FIRST) for t in texts]
    is_whole = np.array([user not in cut for user in users], dtype=bool)
    return Side(name, [*ids], codes, [*texts], np.array(first, dtype=int), is_whole)


def clean_texts(messages: list[str]) -> list[str]:
    """What a user wrote, without signals of a harness; messages of which nothing is left are left out."""
    cleaned = [mask_pii(SIGNAL.sub("", text)).strip() for text in messages]
    return [text for text in cleaned if text]


def read_system(path: str) -> Side:
    """The transcripts of one file; InputError where no user writes, or fewer than half write English."""
    conversations = read_transcripts(path)
    side = make_side(path, conversations)
    if not len(side):
        raise InputError(f"{path}: {len(conversations)} conversations, and the user writes nothing in them.")
    checked = [c for c in conversations if c.user_messages][:200]
    n = sum(keep_english(c) is not None for c in checked)
    if sum(len(" ".join(texts).split()) for texts in side.texts) >= 20 and 2 * n < len(checked):
        expected = "what is measured is of English, so name transcripts in English"
        raise InputError(f"{path}: {n} of {len(checked)} conversations are in English; {expected}.")
    return side


def read_people(corpus: str = PEOPLE, *, most: int = N_PEOPLE) -> Side:
    """People's conversations, of the first ``most`` of a corpus those that begin at their beginning."""
    rows = load_corpus(corpus, skip_steps=SKIPPED, max_conversations=most).conversations
    cut = {c.user_id for c in rows if c.continues}
    return make_side(corpus, [c for c in rows if not c.continues], cut=cut)


def match_lengths(people: Side, system: Side, *, seed: int) -> Side:
    """Some of people's conversations, cut to numbers of messages that are as frequent as in ``system``.

    Each is cut to a number drawn from those of the system that it has; so that long ones are not used up by
    short cuts, the rarest numbers are served first.
    """
    rng = np.random.default_rng(seed)
    shares, lengths = count_lengths(system), people.first
    free, chosen = np.ones(len(people), dtype=bool), np.zeros(len(people), dtype=int)
    total = find_total(shares, lengths)
    for m in range(FIRST, 0, -1):
        rows = rng.permutation(np.flatnonzero(free & (lengths >= m)))[: round(total * shares[m])]
        chosen[rows], free[rows] = m, False
    rows = np.flatnonzero(chosen)
    matched = people.take(rows)
    matched.first = chosen[rows]
    return matched


def cut_to_people(system: Side, people: Side) -> Side:
    """The system, cut to fewer messages where fewer than 30 of people's conversations could match its own."""
    for most in range(FIRST, 0, -1):
        cut = replace(system, first=np.minimum(system.first, most))
        if find_total(count_lengths(cut), people.first) >= min(FEW, len(people)):
            break
    return cut


def count_lengths(side: Side) -> np.ndarray:
    """Shares of conversations by how many of their messages are compared (0 to six)."""
    return np.bincount(side.first, minlength=FIRST + 1) / len(side)


def find_total(shares: np.ndarray, lengths: np.ndarray) -> float:
    """How many conversations can be cut so that numbers of messages have these shares."""
    above = shares[::-1].cumsum()[::-1]  # share of m messages or more
    return min((lengths >= m).sum() / above[m] for m in range(1, FIRST + 1) if above[m] > 0)
