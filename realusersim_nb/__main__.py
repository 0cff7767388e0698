"""The command line, ``python -m realusersim_nb COMMAND``: its commands are in ``runs.commands``."""

import errno
import sys

import click
from papermill import PapermillExecutionError

from realusersim_nb.errors import StudyError
from realusersim_nb.runs import notebooks
from realusersim_nb.runs.commands import COMMANDS
from realusersim_nb.text import guard_terminal, show_plainly


@guard_terminal()
def main(arguments: list[str] | None = None) -> int:
    """Parse the command line and run it; what a user can mend ends in one sentence, a defect in its trace."""
    try:
        return cli(arguments, prog_name="python -m realusersim_nb", standalone_mode=False) or 0
    except click.Abort:  # Ctrl-C
        return complain("stopped; run the same command again to go on from there.", 130)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except StudyError as error:
        return complain(str(error), 2)
    except PapermillExecutionError as error:
        if not notebooks.is_user_error(error):
            click.echo(click.unstyle("\n".join(error.traceback)), err=True)
        kept = "What was done is kept; fix that and run the same command again to go on from there."
        return complain(f"notebook stopped: {error.ename}: {error.evalue}\n{kept}", 1)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EACCES, errno.EPERM, errno.EROFS):  # others are defects
            raise
        return complain(f"{error}; fix that and run the same command again to go on.", 1)


def complain(problem: str, status: int) -> int:
    """Print what is wrong, and return the exit status."""
    click.echo(f"realusersim_nb: {show_plainly(problem)}", err=True)
    return status


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """Simulated users beside real ones: run the study's notebooks, and look after what they need."""


for command in COMMANDS:
    cli.add_command(command)

if __name__ == "__main__":
    sys.exit(main())
