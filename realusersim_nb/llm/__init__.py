"""The one way to call a model: cached, counted, within the budget and the rate limits of its endpoint."""

from realusersim_nb.llm.errors import CallFailed, Outcome, list_results
from realusersim_nb.llm.local_server import is_installed
from realusersim_nb.llm.models import Models
from realusersim_nb.llm.replies import ToolCall, ToolReply

__all__ = ["CallFailed", "Models", "Outcome", "ToolCall", "ToolReply", "is_installed", "list_results"]
