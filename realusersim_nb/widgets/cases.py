"""Cases: the real user beside the simulated one, with the judges' verdicts; pairs to be labelled blind."""

from pathlib import Path

from ipywidgets import Button, Dropdown, ToggleButtons

from realusersim_nb.pt3.agreement import name_reader
from realusersim_nb.pt3.cases import list_judged_messages
from realusersim_nb.pt3.judges import DIMENSIONS, sort_sides
from realusersim_nb.pt3.labels import save_label
from realusersim_nb.records import Case, Conversation, Judgement
from realusersim_nb.widgets.page import ask_one_by_one, browse, render


def browse_cases(cases: list[Case], transcripts: list[Conversation], judgements: list[Judgement]) -> None:
    """One case under one arm (see ``show_case``); without widgets, the first of both."""
    by_id = {case.case_id: case for case in cases}
    names = Dropdown(options=list(by_id), description="case")
    arms = Dropdown(options=list(dict.fromkeys(t.arm for t in transcripts)), description="beside")
    browse([names, arms], lambda case_id, arm: show_case(by_id[case_id], arm, transcripts, judgements))


def show_case(case: Case, arm: str, transcripts: list[Conversation], judgements: list[Judgement]) -> str:
    """HTML of the real user beside an arm's, with each judge's verdicts and reasons."""
    key = (case.case_id, arm)
    texts = [text for t in transcripts if (t.case_id, t.arm) == key for text in list_judged_messages(t)]
    sides = {"real": list_judged_messages(case.original), arm: texts}
    readings = [(name_reader(j), j) for j in judgements if (j.case_id, j.arm) == key]
    return render("case", goal=case.goal, sides=sides, readings=readings)


def label_pairs(pairs: list[tuple[Case, Conversation, str]], path: Path, *, labeller: str) -> None:
    """Show pairs blind, one by one, and append each label to a file; without widgets, the first pair."""
    shared = {"options": ["match", "no match"], "value": None, "style": {"description_width": "20em"}}
    choices = {d: ToggleButtons(description=f"{d} {name}", **shared) for d, name in DIMENSIONS.items()}

    def save(index: int, _: Button) -> None:
        verdicts = {d: choice.value == "match" for d, choice in choices.items() if choice.value}
        save_label(path, pairs[index][1], verdicts=verdicts, labeller=labeller)
        for choice in choices.values():
            choice.value = None

    question = "Pair {} of {}: could one person have written both?"
    pages = [show_pair(*pair, question=question.format(n, len(pairs))) for n, pair in enumerate(pairs, 1)]
    ask_one_by_one(pages, save, buttons=[Button(description="save, next pair")], controls=choices.values())


def show_pair(case: Case, transcript: Conversation, order: str, *, question: str = "") -> str:
    """HTML of one pair, blind: it shows neither which side is real nor which arm it is."""
    a, b = map(list_judged_messages, sort_sides(case, transcript, order))
    return render("sides", sides={"A": a, "B": b}, question=question)
