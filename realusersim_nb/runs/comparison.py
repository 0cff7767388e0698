"""What changed between two runs: parameters, prompts, versions, commit, and the numbers with their intervals."""

import json
from pathlib import Path

import pandas as pd

from realusersim_nb.errors import StudyError
from realusersim_nb.runs.leaderboard import HIDDEN
from realusersim_nb.runs.summary import describe_measure, read_manifest, read_measures

KINDS = ["parameter", "prompt", "version", "commit"]


def compare_runs(before: Path, after: Path) -> dict[str, pd.DataFrame]:
    """Two tables by their titles (see ``compare_manifests``, ``compare_results``). StudyError for an unfinished run."""
    manifests = [read_manifest(folder) for folder in (before, after)]
    for folder, manifest in zip((before, after), manifests, strict=True):
        if manifest is None:
            raise StudyError(
                f"{folder}: no manifest that can be read, so the run is not complete; run it to its end first."
            )
    return {
        "What made them": compare_manifests(*manifests),
        "What they measured": compare_results(before, after),
    }


def compare_manifests(before: dict, after: dict) -> pd.DataFrame:
    """What differs in how two runs were made: columns ``what`` (one of ``KINDS``), ``name, before, after`` as text.

    What decides no result (names, limits) is left out; ``null`` where one run has no such item.
    """
    values = [list_settings(manifest) for manifest in (before, after)]
    changed = [
        (*item, *(shorten(value.get(item)) for value in values))
        for item in sorted({*values[0], *values[1]}, key=lambda item: (KINDS.index(item[0]), item))
        if repr(values[0].get(item)) != repr(values[1].get(item))
    ]
    return pd.DataFrame(changed, columns=["what", "name", "before", "after"])


def list_settings(manifest: dict) -> dict[tuple[str, str], object]:
    """The values of a manifest by kind and name; of parameters the name begins with the notebook's number."""
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
    """Every measure of both runs: columns ``measure, arm, before, after`` as text with intervals and n, and ``change``.

    ``change`` is that of the value (after less before). It is not paired and has no interval, since runs may have
    other cases. Empty where a run did not measure it.
    """
    sides = []
    for folder, side in ((before, "before"), (after, "after")):
        measures = read_measures(folder).set_index(["measure", "arm"])
        texts = [describe_measure(row) for row in measures.reset_index().itertuples()]
        sides.append(pd.DataFrame({side: texts, f"{side}_value": measures["value"]}, index=measures.index))
    both = sides[0].join(sides[1], how="outer", sort=False)
    both["change"] = (both.pop("after_value") - both.pop("before_value")).round(3)
    return both.fillna({"before": "", "after": ""}).reset_index()
