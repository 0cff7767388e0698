"""PT3, the Paired Trajectory Turing Test: is the simulated user the same person?

A case is a held-out real conversation and the goal behind it. A simulated user pursues the goal
under each arm; a judge then compares only the user's messages with the original, in five
dimensions. The **fidelity index** is the share of dimension verdicts that say match
(RealUserSim; 0..1, higher is closer to the person).

The prompts and the bounds ``same_user`` and ``other_user`` are ours; the two-call judge, the cut
to 9 messages and the index are the paper's.
"""

from typing import get_args

import numpy as np
import pandas as pd

from realusersim_nb import profiles, simulators, stats
from realusersim_nb.cases import Bound, choose_cases, cut_to, describe_cases, prepare
from realusersim_nb.corpus import assign_others, group_by_user, hold_out
from realusersim_nb.judges import DIMENSIONS
from realusersim_nb.records import Case, Conversation, Judgement, Transcript, user_messages
from realusersim_nb.simulators import Simulator
from realusersim_nb.texts import count_copied, cut_at_word, mark_repeats

# --- transcripts -------------------------------------------------------------------------------


async def roll_out_arms(
    simulator: Simulator, assistant: str, cases: list[Case], arms: list[str], own: dict, *, max_user_messages: int
) -> list[Transcript]:
    """One simulated conversation for each case under each arm, arm by arm; ``own`` maps user ids to profiles."""
    simulators.check_arms(arms)
    tasks = [
        simulators.roll_out(simulator, assistant, case, arm, persona, max_user_messages=max_user_messages)
        for arm in arms
        for case, persona in zip(cases, simulators.write_personas(arm, cases, own, seed=simulator.seed), strict=True)
    ]
    return await simulator.models.run_all(tasks, "roll-outs")


def describe_roll_outs(
    simulator: Simulator, assistant: str, arms: list[str], source: dict, *, max_user_messages: int
) -> dict:
    """What roll-outs were made from, for reuse: the models, the arms, and the ``source`` of their cases."""
    asked = {"simulator": simulator.model, "turn_format": simulator.turn_format, "seed": simulator.seed}
    return {**source, **asked, "assistant": assistant, "arms": arms, "max_user_messages": max_user_messages}


async def simulate(
    simulator: Simulator, assistant: str, conversations: list[Conversation], *, extractor: str, arms: list[str],
    n_cases: int, max_user_messages: int, profile_messages: int | None = None,
) -> list[Transcript]:  # fmt: skip
    """From curated conversations to roll-outs in one call, for notebooks that begin after 03."""
    models, seed = simulator.models, simulator.seed
    profiled, held_out = hold_out(conversations, seed=seed, most=profile_messages)
    found, _ = await profiles.extract(profiled, extractor, models=models, seed=seed)
    own = {profile.user_id: profile for profile in found}
    chosen = choose_cases([c for c in held_out if c.user_id in own], n_cases=n_cases, seed=seed)
    cases, _ = await describe_cases(models, assistant, chosen, seed=seed)
    return await roll_out_arms(simulator, assistant, cases, arms, own, max_user_messages=max_user_messages)


def describe_transcripts(transcripts: list[Transcript], examples: dict[str, list[str]]) -> pd.DataFrame:
    """How each arm's conversations went: one row an arm.

    Columns: ``n``, how many ended by ``close``, ``max_turns`` or ``error``, ``messages`` (user
    messages a conversation, mean) and ``repeated`` (0..1: share of the messages after the first
    that say word for word what that user said before), and, with each user's profile
    ``examples``, ``copied`` (0..1: share of messages that copy one) and ``longest_copied`` (words
    of the longest run in common with an example, mean over conversations).
    """
    rows = []
    for t in transcripts:
        texts = user_messages(t.messages)
        again = mark_repeats(texts)
        copied = [any(text in e or e in text for e in examples.get(t.user_id, [])) for text in texts]
        rows.append(
            {"arm": t.arm, "close": t.ended_by == "close", "max_turns": t.ended_by == "max_turns",
             "error": t.ended_by == "error", "messages": len(texts), "later": len(again),
             "again": sum(again), "copied": sum(copied),
             "run": count_copied("\n".join(texts), examples.get(t.user_id, []))}
        )  # fmt: skip
    table = pd.DataFrame(rows)
    arms = table.groupby("arm", sort=False)
    found = arms[["close", "max_turns", "error"]].sum().assign(messages=arms["messages"].mean())
    found.insert(0, "n", arms.size())
    found["repeated"] = arms["again"].sum() / arms["later"].sum()
    found["copied"] = arms["copied"].sum() / arms["messages"].sum()
    found["longest_copied"] = arms["run"].mean()
    return found


def show_side_by_side(case: Case, transcripts: list[Transcript]) -> pd.DataFrame:
    """The real user's messages and each arm's in one case, turn by turn, as a judge would see them."""
    columns = {"real": prepare(case.original)}
    columns |= {t.arm: prepare(t.messages) for t in transcripts if t.case_id == case.case_id}
    shown = {
        name: pd.Series([" ".join(cut_at_word(t, 200).split()) for t in texts], dtype=object)
        for name, texts in columns.items()
    }
    return pd.DataFrame(shown).fillna("").rename_axis("turn")


