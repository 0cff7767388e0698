"""TODO."""

import html

import ipywidgets

from realusersim_nb.pt3.agreement import name_reader
from realusersim_nb.pt3.cases import list_judged_messages
from realusersim_nb.records import Case, Judgement, Transcript
from realusersim_nb.widgets.page import list_side, show_widgets, side_by_side

# --- fidelity ----------------------------------------------------------------------------------


def browse_cases(cases: list[Case], transcripts: list[Transcript], judgements: list[Judgement]) -> None:
    """One case: the real user beside one arm's, with each judge's verdicts and reasons.

    A page without widgets shows the first case under its first arm.
    """
    by_id = {case.case_id: case for case in cases}
    arms = list(dict.fromkeys(t.arm for t in transcripts))
    case = ipywidgets.Dropdown(options=list(by_id), description="case")
    arm = ipywidgets.Dropdown(options=arms, description="beside")
    page = ipywidgets.HTML(show_case(cases[0], arms[0], transcripts, judgements))

    def show(_) -> None:
        page.value = show_case(by_id[case.value], arm.value, transcripts, judgements)

    for control in (case, arm):
        control.observe(show, names="value")
    show_widgets([ipywidgets.HBox([case, arm]), page], without=page.value)


def show_case(case: Case, arm: str, transcripts: list[Transcript], judgements: list[Judgement]) -> str:
    """HTML of one case under one arm; all text of the corpus and of models is escaped."""
    messages = [m for t in transcripts if (t.case_id, t.arm) == (case.case_id, arm) for m in t.messages]
    readings = "".join(show_judgement(j) for j in judgements if (j.case_id, j.arm) == (case.case_id, arm))
    sides = side_by_side(
        list_side("real", list_judged_messages(case.original)), list_side(arm, list_judged_messages(messages))
    )
    return f"<pre style='white-space:pre-wrap'>{html.escape(case.goal)}</pre>{sides}{readings}"


def show_judgement(judgement: Judgement) -> str:
    """HTML of one reading: verdicts, and the reasons behind a fold."""
    marks = {True: "match", False: "no match"}
    told = (
        ", ".join(f"{d} {marks[v]}" for d, v in (judgement.verdicts or {}).items()) or judgement.error or ""
    )
    reader = html.escape(name_reader(judgement))
    return (
        f"<details><summary><b>{reader}</b>: {html.escape(told)}</summary>"
        f"<pre style='white-space:pre-wrap'>{html.escape(judgement.analysis)}</pre></details>"
    )
