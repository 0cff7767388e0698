"""What a measurement leaves: its files, its lines on a terminal, and whether it passes limits."""

import json
import textwrap
from pathlib import Path

import numpy as np
import pandas as pd

from realusersim_nb import files
from realusersim_nb.gap.meter.findings import describe_nearest
from realusersim_nb.gap.meter.measurement import Measurement
from realusersim_nb.gap.meter.page import render_page
from realusersim_nb.text import write_csv

WIDTH = 80


def save_measurement(measured: Measurement, folder: Path) -> Path:
    """Write ``measure.html``, ``measure.csv`` (all traits) and ``measure.json``; returns the page's path."""
    folder.mkdir(parents=True, exist_ok=True)
    with files.replace_whole(folder / "measure.csv") as temporary:
        write_csv(measured.table, temporary)
    for name, text in (("json", encode_measurement(measured)), ("html", render_page(measured))):
        with files.replace_whole(folder / f"measure.{name}") as temporary:
            temporary.write_text(text, encoding="utf-8")
    return folder / "measure.html"


def describe_in_lines(measured: Measurement) -> str:
    """The findings for a terminal, each wrapped to 80 columns."""
    lines = [finding["sentence"] for finding in measured.findings] + describe_nearest(measured.nearest)
    return "\n".join(textwrap.fill(f"{line}.", WIDTH, subsequent_indent="  ") for line in lines)


def list_exceeded(measured: Measurement, *, max_auc: float | None, max_excess_js: float | None) -> list[str]:
    """A sentence for each limit that a system passes; too few conversations pass none and say so."""
    lines = []
    for c in measured.systems:
        if max_auc is not None and c.probed and c.probed.auc > max_auc:
            lines.append(f"{c.name}: AUC {c.probed.auc:.3f} is above the limit of {max_auc:g}.")
        worst = c.facets.loc[c.facets["excess"].idxmax()]
        if max_excess_js is not None and worst["excess"] > max_excess_js:
            lines.append(
                f"{c.name}: JS of {worst['facet']} is {worst['excess']:.3f} nats above people's, "
                f"above the limit of {max_excess_js:g}."
            )
        if c.shortage and (max_auc, max_excess_js) != (None, None):
            n, what, least = c.shortage
            lines.append(f"{c.name}: {n} {what} are too few to hold to a limit; expected {least} at least.")
        elif max_auc is not None and not c.probed:
            lines.append(f"{c.name}: no AUC to hold to the limit: a few people wrote most of the reference.")
    return lines


def encode_measurement(measured: Measurement) -> str:
    """All figures as JSON; what is not known is null."""
    return json.dumps(make_plain(describe_measurement(measured)), indent=1, ensure_ascii=False)


def make_plain(value: object) -> object:
    """Tables' values as JSON has them."""
    if isinstance(value, dict):
        return {key: make_plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [make_plain(inner) for inner in value]
    value = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(value, float) and pd.isna(value) else value


def describe_measurement(measured: Measurement) -> dict:
    """The figures of a measurement as plain values."""
    systems = {}
    for c in measured.systems:
        probed = (
            {k: v for k, v in vars(c.probed).items() if k not in ("rows", "scores")} if c.probed else None
        )
        counts = {"n": c.n, "n_users": c.n_users, "n_people": c.n_people, "subject_shift": c.shift}
        tables = {name: getattr(c, name).to_dict("records") for name in ("traits", "facets", "phrases")}
        tidied = dict(zip(("share", "ci_low", "ci_high"), c.tidied, strict=True))
        systems[c.name] = counts | {"probe": probed, "diversity": c.diversity, "tidied": tidied} | tables
        systems[c.name]["findings"] = c.findings
    nearest = measured.nearest.to_dict("records")
    return {"against": measured.against, "seed": measured.seed, "systems": systems, "nearest": nearest}
