"""Conversations -> executable profiles: commands over eight dimensions with verbatim examples.

Three extractors. ``measured`` needs no model: a feature of ``style`` in which a user differs from the
population becomes a command, with the figure behind it. A model's name: the model reads the messages and
writes the profile, as the paper's extractor (GPT-4o) does. ``hybrid:MODEL``: the model's commands that
measurement does not contradict, and measured ones where the model has none. From profiles by a model,
``verification`` removes every example that the user did not write.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Literal

import numpy as np
import pandas as pd
from pydantic import BaseModel, Field

from realusersim_nb.corpus.conversations import pick
from realusersim_nb.corpus.splits import group_by_user
from realusersim_nb.llm.models import Models
from realusersim_nb.parallel.bars import show_bar
from realusersim_nb.profiles import style
from realusersim_nb.profiles.persona import tabulate
from realusersim_nb.profiles.verification import CHECKS, verify_profile
from realusersim_nb.prompts.fill import fill_prompt
from realusersim_nb.records import Command, Conversation, Demographic, Dimension, Profile
from realusersim_nb.text import cut_at_word

MAX_COMMANDS = 15  # the paper's
MAX_PER_DIMENSION = 2
EXTREME = 0.2  # a figure becomes a command in the lowest or highest fifth of the population (ours)
MIN_MESSAGES = np.array([feature.min_messages for feature in style.FEATURES])
EXAMPLES, EXAMPLE_CHARS = 2, 160
READ_CHARS = 6000  # of a user's messages, by a model that writes their profile


def extract_measured(
    conversations: Sequence[Conversation], messages: pd.DataFrame | None = None
) -> list[Profile]:
    """A profile of every user, from measurement alone.

    A feature becomes a command if the user's figure is in the lowest or highest fifth of the users given, and
    enough messages could show it (``Feature.min_messages``). Its evidence holds the feature's name, the
    user's value, its percentile (0..1) in that population, and n, the messages it rests on. ``messages``: the
    conversations as measured, if they are (``style.measure_conversations``).
    """
    messages = style.measure_conversations(conversations) if messages is None else messages
    habits = style.summarise_users(messages)
    return list(profile_users(conversations, messages, habits, style.compute_percentiles(habits, habits)))


def profile_users(
    conversations: Sequence[Conversation],
    messages: pd.DataFrame,
    habits: pd.DataFrame,
    percentiles: pd.DataFrame,
    users: Iterable[str] | None = None,
) -> Iterator[Profile]:
    """The profiles of these users (None: all), from their figures (``habits``) and these as percentiles, both
    of all users of the messages. Examples are read from the conversations that were measured.
    """
    numbers = pd.factorize(messages["user_id"])[0]
    order, ends = np.argsort(numbers, kind="stable").astype(np.int32), np.cumsum(np.bincount(numbers))
    talks, turns, *columns = (messages[name].to_numpy() for name in ("conversation", "turn", *style.BY_NAME))
    chosen = range(len(habits)) if users is None else habits.index.get_indexer(users)
    figures = habits.to_numpy(), percentiles.to_numpy()
    for user in show_bar(chosen, "profiles", leave=False, disable=len(habits) < 2):
        rows = order[ends[user - 1] if user else 0 : ends[user]]
        features = np.stack([column[rows] for column in columns], axis=1)
        texts, sources = read_messages(conversations, talks[rows].tolist(), turns[rows].tolist())
        commands = choose_commands(texts, features, *(table[user] for table in figures))
        yield Profile(user_id=habits.index[user], commands=commands, source_conversations=sources)


def read_messages(
    conversations: Sequence[Conversation], positions: list[int], turns: list[int]
) -> tuple[list[str], list[str]]:
    """The user messages at some positions and turns of them, and the ids of their conversations."""
    distinct = list(dict.fromkeys(positions))
    talks = dict(zip(distinct, pick(conversations, distinct), strict=True))
    written = {position: talk.user_messages for position, talk in talks.items()}
    ids = list(dict.fromkeys(talk.conversation_id for talk in talks.values()))
    return [written[position][turn] for position, turn in zip(positions, turns, strict=True)], ids


def grow_profiles(conversations: Sequence[Conversation], messages: pd.DataFrame, user: str) -> list[Profile]:
    """A user's measured profile after each of their messages; all other users stay as they are.

    ``messages`` are the conversations as measured (``style.measure_conversations``). The last profile is that
    of ``extract_measured``.
    """
    population, user_messages = style.summarise_users(messages), messages[messages["user_id"] == user]
    profiles = []
    for n in range(1, len(user_messages) + 1):
        habits = style.summarise_users(user_messages.head(n))
        percentiles = style.compute_percentiles(habits, population)
        profiles += profile_users(conversations, user_messages.head(n), habits, percentiles)
    return profiles


def choose_commands(
    texts: list[str], features: np.ndarray, values: np.ndarray, percentiles: np.ndarray
) -> list[Command]:
    """The commands of one user, the most extreme figure first: at most 2 a dimension and 15 in all.

    ``features`` has a row for each of the user's texts and a column for each of ``style.FEATURES``, in whose
    order ``values`` are the user's figures and ``percentiles`` (0..1) their places in the population.
    """
    distance, counts = np.abs(percentiles - 0.5), np.isfinite(features).sum(axis=0)
    extreme = np.flatnonzero((counts >= MIN_MESSAGES) & (distance >= 0.5 - EXTREME))
    per_dimension: Counter = Counter()
    commands = []
    for i in sorted(extreme, key=lambda i: -distance[i]):
        feature, is_high = style.FEATURES[i], bool(percentiles[i] > 0.5)
        template = style.COMMANDS[feature.name][0 if is_high else 1]
        if template is None or per_dimension[feature.dimension] == MAX_PER_DIMENSION:
            continue
        per_dimension[feature.dimension] += 1
        value, text = float(values[i]), template.format(value=values[i])
        examples = choose_examples(texts, features[:, i], value if feature.is_count else None, is_high)
        rounded = {"value": round(value, 3), "percentile": round(float(percentiles[i]), 3)}
        evidence = {"feature": feature.name, **rounded, "n": int(counts[i])}
        command = {"dimension": feature.dimension, "command": text, "examples": examples}
        commands.append(Command(**command, evidence=evidence))
    return commands[:MAX_COMMANDS]


def choose_examples(texts: list[str], measured: np.ndarray, target: float | None, high: bool) -> list[str]:
    """The messages that show a trait most or, for a count, are nearest to ``target``; cut at a word."""
    if target is None:
        order = np.flatnonzero(measured == (np.nanmax if high else np.nanmin)(measured))
    else:
        order = np.argsort(np.abs(measured - target), kind="stable")
    typed = (style.typed_text(texts[i]).split("\n\n")[0] for i in order if "```" not in texts[i])
    return list(dict.fromkeys(filter(None, (cut_at_word(text, EXAMPLE_CHARS) for text in typed))))[:EXAMPLES]


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
    """One user's profile as a model writes it from their messages, long ones cut (paper: GPT-4o, all).

    Not yet verified: see ``extract_profiles``. Raises CallFailed if the reply is unusable.
    """
    messages = "\n".join(f"- {cut_at_word(m, 400)}" for c in conversations for m in c.user_messages)
    prompt = fill_prompt("extract_profile", messages=messages[:READ_CHARS])
    settings = {"temperature": 0.001, "max_tokens": 1200, "seed": seed}
    written = await models.ask_json(model, prompt, WrittenProfile, **settings)
    facts = {d.name: Demographic(**d.model_dump(exclude={"name"})) for d in written.demographics}
    return Profile(
        user_id=conversations[0].user_id,
        demographics=facts,
        background=written.background,
        commands=[Command(**c.model_dump()) for c in written.commands],
        source_conversations=[c.conversation_id for c in conversations],
        extractor=model,
    )


async def extract_profiles(
    conversations: Sequence[Conversation],
    extractor: str = "measured",
    *,
    population: Sequence[Conversation] | None = None,
    messages: pd.DataFrame | None = None,
    models: Models | None = None,
    seed: int = 0,
    save: Callable[[Iterable[Profile]], Sequence[Profile]] = list,
) -> tuple[Sequence[Profile], pd.DataFrame]:
    """Profiles of all users of these conversations, and the table of their checks, one row a command.

    ``extractor`` is ``measured``, a model's name, or ``hybrid:`` and a model's name (then ``models`` is
    needed). ``population`` (None: these conversations) is what users are compared with, ``messages`` the same
    as measured, if they are. ``save`` takes the profiles as they are made and gives them as they are read
    again (``Run.save_profiles``). The table is that of ``verification.verify_profile``, with a row and its
    ``error`` for a user whose reply was unusable.
    """
    users, population = group_by_user(conversations), conversations if population is None else population
    messages = style.measure_conversations(population) if messages is None else messages
    habits = style.summarise_users(messages)
    percentiles = style.compute_percentiles(habits, habits)
    made = profile_users(population, messages, habits, percentiles, list(users))
    if extractor == "measured":
        profiles = save(made)
        return profiles, tabulate_measured(profiles)
    is_hybrid = extractor.startswith("hybrid:")
    model, measured = extractor.removeprefix("hybrid:"), {p.user_id: p for p in made} if is_hybrid else {}
    tasks = [extract_with_model(models, model, talks, seed=seed) for talks in users.values()]
    profiles, checks = [], [pd.DataFrame(columns=CHECKS)]
    for user, outcome in zip(users, await models.run_all(tasks, f"profiles by {extractor}"), strict=True):
        if outcome.failure:
            checks.append(pd.DataFrame([{"user_id": user, "error": str(outcome.failure)}]))
            continue
        profile, table = verify_profile(outcome.result, users[user], percentiles.loc[user])
        profiles.append(complete_profile(profile, measured[user], extractor) if measured else profile)
        checks.append(table)
    return save(profiles), pd.concat([table for table in checks if len(table)] or checks).reindex(
        columns=CHECKS
    )


def tabulate_measured(profiles: Iterable[Profile]) -> pd.DataFrame:
    """The checks of measured profiles, which hold by construction (see ``verify_profile``)."""
    counts = ((p.user_id, c.dimension, *[len(c.examples)] * 2) for p in profiles for c in p.commands)
    return tabulate(((*row, True, False, None) for row in counts), CHECKS)


def complete_profile(written: Profile, measured: Profile, extractor: str) -> Profile:
    """A model's profile without what is contradicted or has no example, completed by measured commands."""
    kept = [c for c in written.commands if c.examples and not c.contradicted]
    covered = {c.dimension for c in kept}
    commands = kept + [c for c in measured.commands if c.dimension not in covered]
    return written.model_copy(update={"commands": commands[:MAX_COMMANDS], "extractor": extractor})


def describe_source(
    digest: str, *, extractor: str, n_users: int | None, profile_messages: int | None, seed: int
) -> dict[str, str | int | None]:
    """What profiles are made from, for reuse: the corpus (``Corpus.digest``) and the settings."""
    settings = {"n_users": n_users, "profile_messages": profile_messages, "seed": seed}
    return {"corpus": digest, "extractor": extractor, **settings}
