"""The command line, ``python -m realusersim_nb COMMAND``, and all that only prints."""

import asyncio
import errno
import os
import sys
from pathlib import Path
from typing import Any, get_args

import click
import pandas as pd
import yaml
from papermill import PapermillExecutionError
from tqdm import tqdm

from realusersim_nb import files
from realusersim_nb.corpus import loading
from realusersim_nb.corpus.layouts.columns import Columns
from realusersim_nb.errors import MissingFileError, StudyError
from realusersim_nb.gap import meter
from realusersim_nb.llm import check as llm_check
from realusersim_nb.llm import endpoints
from realusersim_nb.llm.cache import Cache
from realusersim_nb.llm.replies import write_replies
from realusersim_nb.llm.usage import format_cost
from realusersim_nb.parallel import batches
from realusersim_nb.profiles import exports
from realusersim_nb.records import Profile
from realusersim_nb.runs import estimate, findings, leaderboard, notebooks, report, summary, sweeps
from realusersim_nb.runs.smoke import check_installation
from realusersim_nb.simulators import serving
from realusersim_nb.text import check_name, guard_terminal, name_file, parse_yaml, show_plainly

FILE = click.Path(path_type=Path)
SCHEDULER = click.option("--scheduler", metavar="ADDRESS", help="A Dask scheduler, such as tcp://host:8786.")
NAMES = f"What a column holds; NAME is one of {', '.join(Columns.model_fields)}."
STEPS = {"default": loading.DEFAULT_SKIPPED, "show_default": True, "help": "Leave a step out ('': none)."}


@guard_terminal()
def main(arguments: list[str] | None = None) -> int:
    """Parse the command line and run it; what a user can mend ends in one sentence, a defect in its trace."""
    try:
        return cli(arguments, prog_name="python -m realusersim_nb", standalone_mode=False) or 0
    except click.Abort:  # Ctrl-C
        return complain("stopped; run the same command again to go on from there.", 130)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except StudyError as error:
        return complain(str(error), 2)
    except PapermillExecutionError as error:
        if not notebooks.is_user_error(error):
            click.echo(click.unstyle("\n".join(error.traceback)), err=True)
        kept = "What was done is kept; fix that and run the same command again to go on from there."
        return complain(f"notebook stopped: {error.ename}: {error.evalue}\n{kept}", 1)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EACCES, errno.EPERM, errno.EROFS):  # others are defects
            raise
        return complain(f"{error}; fix that and run the same command again to go on.", 1)


def complain(problem: str, status: int) -> int:
    """Print what is wrong, and return the exit status."""
    click.echo(f"realusersim_nb: {show_plainly(problem)}", err=True)
    return status


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """Simulated users beside real ones: run the study's notebooks, and look after what they need."""


@cli.command(epilog="For instance: run 03 -p simulator my-model -p n_cases 50 --run-name mine")
@click.argument("numbers", nargs=-1, metavar="[NN]...")
@click.option("-p", "typed", nargs=2, multiple=True, metavar="NAME VALUE", help="Set a parameter.")
@click.option("-f", "file", type=FILE, metavar="PARAMS.yaml", help="Set parameters from a file.")
@click.option("--run-name", help="Folder under outputs/ (default: the file's name, else 'run').")
@click.option("--dry-run", is_flag=True, help="Only print how many calls, tokens and dollars it takes.")
@SCHEDULER
def run(numbers: tuple, typed: tuple, file: Path | None, run_name: str | None, **how: Any) -> None:
    """Run notebooks headless. In order: those numbered NN (such as 03), else all."""
    chosen, from_line = notebooks.find_notebooks(numbers), {name: parse_value(text) for name, text in typed}
    from_file = notebooks.read_mapping(file, "parameter file") if file else {}
    notebooks.check_parameters(from_file, chosen, known=notebooks.find_notebooks())
    notebooks.check_parameters(from_line, chosen)
    parameters = from_file | from_line
    run_name = run_name or parameters.pop("run_name", None) or (file.stem if file else "run")
    run_folder = files.outputs_folder() / check_name(run_name)
    filled = {path.stem: notebooks.fill_parameters(path, parameters) for path in chosen}
    estimate.check_addresses(filled)
    if how["dry_run"]:
        click.echo(estimate.describe_estimate(estimate.estimate_run(filled)))
        return
    use_scheduler(how["scheduler"])
    lines = notebooks.run_notebooks(chosen, parameters, run_name=run_name)
    notebooks.write_manifest(run_folder, parameters)
    page = report.write_report(run_folder)
    files.upload(run_folder)
    click.echo("\n".join(["", *lines, "", *summary.describe_sources(run_folder)]))
    click.echo("\n".join([*summary.describe_measures(run_folder), "", f"Report: {page.resolve()}"]))
    click.echo("\n".join(["", *findings.describe_outcome(summary.read_summary(run_folder)["findings"])]))


