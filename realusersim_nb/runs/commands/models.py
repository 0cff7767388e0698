"""Commands on models and their replies: check and cache."""

import asyncio
from pathlib import Path

import click

from realusersim_nb.llm import check as llm_check
from realusersim_nb.llm import endpoints
from realusersim_nb.llm.cache import Cache
from realusersim_nb.llm.replies import write_replies
from realusersim_nb.runs.commands.options import FILE


@click.command()
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


@click.group("cache")
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
