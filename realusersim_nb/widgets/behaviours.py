"""TODO."""

import html

import ipywidgets
import numpy as np
import pandas as pd

from realusersim_nb.gap import behaviours
from realusersim_nb.gap.facets import REAL
from realusersim_nb.widgets.page import ANY, list_side, show_widgets, side_by_side

# --- gap ---------------------------------------------------------------------------------------


def browse_behaviours(
    compared: pd.DataFrame,
    points: np.ndarray,
    clusters: pd.Series,
    listed: pd.DataFrame,
    *,
    system: str,
    n: int = 3,
) -> None:
    """Clusters by kind, those of most conversations first: terms, shares, and real and simulated users in each.

    ``compared`` of ``behaviours.compare_all_behaviours``, ``cluster`` the label of each conversation. A page without widgets
    shows the three largest of each kind, folded.
    """
    order = (compared["real"] + compared["simulated"]).sort_values(ascending=False).index
    known = {
        name_behaviour(row): row
        for row in compared.loc[order].reset_index().itertuples()
        if row.kind != "rare"
    }

    def show(name: str) -> str:
        row = known[name]
        own = [clusters.loc[[side]] for side in (REAL, row.system)]
        sides = [
            list_users(
                side, points[clusters.index.get_indexer(labels.index)], labels, listed, row.cluster, n=n
            )
            for side, labels in zip((REAL, row.system), own, strict=True)
        ]
        return f"<p><code>{html.escape(row.terms)}</code></p>{side_by_side(*sides)}"

    def match(which: str, kind: str) -> list[str]:
        return [name for name, row in known.items() if row.system == which and kind in (ANY, row.kind)]

    systems = list(dict.fromkeys([system, *compared.index.unique("system")]))
    which = ipywidgets.Dropdown(options=systems, description="system")
    kind = ipywidgets.Dropdown(options=[ANY, "missed", "invented", "captured"], description="kind")
    shown = match(system, ANY)
    chosen = ipywidgets.Dropdown(options=shown, description="behaviour", layout={"width": "44em"})
    page = ipywidgets.HTML(show(shown[0]) if shown else "No behaviour has enough conversations to be named.")

    def narrow(_) -> None:
        chosen.options = match(which.value, kind.value)

    def turn(_) -> None:
        page.value = show(chosen.value) if chosen.value else "none of this kind"

    for control in (which, kind):
        control.observe(narrow, names="value")
    chosen.observe(turn, names="value")
    first = [name for k in ("missed", "invented", "captured") for name in match(system, k)[:3]]
    pages = [f"<details><summary>{html.escape(name)}</summary>{show(name)}</details>" for name in first]
    controls = ipywidgets.HBox([which, kind, chosen], layout={"flex_flow": "row wrap"})
    show_widgets([controls, page], without="".join(pages) or page.value)


def name_behaviour(row) -> str:
    """A cluster in a line: kind, shares, its first terms, number."""
    return (
        f"{row.kind}: real {row.real:.1%}, {row.system} {row.simulated:.1%} ({row.terms[:60]}) #{row.cluster}"
    )


def list_users(
    side: str, points: np.ndarray, own: pd.Series, listed: pd.DataFrame, cluster: int, *, n: int
) -> str:
    """HTML of the conversations of one side nearest the middle of its part of a cluster."""
    if not (own == cluster).any():
        return f"<b>{html.escape(side)}</b><p><i>nobody</i></p>"
    nearest = behaviours.find_central_examples(points, own, cluster, n=n)
    return "".join(
        list_side(f"{side}, {place[1]}", listed.loc[[place], "messages"].iloc[0]) for place in nearest
    )
