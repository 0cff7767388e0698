"""Whose conversation a row is, what of it was written by people, in which order, and what is the same twice."""

import json

import pandas as pd
import pytest
from conftest import make_conversation

from realusersim_nb.corpus import curation, loading, sources
from realusersim_nb.corpus.layouts.rows import parse_row


def chat(*contents, **more):
    return {"messages": [{"role": "user", "content": content} for content in contents], **more}


def read_users(path):
    return [parse_row(row).user_id for row in sources.read_rows(str(path))]


def write_rows(path, rows):
    path.write_text(
        "\n".join(map(json.dumps, rows)) if path.suffix == ".jsonl" else json.dumps(rows), "utf-8"
    )
    return str(path)


def write_csv(path, head, lines):
    path.write_text("\n".join([head, *lines]), encoding="utf-8")
    return str(path)


# --- users -------------------------------------------------------------------------------------


@pytest.mark.parametrize("nobody", [{}, {"user_id": None}, {"user_id": "NaN"}, {"user_id": "null"}])
def test_row_that_names_no_user_is_a_user_of_its_own_and_look_says_how_many(tmp_path, nobody):
    path = write_rows(tmp_path / "a.jsonl", [chat("hi", **nobody)] * 3 + [chat("hi", user_id=0)])
    assert read_users(path) == ["a.jsonl/0", "a.jsonl/1", "a.jsonl/2", "0"]
    assert "Noted, 3 times: no user is named" in loading.describe_corpus(path)


def test_user_zero_and_missing_users_of_a_table_meet_nobody(tmp_path):
    users = {1: "0", 2: "NaN", 3: "NULL", 0: "7", 4: ""}
    lines = [f"{chat},{user},{who},x" for chat, user in users.items() for who in ("customer", "agent")]
    path = write_csv(tmp_path / "a.csv", "chat,user,sender,text", lines)
    assert read_users(path) == ["0", "2", "3", "7", "4"]


def test_user_of_a_table_is_who_wrote_as_one(tmp_path):
    lines = ["1,boss,agent,hello", "1,ann,customer,hi", "2,boss,agent,hello", "2,bob,customer,hi"]
    path = write_csv(tmp_path / "a.csv", "chat,user_id,sender,text", lines)
    assert read_users(path) == ["ann", "bob"]


@pytest.mark.parametrize(
    ("file", "name", "n"),
    [("a", "identity", 3), ("a", "session", 3), ("a", "QMDPde3", 1), ("ShareGPT", "czgruqm", 1)],
)
def test_number_behind_an_id_counts_pieces_in_sharegpt_alone(tmp_path, file, name, n):
    turns = [{"from": "human", "value": "hi"}]
    rows = [{"id": f"{name}_{i}", "conversations": turns} for i in range(3)]
    assert len(set(read_users(write_rows(tmp_path / f"{file}.json", rows)))) == n


def test_conversations_of_two_files_are_two_and_a_user_who_is_named_is_one(tmp_path):
    for file in "ab":
        write_rows(tmp_path / f"{file}.jsonl", [chat("hi", id=1), chat("hi", id=2, user_id="ann")])
    found = [parse_row(row) for row in sources.read_rows(str(tmp_path))]
    ids = ["a.jsonl/1", "a.jsonl/2", "b.jsonl/1", "b.jsonl/2"]
    assert [c.conversation_id for c in found] == ids
    assert [c.user_id for c in found] == ["a.jsonl/1", "ann", "b.jsonl/1", "ann"]


def test_rows_without_ids_keep_apart_in_several_shards(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "BLOCK", 50)
    path = write_rows(tmp_path / "a.jsonl", [chat("hi")] * 20)
    assert len(sources.find_shards(path)) > 5 and len(set(read_users(path))) == 20


# --- messages ----------------------------------------------------------------------------------

PICTURE = {"type": "image_url", "image_url": {"url": "x"}}
PARTS = [{"type": "text", "text": "look"}, PICTURE, {"type": "text", "value": "at this"}]


@pytest.mark.parametrize(
    "row",
    [
        chat(PARTS),
        {"conversation": [{"role": "user", "content": PARTS}]},
        {"conversations": [{"from": "human", "value": PARTS}]},
        {"chat": [{"sender": "user", "text": PARTS}, {"sender": "bot", "text": "ok"}]},
    ],
)
def test_text_parts_are_joined_and_others_counted_in_all_layouts(tmp_path, row):
    path = write_rows(tmp_path / "a.jsonl", [row])
    [found] = [parse_row(row) for row in sources.read_rows(path)]
    assert found.user_messages == ["look\nat this"]
    assert "Noted, 1 time: a part of a message that is no text left out" in loading.describe_corpus(path)


@pytest.mark.parametrize(
    "row",
    [
        {"messages": [{"role": who, "content": "x"} for who in ("system", "user", "tool", "assistant")]},
        {"conversation": [{"role": who, "content": "x"} for who in ("system", "user", "tool", "assistant")]},
        {"conversations": [{"from": who, "value": "x"} for who in ("system", "human", "tool", "gpt")]},
        {"chat": [{"sender": who, "text": "x"} for who in ("System", "Customer", "Tool", "Agent")]},
    ],
)
def test_system_and_tool_rows_are_nobodys_messages(tmp_path, row):
    path = write_rows(tmp_path / "a.jsonl", [row])
    [found] = [parse_row(row) for row in sources.read_rows(path)]
    assert [m.role for m in found.messages] == ["user", "assistant"]
    assert loading.describe_corpus(path).count("left out") == 2


