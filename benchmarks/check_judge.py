"""What the measured judge can do at three messages a side: on all people of ShareGPT who have as many, on draws of
200 of them, and on draws of 200 who have eight, as notebook 03 makes one.

python benchmarks/check_judge.py
"""

import pandas as pd

from realusersim_nb import pt3
from realusersim_nb.corpus import load_corpus
from realusersim_nb.records import Conversation

N_MESSAGES, N_USERS, DRAWS = 3, 200, 10


def examine(people: list[Conversation], *, least: int, most: int, seed: int) -> pd.Series:
    """The judge's AUCs at three messages, on people who have at least so many a side."""
    power = pt3.measure_power(people, counts=sorted({N_MESSAGES, least}), most=most, seed=seed)
    return power.set_index(["reader", "n_messages"]).loc[("measured", N_MESSAGES)]


def main() -> None:
    """Print the AUC against a stranger by chance and the one nearest in topic."""
    people = load_corpus("sharegpt", skip_steps=["assistant is GPT-4o"]).conversations
    print(examine(people, least=N_MESSAGES, most=len(people), seed=0).round(3).to_string())
    for least in (N_MESSAGES, 8):
        drawn = [examine(people, least=least, most=N_USERS, seed=seed) for seed in range(DRAWS)]
        aucs = pd.DataFrame(drawn)[["auc", "auc_topic"]].astype(float).agg(["mean", "min", "max"])
        print(f"{DRAWS} draws of {N_USERS} with {least} messages a side:\n{aucs.round(3).to_string()}")


if __name__ == "__main__":
    main()
