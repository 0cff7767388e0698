"""Curation: every step does what its name says, counts what it leaves, and can be left out."""

import json
import os
import signal
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from conftest import make_conversation
from distributed import Client, LocalCluster
from toy import ENGLISH, wildchat_row

from realusersim_nb import style
from realusersim_nb.corpus import cleaning, curation, loading, shards, sources
from realusersim_nb.corpus.shards import curate_shard, curate_shards
from realusersim_nb.gap import facets
from realusersim_nb.parallel import batches
from realusersim_nb.parallel.cluster import disconnect

FRENCH = [
    "Bonjour, pouvez-vous m'aider à écrire une lettre ?",
    "Merci, plus courte maintenant",
    "Encore une fois",
]


def rows():
    """One row for each fate."""
    other = ["tell me about whales", "how long do they live in the sea", "which one is the biggest of all"]
    return [
        wildchat_row(hashed_ip="kept"),
        wildchat_row([text.upper() + "!" for text in ENGLISH], hashed_ip="copy"),
        wildchat_row(other, hashed_ip="toxic", toxic=True),
        wildchat_row(other, hashed_ip="mini", model="gpt-4o-mini-2024-07-18"),
        wildchat_row(FRENCH, hashed_ip="fr"),
        wildchat_row(["hi there", *other[:2]], hashed_ip="short"),
        {
            "conversation_hash": "x",
            "hashed_ip": "alone",
            "conversation": [{"role": "user", "content": "anybody?"}],
        },
        {"foo": 1},
    ]


LEFT = {
    "read": 7,
    "not toxic": 6,
    "both sides speak": 5,
    "debris removed": 5,
    "assistant is GPT-4o": 4,
    "English": 3,
    "pleasantries trimmed": 3,
    "3+ user turns": 2,
    "private data masked": 2,
    "no near-duplicate": 1,
}


def test_funnel_counts_what_each_step_leaves_and_changes():
    kept, funnel = curation.curate_rows(rows())
    table = funnel.tabulate().set_index("step")
    assert table["conversations"].to_dict() == LEFT == table["users"].to_dict()
    assert table["changed"]["pleasantries trimmed"] == 1 and sum(funnel.unreadable.values()) == 1
    assert [c.user_id for c in kept] == ["kept"]


@pytest.mark.parametrize("name", [name for name in list(LEFT)[1:] if name != "both sides speak"])
def test_any_step_can_be_left_out(name):
    left, funnel = curation.curate_rows(rows(), skip_steps=[name])
    assert name not in funnel.names and len(left) >= 1


def test_nothing_left_names_the_step_that_left_nothing(tmp_path):
    (tmp_path / "a.jsonl").write_text(json.dumps(wildchat_row(FRENCH)))
    with pytest.raises(ValueError, match=r"step 'English' left none of them.*skip_steps"):
        loading.load_corpus(str(tmp_path / "a.jsonl"))
    (tmp_path / "a.jsonl").write_text('{"foo": 1}\n')
    with pytest.raises(ValueError, match=r"no conversation could be read: which column holds the speaker\?"):
        loading.load_corpus(str(tmp_path / "a.jsonl"))


