"""Judges of one transcript against the original: two calls to a model, one call, or measurement.

The paper's judge writes a free forensic comparison and turns it into one boolean a dimension in a
second call. Our prompts are our own; the released ones are used when given (``JudgePrompt``).
"""

import hashlib
from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, Field, create_model

from realusersim_nb.cases import list_messages, prepare
from realusersim_nb.faults import CallFailed
from realusersim_nb.llm import Models
from realusersim_nb.measured_judge import NAME as MEASURED
from realusersim_nb.measured_judge import MeasuredJudge
from realusersim_nb.records import Case, Judgement, Order, Transcript
from realusersim_nb.templates import fill_prompt

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


Analysis = create_model("Analysis", __doc__="The first call: one sentence a dimension.", **dict.fromkeys(DIMENSIONS, Finding))  # fmt: skip
Verdicts = create_model("Verdicts", __doc__="The second call: true is a match.", **dict.fromkeys(DIMENSIONS, bool))
Judged = create_model("Judged", __doc__="Both in one call.", **dict.fromkeys(DIMENSIONS, Verdict))


@dataclass(frozen=True)
class JudgePrompt:
    """The two sections of a released ``judge_prompt.txt`` (see ``release.read_judge_prompt``)."""

    system: str
    formatting: str


def render_judging(case: Case, transcript: Transcript, *, order: Order = "real_first") -> str:
    """The prompt of the judge's first call, with our instructions; A and B in the given order."""
    reference, candidate = sort_sides(case, transcript, order)
    return fill_prompt("judge_analysis", reference=reference, candidate=candidate)


def sort_sides(case: Case, transcript: Transcript, order: Order) -> list[str]:
    """The two lists of messages as A and B."""
    sides = [list_messages(case.original), list_messages(transcript.messages)]
    return sides if order == "real_first" else sides[::-1]


async def judge(
    models: Models, model: str, case: Case, transcript: Transcript, *, calls: int = 2, order: Order = "real_first",
    trial: int = 0, prompt: JudgePrompt | None = None, seed: int = 0,
) -> Judgement:  # fmt: skip
    """Verdicts of a model on one transcript.

    ``calls`` 2 is the paper's judge, 1 asks for finding and verdict together. ``order`` says which
    side is shown first, ``trial`` tells repetitions apart. A failed roll-out, one with a lapse, or
    an unusable reply gives a Judgement without verdicts and with the reason; it is never scored 0.
    """
    about = {"case_id": case.case_id, "user_id": case.user_id, "arm": transcript.arm, "judge": model, "order": order, "trial": trial}  # fmt: skip
    if unfit := find_unfit(transcript):
        return Judgement(**about, error=unfit)
    first = write_request(case, transcript, order, prompt)
    about["prompt_hash"] = hashlib.sha256(str(first).encode()).hexdigest()
    settings, replies = {"temperature": 0.001, "seed": seed, "sample": trial}, []
    try:
        schema = Judged if calls == 1 else None if prompt else Analysis
        found = await models.ask(model, first, schema, max_tokens=600 if schema else 1500, **settings)
        replies.append(models.last_exchange[1])
        if calls == 1:
            told = found.model_dump()
            reasons = {d: v["finding"] for d, v in told.items()}
            return Judgement(**about, verdicts={d: v["match"] for d, v in told.items()}, analysis=join(reasons), replies=replies)  # fmt: skip
        analysis = found if isinstance(found, str) else join(found.model_dump())
        second = [{"role": "system", "content": prompt.formatting}, {"role": "user", "content": analysis}] if prompt else fill_prompt("judge_verdicts", analysis=analysis)  # fmt: skip
        verdicts = await models.ask(model, second, Verdicts, max_tokens=80, **settings)
        replies.append(models.last_exchange[1])
    except CallFailed as error:
        return Judgement(**about, error=str(error), replies=replies)
    return Judgement(**about, verdicts=verdicts.model_dump(), analysis=analysis, replies=replies)


def find_unfit(transcript: Transcript) -> str | None:
    """Why a transcript is not judged: its roll-out failed, fell out of its part or says nothing."""
    if transcript.error or transcript.lapse:
        return transcript.error or f"lapse: {transcript.lapse}"
    return None if prepare(transcript.messages) else "lapse: says nothing"


def write_request(case: Case, transcript: Transcript, order: Order, prompt: JudgePrompt | None) -> str | list[dict]:
    """The first call: our prompt, or the released one as system message with both lists as they are."""
    if prompt is None:
        return render_judging(case, transcript, order=order)
    a, b = sort_sides(case, transcript, order)
    sides = f"Conversation A:\n{a}\n\nConversation B:\n{b}"
    return [{"role": "system", "content": prompt.system}, {"role": "user", "content": sides}]


def join(findings: dict[str, str]) -> str:
    """Findings as text, one line a dimension."""
    return "\n".join(f"{dimension}: {text}" for dimension, text in findings.items())


async def judge_all(
    models: Models, model: str, cases: list[Case], transcripts: list[Transcript], **settings
) -> list[Judgement]:
    """One judgement a transcript, in order; ``settings`` are those of ``judge``."""
    by_id = {case.case_id: case for case in cases}
    tasks = [judge(models, model, by_id[t.case_id], t, **settings) for t in transcripts]
    return await models.run_all(tasks, f"judging by {model}")


def judge_by_measurement(measured: MeasuredJudge, cases: list[Case], transcripts: list[Transcript]) -> list[Judgement]:
    """One judgement a transcript by the judge that needs no model: D2, D4 and D5 only."""
    by_id, found = {case.case_id: case for case in cases}, []
    for t in transcripts:
        about = {"case_id": t.case_id, "user_id": t.user_id, "arm": t.arm, "judge": MEASURED}
        if unfit := find_unfit(t):
            found.append(Judgement(**about, error=unfit))
            continue
        likely = measured.compare(prepare(by_id[t.case_id].original), prepare(t.messages))
        told = ", ".join(f"{d} {p:.2f}" for d, p in likely.items())
        verdicts = {d: p >= 0.5 for d, p in likely.items()}
        found.append(Judgement(**about, verdicts=verdicts, analysis=f"likelihood of one person: {told}"))
    return found


def name_judges(judge: str | list[str] | None, simulator: str) -> list[str]:
    """The judges of a study: those named, or the simulator's model and the measured one."""
    named = [judge] if isinstance(judge, str) else judge
    return list(dict.fromkeys(named or [simulator, MEASURED]))
