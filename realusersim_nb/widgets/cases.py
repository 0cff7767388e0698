"""Cases: the real user beside the simulated one, with the judges' verdicts; pairs to be labelled blind."""

from pathlib import Path
from typing import Any

import numpy as np
from ipywidgets import Button, Dropdown, RadioButtons, Select, Text

from realusersim_nb.pt3.agreement import name_reader
from realusersim_nb.pt3.cases import JUDGED_MESSAGES, list_judged_messages
from realusersim_nb.pt3.judges import DIMENSIONS, sort_sides
from realusersim_nb.pt3.labels import read_labels, save_label
from realusersim_nb.records import Case, Conversation, Judgement, Message
from realusersim_nb.text import name_file
from realusersim_nb.widgets.page import WHOLE_LABEL, ask_one_by_one, browse, follow, render


def browse_cases(cases: list[Case], transcripts: list[Conversation], judgements: list[Judgement]) -> None:
    """The cases of an arm in a list, the lowest score first, to be searched; one of them as ``show_case`` has
    it. Without widgets, the first.
    """
    by_id = {case.case_id: case for case in cases}
    arms = Dropdown(options=list(dict.fromkeys(t.arm for t in transcripts)), description="arm")
    word = Text(placeholder="a word in it", description="search", continuous_update=False)
    names = Select(description="case", rows=8, layout={"width": "36em"})

    def narrow(arm: str, word: str) -> None:
        names.options = list_cases(by_id, arm, transcripts, judgements, word=word)
        names.value = names.options[0][1] if names.options else None

    def show(arm: str, word: str, case_id: str | None) -> str:
        if case_id is None:
            return render("note", text=f"No case of {arm} has the word {word!r}." if word else "No case.")
        return show_case(by_id[case_id], arm, transcripts, judgements)

    narrow(arms.value, "")
    follow([arms, word], narrow)
    browse([arms, word, names], show)


def list_cases(
    cases: dict[str, Case],
    arm: str,
    transcripts: list[Conversation],
    judgements: list[Judgement],
    *,
    word: str = "",
) -> list[tuple[str, str]]:
    """Title and id of an arm's cases with a word (any case) on either side, sorted by the share of verdicts
    that are a match, unscored ones last.
    """
    verdicts: dict[str, list[bool]] = {}
    for judgement in judgements:
        if judgement.arm == arm and judgement.verdicts:
            verdicts.setdefault(judgement.case_id, []).extend(judgement.verdicts.values())
    rows = []
    for transcript in (t for t in transcripts if t.arm == arm and t.case_id in cases):
        messages = [*cases[transcript.case_id].original.messages, *transcript.messages]
        if word.lower() in "\n".join(m.content for m in messages).lower():
            score = np.mean(verdicts.get(transcript.case_id, [np.nan]))
            title = f"{score:.2f}" if score == score else transcript.role_break or "unscored"
            rows.append((score, f"{title}  {transcript.case_id}", transcript.case_id))
    rows.sort(key=lambda row: (np.isnan(row[0]), row[0]))
    return [row[1:] for row in rows]


def show_case(case: Case, arm: str, transcripts: list[Conversation], judgements: list[Judgement]) -> str:
    """HTML of the real user beside an arm's, with the replies, and each judge's verdicts and reasons."""
    key = (case.case_id, arm)
    simulated = [m for t in transcripts if (t.case_id, t.arm) == key for m in t.messages]
    readings = [j for j in judgements if (j.case_id, j.arm) == key]
    return render("case", dimensions=DIMENSIONS, **describe_case(case, arm, simulated, readings))


def describe_case(
    case: Case, arm: str, simulated: list[Message], readings: list[Judgement]
) -> dict[str, Any]:
    """What is shown of a case: ``goal``, ``sides`` (messages by title), ``readings`` with readers' names."""
    sides = {"real": case.original.messages[:JUDGED_MESSAGES], arm: simulated}
    return {"goal": case.goal, "sides": sides, "readings": [(name_reader(j), j) for j in readings]}


def render_cases(cases: list[Case], transcripts: list[Conversation], judgements: list[Judgement]) -> str:
    """All cases of all arms as an HTML page, in the order of ``browse_cases``; each has an address on it,
    ``#ARM_CASE``, that can be sent to somebody.
    """
    by_id = {case.case_id: case for case in cases}
    simulated = {(t.case_id, t.arm): t.messages for t in transcripts}
    readings: dict[tuple[str, str], list[Judgement]] = {}
    for judgement in judgements:
        readings.setdefault((judgement.case_id, judgement.arm), []).append(judgement)
    arms: dict[str, list[dict[str, Any]]] = {}
    for arm in dict.fromkeys(t.arm for t in transcripts):
        for title, case_id in list_cases(by_id, arm, transcripts, judgements):
            key = (case_id, arm)
            shown = describe_case(by_id[case_id], arm, simulated[key], readings.get(key, []))
            about = {"address": name_file(f"{arm} {case_id}"), "title": title}
            arms.setdefault(arm, []).append(about | shown)
    return render("cases", arms=arms, dimensions=DIMENSIONS)


def label_pairs(pairs: list[tuple[Case, Conversation, str]], path: Path, *, labeller: str) -> None:
    """Show pairs blind, one by one, and append each label to a file; without widgets, the first pair.

    ``labeller`` can be another one in the field of the name; each goes on where they stopped.
    """
    name = Text(value=labeller, description="your name", continuous_update=False, style=WHOLE_LABEL)
    every, each = Button(description="all match"), Button(description="save, next pair")
    shared = {"options": ["match", "no match"], "value": None, "orientation": "horizontal"}
    shared["style"] = {"description_width": "20em"}
    choices = {d: RadioButtons(description=f"{d} {name}", **shared) for d, name in DIMENSIONS.items()}

    def save(index: int, button: Button) -> None:
        verdicts = {d: choice.value == "match" for d, choice in choices.items() if choice.value}
        verdicts = dict.fromkeys(DIMENSIONS, True) if button is every else verdicts
        save_label(path, pairs[index][1], verdicts=verdicts, labeller=name.value)
        for choice in choices.values():
            choice.value = None

    question = "Pair {} of {}: could one person have written both?"
    pages = [show_pair(*pair, question=question.format(n, len(pairs))) for n, pair in enumerate(pairs, 1)]

    def find_done() -> list[int]:
        labels = read_labels(path, [case for case, *_ in pairs])
        mine = {(label.case_id, label.arm) for label in labels if label.judge == f"human {name.value}"}
        return [
            i for i, (_, transcript, _) in enumerate(pairs) if (transcript.case_id, transcript.arm) in mine
        ]

    controls = [name, *choices.values()]
    begin = ask_one_by_one(pages, save, buttons=[each, every], controls=controls, find_done=find_done)
    follow([name], lambda _: begin())


def show_pair(case: Case, transcript: Conversation, order: str, *, question: str = "") -> str:
    """HTML of one pair, blind: it shows neither which side is real nor which arm it is."""
    a, b = map(list_judged_messages, sort_sides(case, transcript, order))
    return render("sides", sides={"A": a, "B": b}, question=question)
