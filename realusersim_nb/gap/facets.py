"""What a user does in a conversation, written as text: the facets by which populations are compared.

In the paper (arXiv 2605.07847) a model describes six facets without the topic. Here one text a conversation
and facet is made in one of three ways:

    measured    no model: what rules detect, as words such as ``starts_lower:always first-ask then-thank``
    a model     the paper's six facets in the model's words (``prompts/facets_*.md``; the prompts are ours)
    raw         the user's messages, with their topic: the paper's baseline
"""

from functools import cache
from itertools import pairwise
from typing import Literal

import numpy as np
import pandas as pd
from pydantic import BaseModel, Field, create_model

from realusersim_nb import style
from realusersim_nb.errors import InputError
from realusersim_nb.llm.models import Models
from realusersim_nb.parallel.batches import map_batches
from realusersim_nb.prompts.fill import fill_prompt
from realusersim_nb.records import Conversation
from realusersim_nb.style import Feature, has, opens_with, typed_text

REAL = "real"
MEASURED, RAW = "measured", "raw"
LENGTHS = [0, 3, 8, 16, 40, 100, 10**9]  # words: one to three, up to eight, ...
LENGTH_NAMES = ["tiny", "short", "line", "sentence", "paragraph", "page"]


def list_systems(systems: dict[str, list[Conversation]], *, first: int) -> pd.DataFrame:
    """Every conversation of every system: index (system, conversation_id), ``user_id``, user ``messages``.

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


class ConversationFacets(BaseModel):
    """The four facets of a whole conversation, without its topic."""

    requests: str = Field(min_length=10, max_length=240)
    responses: str = Field(min_length=10, max_length=240)
    context: str = Field(min_length=10, max_length=240)
    communication_style: str = Field(min_length=10, max_length=240)


DAMSL = "statement|opinion|yes-no question|open question|action directive|commit|offer|accept|reject"
DAMSL += "|acknowledge|thanking|apology|opening|closing|other"
SGD = "inform|inform intent|request|request alternatives|affirm|negate|select|thank you|goodbye|other"


class UtteranceActs(BaseModel):
    """The dialog acts of one message of the user."""

    damsl: Literal[tuple(DAMSL.split("|"))]
    sgd: Literal[tuple(SGD.split("|"))]


@cache
def make_form(n: int) -> type[BaseModel]:
    """The form in which the acts of n messages are asked for: one entry each, in order."""
    return create_model("Acts", messages=(list[UtteranceActs], Field(min_length=n, max_length=n)))


SIX = [*ConversationFacets.model_fields, *UtteranceActs.model_fields]  # the six facets of the paper


async def describe_with_model(
    models: Models, model: str, listed: pd.DataFrame, *, seed: int = 0
) -> pd.DataFrame:
    """The six facets by a model: columns ``user_id``, facets (empty after a failed call) and ``error``."""
    tasks = [describe_conversation(models, model, texts, seed=seed) for texts in listed["messages"]]
    outcomes = await models.run_all(tasks, f"facets by {model}")
    rows = [outcome.result or dict.fromkeys(SIX, "") for outcome in outcomes]
    errors = [str(outcome.failure) if outcome.failure else None for outcome in outcomes]
    return listed[["user_id"]].join(pd.DataFrame(rows, listed.index, SIX)).assign(error=errors)


async def describe_conversation(models: Models, model: str, texts: list[str], *, seed: int) -> dict[str, str]:
    """The six facets of one conversation, by two calls. CallFailed if a reply is unusable."""
    messages = "\n".join(f"{number}. {text}" for number, text in enumerate(texts, 1))
    sampling = {"temperature": 0.001, "seed": seed}
    prompt = fill_prompt("facets_conversation", messages=messages)
    whole = await models.ask_json(model, prompt, ConversationFacets, max_tokens=400, **sampling)
    prompt = fill_prompt("facets_acts", messages=messages)
    form, limit = make_form(len(texts)), 40 * len(texts) + 40
    acts = (await models.ask_json(model, prompt, form, max_tokens=limit, **sampling)).messages
    names = UtteranceActs.model_fields
    return whole.model_dump() | {n: " ".join(getattr(a, n).replace(" ", "-") for a in acts) for n in names}


async def make_facets(writer: str, listed: pd.DataFrame, *, models: Models, seed: int = 0) -> pd.DataFrame:
    """The facets of every conversation by ``writer``: ``measured``, ``raw`` or a model's name."""
    if writer in (MEASURED, RAW):
        return measure_facets(listed) if writer == MEASURED else read_raw(listed)
    return await describe_with_model(models, writer, listed, seed=seed)


def list_facets(described: pd.DataFrame) -> list[str]:
    """The facets among the columns."""
    return [name for name in described.columns if name not in ("user_id", "error")]


def drop_failed(described: pd.DataFrame) -> pd.DataFrame:
    """The conversations of which all facets could be written; InputError if a system has none of them."""
    if "error" not in described:
        return described
    kept = described[described["error"].isna()]
    for name in described.index.unique("system").difference(kept.index.unique("system")):
        reason = described.loc[name, "error"].iloc[0]
        raise InputError(f"system {name!r}: the model could describe none of its conversations ({reason}).")
    return kept


def join_facets(described: pd.DataFrame) -> list[str]:
    """All facets of each conversation as one text."""
    return ["\n".join(row) for row in described[list_facets(described)].itertuples(index=False, name=None)]