def parse_value(text: str) -> Any:
    """A command-line value as YAML reads it: numbers, lists, null, or else text."""
    try:
        return parse_yaml(text)
    except yaml.YAMLError:
        return text


def use_scheduler(address: str | None) -> None:
    """Set the scheduler of this process and the kernels it starts; fails at once if it cannot be used."""
    if address:
        os.environ[batches.SCHEDULER] = address
        batches.open_pool()


@cli.command()
@click.argument("file", type=FILE, metavar="SWEEP.yaml")
@click.option("--dry-run", is_flag=True, help="Only list the runs and what they take.")
@click.option("--workers", type=click.IntRange(1), default=1, help="Processes, a run each (default: 1).")
@SCHEDULER
@click.option("--only", metavar="FILTER", help="Runs whose name holds this text or fits this pattern.")
@click.option("--retry-failed", is_flag=True, help="Also runs that have failed before.")
def sweep(file: Path, dry_run: bool, only: str | None, retry_failed: bool, **where: Any) -> int:
    """Run notebooks under many settings. They are in a sweep file; what is finished is not run again, and the
    exit status is 1 if a run has failed.
    """
    described = sweeps.read_sweep(file)
    everything = sweeps.plan_runs(described, file.stem)
    runs = sweeps.choose_runs(everything, only)
    if dry_run:
        click.echo(estimate.render_estimate(estimate.estimate_runs(runs)))
        return 0
    states = sweeps.find_states(runs)
    wanted = ["new", "begun"] + ["failed"] * retry_failed
    todo = [run for run in runs if states[run.name] in wanted]
    if where["scheduler"] is None:  # elsewhere the workers have keys of their own
        estimate.check_keys(todo)
    if todo:
        execute(todo, states, **where)
    table = sweeps.save_sweep_table(file.stem, everything, described.tags)
    click.echo(describe_table(table))
    if todo and (table["state"] == "finished").any():
        click.echo(f"Report: {sweeps.write_sweep_report(file.stem).resolve()}")
    return int(any(sweeps.find_state(run) == "failed" for run in runs))


def execute(todo: list[sweeps.PlannedRun], states: dict[str, str], **where: Any) -> None:
    """Execute runs with a bar over the ``states`` of all, which it updates, and a line for each that ends."""
    with tqdm(total=len(states), initial=len(states) - len(todo), desc="runs", unit="run") as bar:
        for ended in sweeps.execute_all(todo, **where):
            for run, state in ended:
                states[run.name] = state
                bar.write(describe_run(run, state), file=sys.stderr)
                bar.update()
            bar.set_postfix_str(describe_progress(states))


def describe_run(run: sweeps.PlannedRun, state: sweeps.State) -> str:
    """One line on a run that has ended; of one that failed, why and where more is."""
    usage = summary.read_usage(run.folder)
    minutes, cost = usage["wall_seconds"] / 60, format_cost(usage["cost_usd"])
    line = f"{state:<9} {run.name}  {minutes:.1f} min, {usage['calls']} calls, {cost}"
    if not (failure := sweeps.read_failure(run)):
        return line
    return f"{line}\n          {failure['error'][:300]} (see {run.folder})"


