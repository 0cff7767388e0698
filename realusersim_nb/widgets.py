"""ipywidgets browsers for notebooks; each shows something static where widgets cannot run."""

import html
import os
from pathlib import Path

import ipywidgets
import numpy as np
import pandas as pd
from IPython.display import display

from realusersim_nb import behaviours, labels, odd_one_out
from realusersim_nb.agreement import name_reader
from realusersim_nb.cases import prepare
from realusersim_nb.facets import REAL
from realusersim_nb.judges import DIMENSIONS, sort_sides
from realusersim_nb.odd_one_out import Triplet
from realusersim_nb.profiles import render
from realusersim_nb.records import Case, Conversation, Judgement, Profile, Transcript
from realusersim_nb.texts import cut_at_word

ANY, NOBODY = "any", "nobody"
SHOWN = 12  # messages of a user


def present(widgets: list[ipywidgets.Widget], *, without: str) -> None:
    """Show widgets; a page that cannot run them (a report, GitHub) shows the HTML ``without``.

    A headless run leaves that alone: an exported page takes widgets for the better of the two, and shows nothing.
    """
    bundle = {} if os.environ.get("REALUSERSIM_OWNER") else ipywidgets.VBox(widgets)._repr_mimebundle_()
    display({**bundle, "text/html": without}, raw=True)


def side_by_side(*pages: str) -> str:
    """HTML of pages beside each other, one below the other where there is no room."""
    columns = "".join(f"<div style='flex:1;min-width:20em'>{page}</div>" for page in pages)
    return f"<div style='display:flex;flex-wrap:wrap;gap:2em;text-align:left;line-height:1.4'>{columns}</div>"


def browse_profiles(profiles: list[Profile], users: dict[str, list[Conversation]]) -> None:
    """One user's commands beside their messages, with the evidence marked, and the prompt to copy.

    Where widgets run, the list of users can be filtered by a dimension that sets them apart and by a word they
    use, and a second user can be put beside the first.
    """
    known = {profile.user_id: profile for profile in profiles}
    dimensions = sorted({c.dimension for p in profiles for c in p.commands})
    dimension = ipywidgets.Dropdown(options=[ANY, *dimensions], description="stands apart in", style={"description_width": "initial"})  # fmt: skip
    word = ipywidgets.Text(placeholder="a word they use", continuous_update=False)
    first = ipywidgets.Dropdown(options=list(known), description="user")
    second = ipywidgets.Dropdown(options=[NOBODY, *known], description="beside")
    page = ipywidgets.HTML(show_profiles([profiles[0]], users))

    def narrow(_) -> None:
        left = filter_profiles(profiles, users, dimension=dimension.value, word=word.value)
        first.options = [profile.user_id for profile in left] or list(known)

    def show(_) -> None:
        chosen = [name for name in (first.value, second.value) if name in known]
        page.value = show_profiles([known[name] for name in chosen], users)

    for control in (dimension, word):
        control.observe(narrow, names="value")
    for control in (first, second):
        control.observe(show, names="value")
    controls = ipywidgets.HBox([dimension, word, first, second], layout={"flex_flow": "row wrap"})
    present([controls, page], without=page.value)


def filter_profiles(
    profiles: list[Profile], users: dict[str, list[Conversation]], *, dimension: str = ANY, word: str = ""
) -> list[Profile]:
    """Those with a command in a dimension and with a word (any case) in one of their messages."""
    return [
        p
        for p in profiles
        if (dimension == ANY or any(c.dimension == dimension for c in p.commands))
        and any(word.lower() in m.lower() for c in users[p.user_id] for m in c.user_messages)
    ]


def show_profiles(profiles: list[Profile], users: dict[str, list[Conversation]]) -> str:
    """HTML of one user, or of two side by side."""
    return side_by_side(*(show_profile(p, users[p.user_id]) for p in profiles))


def show_profile(profile: Profile, conversations: list[Conversation]) -> str:
    """HTML of one user: commands with the figure behind each, messages with the evidence marked, the prompt.

    All text of the corpus and of models is escaped.
    """
    messages = [m for c in conversations for m in c.user_messages]
    examples = {e for c in profile.commands for e in c.examples}
    messages.sort(key=lambda m: not any(e in m for e in examples))
    commands = "".join(f"<li>{html.escape(c.command)}{describe_evidence(c.evidence)}</li>" for c in profile.commands)
    said = "".join(f"<li>{mark(cut_at_word(m, 240), examples)}</li>" for m in messages[:SHOWN])
    return (
        f"<b>{html.escape(profile.user_id)}</b> ({len(messages)} messages)"
        f"<ul>{commands or '<li>Nothing sets this person apart.</li>'}</ul>"
        f"<b>Messages</b>, evidence first and marked<ul>{said}</ul>"
        f"<details><summary>the prompt, to copy</summary><pre style='white-space:pre-wrap'>{html.escape(render(profile))}</pre></details>"
    )


