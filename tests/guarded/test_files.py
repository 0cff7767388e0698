"""Files from outside: what is damaged, huge or hidden in them ends in counted reasons or a sentence."""

import gzip
import json
import os
import time
import tracemalloc
import zipfile

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hostile import FILE, TEXTS, N
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from toy import wildchat_row

from realusersim_nb import files
from realusersim_nb.__main__ import main
from realusersim_nb.corpus import loading, sources
from realusersim_nb.corpus.layouts.rows import parse_row
from realusersim_nb.errors import InputError, MissingFileError, StudyError
from realusersim_nb.gap.embeddings import read_embeddings
from realusersim_nb.llm.endpoints import read_endpoints
from realusersim_nb.records import Conversation
from realusersim_nb.runs.notebooks import read_mapping
from realusersim_nb.text import parse_json

SECRETS = ["ann@example.com", "4111 1111 1111 1111"]


def read_all(path) -> tuple[list[Conversation], list[str]]:
    """The conversations of a file, and the reasons of its other rows."""
    parsed = [parse_row(row) for row in sources.read_rows(str(path))]
    return [c for c in parsed if isinstance(c, Conversation)], [c for c in parsed if isinstance(c, str)]


def test_6_every_row_of_the_hostile_corpus_is_there_or_counted(tmp_path):
    read, reasons = read_all(FILE)
    assert len(read) == N + 1  # a list of two texts is one, too
    assert len(reasons) == len(FILE.read_bytes().splitlines()) - len(read)
    path = files.write_lines(tmp_path / "saved.jsonl", read)  # half characters, too
    assert list(files.read_records(path, Conversation)) == read
    assert "81 conversations of 42 users" in loading.describe_corpus(str(FILE))


