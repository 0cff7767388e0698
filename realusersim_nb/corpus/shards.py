"""Curation of a large corpus in shards, by several processes or machines, each shard once.

Each result is written whole, so an interrupted curation continues; memory holds counts and signatures only.
"""

import hashlib
import json
import os
import re
from collections.abc import Collection, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from functools import partial
from itertools import compress
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from realusersim_nb import files, records, text
from realusersim_nb.corpus.curation import Funnel, hash_text
from realusersim_nb.corpus.sources import Shard, read_shard
from realusersim_nb.parallel.bars import show_bar
from realusersim_nb.parallel.batches import open_pool
from realusersim_nb.records import Conversation

SMALL = 20_000_000  # bytes; less is curated at once, in memory


def digest_curation(shards: list[Shard], skip_steps: Collection[str]) -> str:
    """12 hex digits that change with whatever decides the result: the source, the steps, their code."""
    modules = [*sorted(Path(__file__).parent.glob("*.py")), Path(text.__file__), Path(records.__file__)]
    decisive = [[list(map(str, shard)) for shard in shards], sorted(skip_steps)]
    code = b"".join(module.read_bytes() for module in modules)
    return hashlib.sha256(json.dumps(decisive).encode() + code).hexdigest()[:12]


def curate_shards(
    corpus: str, shards: list[Shard], *, skip_steps: Collection[str] = (), workers: int | None = None
) -> tuple[Iterator[Conversation], Funnel]:
    """The conversations that are left, one by one, and the funnel.

    In ``outputs/corpora/<corpus and digest>``, by a scheduler's workers (``batches``) or so many processes.
    """
    name = re.sub(r"\W+", "-", Path(corpus).name)[:40] + "-" + digest_curation(shards, skip_steps)
    folder = files.outputs_folder() / "corpora" / name
    folder.mkdir(parents=True, exist_ok=True)
    files.download(folder)
    todo = [item for item in enumerate(shards) if not (folder / f"{item[0]:05}.npz").exists()]
    work = partial(curate_shard, name=name, skip_steps=tuple(skip_steps))
    if todo:
        n, spawn = min(workers or os.cpu_count() or 1, len(todo)), get_context("spawn")
        with ProcessPoolExecutor(n, mp_context=spawn) if n > 1 else nullcontext() as processes:
            pool = open_pool() or processes
            results = pool.map(work, todo) if pool else map(work, todo)
            list(show_bar(results, "curating", len(todo), unit="shard"))
        files.download(folder)
    return merge_shards(folder, len(shards), skip_steps)


def curate_shard(numbered: tuple[int, Shard], *, name: str, skip_steps: tuple[str, ...]) -> None:
    """Curate one shard into ``NNNNN.jsonl``; its counts and signatures into ``NNNNN.npz``, written last.

    The folder is named without its path, which may be another one on the machine that does the work.
    """
    (number, shard), folder = numbered, files.outputs_folder() / "corpora" / name
    funnel, signatures, users = Funnel(skip_steps), [], []

    def take_all() -> Iterator[Conversation]:
        for conversation in filter(None, map(funnel.take, read_shard(shard))):
            signatures.append(funnel.sign(conversation))
            users.append(hash_text(conversation.user_id))
            yield conversation

    files.write_lines(folder / f"{number:05}.jsonl", take_all())
    counts = {"left": funnel.left, "changed": funnel.changed, "unreadable": funnel.unreadable}
    saved = {"signatures": np.array(signatures), "users": np.array(users, np.int64)}
    passed = np.array(list(funnel.users.items()), np.int64).reshape(-1, 2)
    with files.replace_whole(folder / f"{number:05}.npz") as temporary:
        np.savez(temporary, counts=json.dumps(counts), passed=passed, **saved)
    for kind in ("jsonl", "npz"):
        files.upload(folder / f"{number:05}.{kind}")


def merge_shards(folder: Path, n: int, skip_steps: Collection[str]) -> tuple[Iterator[Conversation], Funnel]:
    """Conversations of n shards, one by one, no near-duplicates; the funnel is whole at once (signatures)."""
    funnel, chosen = Funnel(skip_steps), []
    for number in range(n):
        with np.load(folder / f"{number:05}.npz") as saved:
            funnel.add(**json.loads(str(saved["counts"])), users=dict(saved["passed"].tolist()))
            pairs = zip(saved["signatures"], saved["users"].tolist(), strict=True)
            chosen.append([funnel.is_new(signature, user) for signature, user in pairs])
    return read_chosen(folder, chosen), funnel


def read_chosen(folder: Path, chosen: list[list[bool]]) -> Iterator[Conversation]:
    """The conversations of all shards that are chosen, in order."""
    for number, keep in enumerate(chosen):
        with (folder / f"{number:05}.jsonl").open(encoding="utf-8") as lines:
            yield from map(Conversation.model_validate_json, compress(lines, keep))