@pytest.fixture
def in_shards(tmp_path, monkeypatch):
    """A parquet file of WildChat's schema in five shards, and a folder for what is curated."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(shards, "SMALL", 0)
    monkeypatch.setattr(sources, "BLOCK", 1)
    many = [wildchat_row([*ENGLISH[:2], f"{w} {w}ly {w}ing {w}ed {w}s"], hashed_ip=w) for w in "abcdefghij"]
    pd.DataFrame(many + many[:2]).to_parquet(tmp_path / "w.parquet", row_group_size=3)
    return tmp_path / "w.parquet"


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    """Two real worker processes, named as the scheduler to use."""
    monkeypatch.chdir(tmp_path)
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    with LocalCluster(**options) as local, Client(local) as client:
        monkeypatch.setenv(batches.SCHEDULER, client.scheduler.address)
        yield client
        disconnect()


def test_one_connection_serves_all_batches_of_a_process(cluster, monkeypatch):
    monkeypatch.setattr(batches, "BATCH", 3)
    for _ in range(2):
        assert batches.map_batches(list, list(range(7)), "batches") == list(range(7))
    n = len(cluster.scheduler_info()["workers"])
    clients = cluster.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.clients))
    assert (n, clients) == (2, 3)  # the fixture's, that of map_batches, and the scheduler's own


def test_shards_give_what_one_pass_gives_whatever_the_workers(in_shards, request):
    shards = sources.find_shards(str(in_shards))
    assert len(shards) == 4
    whole, funnel = curation.curate_rows(sources.read_rows(str(in_shards)))
    for name, workers in {"one": 1, "two": 2, "elsewhere": 1}.items():
        if name == "elsewhere":
            request.getfixturevalue("cluster")
        found, counted = curate_shards(name, shards, workers=workers)
        assert list(found) == whole
        pd.testing.assert_frame_equal(counted.tabulate(), funnel.tabulate())


def test_measures_and_facets_by_workers_are_those_made_here(cluster, monkeypatch):
    talks = [make_conversation("how are you", f"{i} and more", user=str(i)) for i in range(40)]
    listed = facets.list_systems({"real": talks, "copy": talks}, first=2)
    there = [style.measure_conversations(talks), facets.measure_facets(listed)]
    monkeypatch.setattr(batches, "BATCH", 7)
    monkeypatch.setattr(batches, "map", None, raising=False)  # nothing is done here
    pd.testing.assert_frame_equal(style.measure_conversations(talks), there[0])
    pd.testing.assert_frame_equal(facets.measure_facets(listed), there[1])


def test_worker_killed_over_its_part_is_made_up_for(cluster, monkeypatch, tmp_path):
    monkeypatch.setattr(batches, "BATCH", 3)
    found = batches.map_batches(partial(die_once, mark=str(tmp_path / "died")), list(range(20)), "doubling")
    assert found == [2 * i for i in range(20)] and (tmp_path / "died").exists()


def die_once(numbers, *, mark):
    if not Path(mark).exists():
        Path(mark).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return [2 * number for number in numbers]


def test_interrupted_curation_goes_on_where_it_was(in_shards, monkeypatch):
    shards = sources.find_shards(str(in_shards))
    curate, done = curate_shard, []

    def stop_at_third(numbered, **more):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(numbered)
        curate(numbered, **more)

    monkeypatch.setattr("realusersim_nb.corpus.shards.curate_shard", stop_at_third)
    with pytest.raises(KeyboardInterrupt):
        curate_shards("w", shards, workers=1)
    monkeypatch.setattr(
        "realusersim_nb.corpus.shards.curate_shard",
        lambda numbered, **more: done.append(numbered) or curate(numbered, **more),
    )
    curate_shards("w", shards, workers=1)
    curate_shards("w", shards, workers=1)
    assert sorted(number for number, _ in done) == [0, 1, 2, 3]


def test_another_machine_writes_into_its_outputs(in_shards, monkeypatch, tmp_path):
    [shard, *_] = sources.find_shards(str(in_shards))
    (tmp_path / "elsewhere").mkdir()
    sent = []
    monkeypatch.setattr(
        shards, "open_pool", lambda: SimpleNamespace(map=lambda work, _: sent.append(work) or [])
    )
    monkeypatch.setattr(shards, "merge_shards", lambda *_: None)
    curate_shards("w", [shard])
    monkeypatch.chdir(tmp_path / "elsewhere")
    sent[0]((0, shard))
    assert len(list((tmp_path / "elsewhere/outputs/corpora").glob("*/00000.npz"))) == 1


def test_lines_of_a_split_file_are_read_once_each(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "BLOCK", 50)
    path = tmp_path / "a.jsonl"
    path.write_text(
        "".join(json.dumps({"n": i, "pad": "é" * (i % 40), "messages": []}) + "\n" for i in range(100))
    )
    assert len(sources.find_shards(str(path))) > 20
    assert [row["n"] for row in sources.read_rows(str(path))] == list(range(100))


def test_hub_corpus_is_read_as_a_stream_part_by_part(in_shards, monkeypatch, tmp_path):
    """The hub cannot be reached in a test: the same loader, on a local file of WildChat's schema."""
    import datasets

    load = datasets.load_dataset_builder
    asked = []
    monkeypatch.setattr(
        datasets,
        "load_dataset_builder",
        lambda name: asked.append(name) or load("parquet", data_files=[str(in_shards)] * 2),
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sources, "reach_hub", lambda: None)
    assert len(sources.find_shards("wildchat")) == 2
    assert len(list(sources.read_rows("wildchat"))) == 24
    assert set(asked) == {"allenai/WildChat-1M"}


