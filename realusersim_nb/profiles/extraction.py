"""Conversations -> executable profiles: commands over eight dimensions with verbatim examples.

Three extractors. ``measured`` needs no model: a feature of ``style`` on which a user stands apart
from the population becomes a command, with the figure behind it. A model's name: the model reads the
messages and writes the profile, as the paper's extractor (GPT-4o) does. ``hybrid:MODEL``: the model's
commands that measurement does not deny, and measured ones where the model has none. Whoever wrote
it, ``verification`` removes every example that the user did not write.
"""

import hashlib
from collections import Counter
from typing import Literal

import numpy as np
import pandas as pd
from pydantic import BaseModel, Field

from realusersim_nb.corpus.splits import group_by_user
from realusersim_nb.llm.models import Models, Outcome
from realusersim_nb.parallel.bars import show_bar
from realusersim_nb.profiles import style
from realusersim_nb.profiles.verification import verify_profile
from realusersim_nb.prompts.fill import fill_prompt
from realusersim_nb.records import Command, Conversation, Demographic, Dimension, Profile
from realusersim_nb.text import cut_at_word

MAX_COMMANDS = 15  # the paper's
MAX_PER_DIMENSION = 2
APART = 0.2  # a trait sets a user apart in the lowest or highest fifth of the population (ours)
MIN_MESSAGES = np.array([feature.min_messages for feature in style.FEATURES])
EXAMPLES = 2
EXAMPLE_CHARS = 160
READ_CHARS = 6000  # of a user's messages, by a model that writes their profile
CHECKS = ["user_id", "dimension", "written", "verbatim", "checked", "contradicted", "error"]


# --- measured ----------------------------------------------------------------------------------


def extract_measured(
    conversations: list[Conversation], messages: pd.DataFrame | None = None
) -> list[Profile]:
    """A profile of every user, from measurement alone.

    A feature becomes a command if the user's figure lies in the lowest or highest fifth of the
    users given, and enough messages could show it (``Feature.min_messages``). Its evidence holds the feature's name, the
    user's value, its percentile (0..1) in that population, and n, the messages it rests on.
    ``messages``: the conversations as measured, if they are (``style.measure_conversations``).
    """
    messages = style.measure_conversations(conversations) if messages is None else messages
    users = style.summarise_users(messages)
    ranks, observed = style.compute_percentiles(users, users), style.count_observations(messages)
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
        for user, row in show_bar(zip(users.index, rows, strict=True), "profiles", len(users), leave=False)
    ]


def grow_profiles(messages: pd.DataFrame, user: str) -> list[Profile]:
    """A user's measured profile after each of their messages, everybody else being as they are.

    ``messages`` are the population's, as measured (``style.measure_conversations``). The last profile is that of
    ``extract_measured``.
    """
    population, own = style.summarise_users(messages), messages[messages["user_id"] == user]
    features = own[list(style.BY_NAME)].to_numpy()
    found = []
    for n in range(1, len(own) + 1):
        read = own.head(n)
        habits = style.summarise_users(read)
        ranks = style.compute_percentiles(habits, population)
        figures = (table.to_numpy()[0] for table in (habits, ranks, style.count_observations(read)))
        commands = find_traits(read["text"].to_numpy(), features[:n], *figures)
        found.append(
            Profile(
                user_id=user, commands=commands, source_conversations=list(read["conversation_id"].unique())
            )
        )
    return found


def find_traits(
    texts: np.ndarray, features: np.ndarray, values: np.ndarray, ranks: np.ndarray, observed: np.ndarray
) -> list[Command]:
    """The commands of one user, most telling first: at most 2 a dimension and 15 in all.

    ``features`` has a row for each of the user's texts; the others hold the user's own figure,
    its percentile and its n. All have a column for each of ``style.FEATURES``.
    """
    apart = (observed >= MIN_MESSAGES) & (np.abs(ranks - 0.5) >= 0.5 - APART)
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
    shown = [
        cut_at_word(style.typed_part(texts[i]).split("\n\n")[0], EXAMPLE_CHARS)
        for i in order
        if "```" not in texts[i]
    ]
    return list(dict.fromkeys(text for text in shown if text))[:EXAMPLES]


