"""Conversations -> executable profiles: commands over eight dimensions with verbatim examples.

Three extractors. ``measured`` needs no model: a feature of ``style`` in which a user differs from the
population becomes a command, with the figure behind it. A model's name: the model reads the messages and
writes the profile, as the paper's extractor (GPT-4o) does. ``hybrid:MODEL``: the model's commands that
measurement does not contradict, and measured ones where the model has none. From profiles by a model,
``verification`` removes every example that the user did not write.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Literal

import numpy as np
import pandas as pd
from pydantic import BaseModel, Field

from realusersim_nb import style
from realusersim_nb.corpus.conversations import pick
from realusersim_nb.corpus.splits import group_by_user
from realusersim_nb.llm.models import Models
from realusersim_nb.parallel.bars import show_bar
from realusersim_nb.profiles.commands import (
    COMMANDS,
    MAX_COMMANDS,
    choose_habits,
    find_usual,
    list_evidence,
    word_command,
)
from realusersim_nb.profiles.examples import Written, choose_examples, make_trait
from realusersim_nb.profiles.persona import tabulate
from realusersim_nb.profiles.rates import SURENESS, Population, describe_user, fit_population
from realusersim_nb.profiles.verification import CHECKS, verify_profile
from realusersim_nb.prompts.fill import fill_prompt
from realusersim_nb.records import Command, Conversation, Demographic, Dimension, Profile
from realusersim_nb.text import cut_at_word

READ_CHARS = 6000  # of a user's messages, by a model that writes their profile


def extract_measured(
    conversations: Sequence[Conversation], messages: pd.DataFrame | None = None, *, sureness: float = SURENESS
) -> list[Profile]:
    """A profile of every user, from measurement alone.

    A feature becomes a command if the user's true rate lies in the lowest or highest fifth of the users given
    with a posterior probability of at least ``sureness`` (``rates``). ``messages``: the conversations as
    measured, if they are (``style.measure_conversations``).
    """
    messages = style.measure_conversations(conversations) if messages is None else messages
    population = fit_population(messages)
    habits = choose_habits(messages, population, sureness=sureness)
    return list(profile_users(conversations, messages, population, habits))


def profile_users(
    conversations: Sequence[Conversation],
    messages: pd.DataFrame,
    population: Population,
    habits: pd.DataFrame,
    users: Iterable[str] | None = None,
) -> Iterator[Profile]:
    """The profiles of these users (None: all), from their ``habits`` (``commands.choose_habits``).

    Examples are read from the conversations that were measured.
    """
    numbers, names = pd.factorize(messages["user_id"])
    order, ends = np.argsort(numbers, kind="stable").astype(np.int32), np.cumsum(np.bincount(numbers))
    places = [messages[name].to_numpy() for name in ("conversation", "turn", "is_opening")]
    columns, of_user = {name: messages[name].to_numpy() for name in COMMANDS}, habits.groupby("user").indices
    chosen = range(len(names)) if users is None else pd.Index(names).get_indexer(users)
    for user in show_bar(chosen, "profiles", leave=False, disable=len(names) < 2):
        rows = order[ends[user - 1] if user else 0 : ends[user]]
        written, sources = read_messages(conversations, *(place[rows].tolist() for place in places))
        mine = habits.iloc[of_user.get(user, [])].to_dict("records")
        measured = np.array([columns[habit["feature"]][rows] for habit in mine], dtype=float).T
        commands = write_commands(mine, population, written, measured)
        yield Profile(user_id=names[user], commands=commands, source_conversations=sources)


def write_commands(
    habits: list[dict], population: Population, written: list[Written], measured: np.ndarray
) -> list[Command]:
    """The commands of one user, with doses, figures and examples.

    ``measured`` has a row for each message and a column for each of ``habits`` (rows of
    ``rates.find_habits``).
    """
    priors = [population[habit["feature"]] for habit in habits]
    usual = [find_usual(h, prior) if prior.within else None for h, prior in zip(habits, priors, strict=True)]
    traits = list(map(make_trait, habits, usual))
    examples = choose_examples(written, measured, traits) if traits else []
    return [
        Command(
            dimension=trait.feature.dimension,
            command=word_command(habit, prior),
            examples=shown,
            without=without,
            evidence=list_evidence(habit),
        )
        for habit, prior, trait, (shown, without) in zip(habits, priors, traits, examples, strict=True)
    ]


def read_messages(
    conversations: Sequence[Conversation], positions: list[int], turns: list[int], are_openings: list[bool]
) -> tuple[list[Written], list[str]]:
    """The user messages at some positions and turns of them, each with the typed text before it (None: it is
    an opening), and the ids of their conversations.
    """
    distinct = list(dict.fromkeys(positions))
    talks = dict(zip(distinct, pick(conversations, distinct), strict=True))
    texts = {position: talk.user_messages for position, talk in talks.items()}
    ids = list(dict.fromkeys(talk.conversation_id for talk in talks.values()))
    written = []
    for position, turn, is_opening in zip(positions, turns, are_openings, strict=True):
        previous = style.typed_text(texts[position][turn - 1]) if turn else None if is_opening else ""
        written.append(Written(texts[position][turn], previous))
    return written, ids


def grow_profiles(conversations: Sequence[Conversation], messages: pd.DataFrame, user: str) -> list[Profile]:
    """A user's measured profile after each of their messages; all other users stay as they are.

    ``messages`` are the conversations as measured (``style.measure_conversations``). The last profile is that
    of ``extract_measured``.
    """
    population, user_messages = fit_population(messages), messages[messages["user_id"] == user]
    profiles = []
    for n in range(1, len(user_messages) + 1):
        known = user_messages.head(n)
        profiles += profile_users(conversations, known, population, choose_habits(known, population))
    return profiles


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
    """One user's profile as a model writes it from the first 6,000 characters of their messages, each cut to
    400 (paper: GPT-4o, all).

    Not yet verified: see ``extract_profiles``. Raises CallFailed if the reply is unusable.
    """
    messages = "\n".join(f"- {cut_at_word(m, 400)}" for c in conversations for m in c.user_messages)
    prompt = fill_prompt("extract_profile", messages=messages[:READ_CHARS])
    settings = {"temperature": 0.001, "max_tokens": 1200, "seed": seed}
    written = await models.ask_json(model, prompt, WrittenProfile, **settings)
    stated = [d for d in written.demographics if d.value.strip()]
    facts = {d.name: Demographic(**d.model_dump(exclude={"name"})) for d in stated}
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
    needed). ``population`` (None: these conversations) is what users are compared with; nothing else of it is
    in a profile. ``messages`` is the population as measured, if it is. ``save`` takes the profiles as they
    are made and gives them as they are read again (``Run.save_profiles``). The table is that of
    ``verification.verify_profile``, with a row and its ``error`` for a user whose reply was unusable.
    """
    users, compared = group_by_user(conversations), conversations if population is None else population
    messages = style.measure_conversations(compared) if messages is None else messages
    fitted = fit_population(messages)
    messages = messages if population is None else style.measure_conversations(conversations)
    made = profile_users(conversations, messages, fitted, choose_habits(messages, fitted), list(users))
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
        figures = describe_user(messages[messages["user_id"] == user], fitted)
        profile, table = verify_profile(outcome.result, users[user], figures)
        profiles.append(complete_profile(profile, measured[user], extractor) if measured else profile)
        checks.append(table)
    return save(profiles), pd.concat([table for table in checks if len(table)] or checks).reindex(
        columns=CHECKS
    )


def tabulate_measured(profiles: Iterable[Profile]) -> pd.DataFrame:
    """The checks of measured profiles, which hold by construction (see ``verify_profile``)."""
    counts = (
        (p.user_id, c.dimension, *[len(c.examples + c.without)] * 2) for p in profiles for c in p.commands
    )
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
