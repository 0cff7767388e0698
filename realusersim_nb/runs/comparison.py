"""What changed between two runs: parameters, prompts, versions, commit, and the measures."""

import json
from pathlib import Path

import pandas as pd

from realusersim_nb.errors import InputError
from realusersim_nb.runs.leaderboard import HIDDEN
from realusersim_nb.runs.summary import describe_measure, read_manifest, read_measures


def compare_runs(before: Path, after: Path) -> dict[str, pd.DataFrame]:
    """The two tables below, by their titles. InputError for a run that is not complete."""
    manifests = [read_manifest(folder) for folder in (before, after)]
    if None in manifests:
        folder = (before, after)[manifests.index(None)]
        raise InputError(f"{folder}: no readable manifest, so the run is not complete; run it to its end.")
    return {
        "What made them": compare_manifests(*manifests),
        "What they measured": compare_results(before, after),
    }


def compare_manifests(before: dict, after: dict) -> pd.DataFrame:
    """How two runs were made differently, one row an item: ``what`` (its kind), ``name, before, after``.

    What decides no result (names, limits) is left out; ``null`` where one run has no such item.
    """
    one, other = list_items(before), list_items(after)
    changed = [item for item in sorted({*one, *other}) if repr(one.get(item)) != repr(other.get(item))]
    rows = [(*item, shorten(one.get(item)), shorten(other.get(item))) for item in changed]
    return pd.DataFrame(rows, columns=["what", "name", "before", "after"])


def list_items(manifest: dict) -> dict[tuple[str, str], object]:
    """The values of a manifest by kind and name; a parameter's name begins with its notebook's number."""
    parameters = {
        ("parameter", f"{notebook[:2]} {name}"): value
        for notebook, given in manifest["parameters"].items()
        for name, value in given.items()
        if name not in HIDDEN
    }
    prompts = {("prompt", name): value for name, value in manifest["prompts"].items()}
    versions = {("version", name): value for name, value in manifest["versions"].items()}
    return parameters | prompts | versions | {("commit", "git"): manifest["git_commit"]}


def shorten(value: object) -> str:
    """A value in a table; a hash by its beginning."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text[:12] if len(text) in (40, 41, 64) and " " not in text else text[:80]


def compare_results(before: Path, after: Path) -> pd.DataFrame:
    """Every measure of both runs: ``measure, arm``; ``before, after`` as text with intervals and n, empty if
    a run lacks it; ``change``, after less before, not paired and without an interval: cases may differ.
    """
    texts, values = {}, {}
    for side, folder in (("before", before), ("after", after)):
        measures = read_measures(folder)
        keys = pd.MultiIndex.from_frame(measures[["measure", "arm"]])
        texts[side] = pd.Series([describe_measure(row) for row in measures.itertuples()], keys)
        values[side] = measures["value"].set_axis(keys)
    change = (values["after"] - values["before"]).round(3)
    return pd.concat(texts, axis=1).fillna("").assign(change=change).reset_index()
