"""Toy data that tests of several rooms share."""

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