def describe_evidence(evidence: dict) -> str:
    """The figure behind a command, in grey."""
    if "percentile" not in evidence:
        return ""
    share = evidence["percentile"]
    side = f"more than {share:.0%}" if share > 0.5 else f"less than {1 - share:.0%}"
    figure = f"{html.escape(str(evidence['feature']))} {evidence['value']:g}, {side} of users, {evidence['n']} messages"
    return f" <span style='opacity:.6;font-size:85%'>({figure})</span>"


def mark(text: str, examples: set[str]) -> str:
    """The escaped text, in bold where it is evidence: the longest example in it."""
    found = max((e for e in examples if e in text), key=len, default="")
    if not found:
        return html.escape(text)
    before, _, after = text.partition(found)
    return f"{html.escape(before)}<mark>{html.escape(found)}</mark>{html.escape(after)}"


# --- fidelity ----------------------------------------------------------------------------------


def browse_cases(cases: list[Case], transcripts: list[Transcript], judgements: list[Judgement]) -> None:
    """One case: the real user beside one arm's, with each judge's verdicts and reasons.

    A page without widgets shows the first case under its first arm.
    """
    by_id = {case.case_id: case for case in cases}
    arms = list(dict.fromkeys(t.arm for t in transcripts))
    case = ipywidgets.Dropdown(options=list(by_id), description="case")
    arm = ipywidgets.Dropdown(options=arms, description="beside")
    page = ipywidgets.HTML(show_case(cases[0], arms[0], transcripts, judgements))

    def show(_) -> None:
        page.value = show_case(by_id[case.value], arm.value, transcripts, judgements)

    for control in (case, arm):
        control.observe(show, names="value")
    present([ipywidgets.HBox([case, arm]), page], without=page.value)


def show_case(case: Case, arm: str, transcripts: list[Transcript], judgements: list[Judgement]) -> str:
    """HTML of one case under one arm; all text of the corpus and of models is escaped."""
    messages = [m for t in transcripts if (t.case_id, t.arm) == (case.case_id, arm) for m in t.messages]
    readings = "".join(show_judgement(j) for j in judgements if (j.case_id, j.arm) == (case.case_id, arm))
    sides = side_by_side(list_side("real", prepare(case.original)), list_side(arm, prepare(messages)))
    return f"<pre style='white-space:pre-wrap'>{html.escape(case.goal)}</pre>{sides}{readings}"


def list_side(title: str, texts: list[str]) -> str:
    """HTML of one side's messages."""
    said = "".join(f"<li>{html.escape(cut_at_word(text, 300))}</li>" for text in texts)
    return f"<b>{html.escape(title)}</b><ol>{said or '<i>nothing</i>'}</ol>"


def show_judgement(judgement: Judgement) -> str:
    """HTML of one reading: verdicts, and the reasons behind a fold."""
    marks = {True: "match", False: "no match"}
    told = ", ".join(f"{d} {marks[v]}" for d, v in (judgement.verdicts or {}).items()) or judgement.error or ""
    reader = html.escape(name_reader(judgement))
    return (
        f"<details><summary><b>{reader}</b>: {html.escape(told)}</summary>"
        f"<pre style='white-space:pre-wrap'>{html.escape(judgement.analysis)}</pre></details>"
    )


def label_pairs(pairs: list[tuple[Case, Transcript, str]], path: Path, *, labeller: str) -> None:
    """Show pairs blind, one after the other, and keep each verdict in a file of labels (see ``labels``).

    A page without widgets shows the first pair and says that labelling needs a kernel.
    """
    choices = {
        d: ipywidgets.ToggleButtons(
            options=["match", "no match"], value=None, description=f"{d} {text}", style={"description_width": "20em"}
        )
        for d, text in DIMENSIONS.items()
    }
    page, told, save = ipywidgets.HTML(), ipywidgets.HTML(), ipywidgets.Button(description="save, next pair")
    left = list(pairs)

    def show_next() -> None:
        number = len(pairs) - len(left) + 1
        head = f"<i>Pair {number} of {len(pairs)}: could one person have written both?</i>"
        page.value = head + show_pair(*left[0]) if left else "<b>That was the last pair.</b> Thank you."
        save.disabled = not left
        for choice in choices.values():
            choice.value = None

    def keep(_) -> None:
        given = {d: choice.value == "match" for d, choice in choices.items() if choice.value}
        try:
            labels.keep_label(path, *left[0][:2], verdicts=given, labeller=labeller)
        except ValueError as problem:
            told.value = html.escape(str(problem))
        else:
            told.value = ""
            left.pop(0)
            show_next()

    save.on_click(keep)
    show_next()
    without = f"{page.value}<i>Verdicts can be given where a kernel runs.</i>"
    present([page, *choices.values(), save, told], without=without)


def show_pair(case: Case, transcript: Transcript, order: str) -> str:
    """HTML of one pair, blind: which side is real and which arm it is are not told."""
    a, b = map(prepare, sort_sides(case, transcript, order))
    return side_by_side(list_side("A", a), list_side("B", b))


