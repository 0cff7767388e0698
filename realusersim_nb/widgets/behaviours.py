"""Behaviours: a browser of clusters of conversations, and the study whether people see the same clusters."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from ipywidgets import Button, Dropdown, Text

from realusersim_nb.gap.behaviours import find_central_examples
from realusersim_nb.gap.facets import REAL
from realusersim_nb.gap.odd_one_out import Answer, Triplet, read_answers, save_answer
from realusersim_nb.widgets.page import ANY, WHOLE_LABEL, ask_one_by_one, browse, follow, render

ODD_QUESTION = "two of these people use the assistant alike. Who does not? Judge the manner, not the subject."
KINDS = ["missed", "invented", "captured"]
NAME = "{0.kind}: real {0.real:.1%}, {0.system} {0.simulated:.1%} ({0.terms:.60}) #{0.cluster}"


def browse_behaviours(
    compared: pd.DataFrame, points: np.ndarray, clusters: pd.Series, listed: pd.DataFrame, *, system: str
) -> None:
    """Clusters by kind, largest first: terms, shares, and the real and simulated users nearest their centres.

    ``compared`` of ``behaviours.compare_all_behaviours``; of each conversation, ``clusters`` is the label and
    ``points`` the embedding. Without widgets, the three largest of each kind.
    """
    order = (compared["real"] + compared["simulated"]).sort_values(ascending=False).index
    rows = compared.loc[order].query("kind != 'rare'").reset_index().itertuples(index=False)
    by_name = {NAME.format(row): row for row in rows}

    def match(which: str, kind: str) -> list[str]:
        return [name for name, row in by_name.items() if row.system == which and kind in (ANY, row.kind)]

    def show(name: str | None) -> str:
        if name:
            return show_behaviour(by_name[name], points, clusters, listed)
        return render("note", text="No behaviour of this kind has enough conversations to be named.")

    systems = list(dict.fromkeys([system, *compared.index.unique("system")]))
    which = Dropdown(options=systems, description="system")
    kind = Dropdown(options=[ANY, *KINDS], description="kind")
    names = Dropdown(options=match(system, ANY), description="behaviour", layout={"width": "44em"})
    follow([which, kind], lambda *values: setattr(names, "options", match(*values)))
    static = [(name, show(name)) for k in KINDS for name in match(system, k)[:3]]
    browse([which, kind, names], lambda *_: show(names.value), static=static)


def show_behaviour(row: NamedTuple, points: np.ndarray, clusters: pd.Series, listed: pd.DataFrame) -> str:
    """HTML of a cluster: its terms, and of each side the conversations nearest its centre."""
    examples = {}
    for side in (REAL, row.system):
        inside = clusters.index.get_level_values("system") == side
        labels = clusters[inside]
        used = (labels == row.cluster).any()
        nearest = find_central_examples(points[inside], labels, row.cluster) if used else []
        examples[side] = {key[1]: listed.loc[[key], "messages"].iloc[0] for key in nearest}
    return render("behaviour", terms=row.terms, examples=examples)


def find_odd_ones(triplets: list[Triplet], path: Path, *, annotator: str) -> None:
    """The odd-one-out study: three conversations at a time, blind; answers are appended to a file at once.

    It goes on at the first triplet that ``annotator`` has not answered, the one shown without widgets.
    Another annotator can be typed in. At the end it tells how many were right.
    """
    name = Text(value=annotator, description="your name", continuous_update=False, style=WHOLE_LABEL)
    buttons = [Button(description=f"{number} is the odd one") for number in (1, 2, 3)]

    def save(index: int, button: Button) -> None:
        triplet_id, chosen = triplets[index].triplet_id, buttons.index(button)
        save_answer(path, Answer(triplet_id=triplet_id, annotator=name.value, chosen=chosen))

    def read_mine() -> dict[str, int]:
        return {a.triplet_id: a.chosen for a in read_answers(path, triplets) if a.annotator == name.value}

    def find_done() -> list[int]:
        return [index for index, triplet in enumerate(triplets) if triplet.triplet_id in read_mine()]

    def tell_score() -> str:
        mine = read_mine()
        right = sum(mine.get(triplet.triplet_id) == triplet.odd for triplet in triplets)
        return f"You found {right} of {len(triplets)} odd ones; by chance it would be a third."

    pages = []
    for number, triplet in enumerate(triplets, 1):
        sides, question = dict(enumerate(triplet.texts, 1)), f"{number} of {len(triplets)}: {ODD_QUESTION}"
        pages.append(render("sides", sides=sides, question=question))
    about = {"controls": [name], "find_done": find_done, "end": tell_score}
    begin = ask_one_by_one(pages, save, buttons=buttons, **about)
    follow([name], lambda _: begin())
