"""Run folders: what a notebook saves, and what it takes from those before it.

``outputs/<run_name>/`` holds the executed notebooks, one folder a notebook with its tables and figures,
``summary.json``, ``report.html`` and, written last, ``manifest.json``. Where a figure comes from is found by
files alone: ``made_by`` in the summary names the notebook, in whose folder ``provenance.json`` has the
parameters, code and prompts, ``calls.jsonl`` the calls that were paid, and ``replies`` all replies used.
"""

import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from typing import Any, TypeVar
from urllib.parse import quote

import pandas as pd
from IPython import get_ipython
from IPython.display import HTML
from matplotlib import rc_context
from matplotlib.axes import Axes
from pydantic import BaseModel

from realusersim_nb import errors, files, stats
from realusersim_nb.files import Records, replace_whole
from realusersim_nb.llm.models import Models
from realusersim_nb.llm.replies import read_replies, write_replies
from realusersim_nb.llm.usage import CALLS_FILE, Usage, sum_calls
from realusersim_nb.parallel.stopping import is_watched
from realusersim_nb.profiles import extraction
from realusersim_nb.records import Conversation, Profile
from realusersim_nb.runs.findings import describe_finding, replace_headline
from realusersim_nb.runs.kernel import end_with_runner
from realusersim_nb.runs.parameters import check_value
from realusersim_nb.runs.summary import describe_code, name_run, read_parameters, write_summary
from realusersim_nb.text import open_templates, write_csv

WORDS = ("limit", "figure", "unit", "counted")  # of a finding
TEMPLATES = open_templates("realusersim_nb.runs")
COUNTS = ["prompt_tokens", "completion_tokens"]
R = TypeVar("R", bound=BaseModel)


def start_notebook(run_name: str, notebook: str) -> "Run":
    """A notebook's place in a run. The kernel then works from the project's folder, to which paths that users
    type are relative, and shows a ``StudyError`` as its sentence; InputError for a wrong parameter is one.
    """
    os.chdir(files.project_folder())
    end_with_runner()
    errors.show_as_sentences()
    parameters = read_kernel_parameters(notebook)
    for name, value in parameters.items():
        check_value(notebook, name, value)
    return Run(run_name, notebook, parameters)


def read_kernel_parameters(notebook: str) -> dict[str, Any]:
    """The values that this kernel has for a notebook's parameters; none outside a kernel or for another's."""
    file, shell = files.notebooks_folder() / f"{notebook}.ipynb", get_ipython()
    declared = read_parameters(file) if shell and file.exists() else {}
    return {name: shell.user_ns.get(name, default) for name, default in declared.items()}


