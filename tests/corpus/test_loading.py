"""Reading and curating: every layout is read, every loss is counted."""

import json
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from conftest import SAMPLE, make_conversation
from toy import ENGLISH, wildchat_row

from realusersim_nb.corpus import curation, loading, sources, splits
from realusersim_nb.corpus.layouts import columns
from realusersim_nb.corpus.layouts.rows import parse_row
from realusersim_nb.corpus.shards import digest_curation

REAL = Path(__file__).parents[3] / "shared" / "data" / "realsim"


def sharegpt_row(texts=ENGLISH, conversation_id="abc_0"):
    turns = [
        turn for t in texts for turn in ({"from": "human", "value": t}, {"from": "gpt", "value": "Sure."})
    ]
    return {"id": conversation_id, "conversations": turns}


def test_same_rows_are_read_from_jsonl_json_and_parquet(tmp_path):
    rows = [
        wildchat_row([*ENGLISH, f"{w} {w}s {w}ing {w}ed {w}ly"], hashed_ip=str(i))
        for i, w in enumerate("xyz")
    ]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "a.json").write_text(json.dumps(rows))
    pd.DataFrame(rows).to_parquet(tmp_path / "a.parquet")
    found = [
        loading.load_corpus(str(tmp_path / f"a.{kind}")).conversations
        for kind in ("jsonl", "json", "parquet")
    ]
    assert found[0] == found[1] == found[2]
    assert [c.user_id for c in found[0]] == ["0", "1", "2"]
    assert len(loading.load_corpus(str(tmp_path), skip_steps=["no near-duplicate"]).conversations) == 9


def test_file_cut_off_inside_a_record_keeps_its_whole_records(tmp_path):
    text = json.dumps([sharegpt_row(conversation_id=f"abc_{i}") for i in range(3)])
    (tmp_path / "cut.json").write_text(text[:-40])
    found = loading.load_corpus(str(tmp_path / "cut.json"), skip_steps=["no near-duplicate"])
    assert [c.conversation_id for c in found.conversations] == ["abc_0", "abc_1"]
    assert sum(found.unreadable.values()) == 1


def test_parts_of_one_sharegpt_id_are_one_user_and_later_parts_continue():
    parsed = [parse_row(sharegpt_row(conversation_id=i)) for i in ("QMDPde3_0", "QMDPde3_12")]
    assert [(c.user_id, c.continues) for c in parsed] == [("QMDPde3", False), ("QMDPde3", True)]


@pytest.mark.parametrize(
    "row",
    [
        "text",
        None,
        3,
        {},
        {"conversation": None, "conversation_hash": "h"},
        {"conversation": [{"role": "user"}], "conversation_hash": "h"},
        {"conversation": [{"role": "wizard", "content": "x"}], "conversation_hash": "h"},
        {"conversations": [{"from": "human"}], "id": "a"},
        {"conversations": "abc", "id": "a"},
    ],
)
def test_bad_row_becomes_a_reason_not_an_exception(row):
    assert isinstance(parse_row(row), str)


def test_unreadable_rows_are_counted_with_their_reason(tmp_path):
    (tmp_path / "a.jsonl").write_text(
        json.dumps(wildchat_row()) + "\n{broken\n" + json.dumps({"foo": 1}) + "\n"
    )
    found = loading.load_corpus(str(tmp_path / "a.jsonl"))
    assert len(found.conversations) == 1
    assert set(found.unreadable.values()) == {1} and len(found.unreadable) == 2


def test_pleasantries_are_trimmed_from_both_ends_only():
    conversation = make_conversation(
        "hi there", "sort this list", "thanks", "now in reverse", "thank you so much!", "bye"
    )
    assert curation.trim_pleasantries(conversation).user_messages == [
        "sort this list",
        "thanks",
        "now in reverse",
    ]
    assert curation.trim_pleasantries(make_conversation("hello", "thanks")) is None
    assert not curation.is_pleasantry("thanks but the third one still fails")