@pytest.mark.parametrize("depth", [201, 100_000])
@pytest.mark.parametrize(
    "around", ["[%s]", '{"data": [%s]}', "%s", '[{"a": %s}]', '["\\\\", "\\"[", {"a": %s}]']
)
def test_6_brackets_in_brackets_take_no_memory_and_are_a_reason(tmp_path, depth, around):
    path = tmp_path / "deep.json"
    path.write_text(around % ("[" * depth + "]" * depth))
    tracemalloc.start()
    started = time.monotonic()
    read, reasons = read_all(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert not read and reasons and peak < 100_000_000 and time.monotonic() - started < 20


def test_6_brackets_inside_of_texts_are_no_depth(tmp_path):
    rows = [wildchat_row(texts=["[" * 999, '\\"' + "{" * 999, "\\" * 7]) for _ in range(9)]
    (tmp_path / "a.json").write_text(json.dumps(rows))
    read, reasons = read_all(tmp_path / "a.json")
    assert len(read) == 9 and not reasons
    assert parse_json('["\\ud83d", "\\ud83d\\ude00", "\\ude00", "\\\\ud83d"]') == ["?", "😀", "?", "\\ud83d"]


@pytest.mark.parametrize("name", ["a.json", "a.jsonl", "a.csv", "a.txt"])
def test_7_reasons_are_kinds_and_what_is_shown_is_masked(tmp_path, capsys, name):
    contents = {
        "a.json": json.dumps(SECRETS),
        "a.jsonl": "\n".join([json.dumps(SECRETS), json.dumps({SECRETS[1]: SECRETS[0]}), SECRETS[0]]),
        "a.csv": ",".join(SECRETS) + "\n" + ",".join(SECRETS),
        "a.txt": "\n".join(SECRETS),
    }
    (tmp_path / name).write_text(contents[name])
    main(["look", str(tmp_path / name)])
    with pytest.raises(StudyError) as failed:
        loading.load_corpus(str(tmp_path / name))
    shown = "".join(capsys.readouterr()) + str(failed.value)
    assert len(shown) > 50 and not [secret for secret in SECRETS if secret in shown]


@pytest.mark.parametrize("secret", [*SECRETS, *TEXTS])
def test_7_no_reason_has_anything_of_the_row(secret):
    rows = [
        {"conversation": [{"role": secret, "content": secret}], "conversation_hash": secret},
        {"mapping": {secret: {"message": {secret: secret}}}, "current_node": secret},
        {"messages": [{secret: secret}]},
        {"conversations": secret, "id": secret},
        {secret: secret},
        secret,
    ]
    reasons = [parse_row(row) for row in rows[:-1]]
    assert all(isinstance(reason, str) for reason in reasons)
    assert not [reason for reason in reasons if len(secret) > 8 and secret in reason]


def test_8_pipe_a_million_columns_and_a_mistyped_path_are_a_sentence_at_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe.jsonl")
    (tmp_path / "wide.csv").write_text(
        ",".join(f"c{i}" for i in range(10**6)) + "\n" + "1," * (10**6 - 1) + "1\n"
    )
    (tmp_path / "wide.jsonl").write_text(json.dumps(dict.fromkeys(map(str, range(10**6)), 1)))
    started = time.monotonic()
    with pytest.raises(InputError, match="a pipe or a device"):
        loading.load_corpus("pipe.jsonl")
    with pytest.raises(InputError, match="a pipe or a device"):
        read_mapping(tmp_path / "pipe.jsonl", "parameter file")
    with pytest.raises(MissingFileError, match="no such file or folder here"):
        (tmp_path / "data").mkdir()
        loading.load_corpus("data/sampel")
    for name in ("wide.csv", "wide.jsonl"):
        with pytest.raises(InputError, match="more than 2,000 fields"):
            loading.load_corpus(name)
    assert time.monotonic() - started < 30  # 2 s on an idle machine


def test_8_arrays_are_read_without_pickle(tmp_path):
    index = pd.MultiIndex.from_tuples([("real", "a")])
    np.save(tmp_path / "o.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "o.npz", points=np.zeros((1, 2)), ids=np.array(["real/a"], dtype=object))
    (tmp_path / "cut.npy").write_bytes(b"\x93NUMPY\x01\x00cut")
    for name in ("o.npy", "o.npz", "cut.npy"):
        with pytest.raises(InputError, match="cannot be read as"):
            read_embeddings(tmp_path / name, index)


LAUGHS = "a: &a [x, x, x]\nb: &b [*a, *a, *a]\nc: [*b, *b, *b]"


@pytest.mark.parametrize(
    "content", [b"caf\xe9: 1", b"a: " + b"[" * 20_000, LAUGHS.encode(), b"a: b: c", b"x" * 10**6 + b"xx"]
)
def test_8_yaml_that_cannot_be_read_is_a_sentence(tmp_path, content):
    path = tmp_path / "p.yaml"
    path.write_bytes(content)
    for read in (lambda: read_mapping(path, "parameter file"), lambda: read_endpoints(path)):
        with pytest.raises(StudyError, match="not YAML"):
            read()
    (tmp_path / "c.csv").write_text("who,said\nAnn,hi\n")
    (tmp_path / "c.csv.columns.yaml").write_bytes(content)
    with pytest.raises(StudyError, match="not YAML"):
        loading.load_corpus(str(tmp_path / "c.csv"))


GOOD = json.dumps(wildchat_row()).encode()
TABLE = pa.table({"conversation_hash": ["h"], "conversation": [wildchat_row()["conversation"]]})
KINDS = [".json", ".jsonl", ".csv", ".tsv", ".txt", ".parquet", ".json.gz", ".zip", ".jsonl.zst", ""]


def make_seed(kind: str) -> bytes:
    """A whole file of a kind, to be damaged."""
    if kind == ".parquet":
        sink = pa.BufferOutputStream()
        pa.parquet.write_table(TABLE, sink)
        return sink.getvalue().to_pybytes()
    return b"[" + GOOD + b"," + GOOD + b"]" if kind in (".json", "") else GOOD + b"\n" + GOOD


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(
    kind=st.sampled_from(KINDS), at=st.integers(0, 400), junk=st.binary(max_size=60), cut=st.integers(0, 60)
)
def test_must_hold_any_bytes_are_conversations_or_counted_reasons(tmp_path_factory, kind, at, junk, cut):
    content = make_seed(kind)
    path = tmp_path_factory.mktemp("any") / f"a{kind}"
    path.write_bytes(content[:at] + junk + content[at + cut :])
    try:
        read, reasons = read_all(path)
    except InputError:
        return  # a sentence on the whole file
    assert all(c.model_dump_json() for c in read) and all(len(reason) < 2000 for reason in reasons)


def write_rows(path, n):
    """A file of n conversations, in the form that its name asks for."""
    rows = [wildchat_row(conversation_hash=f"h{i}", texts=["how do i do that " * 20] * 4) for i in range(n)]
    lines = "".join(json.dumps(row) + "\n" for row in rows).encode()
    if path.suffix == ".parquet":
        table = {
            "conversation_hash": [f"h{i}" for i in range(n)],
            "conversation": [r["conversation"] for r in rows],
        }
        pa.parquet.write_table(pa.table(table), path, row_group_size=500)
    elif path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a.jsonl", lines)
    else:
        content = b"[" + lines.strip().replace(b"\n", b",") + b"]" if path.suffix == ".json" else lines
        path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def measure_reading(path):
    """Peak of Python's memory while a file is read, row by row."""
    tracemalloc.start()
    n = sum(1 for _ in sources.read_rows(str(path)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return n, peak


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.jsonl.gz", "a.parquet", "a.zip"])
def test_must_hold_a_longer_file_takes_no_more_memory(tmp_path, name):
    peaks = []
    for n in (500, 4000):
        (tmp_path / str(n)).mkdir()
        write_rows(tmp_path / str(n) / name, n)
        read, peak = measure_reading(tmp_path / str(n) / name)
        peaks.append(peak)
        assert read == n
    assert peaks[1] < 1.3 * peaks[0] + 4e6, peaks  # of 20 MB
