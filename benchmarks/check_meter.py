"""How often `measure` claims a difference where there is none: between two halves of people of ShareGPT.

python benchmarks/check_meter.py [FIRST] [LAST]        trials FIRST to LAST, 0 to 99 unless given

A claim is any trait, facet, diversity or classifier with a corrected p below 0.05; five in a hundred are expected at
most. The interval of the AUC of people against people should hold the AUC of the halves.
"""

import sys
import time
from dataclasses import replace

import numpy as np

from realusersim_nb.gap.meter.measurement import ALPHA, compare_system
from realusersim_nb.gap.meter.sides import Side, read_people

N_USERS = 500  # a side


def draw_halves(people: Side, *, seed: int) -> tuple[Side, Side]:
    """Conversations of some people, and of as many others under the name of a system."""
    users = np.random.default_rng(seed).permutation(np.unique(people.users))[: 2 * N_USERS]
    one, other = (
        people.take(np.flatnonzero(np.isin(people.users, half)))
        for half in (users[:N_USERS], users[N_USERS:])
    )
    return one, replace(other, name="other people")


def main(first: int = 0, last: int = 99) -> None:
    """Print a line a trial: its claims, and how many trials of those so far have one."""
    people, n_claimed, n_within = read_people(), 0, 0
    for n, seed in enumerate(range(first, last + 1), 1):
        begin = time.perf_counter()
        compared = compare_system(*draw_halves(people, seed=seed), seed=seed)
        tested = {"trait": compared.traits, "facet": compared.facets}
        claims = [row for name, table in tested.items() for row in table[name][table["p_holm"] < ALPHA]]
        claims += ["diversity"] if compared.diversity["p_holm"] < ALPHA else []
        probed = compared.probed
        claims += ["classifier"] if probed.p_holm < ALPHA else []
        n_claimed += bool(claims)
        n_within += probed.people_low <= probed.auc <= probed.people_high
        so_far = f"{n_claimed} of {n} with a claim, AUC within in {n_within}"
        print(f"trial {seed}: {claims or 'none'}; {so_far}; {time.perf_counter() - begin:.0f} s", flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