def test_held_out_conversations_are_one_a_user_and_never_profiled():
    conversations = [make_conversation(*ENGLISH, user=u, number=n) for u in "abc" for n in range(3)]
    conversations.append(make_conversation(*ENGLISH, user="single"))
    profiled, held_out = splits.hold_out(conversations, seed=3)
    assert sorted(c.user_id for c in held_out) == ["a", "b", "c"]
    assert not {c.conversation_id for c in profiled} & {c.conversation_id for c in held_out}
    assert len(profiled) + len(held_out) == len(conversations)
    assert splits.hold_out(conversations, seed=3)[1] == held_out


def test_a_case_never_begins_in_the_middle():
    own = [make_conversation(*ENGLISH, number=n).model_copy(update={"continues": n > 0}) for n in range(4)]
    assert [c.conversation_id for c in splits.hold_out(own, seed=0)[1]] == ["u-0"]


def test_tau_bench_trajectory_and_own_transcripts_are_read(tmp_path):
    traj = [
        {"role": "system", "content": "policy"},
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": None},
        {"role": "tool", "content": "{}"},
        {"role": "assistant", "content": "done"},
        {"role": "user", "content": "###STOP###"},
    ]
    (tmp_path / "a.json").write_text(json.dumps([{"task_id": 7, "trial": 1, "traj": traj}]))
    assert loading.read_transcripts(str(tmp_path / "a.json"))[0].user_messages == ["hi"]


@pytest.mark.parametrize("name", ["no/such/file.jsonl", "missing.json"])
def test_missing_file_is_named(name):
    with pytest.raises(FileNotFoundError, match="no such file"):
        loading.load_corpus(name)


def test_sample_is_whole():
    found = loading.load_corpus(str(SAMPLE))
    assert (len(found.conversations), found.n_users, sum(found.unreadable.values())) == (12, 6, 0)


@pytest.mark.skipif(not REAL.exists(), reason="no real conversations beside the project")
def test_real_conversations_are_read_from_a_folder():
    found = loading.load_corpus(str(REAL))
    assert len(found.conversations) > 550
    [(reason, count)] = found.unreadable.items()
    assert reason.startswith("which column holds the speaker?") and count == 1  # scenarios.json


def say(*texts):
    return [{"role": "user", "content": text} for text in texts]


def write_lines(path, rows):
    path.write_text("\n".join(map(json.dumps, rows)))
    return str(path)


def test_released_simulators_hold_both_sides_and_must_play_the_same_conversations(tmp_path):
    rows = [
        {"id": str(i), "real_messages": say("fix it"), "simulated_messages": say("Please fix it.")}
        for i in range(3)
    ]
    paths = {name: write_lines(tmp_path / f"{name}.jsonl", rows) for name in ("one", "two")}
    assert [c.user_messages for c in loading.read_systems(paths)["two"]] == [["Please fix it."]] * 3
    real = [parse_row(row) for row in rows]
    assert [(c.user_id, c.user_messages) for c in real] == [(str(i), ["fix it"]) for i in range(3)]
    write_lines(tmp_path / "two.jsonl", rows[1:])
    with pytest.raises(ValueError, match="'one' and 'two' do not play the same conversations: id '0'"):
        loading.read_systems(paths)
    assert parse_row({"id": 1, "real_messages": ["fix it"]}).startswith("it looks like a pair of real and")


def test_result_file_of_tau2_bench_is_read_run_by_run(tmp_path):
    messages = [
        {"role": "assistant", "content": "Hi!"},
        *say("cancel it", "###TRANSFER###"),
        {"role": "tool", "content": "{}"},
    ]
    runs = [{"id": f"r{i}", "task_id": "7", "messages": messages} for i in range(2)]
    (tmp_path / "results.json").write_text(json.dumps({"info": {}, "tasks": [], "simulations": runs}))
    found = loading.read_transcripts(str(tmp_path / "results.json"))
    assert [(c.conversation_id, c.user_id, c.user_messages) for c in found] == [
        ("r0", "7", ["cancel it"]),
        ("r1", "7", ["cancel it"]),
    ]


