"""Run folders: what a notebook saves, and what it takes from those before it.

``outputs/<run_name>/`` holds the executed notebooks, one folder a notebook with its tables and figures,
``summary.json``, ``report.html`` and, written last, ``manifest.json``.
"""

import json
import os
import time
from collections.abc import Iterable
from dataclasses import asdict
from typing import TypeVar

import pandas as pd
from matplotlib.axes import Axes
from pydantic import BaseModel

from realusersim_nb import errors, files
from realusersim_nb.files import replace_whole
from realusersim_nb.llm.models import Models
from realusersim_nb.llm.replies import read_replies, write_replies
from realusersim_nb.llm.usage import Usage
from realusersim_nb.profiles import extraction
from realusersim_nb.records import Conversation, Profile
from realusersim_nb.runs.summary import write_summary

R = TypeVar("R", bound=BaseModel)


def start_notebook(run_name: str, notebook: str) -> "Run":
    """A notebook's place in a run. The kernel then works from the project's folder, to which paths that users
    type are relative, and shows a ``StudyError`` as its sentence.
    """
    os.chdir(files.project_folder())
    errors.show_as_sentences()
    return Run(run_name, notebook)


class Run:
    """The folder of one notebook in a run: ``run.save_table(scores, "scores")`` and so on."""

    def __init__(self, run_name: str, notebook: str):
        self.run_folder = files.outputs_folder() / run_name
        self.folder = self.run_folder / notebook
        self.folder.mkdir(parents=True, exist_ok=True)
        self.started = time.monotonic()

    def save_table(self, table: pd.DataFrame, name: str, *, latex: bool = False) -> None:
        """Write a table as parquet and csv, and for a paper as LaTeX (booktabs)."""
        flat = table.reset_index() if any(table.index.names) else table
        with replace_whole(self.folder / f"{name}.parquet") as path:
            flat.to_parquet(path, index=False)
        with replace_whole(self.folder / f"{name}.csv") as path:
            flat.to_csv(path, index=False)
        if latex:
            style = flat.style.hide(axis="index").format(precision=3, na_rep="", escape="latex")
            with replace_whole(self.folder / f"{name}.tex") as path:
                style.to_latex(path, hrules=True)

    def save_figure(self, axes: Axes, name: str) -> None:
        """Write a figure as png, svg and pdf."""
        for kind in ("png", "svg", "pdf"):
            with replace_whole(self.folder / f"{name}.{kind}") as path:
                axes.figure.savefig(path, format=kind)

    def save_records(self, name: str, records: Iterable[BaseModel], *, made_from: dict | None = None) -> None:
        """Write records as ``<name>.jsonl``; ``made_from`` notes the settings they depend on."""
        path = files.write_lines(self.folder / f"{name}.jsonl", records)
        if made_from is not None:
            files.write_json(path.with_suffix(".made_from.json"), made_from)

    def read_records(self, path: str, record: type[R], *, made_from: dict) -> list[R] | None:
        """Records an earlier notebook of this run saved, or None if there are none of these settings."""
        path = self.run_folder / path
        note = path.with_suffix(".made_from.json")
        if not (path.exists() and note.exists()) or json.loads(note.read_text()) != made_from:
            return None
        return list(files.read_records(path, record))

    async def take_profiles(
        self, conversations: list[Conversation], source: dict, *, models: Models
    ) -> list[Profile]:
        """Profiles of these conversations: those that notebook 01 of this run made of them, else new ones.

        ``source``: the corpus and the settings they are made from (``profiles.describe_source``).
        """
        profiles = self.read_records("01_extract_profiles/profiles.jsonl", Profile, made_from=source)
        if profiles is None:
            how = {"models": models, "seed": source["seed"]}
            profiles, _ = await extraction.extract_profiles(conversations, source["extractor"], **how)
        return profiles

    def finish(self, models: Models | None = None, **headlines: dict) -> None:
        """Save this notebook's headlines and calls, and write the summary of the run anew."""
        calls, seconds = asdict(models.usage if models else Usage()), time.monotonic() - self.started
        headlines |= {"calls": calls, "wall_seconds": round(seconds, 1)}
        files.write_json(self.folder / "summary_part.json", headlines)
        write_summary(self.run_folder)
        if models and models.llm_mode == "record":
            self.save_replies(models)

    def save_replies(self, models: Models) -> None:
        """Add the replies this notebook used to the run's ``replies.jsonl.gz``, which replays it."""
        path = self.run_folder / "replies.jsonl.gz"
        before = read_replies(path) if path.exists() else ()
        used = filter(None, models.cache.get(sorted(models.used)))
        replies = {reply.key: reply for reply in [*before, *used]}
        with replace_whole(path) as temporary:
            write_replies(temporary, replies.values())
