"""What a run will cost at most, said before it is begun: calls, tokens and dollars by notebook."""

from collections.abc import Iterator
from typing import get_args

import pandas as pd

from realusersim_nb.agents import environment, reference_arms
from realusersim_nb.gap import facets
from realusersim_nb.llm.endpoints import find_endpoint
from realusersim_nb.pt3 import judges

TOKENS = {
    "profile": (600, 650),
    "goal": (300, 170),
    "plan": (330, 40),
    "turn": (230, 60),
    "answer": (90, 60),
    "analysis": (360, 100),
    "verdicts": (150, 45),
    "agent step": (2500, 65),
    "facets": (900, 250),
    "odd one out": (700, 60),
}
"""Tokens of one call, prompt and reply, by what is asked: means of the demo run, rounded up.

The agent step is one of domain retail, whose policy is long; mock needs 360. Conversations longer
than those of ShareGPT need more of all.
"""
Planned = tuple[
    str, str | None, float | None
]  # what is asked, the model, how often (None: as many as there are users)


def estimate_run(parameters: dict[str, dict]) -> pd.DataFrame:
    """What the notebooks of a run ask of models: one row a notebook, kind of call and model.

    ``parameters`` maps notebook names to all their parameters. Columns ``notebook, asked, model,
    calls, prompt_tokens, completion_tokens, cost_usd``: at most, as if no reply were cached yet
    and no conversation ended early, with ``TOKENS`` a call. NaN where the number of calls is not
    known before the corpus is read, or no price is (see ``endpoints``).
    """
    rows = []
    for notebook, p in parameters.items():
        for asked, model, calls in plan_calls(notebook, p, before=[n for n in parameters if n < notebook]):
            n = float("nan") if calls is None else calls
            prompt, reply = (n * tokens for tokens in TOKENS[asked])
            prices = find_endpoint(model).prices or (float("nan"),) * 2
            cost = (prompt * prices[0] + reply * prices[1]) / 1e6
            rows.append((notebook, asked, model, n, prompt, reply, cost))
    columns = ["notebook", "asked", "model", "calls", "prompt_tokens", "completion_tokens", "cost_usd"]
    return pd.DataFrame(rows, columns=columns).query("calls != 0")


def plan_calls(notebook: str, p: dict, *, before: list[str]) -> Iterator[Planned]:
    """What one notebook asks. What an earlier notebook of the run has asked already costs nothing."""
    number, simulator = notebook[:2], p.get("simulator")
    assistant = p.get("assistant") or simulator
    made = {name[:2] for name in before}
    if p.get("extractor", "measured") != "measured" and not made - {"00"}:
        yield "profile", p["extractor"], p["n_users"]
    if number == "00":
        yield "goal", assistant, 1
        yield "turn", simulator, 3
    elif number == "01" and p["compared_extractor"]:
        yield "profile", p["compared_extractor"], p["n_compared"]
    elif number == "03" or (number == "05" and simulator and "03" not in made):
        if not p.get("released"):
            yield "goal", assistant, 2 * p["n_cases"]  # each may be asked for once more
        yield from plan_roll_outs(p, simulator, assistant)
        if number == "03":
            yield from plan_judging(p, simulator)
    elif number == "04":
        yield from plan_agent_runs(p)
    if number == "05":
        if p["facet_writer"] not in (facets.MEASURED, facets.RAW):
            yield "facets", p["facet_writer"], None
        if p["annotator"]:
            yield "odd one out", p["annotator"], p["n_triplets"]


def plan_roll_outs(p: dict, simulator: str, assistant: str) -> Iterator[Planned]:
    """The messages of all roll-outs: every one but the opening is planned first (``transcript``), and follows an answer."""
    conversations, messages = p["n_cases"] * len(p["arms"]), p["max_user_messages"]
    yield "turn", simulator, conversations * messages
    if p["turn_format"] == "transcript":
        yield "plan", simulator, conversations * (messages - 1)
    yield "answer", assistant, conversations * (messages - 1)


def plan_judging(p: dict, simulator: str) -> Iterator[Planned]:
    """The readings of all transcripts and the two bounds by each judge, and of some again, twice."""
    judged = p["n_cases"] * (len(p["arms"]) + 2)
    for judge in judges.name_judges(p["judge"], simulator):
        if judge not in judges.RULES:
            readings = judged * len(p["judge_orders"]) + 2 * min(p["n_rejudged"], judged)
            yield "analysis", judge, readings
            yield "verdicts", judge, readings * (p["judge_calls"] - 1)


def plan_agent_runs(p: dict) -> Iterator[Planned]:
    """The steps of all agent runs, half of them the agent's, half the user's."""

    arms = [arm for arm in p["arms"] if arm not in get_args(reference_arms.AgentReferenceArm)]
    n_tasks = len(environment.load_tasks(p["domain"], p["n_tasks"]))
    steps = len(arms) * n_tasks * p["n_trials"] * p["max_steps"]
    yield "agent step", p["agent"], steps / 2
    yield "turn", p["simulator"], steps / 2
    if p["turn_format"] == "transcript":
        yield "plan", p["simulator"], steps / 2
    yield "turn", p["simulator"], len(set(p["directives"]) - set(arms)) * n_tasks
    for judge in judges.name_judges(p["judge"], p["simulator"])[:1]:
        if judge not in judges.RULES:
            yield "analysis", judge, len(arms) * n_tasks * p["n_trials"]


def describe_estimate(table: pd.DataFrame) -> str:
    """The estimate as text, one line a notebook and model, with a total; ``?`` is not known."""
    if table.empty:
        return "These notebooks call no model."
    by = table.groupby(["notebook", "model"], sort=False)[
        ["calls", "prompt_tokens", "completion_tokens", "cost_usd"]
    ]
    shown = by.agg(lambda column: column.sum(skipna=False)).reset_index()
    shown.loc[len(shown)] = ["total", "", *shown.iloc[:, 2:].sum(skipna=False)]
    for name in shown.columns[2:]:
        form = "${:,.2f}".format if name == "cost_usd" else "{:,.0f}".format
        shown[name] = [form(value) if pd.notna(value) else "?" for value in shown[name]]
    return f"At most, if nothing is in the cache yet:\n{shown.to_string(index=False)}"
