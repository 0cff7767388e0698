"""TODO."""

import hashlib
import inspect
import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from realusersim_nb import files
from realusersim_nb.corpus import columns, pii, sources
from realusersim_nb.corpus.curation import DUPLICATES, Funnel, hash_text
from realusersim_nb.corpus.near_duplicates import NearDuplicates, compute_signature
from realusersim_nb.corpus.sources import Shard, read_shard
from realusersim_nb.files import outputs_folder, replace_whole, write_lines
from realusersim_nb.parallel import batches
from realusersim_nb.parallel.bars import show_bar
from realusersim_nb.records import Conversation

SMALL = 20_000_000  # bytes; less is curated at once, in memory


# --- in shards ---------------------------------------------------------------------------------


def curate_shards(
    corpus: str, shards: list[Shard], *, skip_steps: Iterable[str] = (), workers: int | None = None
) -> tuple[Iterator[Conversation], Funnel]:
    """The same for a corpus in shards, by several processes or other machines (``batches``); conversations come as an iterator.

    What each shard leaves lies in ``outputs/corpora/<digest of source, steps and code>``, so that
    neither a second run nor one after an interruption does it again.
    """
    folder = outputs_folder() / "corpora" / describe_curation(corpus, shards, skip_steps)
    folder.mkdir(parents=True, exist_ok=True)
    files.download(folder)
    todo = [
        (number, shard) for number, shard in enumerate(shards) if not (folder / f"{number:05}.npz").exists()
    ]
    work = partial(curate_shard, folder=folder, skip_steps=tuple(skip_steps))
    if todo:
        with open_processes(min(workers or os.cpu_count() or 1, len(todo))) as here:
            pool = batches.open_pool() or here
            for _ in show_bar(
                pool.map(work, todo) if pool else map(work, todo), "curating", len(todo), unit="shard"
            ):
                pass
        files.download(folder)
    return merge_shards(folder, len(shards), skip_steps)


def open_processes(n: int) -> AbstractContextManager[Executor | None]:
    """So many processes, which start when they are given work; None if one would do."""
    return ProcessPoolExecutor(n, mp_context=get_context("spawn")) if n > 1 else nullcontext()


def describe_curation(corpus: str, shards: list[Shard], skip_steps: Iterable[str]) -> str:
    """A folder name that changes with whatever decides the result: the source, the steps, their code."""
    code = "".join(
        inspect.getsource(module) for module in (inspect.getmodule(describe_curation), sources, columns, pii)
    )
    decisive = json.dumps([[list(map(str, shard)) for shard in shards], sorted(skip_steps), code])
    name = re.sub(r"\W+", "-", Path(corpus).name)[:40]
    return f"{name}-{hashlib.sha256(decisive.encode()).hexdigest()[:12]}"


def curate_shard(numbered: tuple[int, Shard], *, folder: Path, skip_steps: tuple[str, ...]) -> None:
    """Curate one shard into ``NNNNN.jsonl``, and its counts and signatures into ``NNNNN.npz``, written last."""
    number, shard = numbered
    funnel, signatures, owners = Funnel(skip_steps), [], []

    def take_all() -> Iterator[Conversation]:
        for row in read_shard(shard):
            conversation = funnel.take(row)
            if conversation is not None:
                signatures.append(compute_signature(conversation) if DUPLICATES in funnel.counts else ())
                owners.append(hash_text(conversation.user_id))
                yield conversation

    write_lines(folder / f"{number:05}.jsonl", take_all())
    users = np.array(list(funnel.users.items()), dtype=np.int64).reshape(-1, 2)
    about = json.dumps({"counts": funnel.counts, "unreadable": funnel.unreadable})
    saved = {
        "users": users,
        "signatures": np.array(signatures),
        "owners": np.array(owners, np.int64),
        "about": about,
    }
    with replace_whole(folder / f"{number:05}.npz") as temporary:
        np.savez(temporary, **saved)
    for kind in ("jsonl", "npz"):
        files.upload(folder / f"{number:05}.{kind}")


def merge_shards(
    folder: Path, n_shards: int, skip_steps: Iterable[str]
) -> tuple[Iterator[Conversation], Funnel]:
    """Put shards together: the conversations that are left, one by one, and the whole funnel.

    The funnel is whole at once, since near-duplicates are told by the signatures alone.
    """
    funnel, known, chosen = Funnel(skip_steps), NearDuplicates(), []
    for number in range(n_shards):
        with np.load(folder / f"{number:05}.npz") as saved:
            about, part = json.loads(str(saved["about"])), Funnel(skip_steps)
            part.counts, part.unreadable = about["counts"], Counter(about["unreadable"])
            part.users = dict(saved["users"].tolist())
            signatures, owners = saved["signatures"], saved["owners"].tolist()
        funnel.add(part)
        unique = DUPLICATES in funnel.counts
        chosen.append([not unique or known.is_new(signature) for signature in signatures])
        for owner, kept in zip(owners, chosen[-1], strict=True):
            if unique and kept:
                funnel.note_unique(owner)
    return read_chosen(folder, chosen), funnel


def read_chosen(folder: Path, chosen: list[list[bool]]) -> Iterator[Conversation]:
    """The conversations of all shards that are chosen, in order."""
    for number, keep in enumerate(chosen):
        with (folder / f"{number:05}.jsonl").open(encoding="utf-8") as lines:
            for line, kept in zip(lines, keep, strict=True):
                if kept:
                    yield Conversation.model_validate_json(line)
