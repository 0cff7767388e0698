"""How long the gap takes, and how much memory: from embeddings to divergences, as notebook 05 does it.

5,000 real and 5,000 simulated conversations, 1,024 dimensions, k = 500, 5 restarts, beside mauve-text on the
same embeddings with the same k, restarts, iterations and share of variance, where that is installed for this
benchmark alone (`pip install mauve-text faiss-cpu`; it is GPL, so that we do not install it). Then 24
simulators at once, for the memory. The embeddings are made up: 600 behaviours of unequal size, with the
spectrum that sentence embeddings have (variance falls as 1 over rank). `python benchmarks/bench_gap.py`
"""

import importlib.util
import resource
import subprocess
import sys
import time

import numpy as np

N, SIZE, K = 5000, 1024, 500
SIDES = {"gap": 1, "mauve": 1, "many": 24}  # how many simulators
SECONDS, MEGABYTES = 60, {"gap": 2000, "many": 4000}


def make_embeddings(n_systems: int) -> np.ndarray:
    """Real conversations, then each simulator's, which shows some behaviours more often, others never."""
    rng = np.random.default_rng(0)
    spread = (1 / np.sqrt(np.arange(1, SIZE + 1))).astype(np.float32)
    middles = rng.normal(size=(600, SIZE)).astype(np.float32) * spread
    embedded = np.empty(((n_systems + 1) * N, SIZE), dtype=np.float32)
    for number in range(n_systems + 1):
        shares = rng.gamma(0.5, size=600)
        behaviours = rng.choice(600, size=N, p=shares / shares.sum())
        noise = 0.7 * rng.normal(size=(N, SIZE)) * spread
        embedded[number * N : (number + 1) * N] = middles[behaviours] + noise
    return embedded


def measure_gap(embedded: np.ndarray, restarts: int) -> float:
    """The first simulator's JS by this package."""
    import pandas as pd

    from realusersim_nb.gap import divergence, embeddings, facets

    names = [facets.REAL, *(f"simulator {i}" for i in range(len(embedded) // N - 1))]
    index = pd.MultiIndex.from_product([names, map(str, range(N))], names=["system", "conversation_id"])
    users = pd.Series(index.get_level_values("conversation_id"), index)
    reduced = embeddings.reduce_dimensions(embedded)
    labels = pd.Series(divergence.cluster_embeddings(reduced, k=K, seed=0, restarts=restarts), index)
    return divergence.measure_gap(labels, users, k=K, seed=0)["js"].iloc[0]


def measure_mauve(embedded: np.ndarray) -> float:
    """MAUVE of the same embeddings (1 alike, 0 disjoint)."""
    import mauve

    settings = {"num_buckets": K, "kmeans_num_redo": 5, "kmeans_max_iter": 500, "kmeans_explained_var": 0.9}
    result = mauve.compute_mauve(p_features=embedded[:N], q_features=embedded[N:], verbose=False, **settings)
    return float(result.mauve)


def measure(side: str) -> tuple[float, float]:
    """Seconds and peak megabytes of one side, in its process."""
    done = subprocess.run([sys.executable, __file__, side], capture_output=True, text=True, check=True)
    seconds, megabytes = done.stdout.split()[-2:]
    return float(seconds), float(megabytes)


def main() -> None:
    """Print times, memory, limits and the ratio."""
    seconds, megabytes = measure("gap")
    print(f"{2 * N:,} conversations, {SIZE:,} dimensions, k = {K}, 5 restarts")
    print_limit("seconds", seconds, SECONDS)
    print_limit("megabytes", megabytes, MEGABYTES["gap"])
    if importlib.util.find_spec("mauve"):
        mauve_seconds, mauve_megabytes = measure("mauve")
        ratio = f"{seconds / mauve_seconds:8.2f}"
        print(f"  time / mauve-text        {ratio}   ({mauve_seconds:.1f} s, {mauve_megabytes:,.0f} MB)")
    else:
        print("  mauve-text is not installed: nothing to compare with")
    seconds, megabytes = measure("many")
    print(f"24 simulators and real users, {N:,} each, one restart: {seconds:.0f} s")
    print_limit("megabytes", megabytes, MEGABYTES["many"])


def print_limit(name: str, value: float, limit: float) -> None:
    """A line with a value and its limit."""
    print(f"  {name:24} {value:8,.1f}   <= {limit:,}  {'holds' if value <= limit else 'FAILS'}")


if __name__ == "__main__":
    if len(sys.argv) == 1:
        main()
    else:
        made = make_embeddings(SIDES[sys.argv[1]])
        started = time.perf_counter()
        if sys.argv[1] == "mauve":
            measure_mauve(made)
        else:
            measure_gap(made, restarts=5 if sys.argv[1] == "gap" else 1)
        print(time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000)
