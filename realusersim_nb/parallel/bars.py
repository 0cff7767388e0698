"""Progress bars: widgets in a notebook that somebody watches, text in a terminal and in a headless run."""

import os
from collections.abc import Iterable

from tqdm import tqdm as text_bar
from tqdm.auto import tqdm as notebook_bar

LINE = "{desc}: {n_fmt}/{total_fmt} in {elapsed}, about {remaining} left{postfix}"  # of a headless run


def show_bar(items: Iterable | None, title: str, total: int | None = None, **options) -> text_bar:
    """A bar over ``items`` or (None) advanced by the caller; ``total`` where it cannot be counted.

    None is shown for no work at all. In a headless run a bar inside another takes its line: a line below
    would be a new one in the log at every step.
    """
    is_headless = bool(os.environ.get("REALUSERSIM_HEADLESS"))
    bar, form = (text_bar, {"position": 0, "bar_format": LINE}) if is_headless else (notebook_bar, {})
    options = {"disable": total == 0, "mininterval": 0.5} | form | options
    return bar(items, desc=title, total=total, **options)
