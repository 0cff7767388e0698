"""What a person can mend is told them in a sentence: in a notebook too, where Python would show where it was noticed."""

import sys
from pathlib import Path
from traceback import walk_tb
from types import TracebackType

from IPython import get_ipython

from realusersim_nb import StudyStopped

HERE = str(Path(__file__).parent)
TOLD = (StudyStopped, ValueError, FileNotFoundError)


def tell_in_notebook() -> None:
    """From now on this notebook shows what the package refuses as a sentence; the cell fails as before."""
    if shell := get_ipython():
        shell.set_custom_exc(TOLD, show)


def show(shell, kind: type, error: Exception, trace: TracebackType, tb_offset: int | None = None) -> list[str] | None:
    """Show an error of this package in its own words, any other as Python does; ``%tb`` gives the rest."""
    sys.last_type, sys.last_value, sys.last_traceback = kind, error, trace
    if not is_ours(error, trace):
        return shell.showtraceback((kind, error, trace), tb_offset=tb_offset)
    lines = [str(error), "(%tb shows where this was noticed.)"]
    shell._showtraceback(kind, error, lines)  # as an error of the cell, which a runner stops at
    return lines


def is_ours(error: Exception, trace: TracebackType) -> bool:
    """Whether this package raised it, and not a library that it called."""
    *_, (innermost, _) = walk_tb(trace)
    return isinstance(error, StudyStopped) or innermost.f_code.co_filename.startswith(HERE)
