"""How long the gap takes, and how much memory: from embeddings to divergences, as notebook 05 does it.

5,000 real and 5,000 simulated conversations, 1,024 dimensions, k = 500, 5 restarts, beside mauve-text on the
same embeddings with the same k, restarts, iterations and share of variance. It is GPL, so that this package
never installs nor imports it: `make bench` gives it an environment of its own (.venv-mauve). Compared are the
clustering alone (PCA and k-means on both sides), all of it (ours with 200 draws of floor and of interval), and
both packages' MAUVE and frontier integral of the same histograms. Then 24 simulators, for the memory. The
embeddings are made up: 600 behaviours of unequal size, with the spectrum that sentence embeddings have (variance
falls as 1 over rank). `python benchmarks/bench_gap.py`
"""

import importlib
import importlib.util
import json
import os
import resource
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np

N, SIZE, K = 5000, 1024, 500
ROOT = Path(__file__).parents[1]
ROUNDS = 3
RATIOS = {"clusters": 1.0, "gap": 1.5}  # of our time to that of mauve-text
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

    from realusersim_nb.gap import divergence, facets

    names = [facets.REAL, *(f"simulator {i}" for i in range(len(embedded) // N - 1))]
    index = pd.MultiIndex.from_product([names, map(str, range(N))], names=["system", "conversation_id"])
    users = pd.Series(index.get_level_values("conversation_id"), index)
    clusterer = partial(divergence.cluster_embeddings, restarts=restarts)
    pairs = divergence.cluster_pairs(embedded, index, k=K, seed=0, clusterer=clusterer)
    return divergence.measure_gap(pairs, users, k=K, seed=0)["js"].iloc[0]


def import_first(side: str) -> None:
    """Import what a side needs, so that its time is not that of imports."""
    if side.startswith("mauve"):
        import mauve  # noqa: F401
    elif side != "values":
        import pandas  # noqa: F401

        from realusersim_nb.gap import divergence, embeddings  # noqa: F401


def cluster(embedded: np.ndarray) -> None:
    """The clusters of this package alone, of five restarts."""
    from realusersim_nb.gap import divergence, embeddings

    divergence.cluster_embeddings(embeddings.reduce_dimensions(embedded), k=K, seed=0)


def measure_mauve(embedded: np.ndarray) -> None:
    """MAUVE by its own package."""
    import mauve

    settings = {"num_buckets": K, "kmeans_num_redo": 5, "kmeans_max_iter": 500, "kmeans_explained_var": 0.9}
    mauve.compute_mauve(p_features=embedded[:N], q_features=embedded[N:], verbose=False, **settings)


def cluster_by_mauve(embedded: np.ndarray) -> list[np.ndarray]:
    """The histograms of that package, real and simulated, by its clusters alone."""
    from mauve.compute_mauve import cluster_feats

    return list(cluster_feats(embedded[:N], embedded[N:], K, norm="l2", whiten=False)[:2])


def compare_values() -> dict[str, list[float]]:
    """MAUVE and frontier integral by both packages, of the same histograms; theirs first."""
    peer = importlib.import_module("mauve.compute_mauve")  # a function of this name hides the module

    rng = np.random.default_rng(0)
    p, q = rng.dirichlet(np.full(K, 0.3), size=2)
    p, q = (np.where(side < 1e-4, 0, side) / side[side >= 1e-4].sum() for side in (p, q))
    weights = np.linspace(1e-6, 1 - 1e-6, 25)
    curve = peer.get_divergence_curve_for_multinomials(p, q, weights, 5)
    x, y = curve.T
    order, other = np.argsort(x), np.argsort(y)
    area = (np.trapezoid(y[order], x[order]) + np.trapezoid(x[other], y[other])) / 2
    return {
        "shares": [p.tolist(), q.tolist()],
        "values": [float(area), float(peer.get_fronter_integral(p, q))],
    }


def find_peer() -> str | None:
    """The interpreter that has mauve-text: that of its own environment, or this one."""
    made = ROOT / ".venv-mauve" / "bin" / "python"
    return str(made) if made.exists() else sys.executable if importlib.util.find_spec("mauve") else None


def measure(side: str, python: str = sys.executable) -> dict:
    """Seconds and peak megabytes of one side, in its process."""
    done = subprocess.run([python, __file__, side], capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Print times, memory, limits and the ratios."""
    print(f"{2 * N:,} conversations, {SIZE:,} dimensions, k = {K}, 5 restarts; load {os.getloadavg()[0]:.1f}")
    peer, times = find_peer(), {"clusters": [], "gap": []}
    for _ in range(ROUNDS if peer else 1):  # in turn, so that other work on the machine meets both
        for ours, theirs in (("clusters", "mauve-clusters"), ("gap", "mauve")):
            times[ours].append((measure(ours), measure(theirs, peer) if peer else {}))
    best = {name: min(ours["seconds"] for ours, _ in rounds) for name, rounds in times.items()}
    print_limit("seconds", best["gap"], SECONDS)
    print_limit("megabytes", max(ours["megabytes"] for ours, _ in times["gap"]), MEGABYTES["gap"])
    for name, limit in RATIOS.items() if peer else ():
        print_limit(f"{name} / mauve-text", best[name] / min(t["seconds"] for _, t in times[name]), limit)
        for what in ("seconds", "cpu"):  # of all threads: the fairer one where a machine has other work
            pairs = ", ".join(f"{o[what]:.1f} / {t[what]:.1f}" for o, t in times[name])
            print(f"    {what}, ours / theirs: {pairs}")
    print_values(peer) if peer else print("  mauve-text is not installed: `make .venv-mauve` installs it")
    many = measure("many")
    print(f"24 simulators and real users, {N:,} each, one restart: {many['seconds']:.0f} s")
    print_limit("megabytes", many["megabytes"], MEGABYTES["many"])


def print_values(peer: str) -> None:
    """The largest difference of both packages' figures."""
    from realusersim_nb.gap import metrics

    theirs = measure("values", peer)
    ours = metrics.compute_frontier(*map(np.array, theirs["shares"]))
    differences = [abs(a - b) for a, b in zip(ours.values(), theirs["values"], strict=True)]
    print_limit("MAUVE, integral differ by", max(differences), 1e-6, form="8.1e")


def print_limit(name: str, value: float, limit: float, *, form: str = "8,.2f") -> None:
    """A line with a value and its limit."""
    print(f"  {name:26} {value:{form}}   <= {limit:,}  {'holds' if value <= limit else 'FAILS'}")


ACTIONS = {
    "gap": lambda e: measure_gap(e, restarts=5),
    "many": lambda e: measure_gap(e, restarts=1),
    "clusters": cluster,
    "mauve": measure_mauve,
    "mauve-clusters": cluster_by_mauve,
    "values": lambda e: compare_values(),
}

if __name__ == "__main__":
    if len(sys.argv) == 1:
        main()
    else:
        side = sys.argv[1]
        made = make_embeddings(24 if side == "many" else 1) if side != "values" else None
        import_first(side)
        started, worked = time.perf_counter(), time.process_time()
        result = ACTIONS[side](made)
        times = {"seconds": time.perf_counter() - started, "cpu": time.process_time() - worked}
        result = result if side == "values" else times
        megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
        print(json.dumps(result | {"megabytes": megabytes}))