# --- written by a model ------------------------------------------------------------------------


class WrittenDemographic(BaseModel):
    """One demographic fact as a model writes it."""

    name: Literal[
        "age", "gender", "education", "occupation", "location", "income", "marital status", "nationality"
    ]
    value: str = Field(max_length=80)
    source: Literal["extracted", "inferred"]
    confidence: float = Field(ge=0, le=1)
    quote: str = Field("", max_length=160)


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

    Not yet verified: see ``extract``. Raises CallFailed if the reply is unusable.
    """
    written = await models.ask_json(
        model,
        write_extraction_prompt(conversations),
        WrittenProfile,
        temperature=0.001,
        max_tokens=1200,
        seed=seed,
    )
    facts = {d.name: Demographic(**d.model_dump(exclude={"name"})) for d in written.demographics}
    return Profile(
        user_id=conversations[0].user_id,
        demographics=facts,
        background=written.background,
        commands=[Command(**c.model_dump()) for c in written.commands],
        source_conversations=[c.conversation_id for c in conversations],
        extractor=model,
    )


def write_extraction_prompt(conversations: list[Conversation]) -> str:
    """The prompt that asks a model for a profile; long messages and long lists are cut."""
    messages = [cut_at_word(m, 400) for c in conversations for m in c.user_messages]
    return fill_prompt("extract_profile", messages="\n".join(f"- {m}" for m in messages)[:READ_CHARS])


async def extract_profiles(
    conversations: list[Conversation],
    extractor: str = "measured",
    *,
    population: list[Conversation] | None = None,
    models: Models | None = None,
    seed: int = 0,
) -> tuple[list[Profile], pd.DataFrame]:
    """Verified profiles of all users of these conversations, and what verification found.

    ``extractor`` is ``measured``, a model's name, or ``hybrid:`` and a model's name (then ``models``
    is needed). ``population`` (None: these conversations) is what users are compared with. The
    table has one row a command (see ``verification.verify_profile``), and one with the reason in ``error``
    for a user whose reply was unusable and who has no profile.
    """
    users, everybody = group_by_user(conversations), population or conversations
    messages = style.measure_conversations(everybody)
    habits = style.summarise_users(messages)
    percentiles = style.compute_percentiles(habits, habits)
    model = None if extractor == "measured" else extractor.removeprefix("hybrid:")
    measured = {p.user_id: p for p in extract_measured(everybody, messages)} if model != extractor else {}
    if model is None:
        outcomes = [Outcome(measured[user]) for user in users]
    else:
        tasks = [extract_with_model(models, model, own, seed=seed) for own in users.values()]
        outcomes = await models.run_all(tasks, f"profiles by {extractor}")
    profiles, checks = [], []
    for (user, own), outcome in zip(users.items(), outcomes, strict=True):
        if outcome.failure:
            checks.append(pd.DataFrame([{"user_id": user, "error": str(outcome.failure)}]))
            continue
        verified, table = verify_profile(outcome.result, own, percentiles.loc[user])
        profiles.append(
            complete_profile(verified, measured[user], extractor) if model and measured else verified
        )
        checks.append(table)
    return profiles, pd.concat([pd.DataFrame(columns=CHECKS), *(c for c in checks if len(c))]).reindex(
        columns=CHECKS
    )


def complete_profile(written: Profile, measured: Profile, extractor: str) -> Profile:
    """A model's profile without what measurement denies or no example shows, completed by measured commands."""
    kept = [c for c in written.commands if c.examples and not c.contradicted]
    told = {c.dimension for c in kept}
    commands = kept + [c for c in measured.commands if c.dimension not in told]
    return written.model_copy(update={"commands": commands[:MAX_COMMANDS], "extractor": extractor})


def describe_source(conversations: list[Conversation], extractor: str) -> dict[str, str | int]:
    """What profiles were made from: the extractor and a digest of the conversations, for reuse."""
    digest = hashlib.sha256()
    for conversation in conversations:
        digest.update(conversation.model_dump_json().encode())
    return {"extractor": extractor, "conversations": len(conversations), "sha256": digest.hexdigest()}