def test_profiles_can_be_made_from_a_users_first_messages_alone():
    talks = [make_conversation(*"abc", user="u", number=i) for i in range(3)]
    for most, lengths in {1: [1], 4: [3, 1], 9: [3, 3], None: [3, 3]}.items():
        profiled, held_out = splits.hold_out(talks, seed=1, most=most)
        assert [len(c.user_messages) for c in profiled] == lengths and len(held_out[0].user_messages) == 3
    assert profiled[0].messages[-1].role == "assistant"


# --- files of one's own --------------------------------------------------------------------------

SUPPORT = """Ticket;Created At;Author;Body
T1;2024-01-02 10:16;Customer;it was promised, last week
T1;2024-01-02 10:00;Customer;"my order never came; what now"
T2;2024-01-03 09:00;Customer;where is my refund
T1;2024-01-02 10:05;Agent;Sorry to hear that
;2024-01-03 09:00;Agent;nobody's
"""
NAMED = "chat,who,said\n1,Anna,how do i reset it\n1,Botty,press the button\n1,Anna,which one\n"


def read_all(path):
    return [parse_row(row) for row in sources.read_rows(str(path))]


def spoken(conversation):
    return [(m.role, m.content) for m in conversation.messages]


def test_support_export_is_grouped_by_ticket_and_put_in_order_of_time(tmp_path):
    (tmp_path / "support.csv").write_text(SUPPORT, encoding="utf-8-sig")
    first, second, reason = sorted(
        read_all(tmp_path / "support.csv"), key=lambda found: getattr(found, "user_id", "x")
    )
    assert spoken(first) == [
        ("user", "my order never came; what now"),
        ("assistant", "Sorry to hear that"),
        ("user", "it was promised, last week"),
    ]
    assert (second.conversation_id, reason) == ("T2", "no value in column 'Ticket'")


def test_folder_of_json_is_read_by_the_names_of_its_fields(tmp_path):
    turns = [{"speaker": "visitor", "text": "hello there"}, {"speaker": "bot", "text": "hi"}]
    (tmp_path / "one.json").write_text(json.dumps({"subject": "x", "chat": turns}))
    (tmp_path / "two.json").write_text(json.dumps(turns))
    pairs = [{"prompt": "hello there", "response": "hi"}, {"prompt": "and now", "response": ""}]
    (tmp_path / "three.jsonl").write_text("\n".join(map(json.dumps, pairs)))
    found = {c.conversation_id: spoken(c) for c in read_all(tmp_path)}
    both = [("user", "hello there"), ("assistant", "hi")]
    assert found == {"one.json/0": both, "two.json/0": both, "three.jsonl/0": [*both, ("user", "and now")]}


def test_what_cannot_be_guessed_is_asked_for_until_it_is_given_and_then_saved(tmp_path):
    path = tmp_path / "names.csv"
    path.write_text(NAMED)
    assert "name it as 'content'" in loading.describe_corpus(str(path)) and len(list(tmp_path.iterdir())) == 1
    given = {"content": "said"}
    with pytest.raises(ValueError, match=r"'Anna', 'Botty': which of them are the user\?"):
        loading.describe_corpus(str(path), columns=given)
    assert len(list(tmp_path.iterdir())) == 1
    given |= {"users": ["Anna"]}
    text = loading.describe_corpus(str(path), columns=given)
    assert "content is 'said'" in text and "press the button" in text
    assert spoken(read_all(path)[0])[1] == ("assistant", "press the button")  # by every reader from now on
    with pytest.raises(
        ValueError, match="no column 'nowhere' for role; the columns are 'chat', 'who', 'said'"
    ):
        loading.describe_corpus(str(path), columns=given | {"role": "nowhere"})
    assert spoken(read_all(path)[0])[1] == ("assistant", "press the button")  # what was saved stays


