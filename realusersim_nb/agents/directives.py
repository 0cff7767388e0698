"""Hand-crafted directives ("be impatient") and how far simulated users exaggerate them.

RealUserSim finds that simulated users amplify a behavioural directive into an extreme that varies
between models; how it measures that is not public to us. Ours, for a directive and the trait it asks for:

                    openings under the directive - openings under task_only
    amplification = -------------------------------------------------------
                    openings of real users who have the trait - of all real users

0: nothing moves; 1: as far as real people who have the trait; 5: five times as far. Real users have
a trait who are in the top tenth by what they write later in their conversations; how they *open* is
then measured apart from what they were chosen by, so that luck in the choice does not count.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from realusersim_nb import stats
from realusersim_nb.agents.scores import list_user_texts
from realusersim_nb.profiles.style import has, starts_lower, typed_part
from realusersim_nb.records import AgentRun, Conversation

TOP = 0.9  # the place from which a user has a trait
LEAST = 3  # later messages by which a user is placed


@dataclass(frozen=True)
class Trait:
    """What a directive asks for, as a figure of one message: more of it is more of the trait."""

    what: str
    measure: Callable[[str, str | None], float]


def count_doublings(text: str, previous: str | None) -> float:
    """Length as the logarithm (base 2) of the words: one more is twice as long."""
    return float(np.log2(1 + len(text.split())))


def mark_anger(text: str, previous: str | None) -> float:
    """1 if the message holds an exclamation mark, a word in capitals among others, or a word of anger."""
    shouts = re.search(r"!|(?<![\w'])[A-Z]{4,}(?![\w'])", text) is not None
    return float(shouts or ANGER(text, previous) > 0)


ANGER = has(
    r"angry|furious|ridiculous|unacceptable|terrible|awful|horrible|outrageous|fed up|sick of|worst|disgusting"
)
TRAITS = {
    "terse": Trait("halvings of the length", lambda text, previous: -count_doublings(text, previous)),
    "chatty": Trait("doublings of the length", count_doublings),
    "polite": Trait(
        "please, thanks or a greeting",
        has(r"please|kindly|thanks?|thank you|hello|hi|dear|good (?:morning|day|evening)|appreciate"),
    ),
    "casual": Trait("begins with a lower-case letter", starts_lower),
    "impatient": Trait(
        "words of haste",
        has(r"now|asap|hurry|quick(?:ly)?|fast|immediately|urgent(?:ly)?|right away|at once|waiting|waited"),
    ),
    "angry": Trait("words of anger, ! or capitals", mark_anger),
    "confused": Trait(
        "words of confusion",
        has(
            r"confused|confusing|not sure|unsure|don'?t understand|don'?t know|no idea|what does|what is|mean[st]?"
        ),
    ),
}
"""The trait of each directive of ``conditions.TRAIT_DIRECTIVES``. The words are ours, and English."""


def measure_traits(texts: list[str]) -> pd.DataFrame:
    """Every trait of every text (of what was typed of it): one row a text, one column a directive."""
    typed = [typed_part(text) for text in texts]
    rows = [{name: trait.measure(text, None) for name, trait in TRAITS.items()} for text in typed]
    return pd.DataFrame(rows, columns=list(TRAITS))


def measure_real_traits(conversations: list[Conversation], *, seed: int = 0) -> pd.DataFrame:
    """How real users open, and how those open who have a trait: one row a directive (index).

    Columns ``population`` and ``group`` (means over users of the trait in their opening messages), ``reach`` (their
    difference) with ``reach_low, reach_high`` (95 % by user), ``n_users``, ``n_group``. Of users with at least three
    later messages and an opening that is not the middle of a conversation.
    """
    said = [
        (c.user_id, turn + c.continues, text)
        for c in conversations
        for turn, text in enumerate(c.user_messages)
    ]
    messages = pd.DataFrame(said, columns=["user_id", "turn", "text"])
    traits = measure_traits(list(messages["text"]))
    is_opening = messages["turn"] == 0
    openings = traits[is_opening].groupby(messages["user_id"]).mean()
    later = traits[~is_opening].groupby(messages["user_id"]).mean()
    enough = messages[~is_opening].groupby("user_id").size() >= LEAST
    users = openings.index.intersection(enough.index[enough])
    rows = {
        name: compare_group(openings.loc[users, name], later.loc[users, name], seed=seed) for name in TRAITS
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("directive")


def compare_group(opening: pd.Series, habit: pd.Series, *, seed: int) -> dict[str, float]:
    """One row of ``measure_real``."""
    known = opening.notna() & habit.notna()
    opening, habit = opening[known].to_numpy(), habit[known].to_numpy()
    inside = (habit >= np.quantile(habit, TOP)) & (habit > np.median(habit)) if len(habit) else habit > 0

    def measure(opening: np.ndarray, inside: np.ndarray) -> float:
        inside = inside.astype(bool)  # a resampled mask comes as numbers
        return opening[inside].mean() - opening.mean() if inside.any() else float("nan")

    low, high = stats.bootstrap_interval((opening, inside), measure, seed=seed, draws=500)
    means = {"population": opening.mean(), "group": opening[inside].mean()} if inside.any() else {}
    return {
        **means,
        "reach": measure(opening, inside),
        "reach_low": low,
        "reach_high": high,
        "n_users": len(opening),
        "n_group": int(inside.sum()),
    }


def measure_openings(runs: list[AgentRun]) -> pd.DataFrame:
    """The traits of the users' openings: one row a run of one step, with ``simulator, arm, task_id, trial, text``.

    Before the opening, a task may hold messages of the past.
    """
    opened = [(run, said[-1][1]) for run in runs if run.simulator and (said := list_user_texts(run))]
    columns = ["simulator", "arm", "task_id", "trial", "text"]
    about = [
        {"simulator": r.simulator, "arm": r.arm, "task_id": r.task_id, "trial": r.trial, "text": text}
        for r, text in opened
    ]
    return pd.concat(
        [pd.DataFrame(about, columns=columns), measure_traits([text for _, text in opened])], axis=1
    )


def measure_amplification(openings: pd.DataFrame, real: pd.DataFrame, *, seed: int = 0) -> pd.DataFrame:
    """How far each simulator moves under each directive: one row a simulator and directive that was tried.

    ``moved`` (the trait under the directive less under ``task_only``, paired by task) and ``amplification`` (``moved``
    over the real ``reach``), each with a 95 % interval by task, the real figures being taken as they are; ``n_tasks``.
    Empty where real users with the trait do not open otherwise (the interval of ``reach`` holds 0).
    """
    rows = []
    for (simulator, arm), own in openings.groupby(["simulator", "arm"], sort=False):
        if arm in TRAITS:
            both = pd.concat(
                [own, openings[(openings["simulator"] == simulator) & (openings["arm"] == "task_only")]]
            )
            pair = stats.compare_paired(
                both, arm, arm=arm, baseline="task_only", pair_by="task_id", seed=seed
            )
            figures = real.loc[arm]
            scale = 1 / figures["reach"] if figures["reach_low"] > 0 else float("nan")
            rows.append(
                {
                    "simulator": simulator,
                    "directive": arm,
                    "trait": TRAITS[arm].what,
                    "moved": pair["difference"],
                    "moved_low": pair["ci_low"],
                    "moved_high": pair["ci_high"],
                    "reach": figures["reach"],
                    "amplification": pair["difference"] * scale,
                    "ci_low": pair["ci_low"] * scale,
                    "ci_high": pair["ci_high"] * scale,
                    "n_tasks": pair["n_pairs"],
                    "n_group": figures["n_group"],
                }
            )
    columns = [
        "simulator",
        "directive",
        "trait",
        "moved",
        "moved_low",
        "moved_high",
        "reach",
        "amplification",
        "ci_low",
        "ci_high",
        "n_tasks",
        "n_group",
    ]
    return pd.DataFrame(rows, columns=columns)


def measure_simulator_spread(openings: pd.DataFrame, real: pd.DataFrame) -> pd.DataFrame:
    """How much simulators disagree about one instruction: one row a directive tried by at least two.

    Standard deviation over simulators of the mean trait ``under_directive`` and ``under_profile`` (the same
    trait), both in units of the real ``reach``: 1 is the distance from all real users to those who have the trait.
    """
    means = openings.groupby(["arm", "simulator"])[list(TRAITS)].mean()
    spreads = means.groupby("arm").std() / real["reach"].where(real["reach_low"] > 0)
    rows = {
        name: (spreads[name].get(name), spreads[name].get("profile"))
        for name in TRAITS
        if name in spreads.index
    }
    table = pd.DataFrame.from_dict(rows, orient="index", columns=["under_directive", "under_profile"]).astype(
        float
    )
    return table.rename_axis("trait").dropna(how="all")
