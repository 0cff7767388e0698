"""Every layout: an invented file of its shape is read as it says, a broken one is counted with a remedy."""

import csv
import json
import shutil
from collections import Counter
from pathlib import Path
from zipfile import ZipFile

import pytest

from realusersim_nb.corpus import loading, sources
from realusersim_nb.corpus.layouts import messengers
from realusersim_nb.corpus.layouts.columns import Columns
from realusersim_nb.corpus.layouts.rows import LAYOUTS, parse_row

SAMPLES = Path(__file__).parent / "samples"
USERS = {
    "slack": ["Ann", "Ben Ito"],
    "discord.json": ["mia", "leo"],
    "telegram.json": ["Me"],
    "messenger.json": ["Zoë"],
    "whatsapp_ios.txt": ["Anna"],
    "whatsapp_android.txt": ["Anna", "Cleo"],
    "whatsapp_german.txt": ["Bob"],
}
CAPITALS = ["u: whats the capital of peru", "a: Lima.", "u: and of chile", "a: Santiago."]
PRINTER = ["printer is down & out, @Ben Ito?", "which one", "the one on floor 2"]
READ = {  # by sample: (conversation, user), and what each side says
    "abcd.json": {
        ("3592", "3592"): ["a: Hi! How can I help?", "u: my shirt is torn", "a: Sorry to hear that."],
        ("3593", "3593"): ["u: refund please", "a: Done."],
    },
    "ai_studio.json": {
        ("ai_studio.json/0", "owner"): [
            "u: sum this up",
            "a: It is a lease.",
            "u: for how long",
            "a: Two years.",
        ]
    },
    "chatgpt.json": {
        ("c-1", "chatgpt.json"): CAPITALS,
        ("c-2", "chatgpt.json"): ["u: name three rivers", "a: Nile, Amazon, Danube."],
    },
    "claude.json": {
        ("k-1", "acc-7"): [
            "u: how do i thicken soup",
            "a: Use flour.",
            "u: without gluten?",
            "a: Use starch.",
        ],
        ("k-2", "acc-7"): ["u: and bread", "a: Bake it longer."],
    },
    "deepeval.csv": {("deepeval.csv/0",) * 2: ["u: my parcel is late", "a: Which one?"]},
    "deepeval.json": {
        ("deepeval.json/0",) * 2: ["u: my parcel is late", "a: What is its number?", "u: its 81"],
        ("deepeval.json/1",) * 2: ["u: cancel it", "a: It is cancelled."],
    },
    "discord.json": {
        ("help/0/mia", "mia"): [
            "u: how do i reset my pin",
            "a: Use the menu.",
            "u: which menu",
            "a: top left, mia",
        ],
        ("help/0/leo", "leo"): [
            "a: how do i reset my pin",
            "a: Use the menu.",
            "a: which menu",
            "u: top left, mia",
        ],
        ("help/1", "leo"): ["u: anyone here", "a: Hello leo."],
    },
    "fine_tuning.jsonl": {
        ("fine_tuning.jsonl/0",) * 2: ["u: what is this", "a: A cat."],
        ("fine_tuning.jsonl/1",) * 2: ["u: weather in rome", "a: Sunny."],
    },
    "function_calls.json": {("function_calls.json/0",) * 2: ["u: find a recipe", "a: Soup."]},
    "grok.json": {
        ("g-1", "u-9"): ["u: how many moons has mars", "a: Two."],
        ("grok.json/1", "grok.json"): ["u: and rings", "a: None."],
    },
    "histories.jsonl": {("histories.jsonl/0",) * 2: ["u: cancel it please\nat once", "a: It is cancelled."]},
    "inspect.json": {
        ("s1/1", "s1"): ["u: hi, cancel order W1 please", "a: Which order?", "u: its W1, as I wrote above"]
    },
    "messenger.json": {("Zoë/0", "Zoë"): ["a: hallo", "u: café um 4?", "a: bis später ☕"]},
    "mlflow.json": {
        ("sim-d9abd8385a2e4310",) * 2: [
            "u: my bill is wrong",
            "a: Which month?",
            "u: may",
            "a: It is mended.",
        ]
    },
    "instructions.jsonl": {
        ("instructions.jsonl/0",) * 2: ["u: Summarise the text.\nA cat sat.", "a: A cat."],
        ("instructions.jsonl/1",) * 2: [
            "u: summarise: a cat sat",
            "a: A cat.",
            "u: make it shorter",
            "a: Cat.",
        ],
    },
    "mlflow.jsonl": {
        ("s1", "s1"): ["u: my bill is wrong", "a: Which month?", "u: may", "a: It is mended."],
        ("s2", "s2"): ["u: is it open", "a: Until six."],
    },
    "openevals.json": {
        ("openevals.json/0",) * 2: [
            "u: i want a refund",
            "a: For what?",
            "u: the lamp",
            "a: For what?",
            "u: thanks",
            "a: For what?",
        ]
    },
    "preferences.jsonl": {("preferences.jsonl/0",) * 2: ["u: say hi", "a: Hi!"]},
    "prompts.jsonl": {
        ("prompts.jsonl/0",) * 2: ["u: fix my code"],
        ("prompts.jsonl/1",) * 2: ["u: sort a list"],
    },
    "questions.jsonl": {("81", "81"): ["u: Write a post.", "u: Now as a poem."]},
    "schema_guided.json": {("1_00000", "1_00000"): ["u: a table for two", "a: Where?", "u: in Oslo"]},
    "scenario.json": {
        ("scenario.json/0",) * 2: [
            "u: my bill is wrong",
            "a: Which month?",
            "u: may",
            "a: Which month?",
            "u: thanks",
            "a: Which month?",
        ]
    },
    "sdialog.json": {
        ("48081098-8a6a-41d2-810f-9faf0ebf1c2e",) * 2: [
            "a: Good morning.",
            "u: my bill is wrong",
            "a: Which month?",
            "u: may",
            "a: It is mended. Goodbye.",
            "u: thanks bye",
        ]
    },
    "simulator_arena.json": {
        ("simulator_arena.json/0", "w1"): [
            "u: help me write a letter",
            "a: Dear Sam,",
            "u: shorter please",
            "a: Sam:",
            "u: thanks",
            "a: You are welcome.",
        ],
        ("simulator_arena.json/1", "w2"): ["u: a poem on rain", "a: Drip."],
    },
    "slack": {
        ("support/0/Ben Ito", "Ben Ito"): ["u: lunch menu: menu", "a: pasta please"],
        ("support/0/Ann", "Ann"): ["a: lunch menu: menu", "u: pasta please"],
        ("support/1", "Ann"): ["u: is the wifi slow today", "a: Status: all systems go"],
        ("support/1714550460.0002/Ann", "Ann"): [
            f"{who}: {text}" for who, text in zip("uau", PRINTER, strict=True)
        ],
        ("support/1714550460.0002/Ben Ito", "Ben Ito"): [
            f"{who}: {text}" for who, text in zip("aua", PRINTER, strict=True)
        ],
    },
    "taskmaster.json": {("dlg-1", "dlg-1"): ["u: two mochas please", "a: Which milk?", "u: oat"]},
    "tau2/results.json": {("sim-1", "5"): ["a: Hi! How can I help?", "u: cancel my flight", "a: Done."]},
    "telegram.json": {
        ("Kim/0", "Me"): ["a: see example.org for the plan", "u: ok will do"],
        ("Kim/1", "Me"): ["u: are you awake"],
        ("Weather/0", "Me"): ["u: rain tomorrow?", "a: No."],
    },
    "transcripts.jsonl": {
        ("t1", "t1"): ["u: my bill is wrong", "a: Let me check.", "u: thanks"],
        ("t2", "t2"): ["u: how tall is it", "a: 300 m."],
        ("t3", "t3"): ["u: a room please", "a: I noted:\nGuest: 2 adults\nDate: May 1", "u: right"],
    },
    "verdicts.jsonl": {("81", "81"): ["u: write a post", "a: Aloha!"]},
    "whatsapp_android.txt": {
        ("chat/0/Anna", "Anna"): ["u: hello: there", "a: look at this", "a: nice one"],
        ("chat/0/Cleo", "Cleo"): ["a: hello: there", "a: look at this", "u: nice one"],
    },
    "whatsapp_german.txt": {("chat/0", "Bob"): ["a: wann kommst du", "u: gleich"]},
    "whatsapp_ios.txt": {
        ("chat/0", "Anna"): ["u: are you coming\ntonight: yes or no", "a: yes", "a: bring chairs"],
        ("chat/1", "Anna"): ["u: happy new year"],
    },
}
LEFT_OUT = {  # by sample: how often something of each kind is left out or noted
    "abcd.json": {"role 'action'": 1},
    "ai_studio.json": {"a thought": 1, "an attachment": 1},
    "chatgpt.json": {
        "role 'tool'": 1,
        "hidden message": 1,
        "an attachment": 1,
        "no text": 1,
        "a thought": 1,
        "call of a tool": 1,
        "version": 3,
    },
    "claude.json": {"a thought": 1, "an attachment": 1},
    "discord.json": {"notice": 1, "edited": 1, "an attachment": 1},
    "messenger.json": {"an attachment": 2, "deleted": 1},
    "slack": {"notice": 1, "edited": 1, "an attachment": 1, "deleted": 1, "several users": 2},
    "transcripts.jsonl": {"label 'guest' taken as text": 1},
    "telegram.json": {"notice": 1, "edited": 1, "an attachment": 1, "forwarded": 1},
    "whatsapp_android.txt": {"notice": 2, "an attachment": 2, "deleted": 1},
    "whatsapp_german.txt": {"an attachment": 1},
    "whatsapp_ios.txt": {"notice": 1, "an attachment": 1, "edited": 1},
}


