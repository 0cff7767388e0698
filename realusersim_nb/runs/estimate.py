"""What runs will cost at most, known before they are begun: calls, tokens and dollars."""

import os
from collections.abc import Iterator
from math import ceil
from typing import Any, get_args

import pandas as pd

from realusersim_nb.agents.scores import AgentReferenceArm
from realusersim_nb.files import outputs_folder
from realusersim_nb.gap import embeddings, facets
from realusersim_nb.llm import endpoints
from realusersim_nb.pt3 import judges
from realusersim_nb.pt3.likelihood import FIT_ARMS, choose_scorer
from realusersim_nb.runs.notebooks import fill_parameters, find_notebooks
from realusersim_nb.runs.summary import read_headlines
from realusersim_nb.runs.sweeps import PlannedRun, find_state
from realusersim_nb.simulators.rollouts import DRAWS

TOKENS = {
    "profile": (600, 650),
    "goal": (400, 30),
    "score": (450, 1),
    "plan": (330, 40),
    "turn": (450, 60),
    "answer": (90, 60),
    "analysis": (360, 100),
    "verdicts": (150, 45),
    "agent step": (2500, 65),
    "facets": (900, 250),
    "embeddings": (64 * 90, 0),
    "odd one out": (700, 60),
}
"""Tokens of one call, prompt and reply, by what is asked: means of the demo run, rounded up. The agent step
is one of domain retail, whose policy is long; mock needs 360. Conversations longer than ShareGPT's need more.
"""
VISIT = 3  # user's messages of the visit at the end of notebook 04, which takes six steps
Planned = tuple[str, str | None, float | None]  # what is asked, the model, how often (None: once a user)


def estimate_run(parameters: dict[str, dict[str, Any]]) -> pd.DataFrame:
    """What the notebooks of a run ask of models: one row a notebook, kind of call and model.

    ``parameters`` maps notebook names to all their parameters. Columns ``notebook, asked, model, calls,
    prompt_tokens, completion_tokens, cost_usd``: at most, as if no reply were cached, no conversation ended
    early and no reply had to be repaired. NaN where the number of calls is not known before the corpus is
    read, or a price is not.
    """
    rows, unknown, before = [], float("nan"), {}
    for notebook, p in sorted(parameters.items()):
        for asked, model, calls in plan_calls(notebook, p, before=before):
            n = unknown if calls is None else calls
            prompt, reply = (n * tokens for tokens in TOKENS[asked])
            prices = endpoints.find_endpoint(model).prices or (unknown, unknown)
            cost = (prompt * prices[0] + reply * prices[1]) / 1e6
            rows.append((notebook, asked, model, n, prompt, reply, cost))
        before = before | {notebook[:2]: p}
    columns = "notebook asked model calls prompt_tokens completion_tokens cost_usd".split()
    return pd.DataFrame(rows, columns=columns).query("calls != 0")


def plan_calls(notebook: str, p: dict, *, before: dict[str, dict]) -> Iterator[Planned]:
    """What one notebook asks, less what earlier ones did (``before``: their parameters by number)."""
    number, simulator = notebook[:2], p.get("simulator")
    assistant, is_drawn = p.get("assistant") or simulator, p.get("released") is None
    if (writer := name_writer(p.get("extractor"))) and not before.keys() - {"00"}:
        yield "profile", writer, p["n_users"]
    if number == "00":
        yield "goal", assistant, 4 * (3 + 2 * 6)  # sentences, each asked for up to four times
        yield "turn", simulator, 4
    elif number == "01" and (writer := name_writer(p["compared_extractor"])):
        yield "profile", writer, p["n_compared"]
    elif number == "03":
        yield from plan_sentences(p, assistant, people=max(p["n_cases"], p["n_predicted"]) * is_drawn)
        if scorer := choose_scorer(p["scorer"], simulator):
            asked = len(FIT_ARMS) + p["n_candidates"]
            yield "score", scorer, asked * max(p["n_cases"], p["n_predicted"]) * is_drawn
        yield from plan_rollouts(p, simulator, assistant)
        yield from plan_judging(p, simulator)
    elif number == "04":
        yield from plan_agent_runs(p)
    elif number == "05":
        if simulator and before.get("03", {"released": "none ran"})["released"] is not None:
            yield from plan_sentences(p, assistant, people=p["n_cases"])
            yield from plan_rollouts(p, simulator, assistant)
        yield from plan_measuring(p)


def name_writer(extractor: str | None) -> str | None:
    """The model that writes profiles; None if none does."""
    return None if extractor in (None, "measured") else extractor.removeprefix("hybrid:")


def plan_sentences(p: dict, assistant: str, *, people: int) -> Iterator[Planned]:
    """The neutral sentences of goals and demonstrations, each asked for up to four times, and the tags."""
    yield "goal", assistant, 4 * people * (p["max_user_messages"] + p["n_demonstrations"]) + p["n_cases"]


def plan_rollouts(p: dict, simulator: str, assistant: str) -> Iterator[Planned]:
    """The messages of all rollouts: after the opening, each follows an answer and may be planned first."""
    conversations, messages = p["n_cases"] * len(p["arms"]), p["max_user_messages"]
    yield "turn", simulator, DRAWS * conversations * messages + ("profile" not in p["arms"])  # which is shown
    if p["turn_format"] == "transcript" and p.get("released"):  # other goals have steps
        yield "plan", simulator, conversations * (messages - 1)
    yield "answer", assistant, conversations * (messages - 1)


