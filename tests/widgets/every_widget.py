"""Cells of a notebook that shows each widget on toy people; ``test_lab_widgets`` opens them in a browser.

Names and messages have words that no line breaks by itself; the endpoint is the one of the environment.
"""

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from IPython.display import HTML, display

from realusersim_nb import llm, plots, records, simulators, widgets
from realusersim_nb.gap.odd_one_out import Triplet
from realusersim_nb.pt3.labels import draw_label_pairs
from realusersim_nb.widgets.stage import show_beside

plots.set_style()
folder = Path(tempfile.mkdtemp())
models = llm.Models(cache=str(folder / "replies.sqlite"))
# %%
LONG = "https://example.org/" + "a-page-with-a-long-name/" * 8
texts = ["please sort it", f"in reverse, as on {LONG}", "thanks, it works now"]
messages = [records.Message(role=r, content=t) for t in texts for r in ("user", "assistant")]
ids = ["ann", "bob", "c" * 64]
people = {u: [records.Conversation(conversation_id=u, user_id=u, messages=messages)] for u in ids}
rules = {"formality": "Say please.", "punctuation": "End every message without a mark."}
figure = {"feature": "please", "value": 0.25, "percentile": 0.9, "n": 12}
commands = [
    records.Command(dimension=d, command=rule, examples=["please"], evidence=figure)
    for d, rule in rules.items()
]
known = [records.Profile(user_id=u, commands=commands[: n + 1]) for n, u in enumerate(ids)]
widgets.browse_profiles(known, people)
# %%
widgets.watch_profile(texts, [records.Profile(user_id="ann", commands=commands[:n]) for n in range(3)])
# %%
goal = f"Sort a list as on {LONG}."
cases = [
    records.Case(case_id=f"case of {u}", user_id=u, goal=goal, key_context="", original=people[u][0])
    for u in people
]
talks = [records.Conversation(messages=messages, **case.identify("profile")) for case in cases]
keys = {"arm": "profile", "analysis": f"The same page: {LONG}"}
readings = [
    records.Judgement(case_id=c.case_id, user_id=c.user_id, judge=judge, verdicts=verdicts, **keys)
    for number, c in enumerate(cases)
    for judge in ("a-model-with-a-long-name-70b-instruct", "another-model-with-a-long-name")
    for verdicts in [{f"D{n}": n > number for n in range(1, 6)}]
]
widgets.browse_cases(cases, talks, readings)
(folder / "cases.html").write_text(widgets.render_cases(cases, talks, readings))
# %%
pairs = draw_label_pairs(cases, talks, n=3, seed=1)
widgets.label_pairs(pairs, folder / "labels.jsonl", labeller="me")
# %%
triplets = [Triplet(conversations=[n, "x", "y"], odd=0, texts=[texts, texts[:1], texts]) for n in "123"]
widgets.find_odd_ones(triplets, folder / "answers.jsonl", annotator="me")
# %%
keys = pd.MultiIndex.from_product([["real", "sim"], ids], names=["system", "conversation_id"])
clusters, points = pd.Series([0, 0, 1, 0, 1, 1], keys), np.eye(6)
listed = pd.DataFrame({"messages": [texts] * 6}, index=keys)
shares = {"real": [0.6, 0.3], "simulated": [0.3, 0.6], "kind": ["missed", "invented"]}
compared = pd.DataFrame(
    {**shares, "terms": ["sort, list, reverse", "thanks, works, now"]},
    index=pd.MultiIndex.from_product([["sim"], [0, 1]], names=["system", "cluster"]),
)
widgets.browse_behaviours(compared, points, clusters, listed, system="sim")
# %%
call = {"name": "find_order", "arguments": {"address": LONG}}
turns = [
    {"role": "user", "content": texts[1]},
    {"role": "assistant", "content": None, "tool_calls": [call]},
    {"role": "tool", "content": "none", "error": True},
]
about = {"task_id": "t", "arm": "profile", "agent": "m", "simulator": "s", "messages": turns}
runs = [records.AgentRun(**about, trial=n, success=bool(n), changes=[LONG]) for n in (0, 1)]
widgets.browse_runs(runs, [], [])
display(HTML(widgets.show_run(runs[0])))
# %%
personas = {arm: records.Persona() for arm in ("task_only", "profile")}
openings = {arm: llm.Outcome(texts[n]) for n, arm in enumerate(personas)}
judge = {"length": lambda originals, candidates: pd.DataFrame({"D5": [0.25] * len(originals)})}
simulator = simulators.Simulator(models, "m")
stage = widgets.Stage(case=cases[0], personas=personas, openings=openings, simulator=simulator, judge=judge)
half = '{"next_request": "the list in reverse'
display(HTML(show_beside(cases[0], "profile", messages[:1], half)))
widgets.compare_openings(cases[0], openings, judge)
# %%
print(f"A line of text: {LONG}")
display(pd.DataFrame([figure | {"page": LONG}]))