def draw_bounds(cases: list[Case], known: list[Conversation], *, first: int, seed: int) -> list[Transcript]:
    """What real people score: another conversation of the same user, and one of another user.

    ``same_user`` is the ceiling a perfect simulator could reach, ``other_user`` the floor of a
    real but wrong person (one of the cases' users, each once). ``known`` are other conversations of the
    cases' users; a user without one gives no bound. Each is cut to its ``first`` user messages.
    """
    talks = group_by_user(known)
    others = assign_others([case.user_id for case in cases], seed=seed)
    return [
        Transcript(case_id=case.case_id, user_id=case.user_id, arm=bound, messages=cut_to(talk.messages, first))
        for bound in get_args(Bound)
        for case in cases
        for user in [case.user_id if bound == "same_user" else others[case.user_id]]
        for talk in [c for c in talks.get(user, []) if c.messages != case.original][:1]
    ]


# --- scores ------------------------------------------------------------------------------------


def tabulate(judgements: list[Judgement], cases: list[Case] = ()) -> pd.DataFrame:
    """One row a dimension verdict: case_id, user_id, arm, judge, order, trial, domain, dimension, match.

    ``match`` is 1 or 0, NaN if unscored.
    """
    domains = {case.case_id: case.domain for case in cases}
    return pd.DataFrame(
        [
            {"case_id": j.case_id, "user_id": j.user_id, "arm": j.arm, "judge": j.judge, "order": j.order, "trial": j.trial,
             "domain": domains.get(j.case_id, ""), "dimension": d,
             "match": float(j.verdicts[d]) if j.verdicts and d in j.verdicts else float("nan")}
            for j in judgements for d in DIMENSIONS
        ]
    )  # fmt: skip


def score(verdicts: pd.DataFrame, by: str | list[str] = "arm", *, seed: int = 0) -> pd.DataFrame:
    """Fidelity index of each arm, or of each combination of ``by`` (judge, domain, dimension): one row each, in the order met.

    Columns ``rate, ci_low, ci_high`` (0..1, 95 % by user), ``without_D3`` (D3 is near its ceiling
    for every simulator), ``n_cases`` (scored) and ``n_failed`` (no verdict: failed calls and lapses).
    """
    found = stats.score(verdicts, "match", by=by, unit="user_id", item="case_id", seed=seed)
    without = verdicts[verdicts["dimension"] != "D3"].groupby(by)["match"].mean()
    found.insert(3, "without_D3", without.reindex(found.index))
    return found.rename(columns={"n": "n_cases"})


def normalise(verdicts: pd.DataFrame, *, seed: int = 0) -> pd.DataFrame:
    """Where each arm lies between a stranger (0) and the same person (1): (arm - other) / (same - other).

    Index: judge, arm; columns ``normalised, ci_low, ci_high`` (95 %, users resampled for arm and bounds
    together) and ``n_users``. NaN where the judge scores strangers as high as the person, since
    then nothing lies between; a resample without a difference makes the interval NaN too.
    """
    by_user = verdicts.dropna(subset="match").groupby(["judge", "user_id", "arm"], sort=False)["match"].mean()
    same, other = get_args(Bound)
    rows = {}
    for judge, own in by_user.groupby("judge", sort=False):
        wide = own.loc[judge].unstack("arm")
        for arm in wide.columns.drop([same, other]) if {same, other} <= set(wide.columns) else []:
            columns = tuple(wide[[arm, same, other]].to_numpy().T)
            low, high = stats.resample(columns, place_between, seed=seed)
            place = float(place_between(*columns))
            rows[judge, arm] = {"normalised": place, "ci_low": low, "ci_high": high, "n_users": int(wide[arm].count())}
    index = pd.MultiIndex.from_tuples(rows, names=["judge", "arm"])
    return pd.DataFrame(rows.values(), index, columns=["normalised", "ci_low", "ci_high", "n_users"])


def place_between(arm: np.ndarray, same: np.ndarray, other: np.ndarray, axis: int = -1) -> np.ndarray:
    """The place of an arm's mean between those of the two bounds; NaN if they do not differ as they should."""
    with np.errstate(divide="ignore", invalid="ignore"):
        arm, same, other = (np.nansum(x, axis) / (~np.isnan(x)).sum(axis) for x in (arm, same, other))
        return np.where(same > other, (arm - other) / (same - other), np.nan)


def compare_arms(verdicts: pd.DataFrame, *, seed: int = 0) -> pd.DataFrame:
    """Paired differences of each judge's index between the arms that were run (see ``stats.difference``).

    ``profile`` against each other arm, and the two bounds against each other; users are the pairs.
    """
    present = list(verdicts["arm"].unique())
    pairs = [("profile", arm) for arm in present if arm not in ("profile", *get_args(Bound))]
    pairs = [*pairs, get_args(Bound)] if "profile" in present else [get_args(Bound)]
    rows = [
        {"judge": judge, **stats.difference(own, "match", arm=arm, baseline=baseline, pair_by="user_id", seed=seed)}
        for judge, own in verdicts.groupby("judge", sort=False)
        for arm, baseline in pairs
    ]
    return pd.DataFrame(rows, columns=["judge", *stats.DIFFERENCE])