def describe_progress(states: dict[str, str]) -> str:
    """Beside the bar: runs begun and failed, calls and cost so far, of unfinished runs too."""
    outputs, n_failed = files.outputs_folder(), list(states.values()).count("failed")
    usage = pd.DataFrame([summary.read_usage(outputs / name) for name in states]).sum(skipna=False)
    n_begun = sum(states[name] in ("new", "begun") and (outputs / name).exists() for name in states)
    cost = format_cost(usage["cost_usd"])
    return f"{n_begun} begun, {n_failed} failed, {usage['calls']:,.0f} calls, {cost}"


def describe_table(table: pd.DataFrame) -> str:
    """The end of a sweep: how many runs are in which state, what they cost, what failed and how to go on."""
    counts = ", ".join(f"{n} {state}" for state, n in table["state"].value_counts().items())
    cost = format_cost(table["cost_usd"].sum(skipna=False))
    lines = [f"{len(table)} runs: {counts}; {table['calls'].sum():,} calls, {cost}"]
    failed = table[table["state"] == "failed"]
    lines += [f"failed    {row.run}: {str(row.error)[:200]}" for row in failed.itertuples()]
    if len(failed):
        lines.append("Add --retry-failed to try those again; replies that came are kept.")
    return "\n".join(lines)


@cli.command("report")
@click.argument("run_folder", type=FILE, metavar="outputs/RUN|outputs/SWEEP")
@click.argument("other", type=FILE, required=False, metavar="[outputs/OTHER]")
def make_report(run_folder: Path, other: Path | None) -> None:
    """Make report.html again, or compare two runs. Of a sweep, the pages of all its runs too."""
    for folder in filter(None, (run_folder, other)):
        if not any(folder.glob("*.ipynb")):
            raise MissingFileError(
                f"{folder}: no executed notebook; `python -m realusersim_nb run` makes some."
            )
    if other:
        for title, table in leaderboard.compare_runs(run_folder, other).items():
            click.echo(f"{title}\n{table.to_string(index=False) if len(table) else 'Nothing differs.'}\n")
        return
    summary.write_summary(run_folder)
    for path in tqdm(sorted(run_folder.glob("*/manifest.json")), "pages", disable=None, leave=False):
        report.write_report(path.parent)
    click.echo(report.write_report(run_folder))


@cli.command()
@click.argument("corpus")
@click.option("-c", "named", nargs=2, multiple=True, metavar="NAME COLUMN", help=NAMES)
def look(corpus: str, named: tuple) -> None:
    """Describe what is read of a corpus. Prints three conversations; -c is kept beside the corpus."""
    columns = {name: parse_value(text) if name in ("users", "assistants") else text for name, text in named}
    click.echo(loading.describe_corpus(corpus, columns=columns))


@cli.command()
@click.option("--profiles", type=FILE, required=True, metavar="FILE", help="profiles.jsonl of notebook 01.")
@click.option("--model", required=True, metavar="NAME", help="The model that writes as them.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Any but this machine's needs a token.")
@click.option("--port", default=8770, show_default=True, help="0: a free one.")
@click.option("--token-env", metavar="VAR", help="Variable with the token that callers send as API key.")
@click.option("--out", type=FILE, metavar="FILE.jsonl", help="Transcripts (default: outputs/served.jsonl).")
def serve(profiles: Path, model: str, out: Path | None, **where: Any) -> None:
    """Serve users to any harness. An OpenAI-compatible endpoint with models user:ID, user:draw."""
    out = out or files.outputs_folder() / "served.jsonl"
    asyncio.run(serving.serve_users(profiles, model, out=out, announce=click.echo, **where))