def read_sample(path, name=None):
    """The conversations of a file by id and user, the reasons, and the notes."""
    users = USERS.get(name or path.name)
    shards = sources.find_shards(str(path), Columns(users=users) if users else None)
    notes, parsed = Counter(), []
    for shard in shards:
        parsed += [parse_row(row, notes=notes) for row in sources.read_shard(shard)]
    talks = {
        (c.conversation_id, c.user_id): [f"{m.role[0]}: {m.content}" for m in c.messages]
        for c in parsed
        if not isinstance(c, str)
    }
    return talks, [c for c in parsed if isinstance(c, str)], notes


@pytest.mark.parametrize("name", READ)
def test_every_message_of_a_sample_has_the_side_that_the_file_says(name):
    talks, reasons, notes = read_sample(SAMPLES / name)
    assert (talks, reasons) == (READ[name], [])
    for what, count in LEFT_OUT.get(name, {}).items():
        assert sum(n for note, n in notes.items() if what in note) == count, what


def test_every_sample_and_every_layout_is_tried():
    assert {name.split("/")[0] for name in READ} == {path.name for path in SAMPLES.iterdir()}
    rows = [row for path in SAMPLES.iterdir() for row in sources.read_rows(str(path))]
    tried = {one.title for one in LAYOUTS if any(isinstance(r, dict) and one.fits_row(r) for r in rows)}
    elsewhere = ("WildChat", "RealUserSim", "trajectory", "real and simulated", "index")  # in test_loading
    assert [
        o.title for o in LAYOUTS if o.title not in tried and not any(e in o.title for e in elsewhere)
    ] == []


