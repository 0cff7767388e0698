"""Human verdicts: on blind pairs, drawn and kept as judgements, and those in files from elsewhere.

All are compared like any other judge's (``agreement.compare_readers``).
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from pydantic import Field

from realusersim_nb import files
from realusersim_nb.corpus.layouts.rows import parse_row
from realusersim_nb.corpus.sources import read_rows
from realusersim_nb.errors import InputError
from realusersim_nb.pt3.judges import DIMENSIONS, KEYS, find_unscored_reason
from realusersim_nb.records import Case, Conversation, Judgement, Message, Order, Record

GIVEN = "given"  # arm of a pair from elsewhere


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
        names = ", ".join(f"{DIMENSIONS[name]} ({name})" for name in missing)
        raise InputError(f"no verdict on {names}; choose match or no match for each.")
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


class LabelledPair(Record):
    """A line of a file from elsewhere: two people's messages, and what somebody said of them.

    ``verdicts``: a match or not, by dimension (D1 to D5). ``labeller``: who gave them.
    """

    pair_id: str
    original: list[str] = Field(min_length=1)
    candidate: list[str] = Field(min_length=1)
    verdicts: dict[str, bool] = Field(min_length=1)
    labeller: str = "somebody"


def read_pairs(path: str | Path) -> tuple[list[Case], list[Conversation], list[Judgement]]:
    """A file of labelled pairs as what judges take: cases, transcripts (arm ``given``) and people's verdicts.

    One JSON object a line, with the fields of ``LabelledPair``; the same pair may be labelled by several.
    InputError for a line that does not fit, a dimension that does not exist, or a pair_id with other texts.
    """
    cases, transcripts, labels = {}, {}, []
    for pair in files.read_records(path, LabelledPair):
        if unknown := sorted(set(pair.verdicts) - set(DIMENSIONS)):
            expected = f"expected some of {', '.join(DIMENSIONS)}"
            raise InputError(f"{path}: pair {pair.pair_id!r} has a verdict on {unknown[0]!r}; {expected}.")
        keys = {"case_id": pair.pair_id, "user_id": pair.pair_id}
        sides = [[Message(role="user", content=t) for t in side] for side in (pair.original, pair.candidate)]
        original = Conversation(conversation_id=pair.pair_id, user_id=pair.pair_id, messages=sides[0])
        case = Case(**keys, goal="", key_context="", original=original)
        given = Conversation(messages=sides[1], **case.identify(GIVEN))
        if (
            cases.setdefault(pair.pair_id, case) != case
            or transcripts.setdefault(pair.pair_id, given) != given
        ):
            problem = "is there twice, with other messages; give each pair a name of its own"
            raise InputError(f"{path}: pair {pair.pair_id!r} {problem}.")
        judge = f"human {pair.labeller}"
        labels.append(Judgement(**keys, arm=GIVEN, judge=judge, verdicts=pair.verdicts))
    return list(cases.values()), list(transcripts.values()), labels


def holds_pairs(path: str | Path) -> bool:
    """Whether a file of labels brings its own pairs (``read_pairs``), and not verdicts on our transcripts."""
    if not Path(path).exists():
        return False
    _, row = next(iter(files.read_lines(path)), ("", {}))
    return "pair_id" in row


# --- verdicts in released files --------------------------------------------------------------------

PEOPLE = ("expert", "author", "arena_user", "human", "worker")  # how their names as judges begin


def read_verdicts(path: str, *, cut: float | None = None, pooled: bool = True) -> list[Judgement]:
    """The verdicts that people, and perhaps models, gave on the conversations of a file; InputError if none.

    Ratings (SimulatorArena's ``overall_..._rating``) become "at least ``cut``" (None: the median of the
    rating); which of two answers won (Chatbot Arena, MT-bench) whether it is the first by name, ties aside.
    ``pooled``: the people are one reader, by their majority; a draw of them is no verdict.
    """
    rows = [row for row in read_rows(path) if isinstance(row, dict)]
    given = [verdict for row in rows for verdict in (*list_ratings(row), *list_winners(row))]
    table = pd.DataFrame(given, columns=["case_id", "user_id", "judge", "dimension", "value", "is_rating"])
    if table.empty:
        expected = "expected `winner` of `model_a` and `model_b`, or `overall_..._rating`"
        raise InputError(f"{path}: no verdict of people was found; {expected}.")
    table["value"] = table["value"].astype(float)
    middle = table.groupby("dimension")["value"].transform("median") if cut is None else cut
    table["match"] = (table["value"] >= np.where(table["is_rating"], middle, 1)).astype(float)
    if pooled:
        table["judge"] = ["people" if name.startswith(PEOPLE) else name for name in table["judge"]]
    means = table.groupby(["case_id", "user_id", "judge", "dimension"], sort=False)["match"].mean()
    clear = means[means != 0.5].reset_index()
    return [
        Judgement(
            **dict(zip(("case_id", "user_id", "judge"), keys, strict=True)),
            arm="real",
            verdicts=dict(zip(group["dimension"], group["match"] > 0.5, strict=True)),
        )
        for keys, group in clear.groupby(["case_id", "user_id", "judge"], sort=False)
    ]


def list_ratings(row: dict) -> Iterator[tuple]:
    """The ratings in a row of SimulatorArena: case, user, judge, dimension, value, and that it is one."""
    names = [name for name in row if name.startswith("overall_") and name.endswith("rating")]
    talk = parse_row(row) if names else ""
    if not isinstance(talk, str):
        for name in names:
            if (value := pd.to_numeric(row[name], errors="coerce")) == value:
                dimension = name.removeprefix("overall_").replace("_", " ")
                yield talk.conversation_id, talk.user_id, f"worker {talk.user_id}", dimension, value, True


def list_winners(row: dict) -> Iterator[tuple]:
    """Whether the first of two models by name won, in a row that compares them: as of ``list_ratings``."""
    if {"winner", "model_a", "model_b"} <= row.keys() and row["winner"] in ("model_a", "model_b"):
        first, second = sorted([str(row["model_a"]), str(row["model_b"])])
        case_id = f"{row.get('question_id', '?')}/{row.get('turn', 1)}/{first}/{second}"
        judge = row.get("judge", "human")
        name = judge if isinstance(judge, str) else " ".join(map(str, judge))
        is_first = str(row[row["winner"]]) == first
        yield case_id, str(row.get("question_id", "?")), name, "first is better", is_first, False
