"""How unlike people simulated users are: everything that is measured of transcripts, and what is claimed.

Everything is tested against what people differ from people and what the subject alone does. The probe is one
family of tests and all else (traits, facets, diversity) another, corrected by Holm; both share the 5%.
"""

from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import norm
from statsmodels.stats.multitest import multipletests

from realusersim_nb.errors import InputError
from realusersim_nb.gap.meter import differences, page, probe, spread, vocabulary
from realusersim_nb.gap.meter.findings import list_findings
from realusersim_nb.gap.meter.sides import (
    FEW,
    PEOPLE,
    Side,
    cut_to_people,
    match_lengths,
    read_people,
    read_system,
)
from realusersim_nb.gap.meter.subjects import find_subjects
from realusersim_nb.gap.meter.traits import measure_traits
from realusersim_nb.stats import LEAST
from realusersim_nb.text import show_name

ALPHA, FAMILIES = 0.05, 2


@dataclass
class Comparison:
    """One system beside people: the tables of ``differences``, ``probe``, ``spread`` and ``vocabulary``.

    ``n, n_users, n_people``: conversations and users of it, conversations of people it was compared with.
    ``claimed``: whether any difference is claimed. Tables have ``p_holm`` beside ``p``.
    """

    name: str
    n: int
    n_users: int
    n_people: int
    shift: float
    traits: pd.DataFrame
    facets: pd.DataFrame
    diversity: dict[str, float]
    phrases: pd.DataFrame
    tidied: tuple[float, float, float]
    probed: probe.Probed | None
    ids: list[str] = field(default_factory=list)

    @property
    def shortage(self) -> tuple[int, str, int] | None:
        """Of what there is too little to claim anything: its number, what it is, and the least needed."""
        counts = (self.n, "conversations", FEW), (self.n_users, "users", LEAST)
        return next((count for count in counts if count[0] < count[2]), None)

    @property
    def findings(self) -> list[dict]:
        """What is claimed, as sentences; without a claim one that says so."""
        return list_findings(self)


def compare_system(people: Side, system: Side, *, seed: int = 0) -> Comparison:
    """Everything that is measured of one system, by the first six messages at most of each conversation."""
    system = cut_to_people(system, people)
    matched = match_lengths(people, system, seed=seed)
    subjects = find_subjects(people, system, seed=seed)
    sides = [(measure_traits(side), side.users) for side in (matched, system)]
    compared = Comparison(
        show_name(system.name, 40),
        len(system),
        len(set(system.users)),
        len(matched),
        subjects.shift,
        differences.compare_traits(*sides, subjects),
        spread.compare_facets(matched, system, subjects, seed=seed),
        spread.compare_diversity(matched, system, subjects, seed=seed),
        vocabulary.compare_phrases(matched, system, subjects),
        differences.estimate_tidied(matched, system),
        probe.probe_system(matched, system, subjects, seed=seed),
    )
    if compared.probed:
        compared.ids = [system.ids[row] for row in compared.probed.rows]
    correct_tests(compared)
    return compared


def correct_tests(compared: Comparison) -> None:
    """Holm's correction over all tests of a system: ``p_holm`` in its tables; NaN where there is no test."""
    p = np.r_[compared.diversity["p"], compared.facets["p"], compared.traits["p"]].astype(float)
    corrected, known = np.full(len(p), np.nan), np.isfinite(p)
    if known.any() and not compared.shortage:
        corrected[known] = np.minimum(FAMILIES * multipletests(p[known], ALPHA, "holm")[1], 1)
    if compared.probed and not compared.shortage:
        compared.probed.p_holm = min(FAMILIES * compared.probed.p, 1.0)
    compared.diversity["p_holm"] = corrected[0]
    n = len(compared.facets)
    compared.facets["p_holm"], compared.traits["p_holm"] = corrected[1 : 1 + n], corrected[1 + n :]
    order = compared.traits.assign(
        claimed=compared.traits["p_holm"] < ALPHA, size=compared.traits["effect"].abs()
    )
    compared.traits = compared.traits.loc[order.sort_values(["claimed", "size"], ascending=False).index]
    compared.traits = compared.traits.reset_index(drop=True)