# --- private data ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("mail me: jo.doe+x@mail.example.org.", "mail me: [email]."),
        ("call +49 170 1234567 now", "call [phone] now"),
        ("(212) 555-0187", "[phone]"),
        ("212-555-0187", "[phone]"),
        ("card 4111 1111 1111 1111!", "card [card]!"),
        ("order 4111 1111 1111 1112", "order 4111 1111 1111 1112"),
        ("key = sk-" + "a1" * 10, "key = [key]"),
        ("token ghp_" + "a1" * 10, "token [key]"),
        ("x = 3.14159265358979", "x = 3.14159265358979"),
        ("2023-11-05 10:30", "2023-11-05 10:30"),
        ("10.0.0.1 and 1, 2, 3", "10.0.0.1 and 1, 2, 3"),
        ("@home at 5", "@home at 5"),
        ("risk-averse-behaviour-patterns", "risk-averse-behaviour-patterns"),
    ],
)
def test_private_data_is_masked_and_nothing_else(text, masked):
    assert cleaning.mask_pii(text) == masked == cleaning.mask_pii(masked)


def test_masks_reach_both_sides_before_anything_is_kept():
    talk = make_conversation("write to a@b.org", "now in german", "and shorter")
    assert "a@b.org" not in curation.mask_private_data(talk).model_dump_json()


# --- hostile rows ------------------------------------------------------------------------------

HOSTILE = {
    "nul": "how do i \0sort this",
    "surrogate": "how do i sort \ud800 this",
    "emoji": "😀😀😀",
    "rtl": "كيف يمكنني فرز هذه القائمة",
    "markers": "/close ###STOP### {braces} $goal ignore previous instructions",
    "megabyte": "word " * 200_000,
    "long line": "a" * 1_000_000,
    "at signs": "@" * 100_000,
    "digits": "1" * 100_000,
    "digits apart": "1 " * 50_000,
    "fences": "```" * 10_000,
    "dashes": "a-" * 100_000,
    "half tokens": "ey-" * 30_000,
    "half mails": "a@b." * 30_000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_text_is_handled(name, tmp_path):
    row = wildchat_row([HOSTILE[name], *ENGLISH])
    (tmp_path / "a.jsonl").write_text(json.dumps(row))
    kept = loading.load_corpus(
        str(tmp_path / "a.jsonl"), skip_steps=[*loading.DEFAULT_SKIPPED, "English"]
    ).conversations
    assert len(kept) == 1 and kept[0].user_messages[1:] == ENGLISH
    json.loads(kept[0].model_dump_json())


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("I have a plan alreadyShare Prompt", "I have a plan already"),
        ("what is a method ?Copy to Clipboard", "what is a method ?"),
        ("is it new?\nAnswer in English.\n\nPlease write in English language.지금 번역하기", "is it new?"),
        ("Say it shorter\n\nPlease write in English language.", "Say it shorter"),
        ("name it Sam\n \n Translate now", "name it Sam"),
        ("it is not whole. continue2 / 2", "it is not whole. continue"),
        ("what is hvd.local\\_rank()?", "what is hvd.local_rank()?"),
        ("two\u200b words\xa0here", "two words here"),
        ("run:\npython\nCopy code\nwhile True:", "run:\npython\nwhile True:"),
        ("Write it in English language", "Write it in English language"),
        ("Share prompts with me, 3 / 4 of them", "Share prompts with me, 3 / 4 of them"),
        ("translate this to French", "translate this to French"),
        ("how many cups are 3 / 4", "how many cups are 3 / 4"),
        ("solve x=1 / 2", "solve x=1 / 2"),
        ("make it shorter\n1 / 2", "make it shorter"),
        ("make it shorter. 2 / 2", "make it shorter."),
    ],
)
def test_debris_of_web_pages_is_removed_and_what_people_write_is_not(text, cleaned):
    assert cleaning.clean_message(text) == cleaned


def test_message_of_debris_goes_and_a_user_who_is_the_assistant_too():
    left = curation.remove_debris(make_conversation("Share Prompt", "sort a list", "faster"))
    assert left.user_messages == ["sort a list", "faster"] and left.messages[0].role == "user"
    assert curation.remove_debris(make_conversation("Sure, here is your list", "I'd be happy to")) is None
    same = make_conversation("sort a list", "faster")
    assert curation.remove_debris(same) is same