# --- gap ---------------------------------------------------------------------------------------


def browse_behaviours(
    compared: pd.DataFrame, points: np.ndarray, clusters: pd.Series, listed: pd.DataFrame, *, system: str, n: int = 3
) -> None:
    """Clusters by kind, those of most conversations first: terms, shares, and real and simulated users in each.

    ``compared`` of ``behaviours.compare_all``, ``clusters`` the label of each conversation. A page without widgets
    shows the three largest of each kind, folded.
    """
    order = (compared["real"] + compared["simulated"]).sort_values(ascending=False).index
    known = {name_behaviour(row): row for row in compared.loc[order].reset_index().itertuples() if row.kind != "rare"}

    def show(name: str) -> str:
        row = known[name]
        own = [clusters.loc[[side]] for side in (REAL, row.system)]
        sides = [list_users(side, points[clusters.index.get_indexer(labels.index)], labels, listed, row.cluster, n=n) for side, labels in zip((REAL, row.system), own, strict=True)]  # fmt: skip
        return f"<p><code>{html.escape(row.terms)}</code></p>{side_by_side(*sides)}"

    def match(which: str, kind: str) -> list[str]:
        return [name for name, row in known.items() if row.system == which and kind in (ANY, row.kind)]

    systems = list(dict.fromkeys([system, *compared.index.unique("system")]))
    which = ipywidgets.Dropdown(options=systems, description="system")
    kind = ipywidgets.Dropdown(options=[ANY, "missed", "invented", "captured"], description="kind")
    shown = match(system, ANY)
    chosen = ipywidgets.Dropdown(options=shown, description="behaviour", layout={"width": "44em"})
    page = ipywidgets.HTML(show(shown[0]) if shown else "No behaviour has enough conversations to be named.")

    def narrow(_) -> None:
        chosen.options = match(which.value, kind.value)

    def turn(_) -> None:
        page.value = show(chosen.value) if chosen.value else "none of this kind"

    for control in (which, kind):
        control.observe(narrow, names="value")
    chosen.observe(turn, names="value")
    first = [name for k in ("missed", "invented", "captured") for name in match(system, k)[:3]]
    pages = [f"<details><summary>{html.escape(name)}</summary>{show(name)}</details>" for name in first]
    controls = ipywidgets.HBox([which, kind, chosen], layout={"flex_flow": "row wrap"})
    present([controls, page], without="".join(pages) or page.value)


def name_behaviour(row) -> str:
    """A cluster in a line: kind, shares, its first terms, number."""
    return f"{row.kind}: real {row.real:.1%}, {row.system} {row.simulated:.1%} ({row.terms[:60]}) #{row.cluster}"


def list_users(side: str, points: np.ndarray, own: pd.Series, listed: pd.DataFrame, cluster: int, *, n: int) -> str:
    """HTML of the conversations of one side nearest the middle of its part of a cluster."""
    if not (own == cluster).any():
        return f"<b>{html.escape(side)}</b><p><i>nobody</i></p>"
    nearest = behaviours.find_examples(points, own, cluster, n=n)
    return "".join(list_side(f"{side}, {place[1]}", listed.loc[[place], "messages"].iloc[0]) for place in nearest)


def find_odd_ones(triplets: list[Triplet], path: Path, *, annotator: str) -> None:
    """The odd-one-out study: three conversations at a time, a button each; every answer is kept at once in a file.

    Triplets that ``annotator`` has answered before are left out. A page without widgets shows the first triplet.
    """
    done = {a.triplet_id for a in odd_one_out.read_answers(path, triplets) if a.annotator == annotator}
    left = [triplet for triplet in triplets if triplet.triplet_id not in done]
    page = ipywidgets.HTML()
    buttons = [ipywidgets.Button(description=f"{number} is the odd one") for number in (1, 2, 3)]

    def show_next() -> None:
        number = len(triplets) - len(left) + 1
        head = f"<i>{number} of {len(triplets)}: two of these people use the assistant alike. Who does not? Judge the manner, not the subject.</i>"
        page.value = head + show_triplet(left[0]) if left else "<b>That was the last one.</b> Thank you."
        for button in buttons:
            button.disabled = not left

    def keep(button: ipywidgets.Button) -> None:
        triplet = left.pop(0)
        odd_one_out.keep_answer(path, odd_one_out.Answer(triplet_id=triplet.triplet_id, annotator=annotator, chosen=buttons.index(button)))  # fmt: skip
        show_next()

    for button in buttons:
        button.on_click(keep)
    show_next()
    present([page, ipywidgets.HBox(buttons)], without=f"{page.value}<i>Answers can be given where a kernel runs.</i>")


def show_triplet(triplet: Triplet) -> str:
    """HTML of three conversations side by side, blind: neither system nor cluster is told."""
    return side_by_side(*(list_side(str(number), texts) for number, texts in enumerate(triplet.texts, 1)))
