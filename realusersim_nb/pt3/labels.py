"""Human verdicts on blind pairs: drawn, kept as judgements, and compared like any other judge's."""

import json
from pathlib import Path

import numpy as np

from realusersim_nb import files
from realusersim_nb.errors import InputError
from realusersim_nb.pt3.judges import DIMENSIONS, find_unscored_reason
from realusersim_nb.records import Case, Judgement, Transcript


def draw_label_pairs(
    cases: list[Case], transcripts: list[Transcript], *, n: int, seed: int
) -> list[tuple[Case, Transcript, str]]:
    """A seeded draw of n pairs to be labelled: case, transcript, and the order in which the sides are shown.

    Real and simulated conversations come mixed; who labels does not see the arm nor which side is real.
    """
    by_id, rng = {case.case_id: case for case in cases}, np.random.default_rng(seed)
    fit = [t for t in transcripts if not find_unscored_reason(t)]
    return [
        (by_id[fit[i].case_id], fit[i], ("real_first", "simulated_first")[rng.integers(2)])
        for i in rng.permutation(len(fit))[:n]
    ]


def save_label(
    path: Path, case: Case, transcript: Transcript, *, verdicts: dict[str, bool], labeller: str
) -> Judgement:
    """Append one human judgement to a file; a label once given is never overwritten, the last one counts.

    ValueError unless every dimension has a verdict.
    """
    if missing := sorted(set(DIMENSIONS) - set(verdicts)):
        raise InputError(f"no verdict on {', '.join(missing)}; choose match or no match for each.")
    label = Judgement(
        case_id=case.case_id,
        user_id=case.user_id,
        arm=transcript.arm,
        judge=f"human {labeller}",
        verdicts=verdicts,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(label.model_dump()) + "\n")
    return label


def read_labels(path: str | Path, cases: list[Case]) -> list[Judgement]:
    """The labels of these cases in a file, the last of each labeller on each transcript; none without a file."""
    if not Path(path).exists():
        return []
    known = {case.case_id for case in cases}
    found = {
        (j.judge, j.case_id, j.arm): j
        for j in files.read_records(path, Judgement)
        if j.case_id in known and j.verdicts
    }
    return list(found.values())