@pytest.mark.parametrize(("who", "what"), [("role", "content"), ("sender", "text")])
def test_turns_of_a_parquet_file_keep_their_parts_and_names(tmp_path, who, what):
    turns = [{who: "user", what: PARTS[:1], "n": 1}, {who: "assistant", what: PARTS[:1], "n": 2}]
    pd.DataFrame([{"id": "a", "messages": turns}]).to_parquet(tmp_path / "a.parquet")
    [row] = sources.read_rows(str(tmp_path / "a.parquet"))
    assert [m.content for m in parse_row(row).messages] == ["look", "look"]


def test_system_that_alone_replies_is_the_assistant(tmp_path):
    path = write_csv(tmp_path / "a.csv", "chat,speaker,text", ["1,USER,hi", "1,SYSTEM,hello"])
    [found] = [parse_row(row) for row in sources.read_rows(path)]
    assert [m.role for m in found.messages] == ["user", "assistant"]


def test_number_is_a_text_and_a_flag_in_words_is_read(tmp_path):
    assert parse_row(chat(0, 1.5, None, float("nan"))).user_messages == ["0", "1.5"]
    rows = [{"conversation_hash": "h", "conversation": [], "toxic": flag} for flag in FLAGS]
    assert [parse_row(row).toxic for row in rows] == list(FLAGS.values())


FLAGS = {"False": False, "0": False, "no": False, 0: False, None: False, "true": True, 1: True}

# --- order -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("times", "order"),
    [
        (["02/03/2024", "28/02/2024"], "ba"),  # the second can only be day-first, so both are
        (["03/02/2024", "02/28/2024"], "ba"),
        (["05.03.2024", "02.04.2024"], "ab"),
        (["02/03/2024", "01/04/2024"], "ab"),  # either reading: order of the file
        (["02/03/2024 10:05", "02/03/2024 10:01"], "ba"),  # both readings agree
        (["13/01/2024", "01/13/2024"], "ab"),
        (["1700000060000", "1700000001"], "ba"),
        (["1700000060", "1700000001000000"], "ba"),
        (["2024-03-02", "2024-02-28"], "ba"),
        (["2024-03-02", ""], "ab"),
    ],
)
def test_messages_are_in_order_of_time_where_it_is_clear(tmp_path, times, order):
    lines = [f"1,{who},{time},{text}" for who, time, text in zip(["user", "bot"], times, "ab", strict=True)]
    path = write_csv(tmp_path / "a.csv", "chat,role,time,text", lines)
    [found] = [parse_row(row) for row in sources.read_rows(path)]
    assert "".join(m.content for m in found.messages) == order


def test_dates_that_stay_open_are_said_so_and_one_date_of_the_file_decides_all(tmp_path):
    lines = ["1,user,02/03/2024,a", "1,bot,01/04/2024,b"]
    path = write_csv(tmp_path / "a.csv", "chat,role,time,text", lines)
    assert "'time' give no clear order" in loading.describe_corpus(path)
    lines = ["1,user,02/04/2024,b", "1,bot,03/03/2024,a", "2,user,31/12/2024,x", "2,bot,31/12/2024,y"]
    path = write_csv(tmp_path / "a.csv", "chat,role,time,text", lines)
    assert "no clear order" not in loading.describe_corpus(path)
    first, _ = [parse_row(row) for row in sources.read_rows(path)]
    assert [m.content for m in first.messages] == ["a", "b"]


# --- the same twice ----------------------------------------------------------------------------


def keep(texts):
    talks = [make_conversation(*said, user=str(n)) for n, said in enumerate(texts)]
    rows = [chat(*talk.user_messages, id=talk.user_id) for talk in talks]
    return len(curation.curate_rows(rows, skip_steps=list(curation.STEPS))[0])


def test_short_requests_are_compared_with_their_numbers_and_symbols():
    assert keep([[f"where is my order {n}", "please check again"] for n in range(200)]) == 200
    assert keep([["😀" * n, "🔥"] for n in range(1, 61)]) == 60
    assert keep([["What is 2*3?"], ["what is 2*3"], ["what is 2+3?"], ["???"], ["!"]]) == 4


def test_long_template_with_other_numbers_is_one():
    words = " ".join(f"{a}{b}" for a in "abcdefgh" for b in "stuvwxyz")
    assert keep([[f"{words} order {n}"] for n in range(5)]) == 1


REQUESTS = ["hey fix my code", "Hi. Explain black holes", "hello world in rust", "thanks but it fails"]
REQUESTS += ["thanks, now in python?", "bye bye birdie lyrics", "hi who are you", "ok", ""]
GREETINGS = [
    "hi there!",
    "thank you so much",
    "ok thanks, bye",
    "Hey, how are you?",
    "hi 😀",
    "Have a nice day",
]


def test_pleasantry_is_nothing_but_pleasantries():
    assert [text for text in REQUESTS + GREETINGS if curation.is_pleasantry(text)] == GREETINGS
    talk = make_conversation("hi", *REQUESTS[:5], "thanks")
    assert curation.trim_pleasantries(talk).user_messages == REQUESTS[:5]


def test_transcript_file_without_ids_has_a_conversation_a_row(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps([chat("hi"), chat("hi")]), encoding="utf-8")
    ids = [c.conversation_id for c in loading.read_transcripts(str(tmp_path / "a.json"))]
    assert ids == ["a.json/0", "a.json/1"]
