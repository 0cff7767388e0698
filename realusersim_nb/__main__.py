"""The command line: ``python -m realusersim_nb run|sweep|report|look|curate|cache``."""

import os
import sys
from pathlib import Path

import click
import yaml
from tqdm import tqdm

from realusersim_nb import files
from realusersim_nb.corpus import loading
from realusersim_nb.corpus.columns import Columns
from realusersim_nb.errors import MissingFileError, StudyError
from realusersim_nb.files import outputs_folder
from realusersim_nb.llm import endpoints
from realusersim_nb.llm.cache import Cache
from realusersim_nb.llm.replies import write_replies
from realusersim_nb.parallel import batches
from realusersim_nb.runs import comparison, estimate, notebooks, report, summary, sweeps

FILE = click.Path(path_type=Path)


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line and run it; mistakes end in one sentence and exit code 2."""
    try:
        cli(arguments, prog_name="python -m realusersim_nb", standalone_mode=False)
    except click.Abort:  # Ctrl-C
        return complain("stopped; run the same command again to go on from there.", 130)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except StudyError as error:
        return complain(str(error), 2)
    except notebooks.papermill.PapermillExecutionError as error:
        kept = "What was done is kept; mend that and run the same command again to go on from there."
        return complain(f"notebook stopped: {error.ename}: {error.evalue}\n{kept}", 1)
    except OSError as error:  # a full disk, a folder that cannot be written
        return complain(f"{error}; mend that and run the same command again to go on.", 1)
    return 0


def complain(problem: str, status: int) -> int:
    """Say what is wrong, and return the exit status."""
    click.echo(f"realusersim_nb: {problem}", err=True)
    return status


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """Simulated users beside real ones: run the study's notebooks, and look after what they need."""


# --- runs --------------------------------------------------------------------------------------


@cli.command(
    short_help="Run notebooks headless, with any parameters.",
    epilog="For instance: run 03 -p simulator my-model -p n_cases 50 --run-name mine",
)
@click.argument("numbers", nargs=-1, metavar="[NN]...")
@click.option("-p", "typed", nargs=2, multiple=True, metavar="NAME VALUE", help="Set a parameter.")
@click.option("-f", "file", type=FILE, metavar="PARAMS.yaml", help="Set parameters from a file.")
@click.option("--run-name", help="Folder under outputs/ (default: the file's name, else 'run').")
@click.option("--dry-run", is_flag=True, help="Only say how many calls, tokens and dollars it takes.")
@click.option(
    "--scheduler",
    metavar="ADDRESS",
    help="Curate and measure on the workers of a Dask scheduler, such as tcp://host:8786.",
)
def run(
    numbers: tuple,
    typed: tuple,
    file: Path | None,
    run_name: str | None,
    dry_run: bool,
    scheduler: str | None,
) -> None:
    """Run notebooks headless, in order: those numbered NN (such as 03), else all."""
    everything, chosen = notebooks.find_notebooks(), notebooks.find_notebooks(numbers)
    from_file = read_parameter_file(file) if file else {}
    notebooks.check_parameters(from_file, everything)
    from_line = {name: parse_value(value) for name, value in typed}
    notebooks.check_parameters(from_line, chosen)
    parameters = {**from_file, **from_line}
    run_name = run_name or parameters.pop("run_name", None) or (file.stem if file else "run")
    if Path(run_name).name != run_name or run_name.startswith("."):
        raise notebooks.ParameterError(
            f"run name {run_name!r}: expected a plain folder name, without slashes or a leading dot."
        )
    endpoints.read_endpoints()  # a mistake in it is better known now than in the third notebook
    if dry_run:
        wanted = {
            path.stem: notebooks.read_parameters(path) | notebooks.own_parameters(path, parameters)
            for path in chosen
        }
        click.echo(estimate.describe_estimate(estimate.estimate_run(wanted)))
        return
    use_scheduler(scheduler)
    lines = notebooks.run_notebooks(chosen, parameters, run_name=run_name)
    run_folder = outputs_folder() / run_name
    notebooks.write_manifest(run_folder, parameters)
    page = report.write_report(run_folder)
    files.upload(run_folder)
    measures = summary.read_measures(run_folder)
    told = [
        *summary.describe_sources(run_folder),
        *([summary.pivot_measures(measures).to_string()] if len(measures) else []),
    ]
    click.echo("\n".join(["", *lines, "", *told, "", f"Report: {page.resolve()}"]))


