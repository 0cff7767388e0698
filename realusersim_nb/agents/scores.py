"""Success of agents by arm: rates, paired differences, pass^k, and differences with covariates held equal."""

from typing import Literal, get_args

import numpy as np
import pandas as pd
import statsmodels.formula.api as smf
from scipy.special import comb

from realusersim_nb import stats
from realusersim_nb.records import AgentRun, Conversation, Message
from realusersim_nb.simulators import conditions
from realusersim_nb.simulators.endings import strip_marks

Domain = Literal["mock", "airline", "retail", "telecom"]  # of tau2-bench
AgentReferenceArm = Literal["oracle", "do_nothing"]
"""What an agent's success is compared with: one makes a task's gold actions, the other no call."""
STOCK, CORRECTED = "stock", "stock_corrected"  # arms: tau2's user as shipped, or with another stop rule
BASELINE = "task_only"  # the arm that others are compared with
SMALL_EFFECT = 0.03  # about what the paper reports
TASKS_A_TERM = 10  # of a linear model, at least


def score_success(runs: pd.DataFrame, *, by: str | list[str] = "arm", seed: int = 0) -> pd.DataFrame:
    """Success of each arm (or of what ``by`` names): one row each, in the order met.

    Columns ``success, ci_low, ci_high`` (0..1, 95% by task), ``n_runs`` (scored), ``n_failed``.
    """
    runs = runs.assign(row=range(len(runs)))
    rates = stats.tabulate_rates(runs, "success", by=by, unit="task_id", item="row", seed=seed)
    return rates.rename(columns={"rate": "success", "n": "n_runs"})


def compare_success(runs: pd.DataFrame, value: str = "success", *, seed: int = 0) -> pd.DataFrame:
    """Differences of ``value`` between each arm of simulated users and ``task_only``, paired by task.

    Columns of ``stats.compare_paired``, ``p_holm`` (``p`` corrected for all rows) and ``tasks_for_3_points``:
    how many tasks, run as often and spread as these are, show a true difference of 3 points in 80% of
    studies. No rows without ``task_only``.
    """
    arms = [arm for arm in runs["arm"].unique() if arm not in get_args(AgentReferenceArm)]
    options = {"baseline": BASELINE, "pair_by": "task_id", "seed": seed}
    others = [arm for arm in arms if BASELINE in arms and arm != BASELINE]
    rows = [stats.compare_paired(runs, value, arm=arm, **options) for arm in others]
    table = pd.DataFrame(rows, columns=stats.PAIRED_COLUMNS)
    tasks = np.ceil((stats.NORMAL * table["spread"] / SMALL_EFFECT) ** 2)
    return table.assign(p_holm=stats.correct_holm(table["p"]), tasks_for_3_points=tasks)


def describe_pair(pair: dict, domain: str) -> dict:
    """A row of ``compare_success`` as a finding (see ``Run.add_finding``)."""
    given, baseline = (conditions.describe_arm(pair[name]) for name in ("arm", "baseline"))
    sentence = (
        f"In {domain}, the agent's success is {stats.describe_change(pair['difference'])} with users given "
        f"{given} than with users given {baseline}"
    )
    words = {"limit": stats.describe_power(pair["min_detectable"]), "figure": "pairs"}
    figures = {"value": pair["difference"], "ci_low": pair["ci_low"], "ci_high": pair["ci_high"]}
    figures |= {"n": pair["n_pairs"], "p": pair["p_holm"], "unit": "points", "counted": "tasks"}
    return {"sentence": sentence, **words, **figures}


