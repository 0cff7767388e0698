"""Replies recorded from the embedded model, and the parameters of the small run that they are of.

They are recorded anew with REALUSERSIM_RECORD=1 (``make record``).
"""

import os
from pathlib import Path

from conftest import SAMPLE

from realusersim_nb.llm.cache import Cache

REPLIES = Path(__file__).with_name("replies.jsonl.gz")
RECORDING = os.environ.get("REALUSERSIM_RECORD") == "1"
MODE = "record" if RECORDING else "replay"
SMALL = {
    "corpus": str(SAMPLE),
    "n_cases": 2,
    "n_predicted": 3,
    "n_demonstrations": 2,
    "max_user_messages": 2,
    "n_tasks": 1,
    "max_steps": 8,
    "n_compared": 1,
    "llm_mode": MODE,
}


def lay_replies(folder: Path) -> None:
    """Put the recorded replies where a run in ``folder`` looks for them; none while they are recorded."""
    replies = Cache(folder / "outputs" / "replies.sqlite")
    if not RECORDING:
        replies.load(REPLIES)
