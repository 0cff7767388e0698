"""The odd-one-out study, answered by a person."""

from pathlib import Path

import ipywidgets

from realusersim_nb.gap.odd_one_out import Answer, Triplet, read_answers, save_answer
from realusersim_nb.widgets.page import ask_one_by_one, render

QUESTION = "two of these people use the assistant alike. Who does not? Judge the manner, not the subject."


def find_odd_ones(triplets: list[Triplet], path: Path, *, annotator: str) -> None:
    """Three conversations at a time, blind, and a button each; every answer is appended to a file at once.

    Triplets that ``annotator`` has answered before are left out. A page without widgets shows the first one left.
    """
    done = {a.triplet_id for a in read_answers(path, triplets) if a.annotator == annotator}
    left = [triplet for triplet in triplets if triplet.triplet_id not in done]
    buttons = [ipywidgets.Button(description=f"{number} is the odd one") for number in (1, 2, 3)]

    def save(index: int, button: ipywidgets.Button) -> None:
        triplet_id, chosen = left[index].triplet_id, buttons.index(button)
        save_answer(path, Answer(triplet_id=triplet_id, annotator=annotator, chosen=chosen))

    n = len(triplets)
    heads = [f"{number} of {n}: {QUESTION}" for number in range(n - len(left) + 1, n + 1)]
    sides = [dict(enumerate(triplet.texts, 1)) for triplet in left]
    pages = [render("sides", sides=s, question=q) for s, q in zip(sides, heads, strict=True)]
    ask_one_by_one(pages, save, buttons=buttons)