def plan_judging(p: dict, simulator: str) -> Iterator[Planned]:
    """The readings of all transcripts and of two reference arms by each judge, and of some again, twice."""
    judged = p["n_cases"] * (len(p["arms"]) + 2)
    for judge in judges.name_judges(p["judge"], simulator):
        if judge not in judges.RULES:
            shown = "real_first" not in p["judge_orders"]
            readings = judged * len(p["judge_orders"]) + 2 * min(p["n_rejudged"], judged) + shown
            yield "analysis", judge, readings
            yield "verdicts", judge, readings * (p["judge_calls"] - 1)


def plan_agent_runs(p: dict) -> Iterator[Planned]:
    """What agent runs ask, every second step the user's; then the openings under directives and a visit."""
    from realusersim_nb.agents.environment import load_tasks  # here: it needs the extra agents

    simulated = {arm for arm in p["arms"] if arm not in get_args(AgentReferenceArm)}
    drawn = {name: p[name] for name in ("domain", "n_tasks", "spoken_only")}
    n_runs = len(load_tasks(**drawn, seed=p["seed"])) * p["n_trials"]
    steps = len(simulated) * n_runs * ceil(p["max_steps"] / 2)
    opened = {"task_only", "profile", *p["directives"]} - simulated if p["directives"] else set()
    written = steps + (len(opened) * n_runs + VISIT if simulated else 0)
    yield "agent step", p["agent"], steps
    yield "turn", p["simulator"], written
    if p["turn_format"] == "transcript":
        yield "plan", p["simulator"], written
    if reader := judges.choose_model_judge(p["judge"], p["simulator"]):
        yield "analysis", reader, len(simulated) * n_runs


def plan_measuring(p: dict) -> Iterator[Planned]:
    """What describing, embedding and comparing conversations asks."""
    if p["facet_writer"] not in (facets.MEASURED, facets.RAW):
        yield "facets", p["facet_writer"], None
    if p["embedder"] not in embeddings.LSA and not p["embedder"].endswith((".npy", ".npz")):
        yield "embeddings", p["embedder"], None
    if p["annotator"]:
        yield "odd one out", p["annotator"], p["n_triplets"]


def estimate_planned_run(run: PlannedRun) -> pd.DataFrame:
    """What one run asks of models (see ``estimate_run``)."""
    chosen = find_notebooks(run.notebooks)
    return estimate_run({path.stem: fill_parameters(path, run.parameters) for path in chosen})


def estimate_runs(runs: list[PlannedRun]) -> pd.DataFrame:
    """What unfinished runs will take at most: ``run, state, calls, tokens, cost_usd, minutes``.

    Minutes are calls at the pace of the finished runs under outputs/ (all models together), NaN without any.
    """
    endpoints.read_endpoints()
    pace, rows = measure_pace(), []
    for run in runs:
        state, asked = find_state(run), estimate_planned_run(run)
        total = asked.iloc[:, 3:].sum(skipna=False) * (state != "finished")
        tokens = total["prompt_tokens"] + total["completion_tokens"]
        rows.append((run.name, state, total["calls"], tokens, total["cost_usd"], total["calls"] * pace / 60))
    return pd.DataFrame(rows, columns="run state calls tokens cost_usd minutes".split())


def measure_pace() -> float:
    """Seconds that a live call took in the last starts of notebooks under outputs/; NaN without any."""
    folders = [folder for depth in ("*", "*/*") for folder in outputs_folder().glob(depth)]
    done = [notebook for folder in folders for notebook in read_headlines(folder).values()]
    paced = [(n, notebook["wall_seconds"]) for notebook in done if (n := notebook["last_start"]["live"])]
    calls, seconds = map(sum, zip(*paced, strict=True)) if paced else (0, 0)
    return seconds / calls if calls else float("nan")


def check_addresses(parameters: dict[str, dict[str, Any]]) -> None:
    """EndpointError for the first model of a run whose address, or the key that is set, cannot be one.

    ``parameters`` as for ``estimate_run``. What is wrong is better known now than in the third notebook.
    """
    named = ("simulator", "assistant", "agent", "annotator")
    models = [p.get(name) for p in parameters.values() for name in named]
    models += [
        name_writer(p.get(name)) for p in parameters.values() for name in ("extractor", "compared_extractor")
    ]
    for endpoint in map(endpoints.find_endpoint, dict.fromkeys(filter(None, models))):
        if endpoint is not endpoints.EMBEDDED and endpoint.address and os.environ.get(endpoint.api_key_env):
            endpoints.find_key(endpoint)


def check_keys(runs: list[PlannedRun]) -> None:
    """EndpointError for the first model that a run asks and whose key is not in the environment."""
    for model in dict.fromkeys(model for run in runs for model in estimate_planned_run(run)["model"]):
        if (endpoint := endpoints.find_endpoint(model)) is not endpoints.EMBEDDED:
            endpoints.find_key(endpoint)


def describe_estimate(table: pd.DataFrame) -> str:
    """What a run will cost at most, one line a notebook and model."""
    if table.empty:
        return "These notebooks call no model."
    by_model = table.drop(columns="asked").groupby(["notebook", "model"], sort=False)
    sums = by_model.agg(lambda column: column.sum(skipna=False)).reset_index()
    return render_estimate(sums)


def render_estimate(table: pd.DataFrame) -> str:
    """A table of two columns of names and others of numbers, with a total; ``?`` is not known."""
    shown = table.copy()
    shown.loc[len(shown)] = ["total", "", *table.iloc[:, 2:].sum(skipna=False)]
    for name in table.columns[2:]:
        form = {"cost_usd": "${:,.2f}", "minutes": "{:,.1f}"}.get(name, "{:,.0f}").format
        shown[name] = [form(value) if pd.notna(value) else "?" for value in shown[name]]
    return f"At most, if nothing is in the cache yet, one after the other:\n{shown.to_string(index=False)}"
