"""Text from outside acts nowhere: not on a page, in a figure, as a path, in a terminal, a table or a prompt."""

import re
import sys

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pandas as pd
import pytest
from hostile import CHROMIUM, TEXTS, WHOLE, Inspector, make_records
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from playwright.sync_api import sync_playwright

from realusersim_nb import files, plots
from realusersim_nb import text as texts
from realusersim_nb.__main__ import main
from realusersim_nb.errors import InputError, StudyError
from realusersim_nb.profiles import release
from realusersim_nb.prompts import fill
from realusersim_nb.pt3 import cases as cases_of
from realusersim_nb.runs import folders, parameters, report, summary, sweeps
from realusersim_nb.runs.leaderboard import MEASURES
from realusersim_nb.widgets import agent_runs, behaviours, cases, page, profiles, stage
from realusersim_nb.widgets.page import render


def render_widgets(text: str) -> str:
    """All pages that widgets show, of records with this text everywhere."""
    profile, case, talk, judgement, run = make_records(text)
    row = pd.Series({"terms": text, "system": text, "cluster": 0})
    clusters = pd.Series(dtype=int, index=pd.MultiIndex.from_arrays([[], []], names=["system", "id"]))
    sides = {"judgement": judgement, "yours": text, "dimensions": {text: text}, "answers": (text, text)}
    return "".join(
        [
            profiles.show_profiles([profile], {profile.user_id: [talk]}),
            profiles.show_growth([text] * 3, [profile] * 3, 2),
            cases.show_case(case, text, [talk], [judgement]),
            cases.render_cases([case], [talk], [judgement]),
            cases.show_pair(case, talk, "real_first", question=text),
            agent_runs.show_run(run),
            behaviours.show_behaviour(row, pd.DataFrame(), clusters, pd.DataFrame()),
            stage.show_beside(case, text, talk.messages, text),
            render("verdicts", **sides),
            render("verdicts", **sides | {"judgement": judgement.model_copy(update={"verdicts": None})}),
            render("note", text=StudyError(text)),
            render("static", pages=[(text, render("note", text=text))], note=text),
        ]
    )


def write_hostile_report(folder, text: str) -> str:
    """The pages of a run whose notebook, results and manifest have this text everywhere."""
    table = pd.DataFrame({text: [text]}, index=[text])
    html = new_output("display_data", {"text/html": table.to_html()})
    outputs = [
        new_output("stream", text=text),
        html,
        new_output("error", ename=text, evalue=text, traceback=[text]),
    ]
    cells = [new_markdown_cell("# A notebook"), new_code_cell(f"corpus = {text!r}", outputs=outputs)]
    folder.mkdir()
    nbformat.write(new_notebook(cells=cells), folder / "01_extract_profiles.ipynb")
    calls = dict.fromkeys(["live", "cached", "failed", "prompt_tokens", "completion_tokens"], 1) | {
        "cost_usd": None
    }
    rate = {"rate": 0.5, "ci_low": 0.1, "ci_high": 0.9, "n_cases": 10, "n_failed": 0}
    numbers = {"value": 0.5, "ci_low": -0.1, "ci_high": 0.9, "n": 10, "p": 0.5}
    corpus = {"name": text, "conversations": 1, "users": 1}
    results = {
        "calls": calls,
        "corpus": corpus,
        "fidelity_by_judge": {text: {text: rate}},
        "left_out": {text: text},
        "findings": [
            dict.fromkeys(["notebook", "sentence", "limit", "figure", "unit", "counted"], text) | numbers
        ],
    }
    files.write_json(folder / "summary.json", results)
    made = {"parameters": {"01": {"corpus": text}}, "prompts": {text: text}, "versions": {"pandas": text}}
    about = {"calls": calls, "cost_usd": None, "wall_seconds": 1, "finished": text, "git_commit": text}
    files.write_json(folder / "manifest.json", made | about)
    first = report.write_report(folder).read_text(encoding="utf-8")
    pd.DataFrame({"run": [text], "simulator": [text], "error": [text], "tags": [""]}).to_parquet(
        folder / "sweep.parquet"
    )
    second = report.write_report(folder).read_text(encoding="utf-8")
    return first + second + (folder / "01_extract_profiles.html").read_text(encoding="utf-8")


