"""What the measured judge can do at three messages a side: on all people of ShareGPT who have as many, and on draws
of 200 of them, as notebook 03 makes one.

python benchmarks/check_judge.py
"""

import pandas as pd

from realusersim_nb import pt3
from realusersim_nb.corpus import load_corpus

N_MESSAGES, N_USERS, DRAWS = 3, 200, 10


def main() -> None:
    """Print the AUC against a stranger by chance and the one nearest in topic."""
    people = load_corpus("sharegpt", skip_steps=["assistant is GPT-4o"]).conversations
    powers = [pt3.measure_power(people, counts=[N_MESSAGES], most=len(people), seed=0)]
    powers += [
        pt3.measure_power(people, counts=[N_MESSAGES], most=N_USERS, seed=seed) for seed in range(DRAWS)
    ]
    every, *drawn = [power.set_index("reader").loc["measured"] for power in powers]
    print(every.round(3).to_string())
    shown = pd.DataFrame(drawn)[["auc", "auc_topic"]].astype(float).describe().loc[["mean", "min", "max"]]
    print(f"{DRAWS} draws of {N_USERS}:\n{shown.round(3).to_string()}")


if __name__ == "__main__":
    main()