BROKEN = {  # what is taken from each sample, and what the reason names
    "chatgpt.json": ("author", "'author'"),
    "claude.json": ("sender", "'sender'"),
    "grok.json": ("sender", "'sender'"),
    "ai_studio.json": ("role", "'role'"),
    "function_calls.json": ("from", "'role'"),
    "fine_tuning.jsonl": ("role", "'role'"),
    "preferences.jsonl": ("role", "'role'"),
    "simulator_arena.json": ("user_queries", "which column"),
    "verdicts.jsonl": ("role", "'role'"),
    "discord.json": ("author", "message of Discord, but a field 'author' is missing"),
    "telegram.json": ("type", "a chat of roles and contents"),
    "messenger.json": ("sender_name", "message of Messenger, but a field 'sender_name' is missing"),
    "taskmaster.json": ("speaker", "which column holds the speaker"),
    "schema_guided.json": ("utterance", "which column holds the text"),
    "abcd.json": ("original", "which column"),
    "questions.jsonl": ("turns", "which column"),
}


def drop_field(value, field):
    if isinstance(value, list):
        return [drop_field(each, field) for each in value]
    if isinstance(value, dict):
        return {name: drop_field(each, field) for name, each in value.items() if name != field}
    return value


@pytest.mark.parametrize("name", BROKEN)
def test_broken_file_of_each_layout_is_a_reason_that_names_what_is_missing(tmp_path, name):
    field, said = BROKEN[name]
    text = (SAMPLES / name).read_text(encoding="utf-8")
    rows = [json.loads(line) for line in text.splitlines()] if name.endswith("l") else [json.loads(text)]
    broken = [json.dumps(drop_field(row, field)) for row in rows]
    (tmp_path / name).write_text("\n".join(broken), encoding="utf-8")
    talks, reasons, _ = read_sample(tmp_path / name, "nobody")
    assert talks == {} and reasons and all(said in reason for reason in reasons), reasons
    remedies = ("python -m realusersim_nb look", "leave it out", "leave the message out")
    assert any(remedy in loading.describe_corpus(str(tmp_path / name)) for remedy in remedies)


