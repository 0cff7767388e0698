"""Progress bars of long work: widgets for who looks on in a notebook, text in a terminal and in a headless run."""

import os
from collections.abc import Iterable

from tqdm import tqdm as text_bar
from tqdm.auto import tqdm as notebook_bar


def show_bar(items: Iterable | None, title: str, total: int | None = None, **options) -> text_bar:
    """A bar with a title, over ``items`` or (None) told when to move on; ``total`` where it cannot be counted."""
    make = text_bar if os.environ.get("REALUSERSIM_OWNER") else notebook_bar
    return make(items, desc=title, total=total, mininterval=0.5, **options)
