"""Progress bars: widgets in a notebook that somebody watches, text in a terminal and in a headless run."""

import os
from collections.abc import Iterable

from tqdm import tqdm as text_bar
from tqdm.auto import tqdm as notebook_bar


def show_bar(items: Iterable | None, title: str, total: int | None = None, **options) -> text_bar:
    """A bar over ``items`` or (None) advanced by the caller; ``total`` where it cannot be counted."""
    bar = text_bar if os.environ.get("REALUSERSIM_HEADLESS") else notebook_bar
    return bar(items, desc=title, total=total, mininterval=0.5, **options)