def use_scheduler(address: str | None) -> None:
    """Name the scheduler for this process and the kernels it starts; one that cannot be used is known at once."""
    if address:
        os.environ[batches.SCHEDULER] = address
        with batches.open_pool():
            pass


@cli.command(short_help="Run notebooks under many settings.")
@click.argument("file", type=FILE, metavar="SWEEP.yaml")
@click.option("--dry-run", is_flag=True, help="Only list the runs and what they take.")
@click.option(
    "--workers",
    type=click.IntRange(1),
    default=1,
    metavar="N",
    help="Runs at once, a process each.",
    show_default=True,
)
@click.option(
    "--scheduler", metavar="ADDRESS", help="Use the workers of a Dask scheduler, such as tcp://host:8786."
)
@click.option("--only", metavar="FILTER", help="Runs whose name holds this text or fits this pattern.")
@click.option("--retry-failed", is_flag=True, help="Also runs that have failed before.")
def sweep(
    file: Path, dry_run: bool, workers: int, scheduler: str | None, only: str | None, retry_failed: bool
) -> None:
    """Run the notebooks under every setting of a sweep file; what is finished is not run again."""
    described = sweeps.read_sweep(file)
    everything = sweeps.plan_runs(described, file.stem)
    runs = sweeps.choose_runs(everything, only)
    if dry_run:
        click.echo(sweeps.describe_sweep_estimate(sweeps.estimate_runs(runs)))
        return
    endpoints.read_endpoints()
    states = sweeps.find_states(runs)
    left_alone = {"finished"} if retry_failed else {"finished", "failed"}
    todo = [run for run in runs if states[run.name] not in left_alone]
    if scheduler is None:  # elsewhere the keys are the workers' own
        sweeps.check_keys(todo)
    with tqdm(
        total=len(runs), initial=len(runs) - len(todo), desc=file.stem, unit="run", disable=not todo
    ) as bar:
        for ended in sweeps.execute_all(todo, workers=workers, scheduler=scheduler) if todo else ():
            for run, state in ended:
                states[run.name] = state
                bar.write(sweeps.describe_run(run), file=sys.stderr)
                bar.update()
            bar.set_postfix_str(sweeps.describe_progress(runs, states))
    table = sweeps.save_sweep_table(file.stem, everything, described.tags)
    click.echo(sweeps.describe_table(table))
    if todo and (table["state"] == "finished").any():
        click.echo(f"Report: {sweeps.write_sweep_report(file.stem).resolve()}")


@cli.command("report", short_help="Make a report again, or compare two runs.")
@click.argument("run_folder", type=FILE, metavar="outputs/RUN|outputs/SWEEP")
@click.argument("other", type=FILE, required=False, metavar="[outputs/OTHER]")
def make_report(run_folder: Path, other: Path | None) -> None:
    """Make report.html of a run again, or of a sweep and all its runs; of two runs, say what changed from one to the other."""
    for folder in filter(None, (run_folder, other)):
        if not any(folder.glob("*.ipynb")):
            raise MissingFileError(
                f"{folder}: no executed notebook there; run `python -m realusersim_nb run` first."
            )
    if other:
        page, text = comparison.write_page(run_folder, other)
        click.echo(f"{text}\n\n{page}")
        return
    summary.write_summary(run_folder)
    for path in tqdm(
        sorted(run_folder.glob("*/manifest.json")), "pages of the runs", disable=None, leave=False
    ):
        report.write_report(path.parent)
    click.echo(report.write_report(run_folder))