def test_columns_of_a_folder_are_saved_for_all_its_files(tmp_path):
    for name in ("one", "two"):
        (tmp_path / f"{name}.csv").write_text(NAMED)
    loading.describe_corpus(str(tmp_path), columns={"content": "said", "assistants": "Botty"})
    assert [p.name for p in tmp_path.glob("*.yaml")] == ["columns.yaml"]
    assert [spoken(talk)[1] for talk in read_all(tmp_path)] == [("assistant", "press the button")] * 2
    with pytest.raises(ValueError, match="columns are those of a file or folder, and 'sharegpt' is neither"):
        loading.describe_corpus("sharegpt", columns={"content": "value"})


def test_corpus_that_cannot_be_read_names_the_column_to_give(tmp_path):
    (tmp_path / "names.csv").write_text(NAMED)
    with pytest.raises(ValueError, match=r"no conversation could be read: which column holds the text\?"):
        loading.load_corpus(str(tmp_path / "names.csv"))


@pytest.mark.parametrize("note", ["columns: {", "[1]", "colour: red"])
def test_damaged_note_of_columns_is_named(tmp_path, note):
    (tmp_path / "names.csv").write_text(NAMED)
    (tmp_path / "columns.yaml").write_text(note)
    with pytest.raises(ValueError, match=r"columns\.yaml"):
        loading.load_corpus(str(tmp_path / "names.csv"))
    path = tmp_path / "known.jsonl"
    path.write_text(json.dumps(sharegpt_row()))  # a note beside a known layout counts too
    with pytest.raises(ValueError, match=r"columns\.yaml"):
        loading.load_corpus(str(path))


def test_id_of_each_message_is_not_taken_for_that_of_the_conversation():
    rows = [{"id": i, "sender": who, "text": "x"} for i, who in enumerate(["user", "bot", "user"])]
    assert columns.complete_columns(columns.Columns(), rows).conversation_id is None


@pytest.mark.parametrize("name", ["data/nothing.csv", "nowhere/", "no/such/place"])
def test_path_that_is_not_there_is_no_name_on_the_hub(name):
    with pytest.raises(FileNotFoundError, match="no such file or folder; give a path"):
        loading.load_corpus(name)


def test_hub_that_does_not_answer_is_a_sentence(monkeypatch):
    def refuse(*_, **__):
        raise ConnectionError("Couldn't reach the Hub")

    monkeypatch.setattr(sources, "reach_hub", lambda: None)
    monkeypatch.setattr("datasets.load_dataset_builder", refuse)
    with pytest.raises(
        FileNotFoundError, match=r"'some/corpus': .*nor on the hub \(Couldn't reach the Hub\)"
    ):
        loading.load_corpus("some/corpus")


def test_look_shows_the_beginning_of_known_layouts_too():
    text = loading.describe_corpus(str(SAMPLE), n=1)
    assert "12 conversations of 6 users" in text and "how do i sort a list of dicts" in text


# --- digests -------------------------------------------------------------------------------------


def test_digest_changes_with_all_that_decides_the_conversations(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(NAMED.replace("who", "role").replace("Anna", "user").replace("said", "text"))

    def digest(**settings):
        return loading.load_corpus(str(path), **{"skip_steps": [*curation.STEPS], **settings}).digest

    first = digest()
    assert digest() == first
    assert len({first, digest(max_conversations=1), digest(skip_steps=list(curation.STEPS)[1:])}) == 3
    (tmp_path / "columns.yaml").write_text("users: [Botty]")
    with_columns = digest()
    path.write_text(path.read_text(encoding="utf-8").replace("press", "push"))
    assert len({first, with_columns, digest()}) == 3


def test_digest_changes_with_the_revision_on_the_hub(monkeypatch):
    monkeypatch.setattr(sources, "reach_hub", lambda: None)
    stream = SimpleNamespace(num_shards=2)
    digests = []
    for revision in ("first", "second", "second"):
        builder = SimpleNamespace(hash=revision, as_streaming_dataset=lambda split: stream)
        monkeypatch.setattr("datasets.load_dataset_builder", lambda name, builder=builder: builder)
        digests.append(digest_curation(sources.find_shards("wildchat"), []))
    assert digests[0] != digests[1] == digests[2]