@dataclass
class Measurement:
    """Systems beside people: ``systems`` by name, and what two of them come to beside each other.

    A notebook shows it as a page; ``findings`` are sentences with figures, ``table`` all traits of all
    systems, ``nearest`` the difference in AUC between every two systems.
    """

    against: str
    seed: int
    systems: list[Comparison]
    nearest: pd.DataFrame

    @property
    def findings(self) -> list[dict]:
        """The findings of all systems, each with the name of its ``system``."""
        return [{"system": c.name, **finding} for c in self.systems for finding in c.findings]

    @property
    def table(self) -> pd.DataFrame:
        """The traits of all systems, one row a system and trait."""
        return pd.concat([c.traits.assign(file=c.name) for c in self.systems], ignore_index=True)

    def _repr_html_(self) -> str:
        return page.render_fragment(self)


def measure_files(*files: str | Path, against: str = PEOPLE, seed: int = 0) -> Measurement:
    """How unlike people the simulated users of transcripts are: of each file against ``against``.

    A file has any layout that ``look`` knows; ``against`` is a corpus of people (a name, or a path), of which
    4,000 conversations are read. No model is called. InputError with a sentence where a file, or a side,
    cannot be measured.
    """
    if not files:
        raise InputError("measure: no file; name the transcripts of a simulated user.")
    systems = [read_system(str(path)) for path in files]
    name_systems(systems)
    people = read_people(str(against))
    if len(people) < FEW:
        raise InputError(f"{against}: {len(people)} conversations of people; expected {FEW} at least.")
    if (n_users := len(set(people.users))) < LEAST:
        raise InputError(f"{against}: conversations of {n_users} people; expected {LEAST} people at least.")
    compared = [compare_system(people, side, seed=seed) for side in systems]
    return Measurement(str(against), seed, compared, compare_systems(compared))


def name_systems(systems: list[Side]) -> None:
    """Give each system the name of its file, with its folder and a number where others have the same."""
    paths = [Path(side.name) for side in systems]
    stems = [path.stem for path in paths]
    is_taken = [stems.count(stem) > 1 for stem in stems]
    names = [
        f"{p.parent.name}/{p.stem}" if taken else p.stem for p, taken in zip(paths, is_taken, strict=True)
    ]
    names = [show_name(name or ".", 36) for name in names]
    for place, (side, name) in enumerate(zip(systems, names, strict=True)):
        side.name = f"{name} ({names[:place].count(name) + 1})" if names.count(name) > 1 else name


def compare_systems(compared: list[Comparison]) -> pd.DataFrame:
    """The difference in AUC between every two systems: in pairs where conversations have the same ids.

    Columns ``arm, baseline, difference, ci_low, ci_high, p, n_pairs, paired``; without the probe no row. The
    interval is for other conversations of the systems and for other people: each has a classifier of its own.
    """
    rows = []
    for one, other in combinations([c for c in compared if c.probed and not c.shortage], 2):
        scores = [pd.Series(c.probed.scores, c.ids).groupby(level=0).mean() for c in (one, other)]
        gaps = (scores[0] - scores[1]).dropna()
        if is_paired := len(gaps) >= FEW:
            difference = gaps.mean()
            error = np.hypot(gaps.sem(), np.hypot(one.probed.people_error, other.probed.people_error))
        else:
            difference = one.probed.auc - other.probed.auc
            error = np.hypot(*((c.probed.ci_high - c.probed.ci_low) / 3.92 for c in (one, other)))
        ends = difference - 1.96 * error, difference + 1.96 * error
        p = 2 * norm.sf(abs(difference) / error) if error else 1.0
        rows.append([one.name, other.name, difference, *ends, p, len(gaps) * is_paired, is_paired])
    return pd.DataFrame(rows, columns="arm baseline difference ci_low ci_high p n_pairs paired".split())
