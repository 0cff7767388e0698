"""Progress bars: a line of text that is written over, and in the end says how much was done, and how long."""

import os
import sys
from collections.abc import Iterable

from tqdm import tqdm

from realusersim_nb.parallel.stopping import is_watched

LINE = "{desc}: {n_fmt}/{total_fmt} in {elapsed}, about {remaining} left{postfix}"
WATCHED = "{desc} |{bar:20}| {n_fmt}/{total_fmt} in {elapsed}, about {remaining} left{postfix}"


class Bar(tqdm):
    """A bar that ends as one quiet line: ``goals: 2 in 00:12, 4 calls`` (cut short: ``goals: 1 of 2 in``)."""

    def close(self) -> None:
        """Write the last line, unless the bar is one that leaves none."""
        if not self.disable:
            of = "" if self.n == (self.total or self.n) else " of {total_fmt}"
            self.bar_format = "{desc}: {n_fmt}" + of + " in {elapsed}{postfix}"
        super().close()


def show_bar(items: Iterable | None, title: str, total: int | None = None, **options) -> Bar:
    """A bar over ``items`` or (None) advanced by the caller; ``total`` where it cannot be counted.

    None is shown for no work at all. A notebook that somebody watches has it among what is printed: a widget
    would be lost with the kernel, and JupyterLab shows stderr as an error. A bar inside another takes its
    line: a line below would be a new one at every step.
    """
    form = LINE if os.environ.get("REALUSERSIM_HEADLESS") else WATCHED
    place = {"position": 0, "file": sys.stdout if is_watched() else sys.stderr}
    options = {"disable": total == 0, "mininterval": 0.5, "bar_format": form} | place | options
    return Bar(items, desc=title, total=total, **options)
