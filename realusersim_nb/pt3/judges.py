"""Judges of a transcript against the original: models, and rules that call none.

The paper's judge writes a free forensic comparison and turns it into one boolean a dimension in a
second call. Our prompts are our own; the released ones are used when given (``JudgePrompt``).
"""

import hashlib
from collections.abc import Callable, Iterable
from typing import Annotated

import pandas as pd
from pydantic import BaseModel, Field, create_model

from realusersim_nb.llm.errors import CallFailed
from realusersim_nb.llm.models import Models, list_results
from realusersim_nb.prompts.fill import fill_prompt
from realusersim_nb.pt3 import authorship
from realusersim_nb.pt3.cases import list_judged_messages, render_judged_messages
from realusersim_nb.records import Case, Conversation, Judgement, JudgePrompt, Message, Order, Transcript

DIMENSIONS = {
    "D1": "persona and affective traits",
    "D2": "linguistic style and mechanics",
    "D3": "technical competency and knowledge",
    "D4": "interaction and data flow",
    "D5": "pacing and action sequencing",
}
Finding = Annotated[str, Field(min_length=25, max_length=140)]  # a bare "match" is no finding


class Verdict(BaseModel):
    """One dimension of a judgement in one call: the finding first, so that the verdict follows from it."""

    finding: Finding
    match: bool


Analysis = create_model(
    "Analysis", __doc__="The first call: one sentence a dimension.", **dict.fromkeys(DIMENSIONS, Finding)
)
Verdicts = create_model(
    "Verdicts", __doc__="The second call: true is a match.", **dict.fromkeys(DIMENSIONS, bool)
)
Judged = create_model("Judged", __doc__="Both in one call.", **dict.fromkeys(DIMENSIONS, Verdict))


def sort_sides(case: Case, transcript: Transcript, order: Order) -> tuple[list[Message], list[Message]]:
    """The two conversations as A and B."""
    sides = case.original, transcript.messages
    return sides if order == "real_first" else sides[::-1]


def write_judge_prompt(case: Case, transcript: Transcript, *, order: Order = "real_first") -> str:
    """The prompt of the judge's first call, with our instructions; A and B in the given order."""
    reference, candidate = map(render_judged_messages, sort_sides(case, transcript, order))
    return fill_prompt("judge_analysis", reference=reference, candidate=candidate)


async def judge_transcript(
    models: Models,
    model: str,
    case: Case,
    transcript: Transcript,
    *,
    calls: int = 2,
    order: Order = "real_first",
    trial: int = 0,
    prompt: JudgePrompt | None = None,
    seed: int = 0,
) -> Judgement:
    """Verdicts of a model on one transcript.

    ``client`` 2 is the paper's judge, 1 asks for finding and verdict together. ``order`` says which
    side is shown first, ``trial`` tells repetitions apart. A failed roll-out, one with a lapse, or
    an unusable reply gives a Judgement without verdicts and with the reason; it is never scored 0.
    """
    about = {
        "case_id": case.case_id,
        "user_id": case.user_id,
        "arm": transcript.arm,
        "judge": model,
        "order": order,
        "trial": trial,
    }
    if unfit := find_unscored_reason(transcript):
        return Judgement(**about, error=unfit)
    first = make_judge_request(case, transcript, order, prompt)
    about["prompt_hash"] = hashlib.sha256(str(first).encode()).hexdigest()
    settings, replies = {"temperature": 0.001, "seed": seed, "sample": trial}, []
    try:
        if prompt and calls != 1:
            found = await models.ask(model, first, max_tokens=1500, **settings)
        else:
            schema = Judged if calls == 1 else Analysis
            found = await models.ask_json(model, first, schema, max_tokens=600, **settings)
        replies.append(models.last_exchange[1])
        if calls == 1:
            told = found.model_dump()
            reasons = {d: v["finding"] for d, v in told.items()}
            return Judgement(
                **about,
                verdicts={d: v["match"] for d, v in told.items()},
                analysis=join_findings(reasons),
                replies=replies,
            )
        analysis = found if isinstance(found, str) else join_findings(found.model_dump())
        second = (
            [{"role": "system", "content": prompt.formatting}, {"role": "user", "content": analysis}]
            if prompt
            else fill_prompt("judge_verdicts", analysis=analysis)
        )
        verdicts = await models.ask_json(model, second, Verdicts, max_tokens=80, **settings)
        replies.append(models.last_exchange[1])
    except CallFailed as error:
        return Judgement(**about, error=str(error), replies=replies)
    return Judgement(**about, verdicts=verdicts.model_dump(), analysis=analysis, replies=replies)


