"""``python -m realusersim_nb run|report|curate|cache``: run notebooks headless, make a report, prepare a corpus, look after replies."""

import argparse
import sys
from pathlib import Path

import yaml

from realusersim_nb import StudyStopped, endpoints, estimate, headless, report, summary
from realusersim_nb import corpus as corpora
from realusersim_nb.cache import Cache
from realusersim_nb.files import OUTPUTS
from realusersim_nb.replies import write_replies


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line and run it; mistakes end in one sentence and exit code 2."""
    options = make_parser().parse_args(arguments)
    try:
        options.command(options)
    except (StudyStopped, FileNotFoundError) as error:
        print(f"realusersim_nb: {error}", file=sys.stderr)
        return 2
    except headless.papermill.PapermillExecutionError as error:
        print(f"\nrealusersim_nb: notebook stopped: {error.ename}: {error.evalue}", file=sys.stderr)
        print("What was done is kept; run the same command again to go on from there.", file=sys.stderr)
        return 1
    except OSError as error:  # a full disk, a folder that cannot be written
        print(f"realusersim_nb: {error}; mend that and run the same command again to go on.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nrealusersim_nb: stopped; run the same command again to go on from there.", file=sys.stderr)
        return 130
    return 0


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m realusersim_nb", description=__doc__)
    commands = parser.add_subparsers(required=True)
    run = commands.add_parser("run", help="run notebooks headless, in order; all of them when none is named")
    run.add_argument("notebooks", nargs="*", metavar="NN", help="numbers of notebooks, such as 03")
    run.add_argument("-p", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"), help="set a parameter")
    run.add_argument("-f", type=Path, metavar="PARAMS.yaml", help="set parameters from a file")
    run.add_argument("--run-name", help="folder under outputs/ (default: the file's name, else 'run')")
    run.add_argument("--dry-run", action="store_true", help="only say how many calls, tokens and dollars it takes")
    run.set_defaults(command=run_command)
    make = commands.add_parser("report", help="make report.html of a run folder again")
    make.add_argument("run_folder", type=Path, metavar="outputs/RUN")
    make.set_defaults(command=report_command)
    curate = commands.add_parser(
        "curate", help="curate a large corpus by several processes; notebooks then find it done"
    )
    curate.add_argument("corpus", help="a name, a hub id or a path, as the notebooks' parameter")
    curate.add_argument("--workers", type=int, metavar="N", help="processes (default: one a core)")
    curate.add_argument(
        "--skip", action="append", metavar="STEP", help="leave a step out (default: assistant is GPT-4o)"
    )
    curate.set_defaults(command=curate_command)
    add_cache_commands(commands.add_parser("cache", help="look after the kept replies (REALUSERSIM_CACHE names them)"))
    return parser


def add_cache_commands(parser: argparse.ArgumentParser) -> None:
    """``cache stats|export|import|prune``."""
    actions = parser.add_subparsers(required=True)
    actions.add_parser("stats", help="replies and tokens by model").set_defaults(command=cache_stats)
    export = actions.add_parser("export", help="write replies to a file that can be imported, diffed and committed")
    export.add_argument("file", type=Path, metavar="FILE.jsonl.gz")
    export.add_argument("--model", help="only those of this model")
    export.set_defaults(command=cache_export)
    load = actions.add_parser("import", help="take in replies from such a file")
    load.add_argument("file", type=Path, metavar="FILE.jsonl.gz")
    load.set_defaults(command=cache_import)
    prune = actions.add_parser("prune", help="remove replies; without --yes only says how many")
    prune.add_argument("--model", help="those of this model")
    prune.add_argument("--older-than", type=float, metavar="DAYS", help="those kept longer ago")
    prune.add_argument("--yes", action="store_true", help="remove them")
    prune.set_defaults(command=cache_prune)


def run_command(options: argparse.Namespace) -> None:
    """Run notebooks with the parameters of the file, then those of the command line."""
    everything, chosen = headless.find_notebooks(), headless.find_notebooks(options.notebooks)
    from_file = read_parameter_file(options.f) if options.f else {}
    headless.check_parameters(from_file, everything)
    typed = {name: parse_value(value) for name, value in options.p}
    headless.check_parameters(typed, chosen)
    parameters = {**from_file, **typed}
    run_name = options.run_name or parameters.pop("run_name", None) or (options.f.stem if options.f else "run")
    if Path(run_name).name != run_name or run_name.startswith("."):
        raise headless.ParameterError(
            f"run name {run_name!r}: expected a plain folder name, without slashes or a leading dot."
        )
    endpoints.read_endpoints()  # a mistake in it is better known now than in the third notebook
    if options.dry_run:
        wanted = {
            path.stem: headless.read_parameters(path) | headless.own_parameters(path, parameters) for path in chosen
        }
        print(estimate.describe_estimate(estimate.estimate_run(wanted)))
        return
    lines = headless.run_notebooks(chosen, parameters, run_name=run_name)
    run_folder = OUTPUTS / run_name
    page = report.write_report(run_folder)
    headless.write_manifest(run_folder, parameters)
    print("\n".join(["", *lines, "", *summary.describe_summary(run_folder), "", f"Report: {page.resolve()}"]))


def report_command(options: argparse.Namespace) -> None:
    """Make the report again, from what lies in the run folder."""
    if not any(options.run_folder.glob("*.ipynb")):
        raise FileNotFoundError(
            f"{options.run_folder}: no executed notebook there; run `python -m realusersim_nb run` first."
        )
    summary.summarise(options.run_folder)
    print(report.write_report(options.run_folder))


def curate_command(options: argparse.Namespace) -> None:
    """Curate a corpus and print the funnel."""
    skip = corpora.DEFAULT_SKIPPED if options.skip is None else [step for step in options.skip if step]
    try:
        found = corpora.load(options.corpus, skip_steps=skip, workers=options.workers)
    except ValueError as error:  # an unknown step, a layout that cannot be read
        raise headless.ParameterError(str(error)) from error
    print(found.funnel.to_string(index=False, na_rep=""))


def cache_stats(options: argparse.Namespace) -> None:
    """Print a line for each service and model."""
    table = Cache().stats()
    print(table.to_string(index=False) if len(table) else "No replies yet.")


def cache_export(options: argparse.Namespace) -> None:
    """Write replies to a file."""
    n = write_replies(options.file, Cache().replies(model=options.model))
    print(f"{n} replies in {options.file}")


def cache_import(options: argparse.Namespace) -> None:
    """Take in replies from a file."""
    print(f"{Cache().load(options.file)} replies taken in from {options.file}")


def cache_prune(options: argparse.Namespace) -> None:
    """Remove replies, or say how many it would be."""
    if options.model is None and options.older_than is None:
        raise headless.ParameterError("cache prune: say which replies, by --model NAME or --older-than DAYS.")
    n = Cache().prune(model=options.model, older_than_days=options.older_than, dry_run=not options.yes)
    print(f"{n} replies removed" if options.yes else f"{n} replies would be removed; add --yes to do it")


def read_parameter_file(path: Path) -> dict:
    """A flat mapping of parameter names to values; ParameterError if it is something else."""
    if not path.exists():
        raise headless.ParameterError(f"parameter file {path}: no such file.")
    try:
        content = yaml.safe_load(path.read_text()) or {}
    except yaml.YAMLError as error:
        raise headless.ParameterError(f"parameter file {path}: not YAML: {error}") from error
    if not isinstance(content, dict):
        raise headless.ParameterError(f"parameter file {path}: expected lines 'name: value'.")
    return content


def parse_value(text: str):
    """A command-line value as YAML reads it: numbers, lists, null, or else text."""
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text


if __name__ == "__main__":
    sys.exit(main())