def test_users_of_people_are_asked_for_with_counts_and_a_command_and_then_saved(tmp_path):
    path = shutil.copytree(SAMPLES / "slack", tmp_path / "slack")
    text = loading.describe_corpus(str(path))
    assert "'Ann' (4), 'Ben Ito' (2), 'Helper' (1)" in text and "-c assistants Helper" in text
    assert "5 conversations of 2 users" in loading.describe_corpus(
        str(path), columns={"assistants": ["Helper"]}
    )
    [first, *_] = [parse_row(row) for row in sources.read_rows(str(path))]
    assert first.user_id == "Ben Ito"  # by every reader from now on


def test_log_of_inspect_is_read_from_its_archive(tmp_path):
    sample = json.loads((SAMPLES / "inspect.json").read_text())["samples"][0]
    with ZipFile(tmp_path / "shop.eval", "w") as log:
        log.writestr("header.json", '{"version": 2}')
        log.writestr("summaries.json", json.dumps([{"id": "s1", "epoch": 1, "input": "x"}]))
        log.writestr("samples/s1_epoch_1.json", json.dumps(sample))
    [talk], reasons, _ = read_sample(tmp_path / "shop.eval")
    assert talk == ("s1/1", "s1") and reasons == []


def test_traces_of_mlflow_are_read_from_a_table_as_csv(tmp_path):
    traces = json.loads((SAMPLES / "mlflow.json").read_text())["traces"]
    rows = [{"trace": json.dumps(t), "trace_metadata": str(t["info"]["trace_metadata"])} for t in traces]
    columns = {"trace_id": "t", "request": "may", "response": "x"}  # in a CSV file short, in Python's form
    with (tmp_path / "traces.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, [*rows[0], *columns])
        writer.writeheader()
        writer.writerows(row | columns for row in rows)
    assert read_sample(tmp_path / "traces.csv")[0] == READ["mlflow.json"]


def test_a_dialogue_of_two_people_without_an_agent_is_asked_about():
    row = json.loads((SAMPLES / "sdialog.json").read_text())
    row["personas"]["Sarah"]["role"] = "neighbour"
    row["personas"]["John"]["role"] = "neighbour"
    assert isinstance(parse_row(row), str)


def test_pause_begins_a_conversation_and_ambiguous_dates_keep_the_order():
    lines = ["01/02/24, 10:00 - A: one", "01/02/24, 17:59 - B: two", "02/02/24, 03:00 - A: three"]
    rows = list(messengers.read_whatsapp(lines))
    assert [(row["chat"], row["text"]) for row in rows] == [
        ("chat/0", "one"),
        ("chat/0", "two"),
        ("chat/1", "three"),
    ]


def test_circle_in_a_tree_is_a_reason():
    node = {"message": {"author": {"role": "user"}, "content": {"parts": ["x"]}}, "children": ["a"]}
    row = {"mapping": {"a": node | {"parent": "b"}, "b": node | {"parent": "a"}}, "current_node": "a"}
    assert "circle" in parse_row(row)
