"""Commands on studies: run, sweep and report."""

import sys
from pathlib import Path
from typing import Any

import click
import pandas as pd
from tqdm import tqdm

from realusersim_nb import files
from realusersim_nb.errors import MissingFileError
from realusersim_nb.llm.usage import format_cost
from realusersim_nb.runs import estimate, findings, leaderboard, notebooks, report, summary, sweeps
from realusersim_nb.runs.commands.options import FILE, SCHEDULER, parse_value, use_scheduler
from realusersim_nb.text import check_name


@click.command(epilog="For instance: run 03 -p simulator my-model -p n_cases 50 --run-name mine")
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


@click.command()
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


@click.command("report")
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