def find_unscored_reason(transcript: Transcript) -> str | None:
    """Why a transcript is not judged: its roll-out failed, fell out of its part or says nothing."""
    if transcript.error or transcript.lapse:
        return transcript.error or f"lapse: {transcript.lapse}"
    return None if list_judged_messages(transcript.messages) else "lapse: says nothing"


def make_judge_request(
    case: Case, transcript: Transcript, order: Order, prompt: JudgePrompt | None
) -> str | list[dict]:
    """The first call: our prompt, or the released one as system message with both lists as they are."""
    if prompt is None:
        return write_judge_prompt(case, transcript, order=order)
    a, b = map(render_judged_messages, sort_sides(case, transcript, order))
    sides = f"Conversation A:\n{a}\n\nConversation B:\n{b}"
    return [{"role": "system", "content": prompt.system}, {"role": "user", "content": sides}]


def join_findings(findings: dict[str, str]) -> str:
    """Findings as text, one line a dimension."""
    return "\n".join(f"{dimension}: {text}" for dimension, text in findings.items())


async def judge_transcripts(
    models: Models, model: str, cases: list[Case], transcripts: list[Transcript], **settings
) -> list[Judgement]:
    """One judgement of a model on each transcript, in order; ``settings`` are those of ``judge``."""
    by_id = {case.case_id: case for case in cases}
    tasks = [judge_transcript(models, model, by_id[t.case_id], t, **settings) for t in transcripts]
    return list_results(await models.run_all(tasks, f"judging by {model}"))


# --- rules, and all judges of a study ----------------------------------------------------------

Rule = Callable[[list[list[str]], list[list[str]]], pd.DataFrame]
RULES: dict[str, Callable[..., Rule]] = {"measured": authorship.learn_authorship}
"""Judges that call no model, by name: each learns from people who are in no case (``people``, ``seed``), and then
compares originals and candidates, a list of messages each: one row a pair, how likely (0..1) it is one person, and
one column a dimension. Half or more is a match. ValueError if there are too few people to learn from."""


def name_judges(judge: str | list[str] | None, simulator: str) -> list[str]:
    """The judges of a study: those named, or the simulator's model and every rule."""
    named = [judge] if isinstance(judge, str) else judge
    return list(dict.fromkeys(named or [simulator, *RULES]))


def choose_model_judge(judge: str | list[str] | None, simulator: str) -> str | None:
    """The first model among the judges of a study (None: the simulator's); None if all of them are rules."""
    return next((name for name in name_judges(judge, simulator) if name not in RULES), None)


def make_judges(
    judge: str | list[str] | None, simulator: str, people: list[Conversation], *, seed: int
) -> dict[str, Rule | None]:
    """The judges of a study by name, None for a model. A rule that nobody named and that cannot learn is left out.

    Says which and why; ValueError for a rule that was named.
    """
    found: dict[str, Rule | None] = {}
    for name in name_judges(judge, simulator):
        try:
            found[name] = RULES[name](people, seed=seed) if name in RULES else None
        except ValueError as problem:
            if judge:
                raise
            print(f"{problem} It is left out.")
    return found


def judge_by_rule(name: str, rule: Rule, cases: list[Case], transcripts: list[Transcript]) -> list[Judgement]:
    """One judgement of a rule on each transcript, in order."""
    by_id = {case.case_id: case for case in cases}
    fit = {i: t for i, t in enumerate(transcripts) if not find_unscored_reason(t)}
    originals = [list_judged_messages(by_id[t.case_id].original) for t in fit.values()]
    likely = (
        rule(originals, [list_judged_messages(t.messages) for t in fit.values()]).to_dict("records")
        if fit
        else []
    )
    told = dict(zip(fit, likely, strict=True))
    found = []
    for i, t in enumerate(transcripts):
        about = {"case_id": t.case_id, "user_id": t.user_id, "arm": t.arm, "judge": name}
        if i in told:
            reason = ", ".join(f"{d} {p:.2f}" for d, p in told[i].items())
            about["verdicts"] = {d: p >= 0.5 for d, p in told[i].items()}
            about["analysis"] = f"likelihood of one person: {reason}"
        found.append(Judgement(**about, error=find_unscored_reason(t)))
    return found


async def judge_all(
    models: Models,
    judges: dict[str, Rule | None],
    cases: list[Case],
    transcripts: list[Transcript],
    *,
    orders: Iterable[Order] = ("real_first",),
    **settings,
) -> list[Judgement]:
    """Every judge's judgements of all transcripts; those of models in each order. ``settings`` are those of ``judge``."""
    found = []
    for name, rule in judges.items():
        if rule:
            found += judge_by_rule(name, rule, cases, transcripts)
        else:
            for order in orders:
                found += await judge_transcripts(models, name, cases, transcripts, order=order, **settings)
    return found