def drop_repeats(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs of simulated users, each once: of those made from the same (``made_from``) the last.

    Runs that differ in seed, formats, persona or prompts all stay. Task ids get their domain.
    """
    runs = runs.dropna(subset="simulator").drop_duplicates("made_from", keep="last")
    return runs.assign(task_id=runs["domain"] + "/" + runs["task_id"])


def pool_runs(runs: pd.DataFrame) -> pd.DataFrame:
    """``drop_repeats`` with the simulator as ``scope``; of several, all runs once more as ``pooled``."""
    runs = drop_repeats(runs)
    runs = runs.assign(scope=runs["simulator"])
    return pd.concat([runs, runs.assign(scope="pooled")]) if runs["simulator"].nunique() > 1 else runs


def adjust_for_covariates(runs: pd.DataFrame, covariates: list[str]) -> pd.DataFrame:
    """Differences of success from ``task_only`` with the (logged) covariates held equal, by a linear model.

    One row an arm: ``adjusted`` (in shares of runs), ``ci_low, ci_high, p`` with errors clustered by task,
    ``n_runs``. Empty figures where arm and covariates are collinear, or with fewer than ten tasks a term.
    Turns come after the persona: an effect that they carry is taken from the arm's.
    """
    runs = runs[runs["simulator"].notna()].dropna(subset=["success", *covariates])
    runs = runs.assign(success=runs["success"].astype(float), **{c: np.log1p(runs[c]) for c in covariates})
    arms = [arm for arm in runs["arm"].unique() if arm != BASELINE]
    table = pd.DataFrame(float("nan"), pd.Index(arms, name="arm"), "adjusted ci_low ci_high p".split())
    if arms and (runs["arm"] == BASELINE).any():
        arm_term = f"C(arm, Treatment({BASELINE!r}))"
        model = smf.ols(f"success ~ {' + '.join([arm_term, *covariates])}", runs)
        n_terms, n_tasks = model.exog.shape[1], runs["task_id"].nunique()
        if n_tasks >= TASKS_A_TERM * n_terms and np.linalg.matrix_rank(model.exog) == n_terms:
            fit = model.fit(cov_type="cluster", cov_kwds={"groups": pd.factorize(runs["task_id"])[0]})
            figures = pd.concat([fit.params, fit.conf_int(), fit.pvalues], axis=1)
            table[:] = figures.loc[[f"{arm_term}[T.{arm}]" for arm in arms]].to_numpy()
    return table.assign(n_runs=len(runs))


def measure_pass_k(runs: pd.DataFrame, *, seed: int = 0) -> pd.DataFrame:
    """pass^k of each arm: the chance that k runs of a task all succeed (tau-bench, arXiv 2406.12045).

    One row an arm and k, up to the most scored trials of a task: ``pass_k`` (0..1, mean over the tasks with
    at least k scored runs of C(successes, k) / C(scored, k)) with its 95% interval by task, ``n`` such
    tasks, ``n_fewer``: tasks with fewer than k scored runs, which are left out, and ``n_incomplete``: tasks,
    of those that count, with runs that could not be scored. Arms without a scored run have no rows.
    """
    rows = []
    for arm, made in runs.groupby("arm", sort=False):
        success = made["success"].astype(float).groupby(made["task_id"])
        tasks = success.agg(["sum", "count", "size"]).astype(int)
        for k in range(1, tasks["count"].max() + 1):
            counted = tasks[tasks["count"] >= k]
            chances = comb(counted["sum"], k) / comb(counted["count"], k)
            rate = stats.estimate_rate(pd.Series(chances), pd.Series(counted.index), seed=seed)
            lacking = {"n_fewer": len(tasks) - len(counted)}
            lacking["n_incomplete"] = int((counted["count"] < counted["size"]).sum())
            rows.append({"arm": arm, "k": k, "pass_k": rate.pop("rate"), **rate, **lacking})
    return pd.DataFrame(rows, columns="arm k pass_k ci_low ci_high n n_fewer n_incomplete".split())


def measure_flips(runs: pd.DataFrame, *, seed: int = 0) -> pd.DataFrame:
    """How often two trials of a task under one arm differ in their verdict: the floor of every difference.

    One row an arm of simulated users: ``flips`` (0..1, mean over tasks of the share of their pairs of scored
    trials that differ) with its 95% interval by task, ``n`` tasks with two scored trials or more. No rows
    with one trial.
    """
    rows = []
    scored = runs.dropna(subset=["simulator", "success"])
    for arm, made in scored.groupby("arm", sort=False):
        tasks = made["success"].astype(float).groupby(made["task_id"]).agg(["sum", "count"])
        tasks = tasks[tasks["count"] > 1]
        if len(tasks):
            flips = tasks["sum"] * (tasks["count"] - tasks["sum"]) / comb(tasks["count"], 2)
            rate = stats.estimate_rate(flips, pd.Series(tasks.index), seed=seed)
            rows.append({"arm": arm, "flips": rate.pop("rate"), **rate})
    return pd.DataFrame(rows, columns="arm flips ci_low ci_high n".split())


def tabulate_runs(runs: list[AgentRun]) -> pd.DataFrame:
    """One row a run, without its messages, with ``persona_words`` and the user's median ``message_words``."""
    rows = []
    for run in runs:
        row = run.model_dump(exclude={"messages", "persona", "changes", "checks"})
        lengths = [len(m["content"].split()) for m in run.messages if is_user_text(m)]
        median = float(np.median(lengths)) if lengths else float("nan")
        rows.append(row | {"persona_words": len(run.persona.render().split()), "message_words": median})
    return pd.DataFrame(rows)


def describe_arms(runs: list[AgentRun]) -> pd.DataFrame:
    """By arm of simulated users: medians of ``persona_words, user_turns, message_words``, and ``n_runs``."""
    table = tabulate_runs(runs).dropna(subset="simulator")
    arms = table.groupby("arm", sort=False)
    return arms[["persona_words", "user_turns", "message_words"]].median().assign(n_runs=arms.size())


def measure_leaving(runs: pd.DataFrame, *, seed: int = 0) -> pd.DataFrame:
    """How often users end a run in which the task is not done: one row an arm of simulated users.

    ``left`` (0..1) with its 95% interval by task, ``n`` scored runs, ``n_failed``, and ``user_turns``: the
    median number of the message with which they left.
    """
    left = (runs["ended_by"] == "user_stop") & (runs["success"].astype(float) == 0)
    rows = runs.assign(left=left.astype(float).where(runs["success"].notna()), row=range(len(runs)))
    rows = rows.dropna(subset="simulator")
    rates = stats.tabulate_rates(rows, "left", by="arm", unit="task_id", item="row", seed=seed)
    turns = rows[rows["left"] == 1].groupby("arm")["user_turns"].median()
    return rates.rename(columns={"rate": "left"}).join(turns)


def list_conversations(runs: list[AgentRun]) -> list[Conversation]:
    """The texts of scored runs with a simulated user as conversations of their arms; a task is the user."""
    scored = [run for run in runs if run.simulator and run.success is not None]
    return [
        Conversation(
            conversation_id=f"{run.task_id}/{run.arm}/{run.trial}",
            user_id=run.task_id,
            arm=run.arm,
            simulator=run.simulator,
            ended_by="close" if run.ended_by == "user_stop" else "max_turns",
            messages=list_texts(run),
        )
        for run in scored
    ]


def list_texts(run: AgentRun) -> list[Message]:
    """What user and agent wrote in a run, without calls, results and marks of the end."""
    texts = [(m["role"], strip_marks(m.get("content") or "")) for m in run.messages]
    return [
        Message(role=role, content=text) for role, text in texts if text and role in ("user", "assistant")
    ]


def list_user_texts(run: AgentRun) -> list[tuple[int, str]]:
    """The user's texts with the index of their message, without tau2's marks of the end."""
    texts = {i: strip_marks(m["content"]) for i, m in enumerate(run.messages) if is_user_text(m)}
    return [(i, text) for i, text in texts.items() if text]


def is_user_text(message: dict) -> bool:
    """Whether a message is a text by the user."""
    return message["role"] == "user" and bool(message.get("content"))
