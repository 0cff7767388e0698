"""The page of a measurement, ``templates/measure.html``: needs no network, no script and no figure file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from realusersim_nb.gap.meter.findings import ALPHA, describe_nearest, describe_tidied
from realusersim_nb.gap.meter.traits import BY_NAME
from realusersim_nb.text import open_templates

if TYPE_CHECKING:
    from realusersim_nb.gap.meter.measurement import Comparison, Measurement

TEMPLATES = open_templates("realusersim_nb.gap.meter")
FAINT, LESS_FAINT = 0.3, 0.7  # of the subject's shift, for the words that describe it


def render_page(measured: Measurement) -> str:
    """The whole page as HTML."""
    return TEMPLATES.get_template("measure.html").render(body=render_fragment(measured))


def render_fragment(measured: Measurement) -> str:
    """What stands on the page, for a notebook: with its style, without head and body."""
    systems = [describe_system(compared) for compared in measured.systems]
    values = {"against": measured.against, "nearest": describe_nearest(measured.nearest), "systems": systems}
    return TEMPLATES.get_template("measurement.html").render(values)


def describe_system(compared: Comparison) -> dict:
    """What the template shows of one system."""
    return {
        "compared": compared,
        "findings": [finding["sentence"] for finding in compared.findings],
        "tidied": describe_tidied(compared),
        "subject": describe_shift(compared.shift),
        "shares": [describe_share(row) for row in compared.traits.itertuples() if not is_count(row)],
        "counts": [row for row in compared.traits.itertuples() if is_count(row)],
        "alpha": ALPHA,
        "sides": [
            (title, compared.phrases[compared.phrases["z"].mul(sign) > 0].to_dict("records"))
            for title, sign in (
                ("What they say and people do not", 1),
                ("What people say and they do not", -1),
            )
        ],
    }


def is_count(row: tuple) -> bool:
    """Whether a row is of a number of words."""
    return BY_NAME[row.trait].is_count


def describe_share(row: tuple) -> dict:
    """One line of the figure: both rates and the line between them, as percentages of its width."""
    known = pd.notna(row.system) and pd.notna(row.people)
    left, right = sorted((row.system, row.people)) if known else (0, 0)
    line = {"left": f"{100 * left:.2f}%", "width": f"{100 * (right - left):.2f}%"}
    places = {"system_at": f"{100 * row.system:.2f}%", "people_at": f"{100 * row.people:.2f}%"}
    return {"row": row, "known": known, "claimed": row.p_holm < ALPHA, **line, **places}


def describe_shift(shift: float) -> str:
    """How far the subjects of the file are from those of people, in words."""
    if shift < FAINT:
        return "about the same subjects as the people's"
    return (
        "partly other subjects than the people's"
        if shift < LESS_FAINT
        else "other subjects than the people's"
    )
