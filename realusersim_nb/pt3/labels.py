"""Human verdicts on blind pairs: drawn, kept as judgements, and compared like any other judge's."""

from pathlib import Path

import numpy as np

from realusersim_nb import files
from realusersim_nb.errors import InputError
from realusersim_nb.pt3.judges import DIMENSIONS, KEYS, find_unscored_reason
from realusersim_nb.records import Case, Conversation, Judgement, Order


def draw_label_pairs(
    cases: list[Case], transcripts: list[Conversation], *, n: int, seed: int
) -> list[tuple[Case, Conversation, Order]]:
    """A seeded draw of n pairs to be labelled: case, transcript, and the order in which the sides are shown.

    Real and simulated conversations come mixed; who labels sees neither the arm nor which side is real.
    """
    by_id, rng = {case.case_id: case for case in cases}, np.random.default_rng(seed)
    scorable = [t for t in transcripts if not find_unscored_reason(t)]
    drawn = [scorable[i] for i in rng.permutation(len(scorable))[:n]]
    return [(by_id[t.case_id], t, ("real_first", "simulated_first")[rng.integers(2)]) for t in drawn]


def save_label(
    path: Path, transcript: Conversation, *, verdicts: dict[str, bool], labeller: str
) -> Judgement:
    """Append one judgement to a file, where a transcript's last counts; InputError without all verdicts."""
    if missing := sorted(set(DIMENSIONS) - set(verdicts)):
        raise InputError(f"no verdict on {', '.join(missing)}; choose match or no match for each.")
    label = Judgement(**transcript.model_dump(include=KEYS), judge=f"human {labeller}", verdicts=verdicts)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(label.model_dump_json() + "\n")
    return label


def read_labels(path: str | Path, cases: list[Case]) -> list[Judgement]:
    """A file's labels of these cases, the last of each labeller on each transcript; none without a file."""
    known, labels = {case.case_id for case in cases}, {}
    for label in files.read_records(path, Judgement) if Path(path).exists() else ():
        if label.case_id in known and label.verdicts:
            labels[label.judge, label.case_id, label.arm] = label
    return list(labels.values())
