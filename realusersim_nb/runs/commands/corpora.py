"""Commands on corpora: look and curate."""

import click

from realusersim_nb.corpus import loading
from realusersim_nb.corpus.layouts.columns import Columns
from realusersim_nb.runs.commands.options import SCHEDULER, parse_value, use_scheduler

NAMES = f"What a column holds; NAME is one of {', '.join(Columns.model_fields)}."
STEPS = {"default": loading.DEFAULT_SKIPPED, "show_default": True, "help": "Leave a step out ('': none)."}


@click.command()
@click.argument("corpus")
@click.option("-c", "named", nargs=2, multiple=True, metavar="NAME COLUMN", help=NAMES)
def look(corpus: str, named: tuple) -> None:
    """Describe what is read of a corpus. Prints three conversations; -c is kept beside the corpus."""
    columns = {name: parse_value(text) if name in ("users", "assistants") else text for name, text in named}
    click.echo(loading.describe_corpus(corpus, columns=columns))


@click.command()
@click.argument("corpus")
@click.option("--workers", type=int, metavar="N", help="Processes (default: one a core).")
@SCHEDULER
@click.option("--skip", multiple=True, metavar="STEP", **STEPS)
def curate(corpus: str, workers: int | None, scheduler: str | None, skip: tuple) -> None:
    """Curate a large corpus. CORPUS is a name, a hub id or a path; notebooks then find it done."""
    use_scheduler(scheduler)
    curated = loading.load_corpus(corpus, skip_steps=[step for step in skip if step], workers=workers)
    click.echo(curated.funnel.to_string(index=False, na_rep=""))
