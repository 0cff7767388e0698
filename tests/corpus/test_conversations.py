"""A large corpus stays on disk, and reads and is split like the list of its conversations."""

import gc
import tracemalloc
import weakref

import numpy as np
import pytest
from conftest import make_conversation
from toy import ENGLISH

from realusersim_nb import files
from realusersim_nb.corpus import loading, shards, splits
from realusersim_nb.corpus.conversations import FIELDS, Conversations
from realusersim_nb.corpus.curation import find_new
from realusersim_nb.errors import InputError


def make_talks(n: int) -> list:
    """Conversations of several users, some of whom come back later and some of which continue another."""
    rng = np.random.default_rng(1)
    talks = [
        make_conversation(*ENGLISH[: 1 + i % 3], f"number {i}", user=f"u{rng.integers(n // 3)}", number=i)
        for i in range(n)
    ]
    return [talk.model_copy(update={"continues": i % 4 == 0}) for i, talk in enumerate(talks)]


def put_on_disk(talks: list, folder) -> Conversations:
    """The same conversations in two files."""
    paths = [
        files.write_lines(folder / f"{k}.jsonl", half) for k, half in enumerate((talks[::2], talks[1::2]))
    ]
    users = {talk.user_id: None for talk in talks}
    places = np.zeros(len(talks), FIELDS)
    places["start"][::2], places["start"][1::2] = map(files.find_lines, paths)
    places["file"][1::2] = 1
    places["user"] = [list(users).index(talk.user_id) for talk in talks]
    places["continues"] = [talk.continues for talk in talks]
    places["n"] = [len(talk.user_messages) for talk in talks]
    return Conversations(paths, places, np.array(list(users), dtype=object))


def test_conversations_on_disk_read_like_their_list(tmp_path):
    talks = make_talks(600)
    on_disk = put_on_disk(talks, tmp_path)
    assert list(on_disk) == talks == list(on_disk) and len(on_disk) == 600
    assert on_disk[7] == talks[7] and on_disk[-1] == talks[-1] and list(on_disk[3:9:2]) == talks[3:9:2]
    with pytest.raises(IndexError):
        on_disk[600]


def test_users_are_drawn_split_and_held_out_as_of_a_list(tmp_path):
    talks = make_talks(200)
    on_disk = put_on_disk(talks, tmp_path)
    same = [
        lambda some: [splits.draw_users(some, 20, seed=3)],
        lambda some: splits.split_users(some, seed=3),
        lambda some: splits.hold_out(splits.draw_users(some, 30, seed=1), seed=3),
        lambda some: splits.hold_out(some, seed=3, most=5),
        lambda some: splits.group_by_user(some).values(),
    ]
    for split in same:
        assert [list(side) for side in split(on_disk)] == [list(side) for side in split(talks)]
    groups = splits.group_by_user(on_disk)
    assert list(groups) == list(splits.group_by_user(talks)) and "nobody" not in groups


def test_a_corpus_on_disk_is_not_held_in_memory(tmp_path):
    long = [make_conversation("word " * 2000, user=str(i), number=i) for i in range(2000)]  # 20 MB
    on_disk = put_on_disk(long, tmp_path)
    first = weakref.ref(on_disk[0])
    gc.collect()
    assert first() is None
    del long
    tracemalloc.start()
    profiled, held_out = splits.hold_out(on_disk, seed=1)
    n = sum(len(talk.user_messages) for side in (profiled, held_out) for talk in side)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert n == 2000 and peak < 10e6


def test_curated_shards_are_counted_without_reading_a_conversation(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(shards, "SMALL", 0)
    talks = make_talks(60)
    files.write_lines(
        tmp_path / "c.jsonl",
        (
            {"id": t.conversation_id, "user_id": t.user_id, "messages": [m.model_dump() for m in t.messages]}
            for t in talks
        ),
    )
    monkeypatch.setattr(Conversations, "read_lines", lambda *_: 1 / 0)
    corpus = loading.load_corpus(
        str(tmp_path / "c.jsonl"), skip_steps=["no near-duplicate", "3+ user turns"], workers=1
    )
    left = corpus.funnel.set_index("step").loc["private data masked"]
    assert left["conversations"] == len(corpus.conversations) > 40 and left["users"] == corpus.n_users


def test_bands_are_compared_in_order_and_only_with_what_is_kept():
    bands = np.arange(40).reshape(5, 8)
    bands[1, 3] = bands[0, 3]  # like the first
    bands[2, 5] = bands[1, 5]  # like the second, which is dropped
    bands[4, 0] = bands[2, 0]
    bands[3, 0] = bands[0, 1]  # another band
    assert find_new(bands).tolist() == [True, False, True, True, False]


def test_digest_changes_with_the_packages_that_decide(monkeypatch):
    first = shards.digest_curation([], [])
    monkeypatch.setattr(shards, "version", lambda name: "0")
    assert shards.digest_curation([], []) != first


def test_held_out_of_the_same_day_or_of_another():
    days = {"u": ["2023-04-09", "2023-04-09", "2023-04-10"], "v": ["2023-04-09", "2023-04-10", "2023-04-10"]}
    talks = [
        make_conversation("a", user=user, number=n).model_copy(update={"day": day})
        for user, of_user in days.items()
        for n, day in enumerate(of_user)
    ]
    for session in ("same", "cross"):
        for seed in range(5):
            profiled, held_out = splits.hold_out(talks, seed=seed, session=session)
            assert len(held_out) == 2
            for talk in held_out:
                known = {c.day for c in profiled if c.user_id == talk.user_id}
                assert known and (known == {talk.day}) == (session == "same") and len(known) == 1
    with pytest.raises(InputError, match="no conversation says its day"):
        splits.hold_out([make_conversation("a", number=n) for n in (0, 1)], seed=0, session="cross")
