"""The commands, by what they are about."""

from realusersim_nb.runs.commands.corpora import curate, look
from realusersim_nb.runs.commands.models import cache_group, check
from realusersim_nb.runs.commands.smoke import smoke
from realusersim_nb.runs.commands.studies import make_report, run, sweep
from realusersim_nb.runs.commands.users import export_profiles, measure, serve

COMMANDS = [run, sweep, make_report, look, curate, check, cache_group, measure, export_profiles, serve, smoke]
__all__ = ["COMMANDS"]
