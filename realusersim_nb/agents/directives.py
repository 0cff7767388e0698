"""Hand-crafted directives ("be impatient") and how far simulated users exaggerate them.

RealUserSim finds that simulated users amplify a behavioural directive into an extreme that varies between
models; how it measures that is not public to us. Ours, for a directive and the trait it asks for:

                    openings under the directive - openings under task_only
    amplification = -------------------------------------------------------
                    openings of real users who have the trait - of all real users

0: nothing moves; 1: as far as real people who have the trait; 5: five times as far. Real users who have a
trait are the top tenth by what they write later in their conversations; how they *open* is then measured
apart from what they were chosen by, so that chance in the choice does not count.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from realusersim_nb import stats
from realusersim_nb.agents.scores import BASELINE, list_user_texts
from realusersim_nb.records import AgentRun, Conversation
from realusersim_nb.style import GREETING, has, starts_lower, typed_text

TRAIT_QUANTILE = 0.9  # of users by a trait, from which they have it
MIN_LATER_MESSAGES = 3  # by which a user is placed
NAN = float("nan")


@dataclass(frozen=True)
class Trait:
    """What a directive asks for, as a figure of one message: more of it is more of the trait."""

    what: str
    measure: Callable[[str, str | None], float]


def mark_anger(text: str, previous: str | None) -> float:
    """1 if the message holds an exclamation mark, a word in capitals among others, or a word of anger."""
    shouts = re.search(r"!|(?<![\w'])[A-Z]{4,}(?![\w'])", text) is not None
    return float(shouts or ANGER(text, previous) > 0)


POLITE = has(rf"please|kindly|thanks?|thank you|appreciate|dear|good day|{GREETING}")
HASTE = has(r"now|asap|hurry|quick(?:ly)?|fast|immediately|urgent(?:ly)?|right away|at once|waiting|waited")
ANGER = has(
    r"angry|furious|ridiculous|unacceptable|terrible|awful|horrible|outrageous|fed up|sick of|worst"
    r"|disgusting"
)
CONFUSION = has(
    r"confused|confusing|not sure|unsure|don'?t understand|don'?t know|no idea|what does|what is|mean[st]?"
)
TRAITS = {
    "terse": Trait("halvings of the length", lambda text, previous: -np.log2(1 + len(text.split()))),
    "chatty": Trait("doublings of the length", lambda text, previous: np.log2(1 + len(text.split()))),
    "polite": Trait("please, thanks or a greeting", POLITE),
    "casual": Trait("begins with a lower-case letter", starts_lower),
    "impatient": Trait("words of haste", HASTE),
    "angry": Trait("words of anger, ! or capitals", mark_anger),
    "confused": Trait("words of confusion", CONFUSION),
}
"""The trait of each directive of ``conditions.TRAIT_DIRECTIVES``. The words are ours, and English."""


def measure_traits(texts: Iterable[str]) -> pd.DataFrame:
    """Every trait of every text (of what was typed of it): one row a text, one column a directive."""
    rows = [[trait.measure(typed_text(text), None) for trait in TRAITS.values()] for text in texts]
    return pd.DataFrame(rows, columns=list(TRAITS))


def measure_real_traits(conversations: list[Conversation], *, seed: int = 0) -> pd.DataFrame:
    """How real users open, and how those open who have a trait: one row a directive (index).

    Columns ``population``, ``group`` (means over users of the trait in their openings), ``reach`` (the
    difference), ``reach_low, reach_high`` (95 % by user), ``n_users``, ``n_group``. Of users with at least
    three later messages and an opening that is not the middle of a conversation.
    """
    texts = [(c.user_id, n + c.continues, t) for c in conversations for n, t in enumerate(c.user_messages)]
    messages = pd.DataFrame(texts, columns=["user_id", "turn", "text"])
    traits, is_later, user_ids = measure_traits(messages["text"]), messages["turn"] > 0, messages["user_id"]
    openings = traits[~is_later].groupby(user_ids).mean()
    later = traits[is_later].groupby(user_ids)
    users = openings.index.intersection(later.size().loc[lambda n: n >= MIN_LATER_MESSAGES].index)
    openings, habits = openings.loc[users], later.mean().loc[users]
    groups = {name: compare_group(openings[name], habits[name], seed=seed) for name in TRAITS}
    return pd.DataFrame.from_dict(groups, orient="index").rename_axis("directive")


def compare_group(opening: pd.Series, habit: pd.Series, *, seed: int) -> dict[str, float]:
    """One row of ``measure_real_traits``, from each user's mean trait in openings and in later messages."""
    known = opening.notna() & habit.notna()
    opening, habit = opening[known].to_numpy(), habit[known].to_numpy()
    high = np.quantile(habit, TRAIT_QUANTILE) if len(habit) else NAN
    inside = (habit >= high) & (habit > np.median(habit)) if len(habit) else habit > 0

    def measure(opening: np.ndarray, inside: np.ndarray) -> float:
        inside = inside.astype(bool)  # a resampled mask comes as numbers
        return opening[inside].mean() - opening.mean() if inside.any() else NAN

    low, high = stats.bootstrap_interval((opening, inside), measure, seed=seed, draws=500)
    means = {"population": opening.mean(), "group": opening[inside].mean()} if inside.any() else {}
    reach = {"reach": measure(opening, inside), "reach_low": low, "reach_high": high}
    return means | reach | {"n_users": len(opening), "n_group": int(inside.sum())}


