"""A browser of behaviours: the clusters that a simulator captures, misses and invents."""

from typing import NamedTuple

import ipywidgets
import numpy as np
import pandas as pd

from realusersim_nb.gap.behaviours import find_central_examples
from realusersim_nb.gap.facets import REAL
from realusersim_nb.widgets.page import ANY, browse, follow, render

KINDS = ["missed", "invented", "captured"]


def browse_behaviours(
    compared: pd.DataFrame, points: np.ndarray, clusters: pd.Series, listed: pd.DataFrame, *, system: str
) -> None:
    """Clusters by kind, those of most conversations first: terms, shares, and real and simulated users in each.

    ``compared`` of ``behaviours.compare_all_behaviours``, ``clusters`` the label of each conversation, ``points`` its
    embedding. A page without widgets shows the three largest of each kind, folded.
    """
    order = (compared["real"] + compared["simulated"]).sort_values(ascending=False).index
    rows = compared.loc[order].query("kind != 'rare'").reset_index()
    by_name = {name_behaviour(row): row for row in rows.itertuples(index=False)}

    def match(which: str, kind: str) -> list[str]:
        return [name for name, row in by_name.items() if row.system == which and kind in (ANY, row.kind)]

    def show(name: str | None) -> str:
        if name is None:
            return render("note", text="No behaviour of this kind has enough conversations to be named.")
        return show_behaviour(by_name[name], points, clusters, listed)

    systems = list(dict.fromkeys([system, *compared.index.unique("system")]))
    which = ipywidgets.Dropdown(options=systems, description="system")
    kind = ipywidgets.Dropdown(options=[ANY, *KINDS], description="kind")
    names = ipywidgets.Dropdown(options=match(system, ANY), description="behaviour", layout={"width": "44em"})
    follow([which, kind], lambda *values: setattr(names, "options", match(*values)))
    largest = [name for k in KINDS for name in match(system, k)[:3]]
    browse(
        [which, kind, names], lambda *_: show(names.value), static=[(name, show(name)) for name in largest]
    )


def name_behaviour(row: NamedTuple) -> str:
    """A cluster in a line: kind, shares, its first terms, number."""
    shares = f"real {row.real:.1%}, {row.system} {row.simulated:.1%}"
    return f"{row.kind}: {shares} ({row.terms[:60]}) #{row.cluster}"


def show_behaviour(row: NamedTuple, points: np.ndarray, clusters: pd.Series, listed: pd.DataFrame) -> str:
    """HTML of a cluster: its terms, and of each side the conversations nearest its centre."""
    examples = {}
    for side in (REAL, row.system):
        inside = clusters.index.get_level_values("system") == side
        labels = clusters[inside]
        is_shown = (labels == row.cluster).any()
        nearest = find_central_examples(points[inside], labels, row.cluster) if is_shown else []
        examples[side] = {key[1]: listed.loc[[key], "messages"].iloc[0] for key in nearest}
    return render("behaviour", terms=row.terms, examples=examples)