class Run:
    """The folder of one notebook in a run: ``run.save_table(scores, "scores")`` and so on."""

    def __init__(self, run_name: str, notebook: str, parameters: dict[str, Any] | None = None):
        self.parameters = parameters or {}
        self.run_folder = files.find_run_folder(run_name)
        self.folder = self.run_folder / notebook
        self.folder.mkdir(parents=True, exist_ok=True)
        self.started = time.monotonic()
        self.findings: list[dict[str, Any]] = []
        self.figures: dict[str, str] = {}  # title by name, in the order in which they were saved

    def open_models(self, **options: Any) -> Models:
        """The models of this notebook, with the options of ``Models``; each call that is paid is noted in
        ``calls.jsonl``, and ``budget_usd`` is for the whole run, with all its starts.
        """
        return Models(calls_file=self.folder / CALLS_FILE, **options)

    def save_table(self, table: pd.DataFrame, name: str, *, latex: bool = False) -> None:
        """Write a table as parquet and csv, and for a paper as LaTeX (booktabs)."""
        flat = table.reset_index() if any(table.index.names) else table
        with replace_whole(self.folder / f"{name}.parquet") as path:
            flat.to_parquet(path, index=False)
        with replace_whole(self.folder / f"{name}.csv") as path:
            write_csv(flat, path)
        if latex:
            style = flat.style.hide(axis="index").format(precision=3, na_rep="", escape="latex")
            style = style.format_index(escape="latex", axis="columns")
            with replace_whole(self.folder / f"{name}.tex") as path:
                style.to_latex(path, hrules=True)

    def save_figure(self, axes: Axes, name: str) -> None:
        """Write a figure as png and svg, as wide as its labels need: the same figure makes the same bytes."""
        titles = [one.get_title(loc=place) for one in axes.figure.axes for place in ("left", "center")]
        self.figures[name] = next(filter(None, titles), name)
        for kind, undated in {"png": {}, "svg": {"Date": None}}.items():
            with replace_whole(self.folder / f"{name}.{kind}") as path, rc_context({"svg.hashsalt": name}):
                axes.figure.savefig(path, format=kind, metadata=undated, bbox_inches="tight")

    def save_page(self, html: str, name: str) -> HTML | None:
        """Write an HTML page that needs nothing beside it; give a link to it where somebody watches."""
        with replace_whole(self.folder / f"{name}.html") as path:
            path.write_text(html, encoding="utf-8", errors="replace")
        place = f"outputs/{quote(name_run(self.run_folder))}/{self.folder.name}/{name}.html"
        return HTML(f'<p><a href="../{place}">{place}</a></p>') if is_watched() else None

    def save_records(self, name: str, records: Iterable[BaseModel], *, made_from: dict | None = None) -> None:
        """Write records as ``<name>.jsonl``; ``made_from`` notes what they depend on, beside our code."""
        path = files.write_lines(self.folder / f"{name}.jsonl", records)
        if made_from is not None:
            files.write_json(path.with_suffix(".made_from.json"), made_from | {"code": files.digest_code()})

    def read_records(self, path: str, record: type[R], *, made_from: dict) -> Records[R] | None:
        """Records that an earlier notebook of this run saved; None if there are none that were made from
        these settings, by this code and these prompts.
        """
        path = self.run_folder / path
        note, wanted = path.with_suffix(".made_from.json"), made_from | {"code": files.digest_code()}
        try:
            return Records.from_file(path, record) if files.read_json(note) == wanted else None
        except (FileNotFoundError, files.DamagedFileError):
            return None

    def save_profiles(self, profiles: Iterable[Profile], *, made_from: dict) -> Records[Profile]:
        """Write profiles while they are made, and give them as they are read again, one by one."""
        self.save_records("profiles", profiles, made_from=made_from)
        return Records.from_file(self.folder / "profiles.jsonl", Profile)

    async def take_profiles(
        self, conversations: Sequence[Conversation], source: dict, *, models: Models
    ) -> Sequence[Profile]:
        """Profiles of these conversations: those that notebook 01 of this run made of them, else new ones.

        ``source``: the corpus and the settings they are made from (``profiles.describe_source``).
        """
        profiles = self.read_records("01_extract_profiles/profiles.jsonl", Profile, made_from=source)
        if profiles is None:
            how = {"models": models, "seed": source["seed"]}
            profiles, _ = await extraction.extract_profiles(conversations, source["extractor"], **how)
        return profiles

    def add_finding(
        self,
        sentence: str,
        value: float,
        *,
        ci_low: float | None = None,
        ci_high: float | None = None,
        n: int,
        p: float | None = None,
        **words: str,
    ) -> None:
        """Add a result to ``findings`` in the run's summary: one sentence, its value, 95% interval, number
        of units and p. Of fewer than ten units, or without a value, none is.

        ``words``: ``limit`` (what it does not show), ``figure`` (the saved figure that shows it), ``unit`` of
        the value (``%`` of a share, ``points`` of a difference of shares), ``counted`` (what n counts).
        """
        figures = {"value": value, "ci_low": ci_low, "ci_high": ci_high, "p": p}
        shown = {name: None if pd.isna(figure) else float(figure) for name, figure in figures.items()}
        if shown["value"] is not None and n >= stats.LEAST:
            about = {"notebook": self.folder.name, "sentence": sentence, "n": int(n)}
            self.findings.append(about | shown | dict.fromkeys(WORDS, "") | words)

    def finish(self, models: Models | None = None, **headlines: dict) -> HTML:
        """Save this notebook's headlines, its calls and where they come from, and write the run's summary.

        ``corpus`` (``Corpus.describe``) is the headline of every notebook that reads one. Returns what a
        notebook ends with: its findings, where everything is, what it took, and what to open next.
        """
        usage, seconds = models.usage if models else Usage(), time.monotonic() - self.started
        paid = sum_calls(models.calls_file) if models and models.calls_file else usage
        calls = asdict(replace(paid, cached=usage.cached, failed=usage.failed, retried=usage.retried))
        about = {"calls": calls, "last_start": asdict(usage), "wall_seconds": round(seconds, 1)}
        about["finished"] = time.time()
        origin = {"notebook": self.folder.name, "parameters": self.parameters} | describe_code() | about
        files.write_json(self.folder / "provenance.json", origin | {"corpus": headlines.get("corpus")})
        shown = headlines | about | {"findings": self.findings}
        files.write_json(self.folder / "summary_part.json", shown)
        write_summary(self.run_folder)
        if models and models.used:
            replies = pd.DataFrame(map(asdict, models.used.values())).sort_values("key")
            self.save_table(replies[["key", "model", "service", *COUNTS]], "replies")
        if models and models.llm_mode == "record":
            self.save_replies(models)
        if models:
            models.cache.checkpoint()  # the kernel of a run is ended before it could do that by itself
        self.show_result()
        return HTML(self.render_end(usage, seconds))

    def show_result(self) -> None:
        """Put what was found at the top of the notebook: the figure of the first finding, else the first."""
        sentences = {one["figure"]: one["sentence"] for one in reversed(self.findings)}
        shown = [one["figure"] for one in self.findings if one["figure"] in self.figures]
        name = next(iter([*shown, *self.figures]), None)
        alt = sentences.get(name) or self.figures.get(name, "")
        figure = self.folder / f"{name}.png" if name else None
        replace_headline(self.folder.name, figure, alt, self.findings)

    def render_end(self, usage: Usage, seconds: float) -> str:
        """What a notebook ends with, as HTML."""
        link, following = self.find_following()
        values = {
            "findings": [describe_finding(one) for one in self.findings],
            "place": f"outputs/{name_run(self.run_folder)}/{self.folder.name}",
            "took": f"{int(seconds) // 60}:{int(seconds) % 60:02d} min, {usage}",
            "link": link,
            "following": following,
        }
        return TEMPLATES.get_template("end.html").render(values)

    def find_following(self) -> tuple[str, str]:
        """Link and name of what to open next: a notebook; after the last, the page of a run, or a guide."""
        names = sorted(path.stem for path in files.notebooks_folder().glob("[0-9][0-9]_*.ipynb"))
        if name := next((name for name in names if name > self.folder.name), ""):
            return f"{name}.ipynb", name
        if not is_watched():
            return "report.html", "all findings of this run"
        return "../docs/measuring_users.md", "measure a simulated user of your own"

    def save_replies(self, models: Models) -> None:
        """Add the replies this notebook used to the run's ``replies.jsonl.gz``, which replays it."""
        path = self.run_folder / "replies.jsonl.gz"
        before = read_replies(path) if path.exists() else ()
        used = filter(None, models.cache.get(sorted(models.used)))
        replies = {reply.key: reply for reply in [*before, *used]}
        with replace_whole(path) as temporary:
            write_replies(temporary, replies.values())
