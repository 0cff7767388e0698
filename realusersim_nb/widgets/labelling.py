"""TODO."""

import html
from pathlib import Path

import ipywidgets

from realusersim_nb.pt3.cases import list_judged_messages
from realusersim_nb.pt3.judges import DIMENSIONS, sort_sides
from realusersim_nb.pt3.labels import save_label
from realusersim_nb.records import Case, Transcript
from realusersim_nb.widgets.page import list_side, show_widgets, side_by_side


def label_pairs(pairs: list[tuple[Case, Transcript, str]], path: Path, *, labeller: str) -> None:
    """Show pairs blind, one after the other, and keep each verdict in a file of labels (see ``labels``).

    A page without widgets shows the first pair and says that labelling needs a kernel.
    """
    choices = {
        d: ipywidgets.ToggleButtons(
            options=["match", "no match"],
            value=None,
            description=f"{d} {text}",
            style={"description_width": "20em"},
        )
        for d, text in DIMENSIONS.items()
    }
    page, told, save = ipywidgets.HTML(), ipywidgets.HTML(), ipywidgets.Button(description="save, next pair")
    left = list(pairs)

    def show_next() -> None:
        number = len(pairs) - len(left) + 1
        head = f"<i>Pair {number} of {len(pairs)}: could one person have written both?</i>"
        page.value = head + show_pair(*left[0]) if left else "<b>That was the last pair.</b> Thank you."
        save.disabled = not left
        for choice in choices.values():
            choice.value = None

    def keep(_) -> None:
        given = {d: choice.value == "match" for d, choice in choices.items() if choice.value}
        try:
            save_label(path, *left[0][:2], verdicts=given, labeller=labeller)
        except ValueError as problem:
            told.value = html.escape(str(problem))
        else:
            told.value = ""
            left.pop(0)
            show_next()

    save.on_click(keep)
    show_next()
    without = f"{page.value}<i>Verdicts can be given where a kernel runs.</i>"
    show_widgets([page, *choices.values(), save, told], without=without)


def show_pair(case: Case, transcript: Transcript, order: str) -> str:
    """HTML of one pair, blind: which side is real and which arm it is are not told."""
    a, b = map(list_judged_messages, sort_sides(case, transcript, order))
    return side_by_side(list_side("A", a), list_side("B", b))
