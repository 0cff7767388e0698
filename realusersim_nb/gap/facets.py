"""What a user does in a conversation, written as text: the facets by which populations are compared.

In the paper (arXiv 2605.07847) a model describes six facets without the topic. Here one text a conversation
and facet is made in one of three ways:

    measured    no model: what rules detect, as words such as ``starts_lower:always first-ask then-thank``
    a model     the paper's six facets by its criteria, in the words of our prompts (``prompts/facets_*.md``):
                requests, context and style from the user's messages alone, responses from all messages, the
                dialog acts of each of the user's messages with the messages before it
    raw         the user's messages, with their topic: the paper's baseline
"""

from itertools import pairwise
from typing import Annotated, Literal, TypeVar

import numpy as np
import pandas as pd
from pydantic import BaseModel, Field

from realusersim_nb import style
from realusersim_nb.corpus.splits import cut_conversation
from realusersim_nb.errors import InputError
from realusersim_nb.llm.models import Models
from realusersim_nb.parallel.batches import map_batches
from realusersim_nb.prompts.fill import fill_prompt
from realusersim_nb.records import Conversation, Message
from realusersim_nb.style import Feature, has, opens_with, typed_text

S = TypeVar("S", bound=BaseModel)
REAL = "real"
MEASURED, RAW = "measured", "raw"
LENGTHS = [0, 3, 8, 16, 40, 100, 10**9]  # words: one to three, up to eight, ...
LENGTH_NAMES = ["tiny", "short", "line", "sentence", "paragraph", "page"]


def list_systems(
    systems: dict[str, list[Conversation]], *, first: int, writer: str = MEASURED
) -> pd.DataFrame:
    """Every conversation of every system: index (system, conversation_id), ``user_id``, user ``messages``.

    For a ``writer`` of facets that is a model also ``turns``, those of both sides up to the last of these.
    Only the ``first`` so many messages are kept, so that length alone does not identify a system; repeated
    ids are numbered. InputError without ``real`` or another system, or for one without conversations.
    """
    if REAL not in systems:
        expected = f"expected the real conversations beside {', '.join(systems)}"
        raise InputError(f"no system is named {REAL!r}: {expected}.")
    if len(systems) == 1:
        mend = "name transcripts of others in `systems`, or a `simulator` that makes them"
        raise InputError(f"there are only real users: {mend}.")
    written = {name: [c for c in rows if c.user_messages] for name, rows in systems.items()}
    for name in [name for name, rows in written.items() if not rows]:
        raise InputError(f"system {name!r}: no conversation to describe; check its file or its roll-outs.")
    rows = [(s, c.conversation_id, c.user_id, c.user_messages[:first]) for s in written for c in written[s]]
    table = pd.DataFrame(rows, columns=["system", "conversation_id", "user_id", "messages"])
    if writer not in (MEASURED, RAW):
        table["turns"] = [cut_conversation(c, first).messages for s in written for c in written[s]]
    again = table.groupby(["system", "conversation_id"]).cumcount()
    table["conversation_id"] += ("#" + again.astype(str)).where(again > 0, "")
    return table.set_index(["system", "conversation_id"])


ACTS: dict[str, style.Measure] = {
    "greet": has(style.GREETING),
    "thank": has(r"thanks?|thank you|thx|appreciate"),
    "accept": opens_with(r"yes|yeah|yep|ok|okay|sure|great|good|perfect|nice|cool|right|exactly"),
    "reject": opens_with(r"no|nope|not|wrong|that's not|thats not|incorrect|this is wrong"),
    "again": style.asks_again,
    "chain": opens_with(r"and|also|but|then|next|what about|how about|what if"),
    "ask": style.is_question,
    "hedge": style.BY_NAME["hedges"].measure,
    "explain": has(r"because|since i|i need|i want|i am trying|i'm trying|my (?:goal|idea|plan|problem)"),
    "paste": lambda text, previous: float(len(typed_text(text).split()) < 0.7 * len(text.split())),
    "repeat": lambda text, previous: float(style.repeats(text, previous) > 0.5),
}
"""The acts of a message and the rules that detect them; a message with none of them is an ``order``."""


def measure_facets(listed: pd.DataFrame) -> pd.DataFrame:
    """Three facets by rules, as words: one row a conversation, columns ``user_id, style, acts, pace``."""
    described = map_batches(measure_batch, list(listed["messages"]), "facets")
    return listed[["user_id"]].join(pd.DataFrame(described, index=listed.index))


def measure_batch(batch: list[list[str]]) -> list[dict[str, str]]:
    """The three facets of some conversations."""
    return [{"style": describe_style(t), "acts": describe_acts(t), "pace": describe_pace(t)} for t in batch]


def describe_style(texts: list[str]) -> str:
    """How often each trait of style shows, ``starts_lower:always``; a trait that cannot show is left out."""
    columns = np.array(style.measure_texts(texts), dtype=float).T
    features = [(f, c) for f, c in zip(style.FEATURES, columns, strict=True) if f.name in style.COMPARED]
    shown = [(feature, column[~np.isnan(column)]) for feature, column in features]
    return " ".join(f"{f.name}:{name_level(f, values)}" for f, values in shown if len(values))


def name_level(feature: Feature, values: np.ndarray) -> str:
    """A feature's figure in a word."""
    if feature.is_count:
        return name_length(np.median(values))
    mean = values.mean()
    return "never" if mean == 0 else "always" if mean == 1 else "seldom" if mean < 0.5 else "often"


def name_length(words: float) -> str:
    """A number of words in a word."""
    return LENGTH_NAMES[max(int(np.searchsorted(LENGTHS, words)) - 1, 0)]