@cli.command()
@click.argument("transcripts", nargs=-1, required=True, metavar="FILE...")
@click.option("--against", default=meter.PEOPLE, show_default=True, help="People: a corpus, by name or path.")
@click.option("--out", type=FILE, metavar="DIR", help="Where the page goes (default: outputs/measure/NAME).")
@click.option("--max-auc", type=float, metavar="X", help="Status 1 if a classifier does better than this.")
@click.option(
    "--max-excess-js", type=float, metavar="X", help="Status 1 if a facet's JS is further above people's."
)
@click.option("--json", "as_json", is_flag=True, help="Print all figures as JSON.")
@click.option("--seed", default=0, show_default=True)
def measure(
    transcripts: tuple, against: str, out: Path | None, as_json: bool, seed: int, **limits: Any
) -> int:
    """How unlike people are the users of these transcripts? Calls no model; makes one page."""
    measured = meter.measure_files(*transcripts, against=against, seed=seed)
    out = out or files.outputs_folder() / "measure" / name_file(Path(transcripts[0]).stem)
    page = meter.save_measurement(measured, out)
    click.echo(meter.encode_measurement(measured) if as_json else meter.describe_in_lines(measured))
    exceeded = meter.list_exceeded(measured, **limits)
    click.echo(f"Page: {page.resolve()}", err=as_json)
    for line in exceeded:
        click.echo(f"realusersim_nb: {show_plainly(line)}", err=True)
    return int(bool(exceeded))


@cli.command("export")
@click.argument("file", type=FILE, metavar="PROFILES.jsonl")
@click.option("--to", required=True, help=f"One of {', '.join(get_args(exports.Tool))}.")
@click.option("--goal", default="", help="What these users want, for tools whose rows hold it.")
@click.option("--out", type=FILE, metavar="FILE", help="Write it there (default: print it).")
def export_profiles(file: Path, to: str, goal: str, out: Path | None) -> None:
    """Profiles in the form of another tool's user simulator."""
    text = exports.export_personas(files.read_records(file, Profile), to=to, goal=goal)
    if out is None:
        click.echo(text, nl=False)
        return
    with files.replace_whole(out) as temporary:
        temporary.write_text(text, encoding="utf-8")
    click.echo(out)


@cli.command()
def smoke() -> int:
    """Check the installation, offline and in seconds. Status 1 if something is missing."""
    rows = asyncio.run(check_installation())
    for what, is_well, how in rows:
        click.echo(f"{'ok     ' if is_well else 'MISSING'}  {what:<16} {how}")
    is_well = all(row[1] for row in rows)
    click.echo("Next: make lab, or make run" if is_well else "Next: make setup")
    return int(not is_well)


@cli.command()
@click.argument("corpus")
@click.option("--workers", type=int, metavar="N", help="Processes (default: one a core).")
@SCHEDULER
@click.option("--skip", multiple=True, metavar="STEP", **STEPS)
def curate(corpus: str, workers: int | None, scheduler: str | None, skip: tuple) -> None:
    """Curate a large corpus. CORPUS is a name, a hub id or a path; notebooks then find it done."""
    use_scheduler(scheduler)
    curated = loading.load_corpus(corpus, skip_steps=[step for step in skip if step], workers=workers)
    click.echo(curated.funnel.to_string(index=False, na_rep=""))


@cli.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option("--write", is_flag=True, help="Write what they need into endpoints.yaml.")
def check(names: tuple, write: bool) -> int:
    """Try models or embedders. Each thing that a study asks is tried; status 1 if one cannot run a study."""
    results = [asyncio.run(llm_check.check_model(name)) for name in names]
    for result in results:
        click.echo(f"{result}\n")
        if write and result.settings:
            click.echo(f"Written: {endpoints.write_settings(result.model, result.settings)}")
    return int(not all(result.usable for result in results))


@cli.group("cache")
def cache_group() -> None:
    """Look after the kept replies. REALUSERSIM_CACHE names their place."""


@cache_group.command()
def stats() -> None:
    """Replies and tokens by model."""
    table = Cache().stats()
    click.echo(table.to_string(index=False) if len(table) else "No replies yet.")


@cache_group.command()
@click.argument("file", type=FILE, metavar="FILE.jsonl.gz")
@click.option("--model", help="Only those of this model.")
def export(file: Path, model: str | None) -> None:
    """Write replies to a file. It can be imported, diffed and committed."""
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
    """Remove replies; without --yes only count them."""
    n = Cache().prune(model=model, older_than_days=older_than, dry_run=not yes)
    click.echo(f"{n} replies removed" if yes else f"{n} replies would be removed; add --yes to do it")


if __name__ == "__main__":
    sys.exit(main())
