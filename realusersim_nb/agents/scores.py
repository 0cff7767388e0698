"""TODO."""

from math import comb

import numpy as np
import pandas as pd
import statsmodels.formula.api as smf

from realusersim_nb import stats
from realusersim_nb.corpus.formats import END_MARKS
from realusersim_nb.records import AgentRun
from realusersim_nb.simulators import conditions

STOCK, BASELINE = "stock", "task_only"  # the arm of tau2's own user, as shipped; what arms are compared with
SMALL_EFFECT = 0.03  # about what the paper reports
TASKS_A_TERM = 10  # of a linear model, at least


# --- scores ------------------------------------------------------------------------------------


def score_success(runs: pd.DataFrame, *, by: str | list[str] = "arm", seed: int = 0) -> pd.DataFrame:
    """Success of each arm (or of what ``by`` names): one row each, in the order met.

    Columns ``success, ci_low, ci_high`` (0..1, 95 % by task), ``n_runs`` (scored), ``n_failed``.
    """
    found = stats.tabulate_rates(
        runs, "success", by=by, unit="task_id", item=["simulator", "task_id", "trial"], seed=seed
    )
    return found.rename(columns={"rate": "success", "n": "n_runs"})


def compare_success(runs: pd.DataFrame, value: str = "success", *, seed: int = 0) -> pd.DataFrame:
    """Paired differences of ``value`` between each kind of simulated user and ``task_only``; tasks are the pairs.

    See ``stats.compare_paired``; no rows without ``task_only``. ``tasks_for_3_points``: how many tasks, run as often
    and spread as these are, show a true difference of 3 points in 80 % of studies.
    """
    arms = [arm for arm in runs["arm"].unique() if arm in (STOCK, *conditions.ARMS)]
    pairs = [(arm, BASELINE) for arm in arms if BASELINE in arms and arm != BASELINE]
    rows = [
        stats.compare_paired(runs, value, arm=arm, baseline=baseline, pair_by="task_id", seed=seed)
        for arm, baseline in pairs
    ]
    table = pd.DataFrame(rows, columns=stats.PAIRED_COLUMNS)
    return table.assign(tasks_for_3_points=np.ceil((stats.NORMAL * table["spread"] / SMALL_EFFECT) ** 2))


def pool_runs(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs of simulated users with their simulator as ``scope``, and, where there are several, all of them once
    more in the scope ``pooled``. A run that stands in several studies counts once; tasks are named with their domain.
    """
    alike = ["domain", "agent", "simulator", "arm", "task_id", "trial"]
    own = runs.dropna(subset="simulator").drop_duplicates(alike, keep="last")
    own = own.assign(scope=own["simulator"], task_id=own["domain"] + "/" + own["task_id"])
    return pd.concat([own, own.assign(scope="pooled")]) if own["simulator"].nunique() > 1 else own


def describe_arms(runs: list[AgentRun]) -> pd.DataFrame:
    """What differs between arms besides the manner: one row an arm of simulated users, medians over its runs.

    Columns ``persona_words`` (what the user was told of how to write), ``user_turns``, ``message_words``, ``n_runs``.
    """
    table = tabulate_runs(runs)
    return (
        table[table["simulator"].notna()]
        .groupby("arm", sort=False)
        .agg(
            persona_words=("persona_words", "median"),
            user_turns=("user_turns", "median"),
            message_words=("message_words", "median"),
            n_runs=("task_id", "size"),
        )
    )


def adjust_for_covariates(runs: pd.DataFrame, covariates: list[str]) -> pd.DataFrame:
    """Differences of success from ``task_only`` with the covariates held equal, by a linear model.

    One row an arm: ``adjusted`` (in shares of runs), ``ci_low, ci_high, p`` with errors clustered by task, ``n_runs``.
    Empty figures where arms and covariates cannot be told apart, or with fewer than ten tasks a term.
    Turns come after the manner: what goes through them is taken from the arm's effect.
    """
    own = runs[runs["simulator"].notna()].dropna(subset=["success", *covariates])
    own = own.assign(success=own["success"].astype(float), **{c: np.log1p(own[c]) for c in covariates})
    arms = [arm for arm in own["arm"].unique() if arm != BASELINE]
    terms = [f"C(arm, Treatment({BASELINE!r}))", *covariates]
    rows = {arm: {"n_runs": len(own)} for arm in arms}
    if arms and (own["arm"] == BASELINE).any():
        model = smf.ols(f"success ~ {' + '.join(terms)}", own)
        enough = own["task_id"].nunique() >= TASKS_A_TERM * model.exog.shape[1]
        if enough and np.linalg.matrix_rank(model.exog) == model.exog.shape[1]:
            fit = model.fit(cov_type="cluster", cov_kwds={"groups": pd.factorize(own["task_id"])[0]})
            for arm in arms:
                name = f"{terms[0]}[T.{arm}]"
                low, high = fit.conf_int().loc[name]
                rows[arm] = {
                    "adjusted": fit.params[name],
                    "ci_low": low,
                    "ci_high": high,
                    "p": fit.pvalues[name],
                    "n_runs": len(own),
                }
    columns = ["adjusted", "ci_low", "ci_high", "p", "n_runs"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns).rename_axis("arm")


def measure_pass_k(runs: pd.DataFrame, *, seed: int = 0) -> pd.DataFrame:
    """pass^k of each arm: how likely k runs of a task all succeed (tau-bench, arXiv 2406.12045).

    One row an arm and k, up to the fewest scored trials of a task: ``pass_k`` (0..1, mean over
    tasks of C(successes, k) / C(trials, k)) with its 95 % interval by task, and ``n`` tasks.
    """
    rows = []
    for arm, own in runs.dropna(subset="success").groupby("arm", sort=False):
        tasks = own.groupby("task_id")["success"].agg(["sum", "count"]).astype(int)
        for k in range(1, tasks["count"].min() + 1):
            chances = pd.Series([comb(c, k) / comb(n, k) for c, n in tasks.to_numpy().tolist()], tasks.index)
            found = stats.estimate_rate(chances, pd.Series(tasks.index), seed=seed)
            rows.append({"arm": arm, "k": k, "pass_k": found.pop("rate"), **found})
    return pd.DataFrame(rows, columns=["arm", "k", "pass_k", "ci_low", "ci_high", "n"])


def tabulate_runs(runs: list[AgentRun]) -> pd.DataFrame:
    """One row a run, without its messages; with the words of the manner told and the median words of a user's message."""
    left_out = {"messages", "persona", "changes", "checks"}
    return pd.DataFrame([{**run.model_dump(exclude=left_out), **count_run_words(run)} for run in runs])


def count_run_words(run: AgentRun) -> dict[str, float]:
    """Words of the manner told, and median words of a message of the user."""
    said = [len(m["content"].split()) for m in run.messages if m["role"] == "user" and m.get("content")]
    return {
        "persona_words": len(run.persona.split()),
        "message_words": float(np.median(said)) if said else float("nan"),
    }


def list_user_texts(run: AgentRun) -> list[tuple[int, str]]:
    """What the user wrote, with the message's index, without tau2's marks of the end."""
    said = [
        (i, END_MARKS.sub("", m["content"]).strip()) for i, m in enumerate(run.messages) if is_user_text(m)
    ]
    return [(i, text) for i, text in said if text]


def is_user_text(message: dict) -> bool:
    """Whether a message is something that the user wrote."""
    return message["role"] == "user" and bool(message.get("content"))
