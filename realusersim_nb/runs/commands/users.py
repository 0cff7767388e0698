"""Commands on simulated users: serve, measure and export."""

import asyncio
from pathlib import Path
from typing import Any, get_args

import click

from realusersim_nb import files
from realusersim_nb.gap import meter
from realusersim_nb.profiles import exports
from realusersim_nb.records import Profile
from realusersim_nb.runs.commands.options import FILE
from realusersim_nb.simulators import serving
from realusersim_nb.text import name_file, show_plainly


@click.command()
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


@click.command()
@click.argument("transcripts", nargs=-1, required=True, metavar="FILE...")
@click.option("--against", default=meter.PEOPLE, show_default=True, help="People: a corpus, by name or path.")
@click.option("--out", type=FILE, metavar="DIR", help="Where the page goes (default: outputs/measure/NAMES).")
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
    name = name_file("_".join(Path(file).stem for file in transcripts))
    out = out or files.outputs_folder() / "measure" / name
    page = meter.save_measurement(measured, out)
    click.echo(meter.encode_measurement(measured) if as_json else meter.describe_in_lines(measured))
    exceeded = meter.list_exceeded(measured, **limits)
    click.echo(f"Page: {page.resolve()}", err=as_json)
    for line in exceeded:
        click.echo(f"realusersim_nb: {show_plainly(line)}", err=True)
    return int(bool(exceeded))


@click.command("export")
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
