"""Files are read however they are packed and encoded, and nothing is unpacked to disk."""

import gzip
import json
import shutil
import zipfile
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from realusersim_nb.corpus import containers, loading, sources
from realusersim_nb.corpus.layouts.rows import parse_row

SAMPLES = Path(__file__).parent / "samples"
TEXTS = ["café au lait, bitte", "“quoted” – naïve"]
ROWS = [{"id": f"r{i}", "messages": [{"role": "user", "content": text}]} for i, text in enumerate(TEXTS)]
FORMS = {
    "jsonl": "\n".join(json.dumps(row, ensure_ascii=False) for row in ROWS),
    "json": json.dumps(ROWS, ensure_ascii=False),
    "csv": "chat,role,text\n" + "\n".join(f'r{i},user,"{text}"\nr{i},bot,ok' for i, text in enumerate(TEXTS)),
}


def read_texts(path):
    return [c.user_messages[0] for row in sources.read_rows(str(path)) if (c := parse_row(row)).user_messages]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp1252"])
@pytest.mark.parametrize("form", FORMS)
def test_text_is_read_in_each_encoding(tmp_path, form, encoding):
    path = tmp_path / f"a.{form}"
    path.write_bytes(FORMS[form].encode(encoding))
    assert read_texts(path) == TEXTS
    is_latin = "Latin-1" in loading.describe_corpus(str(path))
    assert is_latin == (encoding == "cp1252")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_compressed_file_is_read_as_a_stream(tmp_path, form, suffix):
    plain = FORMS[form].encode()
    packed = gzip.compress(plain) if suffix == ".gz" else pa.compress(plain, codec="zstd", asbytes=True)
    path = tmp_path / f"a.{form}{suffix}"
    path.write_bytes(packed)
    assert read_texts(path) == TEXTS
    path.write_bytes(packed[: len(packed) // 2])
    rows = list(sources.read_rows(str(path)))
    assert [row for row in rows if isinstance(row, str) and "damaged" in row]


def zip_folder(folder, path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(p for p in folder.rglob("*") if p.is_file()):
            archive.write(file, file.relative_to(folder))
    return path


def test_archive_of_an_export_is_read_and_its_other_files_are_counted(tmp_path):
    folder = tmp_path / "export"
    folder.mkdir()
    shutil.copy(SAMPLES / "chatgpt.json", folder / "conversations.json")
    for name in ("user.json", "message_feedback.json"):
        (folder / name).write_text('[{"id": "u", "email": "a@example.org"}]', encoding="utf-8")
    (folder / "chat.html").write_text("<html>", encoding="utf-8")
    path = zip_folder(folder, tmp_path / "export.zip")
    shutil.rmtree(folder)
    found = [parse_row(row) for row in sources.read_rows(str(path))]
    assert [c.conversation_id for c in found[:2]] == ["conversations.json/c-1", "conversations.json/c-2"]
    assert {c.user_id for c in found[:2]} == {"conversations.json"}
    assert found[2:] == ["a file of the archive holds no conversations"] * 2
    assert [p.name for p in tmp_path.iterdir()] == ["export.zip"]


def test_slack_is_the_same_in_a_folder_and_in_its_archive(tmp_path):
    path = zip_folder(SAMPLES / "slack", tmp_path / "slack.zip")
    given = {"assistants": ["Helper"]}
    texts = [
        loading.describe_corpus(str(p), columns=given).split("\n", 2)[2]
        for p in (path, shutil.copytree(SAMPLES / "slack", tmp_path / "slack"))
    ]
    assert texts[0] == texts[1]


def test_entries_of_an_archive_are_never_paths(tmp_path):
    inside = tmp_path / "a" / "b"
    inside.mkdir(parents=True)
    with zipfile.ZipFile(inside / "a.zip", "w") as archive:
        archive.writestr("../../evil.jsonl", FORMS["jsonl"])
    before = sorted(tmp_path.rglob("*"))
    assert read_texts(inside / "a.zip") == TEXTS
    assert sorted(tmp_path.rglob("*")) == before


def test_damaged_archive_is_a_sentence(tmp_path):
    (tmp_path / "a.zip").write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(ValueError, match="the archive is damaged"):
        sources.find_shards(str(tmp_path / "a.zip"))


@pytest.mark.parametrize(
    ("name", "text", "kind"),
    [
        ("a.json", '{"a": 1}\n{"a": 2}', "jsonl"),
        ("a.json", '{"a":\n 1}', "json"),
        ("a.jsonl", '[{"a": 1},\n {"a": 2}]', "json"),
        ("a.txt", '{"a": 1}', "json"),
        ("a.txt", "[31/12/2023, 21:41:13] Ann: hi", "text"),
        ("a prompt of AI Studio", '{"chunkedPrompt": {}}', "json"),
        ("README", "read me", None),
        ("a.html", "<html>", None),
    ],
)
def test_kind_of_a_file_is_that_of_its_content(tmp_path, name, text, kind):
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert containers.find_kind(containers.Entry(tmp_path / name)) == kind


def test_parquet_in_an_archive_is_read(tmp_path):
    pd.DataFrame(ROWS).to_parquet(tmp_path / "a.parquet")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(tmp_path / "a.parquet", "a.parquet")
    assert read_texts(tmp_path / "a.zip") == TEXTS
