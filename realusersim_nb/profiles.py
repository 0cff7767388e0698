"""Conversations -> executable profiles: commands over eight dimensions with verbatim examples.

Two extractors. ``measured`` needs no model: a feature of ``style`` on which a user stands apart
from the population becomes a command, with the figure behind it. Any other name is a model that
reads the messages and writes the profile, as the paper's extractor (GPT-4o) does. Whichever wrote
it, ``verify`` removes every example that the user did not write.
"""

import hashlib
from collections import Counter
from typing import Literal

import numpy as np
import pandas as pd
from pydantic import BaseModel, Field
from tqdm.auto import tqdm

from realusersim_nb import style
from realusersim_nb.corpus import group_by_user
from realusersim_nb.faults import CallFailed
from realusersim_nb.llm import Models
from realusersim_nb.records import Command, Conversation, Demographic, Dimension, Profile
from realusersim_nb.templates import fill_prompt

MAX_COMMANDS = 15  # the paper's
MAX_PER_DIMENSION = 2
APART = 0.2  # a trait sets a user apart in the lowest or highest fifth of the population (ours)
MIN_OBSERVATIONS = 3  # messages that can show the feature (ours)
EXAMPLES = 2
EXAMPLE_CHARS = 160


# --- measured ----------------------------------------------------------------------------------


def extract_measured(conversations: list[Conversation]) -> list[Profile]:
    """A profile of every user, from measurement alone.

    A feature becomes a command if the user's figure lies in the lowest or highest fifth of the
    users given, and at least 3 messages could show it. Its evidence holds the feature's name, the
    user's value, its percentile (0..1) in that population, and n, the messages it rests on.
    """
    messages = style.measure_conversations(conversations)
    users = style.summarise(messages)
    ranks, observed = style.rank(users), style.count_observations(messages)
    sources = {user: [c.conversation_id for c in own] for user, own in group_by_user(conversations).items()}
    rows = zip(users.to_numpy(), ranks.to_numpy(), observed.to_numpy(), strict=True)
    texts, features = messages["text"].to_numpy(), messages[list(style.BY_NAME)].to_numpy()
    places = messages.groupby("user_id", sort=False).indices
    return [
        Profile(
            user_id=user,
            commands=find_traits(texts[places[user]], features[places[user]], *row),
            source_conversations=sources[user],
        )
        for user, row in tqdm(zip(users.index, rows, strict=True), "profiles", len(users), mininterval=0.5)
    ]


def find_traits(
    texts: np.ndarray, features: np.ndarray, values: np.ndarray, ranks: np.ndarray, observed: np.ndarray
) -> list[Command]:
    """The commands of one user, most telling first: at most 2 a dimension and 15 in all.

    ``features`` has a row for each of the user's texts; the others hold the user's own figure,
    its percentile and its n. All have a column for each of ``style.FEATURES``.
    """
    apart = (observed >= MIN_OBSERVATIONS) & (np.abs(ranks - 0.5) >= 0.5 - APART)
    told = Counter()
    commands = []
    for i in sorted(np.flatnonzero(apart), key=lambda i: -abs(ranks[i] - 0.5)):
        feature, high = style.FEATURES[i], bool(ranks[i] > 0.5)
        template = feature.high if high else feature.low
        if template is None or told[feature.dimension] == MAX_PER_DIMENSION:
            continue
        told[feature.dimension] += 1
        evidence = {
            "feature": feature.name,
            "value": round(float(values[i]), 3),
            "percentile": round(float(ranks[i]), 3),
            "n": int(observed[i]),
        }
        commands.append(
            Command(
                dimension=feature.dimension,
                command=template.format(value=values[i]),
                examples=choose_examples(texts, features[:, i], feature, values[i], high=high),
                evidence=evidence,
            )
        )
    return commands[:MAX_COMMANDS]


def choose_examples(
    texts: np.ndarray, measured: np.ndarray, feature: style.Feature, value: float, *, high: bool
) -> list[str]:
    """The user's own words that show a trait, cut at a word if long: those that show it most, or,
    for a count, those nearest to the user's own figure.
    """
    if feature.unit == "words":
        order = np.argsort(np.abs(measured - value), kind="stable")
    else:
        order = np.flatnonzero(measured == (np.nanmax if high else np.nanmin)(measured))
    shown = [cut_at_word(texts[i]) for i in order if "```" not in texts[i]]
    return list(dict.fromkeys(text for text in shown if text))[:EXAMPLES]


def cut_at_word(text: str, limit: int = EXAMPLE_CHARS) -> str:
    """A verbatim beginning of the text, cut at white space if it is longer than the limit."""
    text = text.strip()
    if len(text) <= limit:
        return text
    head = text[: limit + 1]
    return head[: len(head.rstrip().rsplit(None, 1)[0])].rstrip() if len(head.split()) > 1 else text[:limit]


# --- written by a model ------------------------------------------------------------------------


class WrittenDemographic(BaseModel):
    """One demographic fact as a model writes it."""

    name: Literal["age", "gender", "education", "occupation", "location", "income", "marital status", "nationality"]
    value: str = Field(max_length=80)
    source: Literal["extracted", "inferred"]
    confidence: float


