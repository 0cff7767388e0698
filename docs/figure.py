"""The figure of README.md (`make figure`).

The file holds a digest of its numbers and of the code that drew it; a test compares it with a new one.
"""

import hashlib
import inspect
from pathlib import Path

from realusersim_nb.corpus import loading, splits
from realusersim_nb.plots import profiles, theme
from realusersim_nb.profiles import reliability, style

PATH = Path(__file__).parent / "spread.png"
SEED = 1


def measure() -> tuple:
    """Habits of ShareGPT's users, and of users to whom its messages are assigned at random (notebook 02)."""
    profiled, _ = splits.hold_out(loading.load_corpus("sharegpt").conversations, seed=SEED)
    messages = style.measure_conversations(profiled)
    dealt = reliability.shuffle_users(messages, seed=SEED)
    return style.summarise_users(messages), style.summarise_users(dealt)


def digest(users, dealt) -> str:
    """sha256 over the numbers, rounded, and the code of the figure."""
    numbers = "".join(table.describe([0.1, 0.5, 0.9]).round(6).to_csv() for table in (users, dealt))
    return hashlib.sha256((numbers + inspect.getsource(profiles.plot_spread)).encode()).hexdigest()


if __name__ == "__main__":
    theme.set_style()
    users, dealt = measure()
    made_from = {"Made from": digest(users, dealt)}
    profiles.plot_spread(users, dealt).figure.savefig(PATH, dpi=110, metadata=made_from)
    print(PATH)
