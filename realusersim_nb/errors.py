"""Errors that a user can mend, and how a notebook shows them: as one sentence, without a stack trace.

The text of a ``StudyError`` names what, which item, what was expected and what to do. Any other exception
is a defect of the package or of a library, and keeps its trace.
"""

import sys
from types import TracebackType

from IPython import get_ipython

HINT = "(%tb shows where this was raised.)"


class StudyError(Exception):
    """Base of everything that a user can mend (a wrong key, a missing file, a damaged cache)."""


class InputError(StudyError, ValueError):
    """A parameter, a file or a corpus that cannot be used as it is."""


class MissingFileError(StudyError, FileNotFoundError):
    """A file, folder or hub corpus that is not there."""


class MissingExtraError(StudyError, ImportError):
    """A package that is not installed; ``extra`` is the optional dependency that brings it."""

    def __init__(self, package: str, *, extra: str):
        super().__init__(f"{package} is not installed: run `pip install 'realusersim_nb[{extra}]'`.")


def show_as_sentences() -> None:
    """From now on this notebook shows a ``StudyError`` as its sentence; the cell fails as before."""
    if shell := get_ipython():
        shell.set_custom_exc((StudyError,), show_error)


def show_error(
    shell, kind: type, error: Exception, trace: TracebackType, tb_offset: int | None = None
) -> list[str]:
    """Show the sentence and a hint in place of the stack trace, which ``%tb`` still gives."""
    sys.last_type, sys.last_value, sys.last_traceback = kind, error, trace
    lines = [str(error), HINT]
    shell._showtraceback(kind, error, lines)  # as an error of the cell, so that a headless run stops
    return lines
