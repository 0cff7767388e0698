"""What several commands take."""

import os
from pathlib import Path
from typing import Any

import click
import yaml

from realusersim_nb.parallel import batches
from realusersim_nb.text import parse_yaml

FILE = click.Path(path_type=Path)
SCHEDULER = click.option("--scheduler", metavar="ADDRESS", help="A Dask scheduler, such as tcp://host:8786.")


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