def read_parameter_file(path: Path) -> dict:
    """A flat mapping of parameter names to values; ParameterError if it is something else."""
    if not path.exists():
        raise notebooks.ParameterError(f"parameter file {path}: no such file.")
    try:
        content = yaml.safe_load(path.read_text()) or {}
    except yaml.YAMLError as error:
        raise notebooks.ParameterError(f"parameter file {path}: not YAML: {error}") from error
    if not isinstance(content, dict):
        raise notebooks.ParameterError(f"parameter file {path}: expected lines 'name: value'.")
    return content


def parse_value(text: str):
    """A command-line value as YAML reads it: numbers, lists, null, or else text."""
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text


# --- corpora and replies -----------------------------------------------------------------------


@cli.command(short_help="Say what is understood of a corpus.")
@click.argument("corpus")
@click.option(
    "-c",
    "told",
    nargs=2,
    multiple=True,
    metavar="NAME COLUMN",
    help=f"What a column holds; NAME is one of {', '.join(Columns.model_fields)}.",
)
def look(corpus: str, told: tuple) -> None:
    """Say what is understood of a CORPUS and show three conversations; what -c tells of its columns is kept beside it."""
    columns = {name: parse_value(value) if name in ("users", "assistants") else value for name, value in told}
    click.echo(loading.describe_corpus(corpus, columns=columns))


@cli.command(short_help="Curate a large corpus, by several processes.")
@click.argument("corpus")
@click.option("--workers", type=int, metavar="N", help="Processes (default: one a core).")
@click.option("--scheduler", metavar="ADDRESS", help="Use the workers of a Dask scheduler instead.")
@click.option(
    "--skip",
    multiple=True,
    default=loading.DEFAULT_SKIPPED,
    metavar="STEP",
    help="Leave a step out ('': none).",
    show_default=True,
)
def curate(corpus: str, workers: int | None, scheduler: str | None, skip: tuple) -> None:
    """Curate a large CORPUS (a name, a hub id or a path) by several processes; notebooks then find it done."""
    settings = {"skip_steps": [step for step in skip if step], "workers": workers}
    use_scheduler(scheduler)
    curated = loading.load_corpus(corpus, **settings)
    click.echo(curated.funnel.to_string(index=False, na_rep=""))


@cli.group("cache", short_help="Look after the kept replies.")
def cache_group() -> None:
    """Look after the kept replies (REALUSERSIM_CACHE names them)."""


@cache_group.command()
def stats() -> None:
    """Replies and tokens by model."""
    table = Cache().stats()
    click.echo(table.to_string(index=False) if len(table) else "No replies yet.")


@cache_group.command(short_help="Write replies to a file.")
@click.argument("file", type=FILE, metavar="FILE.jsonl.gz")
@click.option("--model", help="Only those of this model.")
def export(file: Path, model: str | None) -> None:
    """Write replies to a file that can be imported, diffed and committed."""
    click.echo(f"{write_replies(file, Cache().replies(model=model))} replies in {file}")


@cache_group.command("import")
@click.argument("file", type=FILE, metavar="FILE.jsonl.gz")
def load(file: Path) -> None:
    """Take in replies from such a file."""
    click.echo(f"{Cache().load(file)} replies taken in from {file}")


@cache_group.command()
@click.option("--model", help="Those of this model.")
@click.option("--older-than", type=float, metavar="DAYS", help="Those kept longer ago.")
@click.option("--yes", is_flag=True, help="Remove them.")
def prune(model: str | None, older_than: float | None, yes: bool) -> None:
    """Remove replies; without --yes only say how many."""
    if model is None and older_than is None:
        raise notebooks.ParameterError(
            "cache prune: say which replies, by --model NAME or --older-than DAYS."
        )
    n = Cache().prune(model=model, older_than_days=older_than, dry_run=not yes)
    click.echo(f"{n} replies removed" if yes else f"{n} replies would be removed; add --yes to do it")


if __name__ == "__main__":
    sys.exit(main())
