"""The reply cache: committed before use, shared by processes, the same on SQLite and PostgreSQL."""

import gzip
import shutil
import sqlite3
import subprocess
import sys
import time

import pytest
import sqlalchemy as sql
from conftest import with_models

from realusersim_nb import __main__ as cli
from realusersim_nb.llm.cache import Cache
from realusersim_nb.llm.replies import CacheError, Reply, read_replies, write_replies
from realusersim_nb.runs import folders


def reply(key: str, text: str = "red", **more) -> Reply:
    return Reply(key=key, model="m", text=text, prompt_tokens=10, completion_tokens=5, **more)


def test_reply_is_there_for_others_as_soon_as_put_returns(place):
    kept = reply("a", "rot – 红 💡", reasoning="hm", refusal="no", service="s", finish_reason="length")
    Cache(place).put([kept])
    assert Cache(place).get(["a", "b"]) == [kept, None]


def test_first_reply_to_a_key_stays_and_is_what_everybody_gets(place):
    one, other = Cache(place), Cache(place)
    one.put([reply("a", "red")])
    assert [r.text for r in other.put([reply("b", "blue"), reply("a", "green")])] == ["blue", "red"]
    assert [r.text for r in one.replies()] == ["red", "blue"]


HOLDER = """
import sys
from realusersim_nb.llm.cache import Cache
cache = Cache(sys.argv[1])
print(cache.get(["a"]), flush=True)
sys.stdin.read()
"""
WRITER = """
import sys
from realusersim_nb.llm.cache import Cache
from realusersim_nb.llm.replies import Reply
Cache(sys.argv[1]).put([Reply(key="b", model="m", text="blue")])
"""


