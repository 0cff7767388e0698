"""The findings of a comparison as sentences, each with its value, interval and n."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from realusersim_nb.gap.meter.traits import BY_NAME

if TYPE_CHECKING:
    from realusersim_nb.gap.meter.measurement import Comparison

ALPHA = 0.05
SHOWN = 3  # traits


def list_findings(compared: Comparison) -> list[dict]:
    """What is claimed of a system, the probe first: ``sentence, value, ci_low, ci_high, n, p`` each.

    Where nothing is claimed, one finding says so; ``p`` is corrected (Holm).
    """
    name = compared.name
    if compared.shortage:
        n, what, least = compared.shortage
        sentence = f"{name} has {n} {what}: below {least} its values are shown and nothing is claimed"
        return [make_finding(sentence, np.nan, (np.nan, np.nan), compared.n, np.nan)]
    findings = [describe_probe(compared)] if compared.probed else []
    claimed = compared.traits[compared.traits["p_holm"] < ALPHA]
    findings += [describe_trait(name, row) for row in claimed.head(SHOWN).itertuples()]
    facets = compared.facets[compared.facets["p_holm"] < ALPHA].nlargest(1, "excess")
    findings += [describe_facet(name, row, compared.n) for row in facets.itertuples()]
    if compared.diversity["p_holm"] < ALPHA:
        findings.append(describe_diversity(compared))
    return findings


def make_finding(sentence: str, value: float, ends: tuple[float, float], n: int, p: float) -> dict:
    """A finding as ``summary.json`` holds them."""
    return {"sentence": sentence, "value": value, "ci_low": ends[0], "ci_high": ends[1], "n": n, "p": p}


def describe_probe(compared: Comparison) -> dict:
    """How well a classifier that sees manner alone separates the system from people."""
    row = compared.probed
    if row.p_holm < ALPHA:
        begin = (
            f"{compared.name} does not write like people: by manner alone a classifier separates them with"
        )
    else:
        begin = f"a classifier that sees manner alone shows no difference between {compared.name} and people:"
    sentence = (
        f"{begin} AUC {row.auc:.2f} (95% interval {row.ci_low:.2f} to {row.ci_high:.2f}; "
        f"{row.n} conversations a side; people beside other people {row.people:.2f}, "
        f"{row.people_low:.2f} to {row.people_high:.2f})"
    )
    return make_finding(sentence, row.auc, (row.ci_low, row.ci_high), row.n, row.p_holm)


def describe_trait(name: str, row: tuple) -> dict:
    """One trait of a system beside people's."""
    ends, unit = (row.ci_low, row.ci_high), "conversations" if is_whole(row.trait) else "messages"
    if BY_NAME[row.trait].is_count:
        ratio = f"ratio {row.difference:.2f}, {ends[0]:.2f} to {ends[1]:.2f}"
        figures = f"{row.system:.0f}, people {row.people:.0f} ({ratio}"
    else:
        low, high = (f"{100 * end:+.0f}" for end in ends)
        figures = (
            f"{row.system:.0%} of {unit}, people {row.people:.0%} "
            f"(difference {100 * row.difference:+.0f} points, {low} to {high}"
        )
        if row.trait == "disclosed":
            figures = figures.replace(f" of {unit}", "", 1)
    sentence = f"users of {name}, {row.label}: {figures}; n = {row.n_system:,} {unit})"
    return make_finding(sentence, row.difference, ends, row.n_system, row.p_holm)


def is_whole(trait: str) -> bool:
    """Whether a trait is of whole conversations."""
    return trait in ("disclosed", "ends_closing", "ends_unserved", "first_words")


def describe_facet(name: str, row: tuple, n: int) -> dict:
    """The facet that diverges most."""
    sentence = (
        f"{name} is distributed unlike people most in {row.facet}: JS {row.system:.2f} nats, people beside "
        f"other people {row.floor:.2f}, up to {row.floor_high:.2f} (0 alike, 0.69 disjoint; n = {n:,})"
    )
    return make_finding(sentence, row.system, (np.nan, np.nan), n, row.p_holm)


def describe_diversity(compared: Comparison) -> dict:
    """How unlike each other the users of the system write."""
    row = compared.diversity
    how = "more alike" if row["system"] < row["people"] else "less alike"
    sentence = (
        f"users of {compared.name} write {how} than people do: mean distance {row['system']:.2f}, "
        f"people {row['people']:.2f} ({row['people_low']:.2f} to {row['people_high']:.2f}; "
        f"0 the same, 1 nothing in common; n = {compared.n:,})"
    )
    return make_finding(sentence, row["system"], (np.nan, np.nan), compared.n, row["p_holm"])


def describe_tidied(compared: Comparison) -> str:
    """Its tidiness in a unit: the share of people's messages that would have to be tidied."""
    share, low, high = compared.tidied
    if not np.isfinite(share):
        return ""
    if (share if np.isnan(high) else high) < 0:
        return "It is less tidy than people: more of its messages begin in lower case or end without a mark."
    between = f" ({max(low, 0):.0%} to {min(high, 1):.0%})" if np.isfinite(low) else ""
    tidied = f"{max(share, 0):.0%} of people's messages{between}"
    return f"It is as tidy as if {tidied} had been given capitals and stops."


def describe_nearest(table: pd.DataFrame) -> list[str]:
    """Which of two systems is nearer to people, in a sentence for each pair of ``compare_systems``."""
    lines = []
    for row in table.itertuples():
        nearer, other = (row.arm, row.baseline) if row.difference < 0 else (row.baseline, row.arm)
        how = f"{row.n_pairs} conversations in pairs" if row.paired else "not paired"
        ends = sorted((abs(row.ci_low), abs(row.ci_high))) if row.ci_low * row.ci_high > 0 else None
        if ends is None:
            between = f"{row.ci_low:+.2f} to {row.ci_high:+.2f}"
            lines.append(
                f"which of {row.arm} and {row.baseline} is nearer to people is not shown: "
                f"AUC {row.difference:+.2f} ({between}; {how})"
            )
        else:
            lines.append(
                f"{nearer} is nearer to people than {other}: AUC lower by {abs(row.difference):.2f} "
                f"({ends[0]:.2f} to {ends[1]:.2f}; {how})"
            )
    return lines
