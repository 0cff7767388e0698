"""Cells of a notebook that shows each widget on two toy people; ``test_lab`` opens it in a browser."""

import time
from pathlib import Path

from realusersim_nb import errors, records, widgets
from realusersim_nb.gap.odd_one_out import Triplet
from realusersim_nb.parallel import show_bar

errors.show_as_sentences()
for _ in show_bar(range(3), "goals"):
    time.sleep(0.1)
# %%
texts = ["please sort it", "in reverse", "thanks"]
messages = [records.Message(role=r, content=t) for t in texts for r in ("user", "assistant")]
people = {u: [records.Conversation(conversation_id=u, user_id=u, messages=messages)] for u in ("ann", "bob")}
commands = [records.Command(dimension="formality", command="Say please.", examples=["please"])]
known = [records.Profile(user_id=user, commands=commands) for user in people]
widgets.browse_profiles(known, people)
# %%
grown = [records.Profile(user_id="ann", commands=commands[:n]) for n in range(3)]
widgets.watch_profile(texts, grown)
# %%
cases = [
    records.Case(case_id=f"c {u}", user_id=u, goal="sort", key_context="", original=people[u][0])
    for u in people
]
talks = [records.Conversation(messages=messages, **case.identify("profile")) for case in cases]
verdicts = {f"D{n}": n > 2 for n in range(1, 6)}
keys = {"arm": "profile", "judge": "m", "analysis": "why"}
readings = [records.Judgement(case_id=c.case_id, user_id=c.user_id, verdicts=verdicts, **keys) for c in cases]
widgets.browse_cases(cases, talks, readings)
# %%
pairs = [(case, talk, "real_first") for case, talk in zip(cases, talks, strict=True)]
widgets.label_pairs(pairs, Path("labels.jsonl"), labeller="me")
# %%
triplets = [Triplet(conversations=[n, "x", "y"], odd=0, texts=[["a"], ["b"], ["c"]]) for n in "12"]
widgets.find_odd_ones(triplets, Path("answers.jsonl"), annotator="me")
# %%
run = {"task_id": "t", "trial": 0, "arm": "profile", "agent": "m", "simulator": "s"}
widgets.browse_runs([records.AgentRun(**run, messages=[{"role": "user", "content": "hi"}])], [], [])
