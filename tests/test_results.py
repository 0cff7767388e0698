"""Numbers of README.md and measuring_users.md are those of docs/results.json, which scripts write from runs."""

import json
import re
import runpy
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
RESULTS = json.loads((ROOT / "docs" / "results.json").read_text(encoding="utf-8"))
SCRIPT = runpy.run_path(str(ROOT / "docs" / "results.py"))
SECONDS = RESULTS.pop(SCRIPT["TIMES"])
USERS = runpy.run_path(str(ROOT / "docs" / "default_users.py"))
DEFAULT_USERS = RESULTS.pop(USERS["KEY"])
NUMBER = re.compile(r"(?<![\w.,-])\d[\d,]*(?:\.\d+)?(?![\w-])")


def write_value(name, value):
    """A number as README writes it: shares as per cents, bits with two places, counts as they are."""
    if name.startswith("bits"):
        return f"{abs(value):.2f}"
    return f"{value:.0f}" if name.startswith("role breaks") else f"{100 * value:.0f}"


def write_as_readme(name, entry):
    """The numbers of a result as README writes them."""
    values = [entry[key] for key in ("value", "ci_low", "ci_high", "chance", "stranger") if key in entry]
    return {write_value(name, value) for value in values} | {f"{entry['n']:,}"}


def read_numbers(text):
    """The numbers in prose, without those of notebooks, of names in code, and of the level of intervals."""
    text = re.sub(r"`[^`]*`|[Nn]otebook \d\d|95% interval|n, 95%|p < 0\.001|GPT-4o", " ", text)
    return {number.rstrip(",") for number in NUMBER.findall(text)}


def test_numbers_of_the_readme_are_results_of_runs():
    caption = re.search(r"\*A profile's rules(.+?)\*\n", README, re.DOTALL)[1]
    seen = README.split("## What you will see")[1].split("\n## ")[0]
    known = set().union(*(write_as_readme(*item) for item in RESULTS.items())) | {"50"}  # chance of a probe
    assert len(read_numbers(caption)) >= 8 and read_numbers(caption) - known == set()
    assert len(read_numbers(seen)) >= 20 and read_numbers(seen) - known == set()


def test_numbers_of_the_study_in_notebook_00_are_results_of_runs():
    known = set().union(*(write_as_readme(*item) for item in RESULTS.items())) | {"50"}
    cells = json.loads((ROOT / "notebooks" / "00_start_here.ipynb").read_text(encoding="utf-8"))["cells"]
    texts = [paragraph for cell in cells for paragraph in "".join(cell["source"]).split("\n")]
    sentences = [s for text in texts for s in re.split(r"(?<=\.) ", text) if "fidelity.yaml" in s]
    one, other = (read_numbers(sentence.replace("*", "")) - {"01", "03", "05"} for sentence in sentences)
    assert {"91", "87", "95"} <= one and {"38", "47", "12"} <= other and (one | other) - known == set()


def test_every_result_names_its_table_and_command_and_is_in_the_readme():
    numbers = read_numbers(README)
    assert set(RESULTS) == set(SCRIPT["ROWS"]) | set(SCRIPT["SHARES"])
    for name, entry in RESULTS.items():
        assert entry["table"].endswith(".csv") and entry["command"] in README, name
        assert write_value(name, entry["value"]) in numbers, name


def test_times_of_notebooks_are_those_of_a_run():
    rows = re.findall(r"^\| \[(\d\d_\w+)\].*\| (\d+):(\d\d) min \|$", README, re.MULTILINE)
    assert {name: 60 * int(minutes) + int(rest) for name, minutes, rest in rows} == SECONDS
    [said] = re.findall(r"`make run` then takes about (\d+) minutes", README)
    assert sum(SECONDS.values()) <= 60 * int(said)


def test_result_is_read_from_its_row_and_others_stay(tmp_path):
    folder = tmp_path / "run" / "05_measure_gap"
    folder.mkdir(parents=True)
    rows = {"by": ["facets", "masked n-grams"], "system": "gpt4o", "accuracy": [0.5, 0.9], "n": 20}
    pd.DataFrame(rows | {"ci_low": 0.8, "ci_high": 1.0}).to_parquet(folder / "probe.parquet")
    (tmp_path / "results.json").write_text('{"writer by features": {"value": 0.4}}')
    results = SCRIPT["write_results"]({"gpt4o": tmp_path / "run"}, tmp_path / "results.json")
    probe = results["probe of GPT-4o"]
    assert (probe["value"], probe["ci_low"], probe["n"]) == (0.9, 0.8, 20)
    assert results["writer by features"] == {"value": 0.4}
    assert json.loads((tmp_path / "results.json").read_text()) == results


def test_result_without_its_row_is_an_error_that_names_the_table(tmp_path):
    folder = tmp_path / "05_measure_gap"
    folder.mkdir()
    pd.DataFrame({"by": ["facets"], "system": ["gpt4o"]}).to_parquet(folder / "probe.parquet")
    with pytest.raises(ValueError, match="probe: 0 rows"):
        SCRIPT["write_results"]({"gpt4o": tmp_path}, tmp_path / "results.json")


def test_table_of_the_users_of_other_tools_is_that_of_the_results():
    page = (ROOT / "docs" / "measuring_users.md").read_text(encoding="utf-8")
    assert USERS["render_table"](DEFAULT_USERS) in page
    for tool, row in DEFAULT_USERS.items():
        assert tool in USERS["TOOLS"] and row["n"] >= 30 and row["command"] in page
        assert row["ci_low"] <= row["value"] <= row["ci_high"]


def test_range_of_figures_that_look_alike_is_one_figure():
    assert USERS["write_range"]([0.501, 0.499], "{:.0%}") == "50%"
    assert USERS["write_range"]([0.4, 0.5], "{:.0%}") == "40% to 50%"