def describe_acts(texts: list[str]) -> str:
    """What each message does, in order: ``first-ask then-accept then-order``."""
    words = []
    for previous, text in pairwise([None, *texts]):
        done = [act for act, measure in ACTS.items() if measure(text, previous) > 0] or ["order"]
        words += [f"{'first' if previous is None else 'then'}-{act}" for act in done]
    return " ".join(words)


def describe_pace(texts: list[str]) -> str:
    """How long the messages are, one after the other, and whether a later one is much shorter or longer."""
    counts = [len(typed_text(text).split()) for text in texts]
    steps = [f"{name_length(a)}>{name_length(b)}" for a, b in pairwise(counts)]
    code = ["code" for text in texts if "```" in text]
    return " ".join([f"opens-{name_length(counts[0])}", *steps, *code])


def read_raw(listed: pd.DataFrame) -> pd.DataFrame:
    """The user's messages as the only facet, ``raw``."""
    return listed[["user_id"]].assign(raw=["\n".join(texts) for texts in listed["messages"]])


Description = Annotated[str, Field(min_length=10, max_length=700)]  # terse points, one a line


class UserFacets(BaseModel):
    """What the user's messages alone show, without the topic."""

    requests: Description
    context: Description
    communication_style: Description


class ResponseFacets(BaseModel):
    """How the user takes what the assistant gave, which takes both sides to see."""

    responses: Description


DAMSL = "statement|opinion|yes-no question|open question|action directive|commit|offer|accept|reject"
DAMSL += "|acknowledge|thanking|apology|opening|closing|other"
SGD = "inform|inform intent|request|request alternatives|affirm|negate|select|thank you|goodbye|other"


class UtteranceActs(BaseModel):
    """The dialog acts of one message of the user."""

    damsl: Literal[tuple(DAMSL.split("|"))]
    sgd: Literal[tuple(SGD.split("|"))]


SIX = ["requests", "responses", "context", "communication_style", *UtteranceActs.model_fields]


async def describe_with_model(
    models: Models, model: str, listed: pd.DataFrame, *, seed: int = 0
) -> pd.DataFrame:
    """The six facets by a model: columns ``user_id``, facets (empty after a failed call) and ``error``."""
    tasks = [describe_conversation(models, model, turns, seed=seed) for turns in listed["turns"]]
    outcomes = await models.run_all(tasks, f"facets by {model}")
    rows = [outcome.result or dict.fromkeys(SIX, "") for outcome in outcomes]
    errors = [str(outcome.failure) if outcome.failure else None for outcome in outcomes]
    return listed[["user_id"]].join(pd.DataFrame(rows, listed.index, SIX)).assign(error=errors)


async def describe_conversation(
    models: Models, model: str, turns: list[Message], *, seed: int
) -> dict[str, str]:
    """The six facets of one conversation, by two calls and one a message. CallFailed if one is missing."""

    async def ask(name: str, schema: type[S], max_tokens: int, **shown: str) -> S:
        sampling = {"temperature": 0.7, "max_tokens": max_tokens, "seed": seed}  # the paper's temperature
        return await models.ask_json(model, fill_prompt(name, **shown), schema, **sampling)

    by_user = [m for m in turns if m.role == "user"]
    alone = await ask("facets_user", UserFacets, 800, messages=number_messages(by_user))
    responses = await ask("facets_responses", ResponseFacets, 400, messages=render_turns(turns))
    acts = []
    for place in (place for place, m in enumerate(turns) if m.role == "user"):
        before, asked = render_turns(turns[:place]) or "(nothing)", turns[place].content
        acts.append(await ask("facets_acts", UtteranceActs, 60, before=before, message=asked))
    names = UtteranceActs.model_fields
    joined = {n: " ".join(getattr(a, n).replace(" ", "-") for a in acts) for n in names}
    return alone.model_dump() | responses.model_dump() | joined


def number_messages(messages: list[Message]) -> str:
    """Messages of one side as a numbered list."""
    return "\n".join(f"{number}. {m.content}" for number, m in enumerate(messages, 1))


def render_turns(turns: list[Message]) -> str:
    """Messages of both sides as text."""
    return "\n".join(f"{m.role.capitalize()}: {m.content}" for m in turns)


async def make_facets(writer: str, listed: pd.DataFrame, *, models: Models, seed: int = 0) -> pd.DataFrame:
    """The facets of every conversation by ``writer``: ``measured``, ``raw`` or a model's name."""
    if writer in (MEASURED, RAW):
        return measure_facets(listed) if writer == MEASURED else read_raw(listed)
    return await describe_with_model(models, writer, listed, seed=seed)


def list_facets(described: pd.DataFrame) -> list[str]:
    """The facets among the columns."""
    return [name for name in described.columns if name not in ("user_id", "error")]


def drop_failed(described: pd.DataFrame) -> pd.DataFrame:
    """The conversations of which no facet is missing; InputError if a system has none of them."""
    if "error" not in described:
        return described
    kept = described[described["error"].isna() & (described[list_facets(described)] != "").all(axis=1)]
    for name in described.index.unique("system").difference(kept.index.unique("system")):
        reason = described.loc[name, "error"].iloc[0] or "a facet of each is empty"
        raise InputError(f"system {name!r}: the model could describe none of its conversations ({reason}).")
    return kept


def join_facets(described: pd.DataFrame) -> list[str]:
    """All facets of each conversation as one text, each under its name; of a single one its text alone."""
    names = list_facets(described)
    if len(names) == 1:
        return described[names[0]].tolist()
    rows = described[names].itertuples(index=False, name=None)
    return ["\n".join(f"{n}:\n{text}" for n, text in zip(names, row, strict=True)) for row in rows]
