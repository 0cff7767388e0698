"""What `look` says of files in no known layout is enough for the next command to be the last."""

import json
import re
import shlex

import pytest

from realusersim_nb.__main__ import main
from realusersim_nb.corpus import loading, sources
from realusersim_nb.corpus.layouts.rows import parse_row

DESK = """Vorgang;Am;Wer;Was gesagt wurde;Stand
77;2024-05-01 10:00;Kundin;mein drucker geht nicht mehr;offen
77;2024-05-01 10:02;Hotline;Haben Sie ihn eingesteckt?;offen
78;2024-05-01 11:00;Kundin;jetzt druckt er nur rosa;offen
77;2024-05-01 10:01;Kundin;schon seit gestern abend;offen
78;2024-05-01 11:05;Hotline;Bitte die Patrone tauschen.;zu
"""
NESTED = [
    {"msgs": [{"who": "ann", "says": "hello there my friend"}, {"who": "eliza", "says": "how are you today"}]}
] * 2


def answer(text):
    """The arguments of the command that a text ends with."""
    return shlex.split(re.search(r"python -m realusersim_nb (look .*)", text).group(1))


@pytest.mark.parametrize(
    ("name", "content", "talks"),
    [
        (
            "desk.csv",
            DESK,
            [["mein drucker geht nicht mehr", "schon seit gestern abend"], ["jetzt druckt er nur rosa"]],
        ),
        ("nested.json", json.dumps(NESTED), [["hello there my friend"]] * 2),
    ],
)
def test_one_look_and_one_answer_are_enough_for_odd_columns(tmp_path, capsys, name, content, talks):
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    text = loading.describe_corpus(str(path))
    assert "is in no known layout" in text and "Its first row" in text
    assert main(answer(text)) == 0
    capsys.readouterr()
    found = [parse_row(row) for row in sources.read_rows(str(path))]
    assert [c.user_messages for c in found] == talks and all(len(c.messages) > 1 for c in found)


def test_nearest_layout_and_what_is_missing_are_named(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"uid": 7, "maping": {"a": 1}}), encoding="utf-8")
    text = loading.describe_corpus(str(path))
    assert "'uid' (number), 'maping' (object of a)" in text
    assert "The nearest known layout is a conversation of a ChatGPT export, which has 'mapping'" in text
    assert answer(text)[:2] == ["look", str(path)]


def test_private_data_of_the_first_row_are_masked(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("von,was\nann,write to ann@example.org\n", encoding="utf-8")
    assert "ann@example.org" not in loading.describe_corpus(str(path))