OPENING = "simulator arm domain task_id trial made_from".split()  # names the run of an opening


def measure_openings(runs: list[AgentRun]) -> pd.DataFrame:
    """One row a run of one step: ``OPENING``, the ``text`` of the opening, its traits.

    The opening is the last text: before it, a task may hold messages of the past.
    """
    opened = [(run, texts[-1][1]) for run in runs if run.simulator and (texts := list_user_texts(run))]
    rows = [(*(getattr(run, name) for name in OPENING), text) for run, text in opened]
    table = pd.DataFrame(rows, columns=[*OPENING, "text"])
    return table.join(measure_traits(table["text"]))


def measure_amplification(openings: pd.DataFrame, real: pd.DataFrame, *, seed: int = 0) -> pd.DataFrame:
    """How far each simulator moves under each directive: one row a simulator and directive that was tried.

    ``moved`` (the trait under the directive less under ``task_only``, paired by task) and ``amplification``
    (``moved`` over the real ``reach``, taken as known), each with a 95 % interval by task; ``n_tasks``. Empty
    where real users with the trait do not open otherwise (0 is in the interval of ``reach``).
    """
    names = "simulator directive trait moved moved_low moved_high reach amplification ci_low ci_high".split()
    rows = []
    for simulator, tried in openings.groupby("simulator", sort=False):
        for arm in [arm for arm in tried["arm"].unique() if arm in TRAITS]:
            options = {"arm": arm, "baseline": BASELINE, "pair_by": "task_id", "seed": seed}
            pair, figures = stats.compare_paired(tried, arm, **options), real.loc[arm]
            moved = np.array([pair["difference"], pair["ci_low"], pair["ci_high"]])
            scaled = moved / figures["reach"] if figures["reach_low"] > 0 else [NAN] * 3
            row = (simulator, arm, TRAITS[arm].what, *moved, figures["reach"], *scaled)
            rows.append((*row, pair["n_pairs"], figures["n_group"]))
    return pd.DataFrame(rows, columns=[*names, "n_tasks", "n_group"])


def measure_simulator_spread(openings: pd.DataFrame, real: pd.DataFrame) -> pd.DataFrame:
    """How much simulators disagree about one instruction: one row a directive tried by at least two.

    Standard deviation over simulators of the mean trait ``under_directive`` and ``under_profile`` (the same
    trait), in units of the real ``reach``: 1 is the distance from all real users to those with the trait.
    """
    means = openings.groupby(["arm", "simulator"])[list(TRAITS)].mean()
    spreads = means.groupby("arm").std() / real["reach"].where(real["reach_low"] > 0)
    tried = [name for name in TRAITS if name in spreads.index]
    rows = [(spreads[name].get(name), spreads[name].get("profile")) for name in tried]
    table = pd.DataFrame(rows, tried, ["under_directive", "under_profile"], dtype=float)
    return table.rename_axis("trait").dropna(how="all")