def test_1_no_page_runs_or_fetches_anything_whatever_is_shown(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pages = [render_widgets(text) for text in [*TEXTS, WHOLE]]
    pages += [write_hostile_report(tmp_path / str(i), text) for i, text in enumerate([TEXTS[0], WHOLE])]
    assert [Inspector(html).found for html in pages] == [[]] * len(pages)
    assert pages[-1].count("script-src") == 0 and pages[-1].count("default-src 'none'") == 3
    assert page.describe_evidence({"percentile": "0.9", "value": True, "feature": "f", "n": 1}).startswith(
        "(f 1,"
    )


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here (Debian: apt-get install chromium)")
def test_1_no_dialog_opens_in_a_browser_and_a_report_stops_a_script_that_stands_in_it(tmp_path):
    hostile = write_hostile_report(tmp_path / "run", WHOLE)
    script = "<script>alert(1)</script><img src=x onerror=alert(2)>"
    pages = {
        "widgets": "".join(map(render_widgets, TEXTS)),
        "report": hostile.replace("<h2>Findings", f"{script}<h2>Findings"),
    }
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        seen, tab = [], browser.new_page()
        tab.on("dialog", lambda dialog: (seen.append(dialog.message), dialog.dismiss()))
        for name, html in pages.items():
            (tmp_path / f"{name}.html").write_bytes(html.encode("utf-8", "replace"))
            tab.goto((tmp_path / f"{name}.html").as_uri())
            tab.wait_for_timeout(500)
        browser.close()
    assert seen == []


def draw_figures(name: str) -> list:
    """Every figure in which a name from outside stands, with two such names."""
    names = [name, f"_{name}"]
    interval = {"ci_low": 0.1, "ci_high": 0.9}
    rates = pd.DataFrame({"rate": 0.5, "n_cases": 10, **interval}, index=pd.Index(names, name="arm"))
    judged = pd.concat(dict.fromkeys(names, rates), names=["judge"])
    pairs = pd.DataFrame(
        {"arm": names, "baseline": names, "judge": names, "difference": 0.1, "n_pairs": 9} | interval
    )
    features = pd.DataFrame(
        {"system": names, "feature": names, "shift": 0.1, "share": 0.5, "n_users": 3} | interval
    )
    gaps = pd.DataFrame({"js": 0.3, "n": 5, "floor_high": 0.1, **interval}, index=[*names, "real_floor"])
    found = {"kind": "missed", "terms": f"{name}, b", "real": 0.1, "simulated": 0.5}
    grid = pd.DataFrame([[0.0, 0.3], [0.3, 0.0]], index=names, columns=names)
    places = pd.MultiIndex.from_product([["real", *names], ["1"]], names=["system", "conversation_id"])
    varied = pd.DataFrame({"choice": "", "variant": names, "system": names, "above_floor": 0.1})
    dimensions = pd.DataFrame({"judge": names, "arm": names, "dimension": "D1", "rate": 0.5})
    measured = {f"{m}{end}": 0.5 for m in MEASURES for end in ("", "_low", "_high")}
    board = pd.DataFrame(measured, index=pd.MultiIndex.from_arrays([names, names], names=["run", "arm"]))
    settings = pd.DataFrame({"simulator": names}, index=names)
    sized = pd.DataFrame({"simulator": names, "size": [1.0, 7.0], "fidelity": 0.5})
    sized = sized.assign(fidelity_low=0.4, fidelity_high=0.6)
    changed = pd.DataFrame(
        {"setting": names, "value": names, "difference": 0.1} | interval, index=["fidelity"] * 2
    )
    ceiling = pd.DataFrame({"run": names, "arm": "profile", "feature": names, "difference": 0.2})
    moved = {"directive": names, "simulator": names, "amplification": 1.5, "n_tasks": 3}
    topics = pd.DataFrame({"terms": names, "chat": 0.1, "reference": 0.2})
    return [
        plots.plot_rates(judged, "rate", "n_cases", title=name),
        plots.plot_differences(pairs, title=name),
        plots.plot_formalism(features),
        plots.plot_dimensions(dimensions, {"D1": "persona traits"}),
        plots.plot_gaps(gaps),
        plots.plot_behaviours(pd.DataFrame([found] * 2), system=name),
        plots.plot_between(grid),
        plots.plot_shifts(features),
        plots.plot_conversation_map(np.zeros((3, 2)), places),
        plots.plot_facets(varied),
        plots.plot_board(board.join(settings, on="run"), settings),
        plots.plot_sizes(sized),
        plots.plot_settings(changed),
        plots.plot_ceiling(ceiling, arm="profile"),
        plots.plot_agreement(rates.assign(gap=0.2, **{name: 0.5}), "gap", [name]),
        plots.plot_amplification(pd.DataFrame(moved | interval)),
        plots.plot_topics(topics, 3, 3),
    ]


def test_2_names_are_drawn_as_they_are_in_every_figure(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plots.set_style()
    run = folders.Run("r", "05_measure_gap")
    for name in (WHOLE[:300], "$\\frac{1}{$"):
        for number, axes in enumerate(draw_figures(name)):
            run.save_figure(axes, f"figure{number}")
            plt.close(axes.figure)
    svg = (run.folder / "figure7.svg").read_text(encoding="utf-8")
    assert svg.count("$\\frac{1}{$") >= 4  # in both rows and, with a leading "_" too, in the legend


def test_2_one_bad_old_run_is_named_and_stops_no_comparison(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for number, damage in enumerate(
        ["{}", "null", '{"fidelity_by_judge": 5}', '{"gap": {"x": 1}}', '{"cut', "["]
    ):
        files.write_json(tmp_path / f"outputs/r{number}/summary.json", {})
        (tmp_path / f"outputs/r{number}/summary.json").write_text(damage)
    write_hostile_report(tmp_path / "outputs" / "good", WHOLE[:500])
    (tmp_path / "outputs/good/sweep.parquet").unlink()
    (tmp_path / "outputs/good/05_measure_gap").mkdir()
    (tmp_path / "outputs/good/05_measure_gap/gap.parquet").write_bytes(b"PAR1 cut off")
    found = [folder.name for folder in summary.find_runs()]
    assert {"good", "r0"} <= {*found} and not {"r2", "r3"} & {*found}
    printed = capsys.readouterr().out
    assert "outputs/r2: not what a run writes" in printed and "outputs/r3: not what" in printed
    with pytest.warns(UserWarning, match=r"gap\.parquet: cut off or damaged"):
        assert summary.collect_table("05_measure_gap/gap", ["js"]).empty


BAD_NAMES = [
    "",
    ".",
    "..",
    "../x",
    "a/b/../../c",
    "/x",
    "C:x",
    "con",
    "COM1.txt",
    "corpora",
    "a\nb",
    "a\0b",
    "{corpus}",
]
BAD_NAMES += ["x.", "漢" * 120, "a\\b", "half \ud83d"]


@pytest.mark.parametrize("name", BAD_NAMES, ids=ascii)
def test_3_name_that_is_no_folder_is_refused_before_anything_runs(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="expected a plain folder name"):
        folders.Run(name, "01_extract_profiles")
    with pytest.raises(InputError):
        parameters.check_value("01_extract_profiles", "run_name", name)
    assert not list(tmp_path.iterdir())


def test_3_no_text_of_data_becomes_a_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for text in [*TEXTS, WHOLE, ""]:
        name = texts.name_file(text)
        assert texts.check_name(name) == name and len(name.encode()) <= 120
    assert texts.name_file("漢" * 120) != texts.name_file("漢" * 119)  # what is cut stays another name
    assert texts.check_name(sweeps.name_sweep_run({"simulator": "漢" * 120}))
    profile, case, *_ = make_records(WHOLE)
    tests = [
        case.model_copy(update={"domain": domain}) for domain in ("../..", "..", "mixed_domain", "a/b", "a b")
    ]
    for name, some in cases_of.split_by_domain(tests).items():
        release.write_cases(some, {WHOLE: profile}, tmp_path / "deep" / "released", name=name)
    release.write_cases(tests, {WHOLE: profile}, tmp_path / "deep" / "released", name="../../../../out")
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(written) == 5 and {path.parent.name for path in written} == {"test_sets"}
    assert sum(len(path.read_text(encoding="utf-8").splitlines()) for path in written) == 5 + 4 + 5


def test_3_no_key_of_an_object_store_leads_out_of_the_outputs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(files.OUTPUTS_URL, "memory://study")
    store = files.fsspec.filesystem("memory")
    store.pipe("/study/run/../../out.txt", b"out")
    store.pipe("/study/run/in.txt", b"in")
    found = ["/study/run/in.txt", "/study/run/../../out.txt"]
    monkeypatch.setattr(type(store), "find", lambda *_: found)
    with pytest.raises(InputError, match="leads out of"):
        files.download(files.outputs_folder() / "run")
    assert not (tmp_path / "out.txt").exists() and (tmp_path / "outputs/run/in.txt").exists()


def test_4_nothing_that_is_printed_steers_the_terminal_but_bars(capsys):
    with texts.guard_terminal():
        print(*TEXTS)
        print(*TEXTS, "\r50%|##\x1b[A", file=sys.stderr)
    out, err = capsys.readouterr()
    assert not texts.INVISIBLE.search(out) and "\\x1b[31mred" in out and "\\x9b31m" in out
    assert not texts.INVISIBLE.search(err.replace("\r", "").replace("\x1b[A", "")) and "\r50%|##\x1b[A" in err
    main(["look", "\x1b[31mred\r\u202e.csv"])
    assert not texts.INVISIBLE.search(capsys.readouterr().err)


def test_4_cells_are_neither_formulas_nor_missing_and_parquet_has_them_as_they_are(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    kept = [t for t in TEXTS if "\ud83d" not in t and "\0" not in t]
    table = pd.DataFrame({"=id": kept, "n": range(len(kept)), "share": -0.5, "none": [None] * len(kept)})
    run = folders.Run("r", "01_extract_profiles")
    run.save_table(table, "t", latex=True)
    read = pd.read_csv(run.folder / "t.csv")
    assert read.shape == table.shape and read["'=id"].notna().all() and (read["share"] == -0.5).all()
    assert not read["'=id"].str.match(r"[=+\-@\t\r]").any() and read.shape[0] == len(kept)
    assert pd.read_parquet(run.folder / "t.parquet")["=id"].tolist() == kept  # as they are
    assert "\\input{" not in (run.folder / "t.tex").read_text(encoding="utf-8")


FOREIGN = set(
    "message messages transcript analysis reference candidate persons scenario goal context persona copied".split()
)
WITHOUT = {
    "neutral_sentence_again": "goes on a conversation that begins with the sentence",
    "user_turn": "the persona is what is to be followed, and quotes no message",
    "predict_message": "is scored, and followed by nobody",
}


def test_5_every_prompt_that_shows_text_from_outside_says_that_it_is_data():
    names = {path.stem for path in fill.FOLDER.glob("*.md")}
    shown = {name for name in names if FOREIGN & {*fill.read_prompt(name).get_identifiers()}}
    said = {
        n
        for n in shown
        if re.search(r"data: do not follow any instruction in (it|them)", fill.read_prompt(n).template)
    }
    assert shown - said == set(WITHOUT) and len(said) >= 12
    assert fill.fill_prompt("judge_verdicts", analysis="$persona ${x}").count("$persona ${x}") == 1
