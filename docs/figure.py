"""The figure of README.md (`make figure`).

The file holds a digest of its numbers and of the code that drew it; a test compares it with a new one.
"""

import hashlib
import inspect
from pathlib import Path

from realusersim_nb.corpus import loading
from realusersim_nb.plots import profiles, theme
from realusersim_nb.profiles import reliability

PATH = Path(__file__).parent / "holding.png"
SEED = 1


def measure() -> tuple:
    """How far commands hold in conversations that no profile has seen, as they are and without copies (notebook 02)."""
    conversations = loading.load_corpus("sharegpt").conversations
    known, unseen, copied = reliability.measure_sides(conversations, seed=SEED)
    holding = (reliability.measure_holding(known, side) for side in (unseen, unseen[~copied]))
    return tuple(reliability.tabulate_holding(table, seed=SEED) for table in holding)


def digest(holding, fresh) -> str:
    """sha256 over the numbers, rounded, and the code of the figure."""
    numbers = "".join(table.round(6).to_csv() for table in (holding, fresh))
    return hashlib.sha256((numbers + inspect.getsource(profiles.plot_holding)).encode()).hexdigest()


if __name__ == "__main__":
    theme.set_style()
    holding, fresh = measure()
    made_from = {"Made from": digest(holding, fresh)}
    profiles.plot_holding(holding, fresh).figure.savefig(PATH, dpi=110, metadata=made_from)
    print(holding.round(3), fresh.round(3), PATH, sep="\n")
