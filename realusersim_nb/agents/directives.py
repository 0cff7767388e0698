"""Hand-crafted directives ("be impatient") and how far simulated users exaggerate them.

RealUserSim finds that simulated users amplify a behavioural directive into an extreme that varies between
models; how it measures that is not public to us. Ours, for a directive and the trait it asks for:

                    openings under the directive - openings under task_only
    amplification = -------------------------------------------------------
                    messages of real users who have the trait - of all real users

0: nothing moves; 1: as far as real people who have the trait; 5: five times as far. Real users who have a
trait are the top tenth by one half of their messages; how far they go (``reach``) is measured on the other
half. Both halves are of the same positions in conversations, drawn by chance: measured on what they were
chosen by, ``reach`` would count the chance in the choice; measured on openings when chosen by what follows,
it would fall by how little the two have to do with each other, and simulated users would seem to amplify.
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
MIN_MESSAGES = 6  # of a user: three to be placed by, three to be measured by
DRAWS = 1000  # of users and of tasks
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


def split_traits(conversations: list[Conversation], *, seed: int = 0) -> pd.DataFrame:
    """Every trait of each real user in two halves of their messages: a row a user and directive.

    Columns ``user_id, directive``, ``chosen_by`` and ``measured``: the means of one half and of the other.
    Halves are drawn by chance within openings and within later messages; of users with six messages or more.
    """
    texts = [(c.user_id, n + c.continues, t) for c in conversations for n, t in enumerate(c.user_messages)]
    messages = pd.DataFrame(texts, columns=["user_id", "turn", "text"])
    counts = messages.groupby("user_id")["text"].transform("size")
    messages = messages[counts >= MIN_MESSAGES].sample(frac=1, random_state=seed)
    messages = messages.sort_values(["user_id", "turn"], kind="stable", key=is_later).reset_index(drop=True)
    half = messages.groupby("user_id").cumcount() % 2
    traits = measure_traits(messages["text"]).groupby([messages["user_id"], half]).mean()
    wide = traits.rename_axis(index=["user_id", "half"], columns="directive").stack().unstack("half")
    wide = wide.reindex(columns=[0, 1]).set_axis(["chosen_by", "measured"], axis=1)
    return wide.dropna().reset_index()


def is_later(values: pd.Series) -> pd.Series:
    """As a key to sort by: whether a message is not an opening; other columns as they are."""
    return values > 0 if values.name == "turn" else values


def mark_group(chosen_by: np.ndarray) -> np.ndarray:
    """Who has the trait: the top tenth by this half, and above the median."""
    if not len(chosen_by):
        return np.zeros(0, dtype=bool)
    return (chosen_by >= np.quantile(chosen_by, TRAIT_QUANTILE)) & (chosen_by > np.median(chosen_by))


def measure_reach(chosen_by: np.ndarray, measured: np.ndarray) -> float:
    """How much further those go who have the trait than all: on the half they were not chosen by."""
    group = mark_group(chosen_by)
    return measured[group].mean() - measured.mean() if group.any() else NAN


def measure_real_traits(halves: pd.DataFrame, *, seed: int = 0) -> pd.DataFrame:
    """How far real users go who have a trait: one row a directive (index), from ``split_traits``.

    Columns ``population``, ``group`` (means over users of the half that was not chosen by), ``reach`` (the
    difference), ``reach_low, reach_high`` (95%, users resampled and the group chosen anew), ``n_users``,
    ``n_group``.
    """
    rows = {}
    for name, table in halves.groupby("directive"):
        columns = table["chosen_by"].to_numpy(), table["measured"].to_numpy()
        group, measured = mark_group(columns[0]), columns[1]
        low, high = (
            np.nanquantile(draw_reach(table, seed=seed), [0.025, 0.975]) if group.any() else (NAN, NAN)
        )
        means = {"population": measured.mean(), "group": measured[group].mean() if group.any() else NAN}
        reach = {"reach": measure_reach(*columns), "reach_low": low, "reach_high": high}
        rows[name] = means | reach | {"n_users": len(measured), "n_group": int(group.sum())}
    columns = "population group reach reach_low reach_high n_users n_group".split()
    table = pd.DataFrame.from_dict(rows, orient="index", columns=columns)
    return table.reindex(list(TRAITS)).rename_axis("directive")


def draw_reach(table: pd.DataFrame, *, seed: int) -> np.ndarray:
    """``reach`` of resampled users, the group chosen anew in each draw."""
    rng, columns = np.random.default_rng(seed), table[["chosen_by", "measured"]].to_numpy().T
    drawn = (rng.integers(0, len(table), len(table)) for _ in range(DRAWS))
    return np.array([measure_reach(*columns[:, rows]) for rows in drawn])


OPENING = "simulator arm domain task_id trial made_from".split()  # names the run of an opening


def measure_openings(runs: list[AgentRun]) -> pd.DataFrame:
    """One row a run of one step: ``OPENING``, the ``text`` of the opening, its traits.

    The opening is the last text: before it, a task may hold messages of the past.
    """
    opened = [(run, texts[-1][1]) for run in runs if run.simulator and (texts := list_user_texts(run))]
    rows = [(*(getattr(run, name) for name in OPENING), text) for run, text in opened]
    table = pd.DataFrame(rows, columns=[*OPENING, "text"])
    return table.join(measure_traits(table["text"]))


def measure_amplification(openings: pd.DataFrame, halves: pd.DataFrame, *, seed: int = 0) -> pd.DataFrame:
    """How far each simulator moves under each directive: one row a simulator and directive that was tried.

    ``moved`` (the trait under the directive less under ``task_only``, paired by task) with its 95% interval
    by task, and ``amplification``: ``moved`` over the real ``reach``, its interval of the whole ratio, tasks
    and real users (``halves`` of ``split_traits``) resampled; ``n_tasks``. Empty where real users with the
    trait do not go clearly further than others (0 is in the interval of ``reach``).
    """
    names = "simulator directive trait moved moved_low moved_high reach amplification ci_low ci_high".split()
    rows, real = [], measure_real_traits(halves, seed=seed)
    by_trait = dict(iter(halves.groupby("directive")))
    for simulator, tried in openings.groupby("simulator", sort=False):
        for arm in [arm for arm in tried["arm"].unique() if arm in TRAITS]:
            options = {"arm": arm, "baseline": BASELINE, "pair_by": "task_id", "seed": seed}
            pair, figures = stats.compare_paired(tried, arm, **options), real.loc[arm]
            moved = [pair["difference"], pair["ci_low"], pair["ci_high"]]
            scaled = [NAN] * 3
            if figures["reach_low"] > 0:
                reach = draw_reach(by_trait[arm], seed=seed)
                ends = resample_ratio(pair_openings(tried, arm), reach, seed=seed)
                scaled = [moved[0] / figures["reach"], *ends]
            row = (simulator, arm, TRAITS[arm].what, *moved, figures["reach"], *scaled)
            rows.append((*row, pair["n_pairs"], figures["n_group"]))
    return pd.DataFrame(rows, columns=[*names, "n_tasks", "n_group"])


def pair_openings(tried: pd.DataFrame, arm: str) -> np.ndarray:
    """The trait under a directive less under ``task_only``, one value a task."""
    wide = tried.pivot_table(arm, "task_id", "arm").reindex(columns=[arm, BASELINE]).dropna()
    return (wide[arm] - wide[BASELINE]).to_numpy()


def resample_ratio(moved: np.ndarray, reach: np.ndarray, *, seed: int) -> tuple[float, float]:
    """95% interval of the mean of ``moved`` over ``reach``, both drawn; NaN for fewer than ten tasks."""
    if len(moved) < stats.LEAST:
        return NAN, NAN
    rows = np.random.default_rng(seed + 1).integers(0, len(moved), (len(reach), len(moved)))
    low, high = np.nanquantile(moved[rows].mean(axis=1) / reach, [0.025, 0.975])
    return float(low), float(high)


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
