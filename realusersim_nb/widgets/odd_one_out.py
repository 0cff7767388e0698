"""TODO."""

from pathlib import Path

import ipywidgets

from realusersim_nb.gap import odd_one_out
from realusersim_nb.gap.odd_one_out import Triplet
from realusersim_nb.widgets.page import list_side, show_widgets, side_by_side


def find_odd_ones(triplets: list[Triplet], path: Path, *, annotator: str) -> None:
    """The odd-one-out study: three conversations at a time, a button each; every answer is kept at once in a file.

    Triplets that ``annotator`` has answered before are left out. A page without widgets shows the first triplet.
    """
    done = {a.triplet_id for a in odd_one_out.read_answers(path, triplets) if a.annotator == annotator}
    left = [triplet for triplet in triplets if triplet.triplet_id not in done]
    page = ipywidgets.HTML()
    buttons = [ipywidgets.Button(description=f"{number} is the odd one") for number in (1, 2, 3)]

    def show_next() -> None:
        number = len(triplets) - len(left) + 1
        head = f"<i>{number} of {len(triplets)}: two of these people use the assistant alike. Who does not? Judge the manner, not the subject.</i>"
        page.value = head + show_triplet(left[0]) if left else "<b>That was the last one.</b> Thank you."
        for button in buttons:
            button.disabled = not left

    def keep(button: ipywidgets.Button) -> None:
        triplet = left.pop(0)
        odd_one_out.save_answer(
            path,
            odd_one_out.Answer(
                triplet_id=triplet.triplet_id, annotator=annotator, chosen=buttons.index(button)
            ),
        )
        show_next()

    for button in buttons:
        button.on_click(keep)
    show_next()
    show_widgets(
        [page, ipywidgets.HBox(buttons)],
        without=f"{page.value}<i>Answers can be given where a kernel runs.</i>",
    )


def show_triplet(triplet: Triplet) -> str:
    """HTML of three conversations side by side, blind: neither system nor cluster is told."""
    return side_by_side(*(list_side(str(number), texts) for number, texts in enumerate(triplet.texts, 1)))