def test_copy_of_the_file_alone_has_every_reply_though_another_process_has_it_open(tmp_path):
    """After ``checkpoint``, and after a process that used the cache has ended."""
    path, run = tmp_path / "r.sqlite", [sys.executable, "-c"]
    with subprocess.Popen([*run, HOLDER, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        holder.stdout.readline()
        cache = Cache(path)
        cache.put([reply("a")])
        cache.checkpoint()
        shutil.copy(path, tmp_path / "one.sqlite")
        subprocess.run([*run, WRITER, path], check=True)
        shutil.copy(path, tmp_path / "two.sqlite")
    copies = [Cache(tmp_path / f"{name}.sqlite") for name in ("one", "two")]
    assert [[r.key for r in copy.replies()] for copy in copies] == [["a"], ["a", "b"]]


def test_copy_of_the_file_alone_has_what_a_notebook_was_given_while_it_is_open(
    endpoint, tmp_path, monkeypatch
):
    """After each batch of tasks, since the next may be interrupted, and after the notebook's end."""
    endpoint(lambda request: "red")
    monkeypatch.chdir(tmp_path)

    async def work(models):
        await models.run_all([models.ask("m", "which?")], "t")
        shutil.copy(models.cache.name, tmp_path / "one.sqlite")
        await models.ask("m", "another?")
        folders.Run("r", "00_x").finish(models)
        shutil.copy(models.cache.name, tmp_path / "two.sqlite")

    with_models(work)
    assert [len(list(Cache(tmp_path / f"{name}.sqlite").replies())) for name in ("one", "two")] == [1, 2]


PROCESS = """
import sys
from realusersim_nb.llm.cache import Cache
from realusersim_nb.llm.replies import Reply
who, cache = sys.argv[1], Cache(sys.argv[2])
for i in range(60):
    cache.put([Reply(key=f"common{i}", model="m", text=who), Reply(key=f"{who}-{i}", model="m", text=who)])
    assert cache.get([f"common{i}"])[0].text == cache.get([f"common{i}"])[0].text
"""


def test_four_processes_share_one_cache_without_error_duplicate_or_loss(place):
    """They make it at the same moment, too."""
    workers = [subprocess.Popen([sys.executable, "-c", PROCESS, str(who), place]) for who in range(4)]
    assert [worker.wait() for worker in workers] == [0, 0, 0, 0]
    keys = [r.key for r in Cache(place).replies()]
    assert len(keys) == len(set(keys)) == 60 + 4 * 60


@pytest.mark.parametrize("change", ["DROP COLUMN tool_calls", "ADD COLUMN mood TEXT"])
def test_cache_of_another_version_is_refused_with_what_to_do(place, change):
    with Cache(place).engine.begin() as connection:
        connection.execute(sql.text(f"ALTER TABLE replies {change}"))
    with pytest.raises(CacheError, match=r"made by another version .* move it away, or name another cache"):
        Cache(place)


def test_stats_export_import_and_prune(place, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("REALUSERSIM_CACHE", place)
    Cache().put([reply("a"), reply("b"), Reply(key="c", model="other", text="x")])
    assert cli.main(["cache", "stats"]) == 0
    assert cli.main(["cache", "export", str(tmp_path / "m.jsonl.gz"), "--model", "m"]) == 0
    assert [r.key for r in read_replies(tmp_path / "m.jsonl.gz")] == ["a", "b"]
    assert cli.main(["cache", "prune"]) == 2
    assert cli.main(["cache", "prune", "--older-than", "1", "--yes"]) == 0
    assert cli.main(["cache", "prune", "--model", "m"]) == 0
    assert len(list(Cache().replies())) == 3
    assert cli.main(["cache", "prune", "--model", "m", "--yes"]) == 0
    assert [r.key for r in Cache().replies()] == ["c"]
    assert cli.main(["cache", "import", str(tmp_path / "m.jsonl.gz")]) == 0
    assert [r.key for r in Cache().replies()] == ["a", "b", "c"]
    printed = capsys.readouterr().out
    assert "2 replies would be removed" in printed and "2 replies taken in" in printed and "20" in printed


def test_the_same_replies_make_the_same_file(tmp_path):
    for name, keys in {"one": "abc", "other": "cab"}.items():
        write_replies(tmp_path / name, [reply(key) for key in keys])
        time.sleep(0.01)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()


# --- bad places --------------------------------------------------------------------------------


def test_file_that_is_no_database_is_named_and_left_alone(tmp_path):
    path = tmp_path / "r.sqlite"
    path.write_text("not a database at all, but long enough to be looked at" * 10)
    with pytest.raises(CacheError, match=r"r.sqlite: file is not a database. Move that file away"):
        Cache(path)
    assert path.read_text(encoding="utf-8").startswith("not a database")


def test_damaged_cache_is_told_with_the_way_to_save_it(tmp_path):
    path = tmp_path / "r.sqlite"
    cache = Cache(path)
    cache.put([reply(f"{i:064}", "x" * 500) for i in range(200)])
    cache.engine.dispose()
    sqlite3.connect(path).execute("PRAGMA wal_checkpoint(TRUNCATE)").connection.close()
    with path.open("r+b") as file:
        file.seek(4096 * 4)
        file.write(b"\xff" * 4096 * 8)
    with pytest.raises(CacheError, match=r"malformed.*\.recover"):
        list(Cache(path).replies())


def test_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CacheError, match=r"REALUSERSIM_CACHE|writable"):
        Cache(tmp_path / "file" / "r.sqlite")


def test_full_disk_stops_with_a_sentence_and_what_was_saved_stays(tmp_path):
    cache = Cache(tmp_path / "r.sqlite")
    cache.put([reply("a")])

    @sql.event.listens_for(cache.engine, "connect")
    def limit(connection, _):
        connection.execute("PRAGMA max_page_count = 12")  # the database's own "disk full"

    cache.engine.dispose()
    with pytest.raises(CacheError, match=r"full. Make room .* The 40 replies that were arriving are lost"):
        cache.put([reply(f"b{i}", "x" * 5000) for i in range(40)])
    assert [r.key for r in Cache(tmp_path / "r.sqlite").replies()] == ["a"]


def test_file_that_holds_no_replies_is_named_with_the_line(tmp_path):
    with gzip.open(tmp_path / "x.jsonl.gz", "wt") as file:
        file.write('{"key": "a", "model": "m", "text": "x"}\n{"k": 1}\n')
    with pytest.raises(CacheError, match=r"x.jsonl.gz, line 2: not a recorded reply"):
        read_replies(tmp_path / "x.jsonl.gz")


def test_database_that_does_not_answer_is_told_without_its_password():
    with pytest.raises(CacheError, match=r"Check the URL and that the server runs") as stop:
        Cache("postgresql+psycopg://user:hidden-word@127.0.0.1:9/x")
    assert "hidden-word" not in str(stop.value)
