"""What the README says is so: its snippets run, its file tree is the real one."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
SNIPPETS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize("snippet", SNIPPETS, ids=range(len(SNIPPETS)))
def test_snippet_runs(snippet, monkeypatch):
    monkeypatch.chdir(ROOT)
    exec(compile(snippet, "README.md", "exec"), {})


def test_file_tree_names_every_module_and_notebook():
    files = [*(ROOT / "realusersim_nb").glob("*.py"), *(ROOT / "notebooks").glob("*.ipynb")]
    assert not [f.name for f in files if f.name not in README and f.name != "__init__.py"]


def test_commands_exist():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`make ([a-z]+)", README)) <= targets


def test_links_lead_somewhere():
    links = re.findall(r"\]\((?!http)([^)#]+)", README)
    assert links and not [link for link in links if not (ROOT / link).exists()]


def test_nothing_committed_names_an_index_or_holds_a_key():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True).stdout.split()
    found = [
        f
        for f in listed
        if re.search(r"--(extra-)?index-url|sk-[A-Za-z0-9]{20}", (ROOT / f).read_text(errors="ignore"))
    ]
    assert found in ([], ["tests/test_readme.py"])
