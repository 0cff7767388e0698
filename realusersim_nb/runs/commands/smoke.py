"""A check of the installation, offline and in seconds: packages, the local model's files, a toy run."""

import asyncio
import importlib
import platform
import tempfile
import time
from pathlib import Path

import click

from realusersim_nb import pt3, simulators
from realusersim_nb.corpus import hold_out, load_corpus
from realusersim_nb.files import project_folder
from realusersim_nb.llm.cache import Cache
from realusersim_nb.llm.local_server import is_installed
from realusersim_nb.llm.models import Models
from realusersim_nb.profiles import extract_measured, make_persona, measure_conversations

PACKAGES = "papermill jupyterlab ipywidgets seaborn datasets openai tau2 openvino_genai".split()
NEEDED_BY_MODEL = {"openvino_genai"}
KNOWN = 8  # messages of the user, as in notebook 00, whose replies are the recorded ones
Row = tuple[str, bool, str]  # what was tried, whether it is well, and the figure or the remedy


@click.command()
def smoke() -> int:
    """Check the installation, offline and in seconds. Status 1 if something is missing."""
    rows = asyncio.run(check_installation())
    for what, is_well, how in rows:
        click.echo(f"{'ok     ' if is_well else 'MISSING'}  {what:<16} {how}")
    is_well = all(row[1] for row in rows)
    click.echo("Next: make lab, or make run" if is_well else "Next: make setup")
    return int(not is_well)


async def check_installation() -> list[Row]:
    """What was tried, whether it is well, and its figure or remedy: one row each."""
    rows = [("Python", True, platform.python_version())]
    rows += [check_package(name) for name in PACKAGES]
    installed = is_installed()
    how = (
        "installed"
        if installed
        else "not installed: `make setup`, or name a model of yours (-p simulator NAME)"
    )
    return [*rows, ("local model", True, how), await try_toy_run()]


def check_package(name: str) -> Row:
    """Whether a package can be imported."""
    begin = time.monotonic()
    try:
        importlib.import_module(name)
    except ImportError as error:
        without = name in NEEDED_BY_MODEL and not is_installed()
        remedy = "left out with the local model" if without else f"{error}; `make setup` installs it"
        return name, without, remedy
    return name, True, f"{time.monotonic() - begin:.1f} s"


async def try_toy_run() -> Row:
    """From the invented conversations a profile, a case and three openings, on recorded replies."""
    data = project_folder() / "data"
    if not (data / "replies.jsonl.gz").exists():
        return "toy run", True, "left out: start it in the project's folder"
    profiled, held_out = hold_out(load_corpus(str(data / "sample.jsonl")).conversations, seed=1)
    messages = measure_conversations(profiled)
    known = messages["user_id"].value_counts()
    least = min(KNOWN, known.max())
    profiles = {profile.user_id: profile for profile in extract_measured(profiled, messages)}
    users = [u for u, p in profiles.items() if len(p.commands) >= 3 and known[u] >= least]
    eligible = [c for c in held_out if c.user_id in users] or held_out
    chosen = pt3.draw_cases(eligible, n_cases=1, seed=1)[0]
    profile = profiles[chosen.user_id]
    with tempfile.TemporaryDirectory() as folder:
        cache = Cache(Path(folder) / "replies.sqlite")
        cache.load(data / "replies.jsonl.gz")
        models = Models(llm_mode="replay", cache=cache)
        [case], _ = await pt3.make_cases(models, "embedded", [chosen], first=3, seed=1)
        about = {"goal": case.goal, "context": case.key_context, "steps": case.steps, "messages": []}
        simulator = simulators.Simulator(models, "embedded", seed=1)
        text = await simulator.write(persona=make_persona(profile), **about)
    return "toy run", bool(text), f"{len(profile.commands)} commands; the simulated user writes {text!r}"