class WrittenCommand(BaseModel):
    """One command with examples as a model writes it."""

    dimension: Dimension
    command: str = Field(max_length=160)
    examples: list[str] = Field(max_length=2)


class WrittenProfile(BaseModel):
    """The form a model's profile must have."""

    background: str = Field(max_length=400)
    demographics: list[WrittenDemographic] = Field(max_length=8)
    commands: list[WrittenCommand] = Field(max_length=MAX_COMMANDS)


async def extract_with_model(
    models: Models, model: str, conversations: list[Conversation], *, seed: int = 0
) -> Profile:
    """One user's profile as a model writes it from their messages (paper: GPT-4o, all messages).

    Not yet verified: pass it through ``verify``. Raises CallFailed if the reply is unusable.
    """
    written = await models.ask(
        model, render_extraction(conversations), WrittenProfile, temperature=0.001, max_tokens=1200, seed=seed
    )
    facts = {d.name: Demographic(value=d.value, source=d.source, confidence=d.confidence) for d in written.demographics}
    return Profile(
        user_id=conversations[0].user_id,
        demographics=facts,
        background=written.background,
        commands=[Command(**c.model_dump()) for c in written.commands],
        source_conversations=[c.conversation_id for c in conversations],
        extractor=model,
    )


def render_extraction(conversations: list[Conversation], *, max_chars: int = 6000) -> str:
    """The prompt that asks a model for a profile; long messages and long lists are cut."""
    messages = [cut_at_word(m, 400) for c in conversations for m in c.user_messages]
    return fill_prompt("extract_profile", messages="\n".join(f"- {m}" for m in messages)[:max_chars])


async def extract(
    conversations: list[Conversation], extractor: str = "measured", *, models: Models | None = None, seed: int = 0
) -> tuple[list[Profile], pd.DataFrame]:
    """Verified profiles of all users of these conversations, and the verification's counts.

    ``extractor`` is ``measured`` or a model's name (then ``models`` is needed). A user whose
    reply is unusable has no profile but a row in the counts with the reason.
    """
    users = group_by_user(conversations)
    if extractor == "measured":
        found = extract_measured(conversations)
    else:

        async def attempt(own: list[Conversation]) -> Profile | str:
            try:
                return await extract_with_model(models, extractor, own, seed=seed)
            except CallFailed as error:
                return str(error)

        found = await models.run_all([attempt(own) for own in users.values()], f"profiles by {extractor}")
    profiles, counts = [], []
    for user, profile in zip(users, found, strict=True):
        if isinstance(profile, str):
            counts.append({"user_id": user, "commands": 0, "written": 0, "verbatim": 0, "error": profile})
            continue
        verified, n_written = verify(profile, users[user])
        n_verbatim = sum(len(c.examples) for c in verified.commands)
        counts.append(
            {"user_id": user, "commands": len(verified.commands), "written": n_written, "verbatim": n_verbatim}
        )
        profiles.append(verified)
    return profiles, pd.DataFrame(counts, columns=["user_id", "commands", "written", "verbatim", "error"])


def describe_source(conversations: list[Conversation], extractor: str) -> dict[str, str | int]:
    """What profiles were made from: the extractor and a digest of the conversations, for reuse."""
    names = "\n".join(c.conversation_id for c in conversations)
    digest = hashlib.sha256(names.encode()).hexdigest()
    return {"extractor": extractor, "conversations": len(conversations), "sha256": digest}


# --- whoever wrote it --------------------------------------------------------------------------


def verify(profile: Profile, conversations: list[Conversation]) -> tuple[Profile, int]:
    """The profile with only those examples that the user wrote, and how many it had before.

    An example is verbatim if it is part of one of the user's messages, character by character.
    """
    messages = [m for c in conversations for m in c.user_messages]
    commands = [
        c.model_copy(update={"examples": [e for e in c.examples if e.strip() and any(e in m for m in messages)]})
        for c in profile.commands
    ]
    n_written = sum(len(c.examples) for c in profile.commands)
    return profile.model_copy(update={"commands": commands}), n_written


def render(profile: Profile, *, examples: bool = True) -> str:
    """The profile as the text a simulator follows: background, facts, then one line a command."""
    lines = [profile.background] if profile.background else []
    lines += [f"{name}: {fact.value}" for name, fact in profile.demographics.items()]
    for c in profile.commands:
        shown = " / ".join(f'"{" ".join(e.split())}"' for e in c.examples) if examples else ""
        lines.append(f"- {c.command}" + (f" For instance, about other things: {shown}" if shown else ""))
    return "\n".join(lines) or "- Nothing sets this person apart from others."


def tabulate(profiles: list[Profile]) -> pd.DataFrame:
    """One row a command: user_id, dimension, command, examples (count), feature, value, percentile, n."""
    figures = ["feature", "value", "percentile", "n"]
    rows = [
        [p.user_id, c.dimension, c.command, len(c.examples), *(c.evidence.get(name) for name in figures)]
        for p in profiles
        for c in p.commands
    ]
    return pd.DataFrame(rows, columns=["user_id", "dimension", "command", "examples", *figures])
