"""Toy data that tests of several rooms share."""

import json

import numpy as np
from conftest import make_conversation

from realusersim_nb.records import Case

ENGLISH = [
    "how do i sort a list in python",
    "now do it in reverse order please",
    "and what about a dictionary",
]


def wildchat_row(texts=ENGLISH, **more):
    turns = [
        turn
        for t in texts
        for turn in ({"role": "user", "content": t}, {"role": "assistant", "content": "Sure."})
    ]
    return {"conversation_hash": "h", "hashed_ip": "ip", "model": "gpt-4o", "conversation": turns, **more}


def fill(request, *, done):
    """A value for every field of a simulated user's reply; when done, no part is left."""
    fields = request["response_format"]["json_schema"]["schema"]["properties"]
    return {
        name: int(not done) if field["type"] == "integer" else "task please" for name, field in fields.items()
    }


LOWER = ["ok do it in python", "now make it faster", "and add a test for that", "im not sure it works"]

FORMAL = [
    "Could you please explain this?",
    "Thank you. Could you please give an example?",
    "Please explain it once more.",
]


def population():
    mixed = [make_conversation("Do this now.", "then do that", "Fine, go on", user=f"m{i}") for i in range(8)]
    return [make_conversation(*LOWER, user="low"), make_conversation(*FORMAL, user="formal"), *mixed]


def mixed_users(n=60):
    """Users of six messages each, who begin in lower case by a chance of their own, and end in a stop by chance."""
    draw, talks = np.random.default_rng(0), []
    for number in range(n):
        share = draw.beta(1, 3)
        openings = np.where(draw.random(6) < share, "do it", "Do it")
        texts = [f"{text} {i} times, now" + draw.choice(["", "."]) for i, text in enumerate(openings)]
        talks.append(make_conversation(*texts, user=f"u{number}"))
    return talks


CONVERSATIONS = [
    make_conversation("sort a list", f"now by {u}", "thanks a lot for that", user=u) for u in "abc"
]


def make_case_of(original):
    """The case of a conversation, with a goal that shares no wording with it."""
    keys = {"case_id": original.conversation_id, "user_id": original.user_id}
    return Case(**keys, goal="You want a sorted list.", key_context="none", original=original)


SETS = "business_finance ecommerce medical_health mixed_domain technology_it travel_hospitality".split()


def make_release(folder, spelling=("problem_desc", "solution_conditions")):
    """A folder in the released layout: six sets of 100 cases, 460 users, 8 conversations in two sets; ids repeat."""
    for place, name in enumerate(SETS):
        rows = []
        for i in range(100):
            number = place * 100 + i if place < 5 or i >= 8 else i  # 8 of the last set are of the first, too
            user = number % 460
            talk = [f"how do i sort list {number}", "and in reverse", "thx", "one more", "bye"]
            turns = [
                {"role": r, "content": t}
                for text in talk
                for r, t in (("user", text), ("assistant", "Sure."))
            ]
            command = {"dimension": "formality", "command": "Be brief.", "examples": ["well well", talk[1]]}
            facts = {
                "age": {"value": "25-34"},
                "location": {"value": "Lyon"},
                "nationality": {"value": "French"},
            }
            facts |= {"gender": {"value": "unknown"}, "income": {"value": None}}
            goal = dict(zip(spelling, (f"Sort list {number}.", f"list {number} is sorted"), strict=True))
            rows.append({"test_id": i, "domain": name, "task_type": "code", "user_ip": f"u{user}"} | goal)
            rows[-1] |= {"conversation_hash": f"c{number}", "original_messages": turns}
            rows[-1]["user_profile"] = {"demographics": facts, "linguistic_profile": [command]}
        path = folder / "evaluation" / "test_sets" / f"{name}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    prompt = "=== SYSTEM PROMPT ===\nCompare the users.\n\n=== FORMATTING PROMPT ===\nGive JSON.\n"
    (folder / "evaluation" / "judge_prompt.txt").write_text(prompt)
    return folder
