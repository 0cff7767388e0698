"""Judges of a transcript against the original: models, and rules that call none.

The paper's judge writes a free forensic comparison and turns it into one boolean a dimension in a second
call. Our prompts are ours; the released ones are used when given (``JudgePrompt``).
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import pandas as pd
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, create_model

from realusersim_nb.corpus.splits import cut_conversation
from realusersim_nb.errors import InputError
from realusersim_nb.llm.errors import CallFailed, list_results
from realusersim_nb.llm.models import Models
from realusersim_nb.prompts.fill import fill_prompt
from realusersim_nb.pt3 import authorship
from realusersim_nb.pt3.cases import list_judged_messages, render_judged_messages
from realusersim_nb.records import Case, Conversation, Judgement, JudgePrompt, Order

DIMENSIONS = {
    "D1": "persona and affective traits",
    "D2": "linguistic style and mechanics",
    "D3": "technical competency and knowledge",
    "D4": "interaction and data flow",
    "D5": "pacing and action sequencing",
}
KEYS = {"case_id", "user_id", "arm"}  # by which a judgement names the conversation that was judged
Finding = Annotated[str, Field(min_length=25, max_length=140)]  # a bare "match" is no finding


NO_MATCH = re.compile(
    r"\b(no|not (a|an exact)|without a) match\b|\b(do|does) ?(not|n't) match\b|\bmismatch", re.I
)
DOUBT = re.compile(  # "no clear match", "do not seem to match", "a partial match": for a model to decide
    r"(\b(no|not|never|cannot|hardly|barely|without|poor|weak|partial)|n['’]t)(\s+\w+){0,3}\s+match",
    re.IGNORECASE,
)
MATCH = re.compile(r"\bmatch(es)?\b", re.IGNORECASE)


class Verdict(BaseModel):
    """One dimension of a judgement in one call: the finding first, so that the verdict follows from it."""

    finding: Finding
    match: bool


FINDINGS, MATCHES = dict.fromkeys(DIMENSIONS, Finding), dict.fromkeys(DIMENSIONS, bool)
Analysis = create_model("Analysis", __doc__="The first call: one sentence a dimension.", **FINDINGS)
Verdicts = create_model("Verdicts", __doc__="The second call: true is a match.", **MATCHES)
Judged = create_model("Judged", __doc__="Both in one call.", **dict.fromkeys(DIMENSIONS, Verdict))


RELEASED_KEYS = {
    "D1": "Persona_Affective_Traits_Match",
    "D2": "Linguistic_Style_Mechanics_Match",
    "D3": "Technical_Competency_Knowledge_Match",
    "D4": "Interaction_Data_Flow_Match",
    "D5": "Pacing_Action_Sequencing_Match",
}
"""The keys of the released formatter's answer, each ``{"is_matched": true}`` or false."""


class ReleasedVerdict(BaseModel):
    """One dimension in the released form."""

    is_matched: StrictBool


def accept_boolean(value: object) -> object:
    """A verdict in the released form, or None for anything else: it is then unscored, and no "no match"."""
    verdict = value.get("is_matched") if isinstance(value, dict) else None
    return value if isinstance(verdict, bool) else None


Lenient = Annotated[ReleasedVerdict | None, BeforeValidator(accept_boolean)]
ReleasedVerdicts = create_model(
    "ReleasedVerdicts",
    __config__=ConfigDict(json_schema_extra={"required": list(RELEASED_KEYS.values())}),
    **dict.fromkeys(RELEASED_KEYS.values(), (Lenient, None)),
)


def read_released(answers: dict[str, dict | None]) -> dict:
    """``verdicts`` of the keys that hold a boolean, and the ``error`` where none does."""
    by_dimension = {d: answers[key] for d, key in RELEASED_KEYS.items()}
    verdicts = {d: answer["is_matched"] for d, answer in by_dimension.items() if answer}
    return {"verdicts": verdicts or None, "error": None if verdicts else "none of the five keys is a boolean"}


@dataclass(frozen=True, kw_only=True)
class JudgeSettings:
    """How a model judges: in 2 ``calls`` as the paper's judge, or in 1 that asks for finding and verdict.

    ``order``: the side shown first; ``trial`` numbers repetitions; ``prompt``: a released one (None: ours).
    """

    calls: Literal[1, 2] = 2
    order: Order = "real_first"
    trial: int = 0
    prompt: JudgePrompt | None = None
    seed: int = 0


def sort_sides(case: Case, transcript: Conversation, order: Order) -> tuple[Conversation, Conversation]:
    """The two conversations as A and B."""
    sides = case.original, transcript
    return sides if order == "real_first" else sides[::-1]


async def judge_transcript(
    models: Models, model: str, case: Case, transcript: Conversation, settings: JudgeSettings
) -> Judgement:
    """Verdicts of a model on one transcript.

    A failed rollout, one with a role break, or an unusable reply gives a Judgement without verdicts and with
    the reason; it is never scored 0.
    """
    about = transcript.model_dump(include=KEYS)
    about |= {"judge": model, "order": settings.order, "trial": settings.trial}
    if reason := find_unscored_reason(transcript):
        return Judgement(**about, error=reason)
    request, released = make_judge_request(case, transcript, settings), settings.prompt
    about |= {"prompt_hash": hashlib.sha256(str(request).encode()).hexdigest(), "replies": []}
    sampling = {"temperature": 0.001, "seed": settings.seed, "sample": settings.trial}

    async def ask(prompt: str | list[dict], schema: type[BaseModel], max_tokens: int) -> dict:
        reply = await models.ask_json(model, prompt, schema, max_tokens=max_tokens, **sampling)
        about["replies"].append(models.last_exchange[1])
        return reply.model_dump()

    try:
        if settings.calls == 1:
            answers = await ask(request, Judged, 600)
            findings = {d: answer["finding"] for d, answer in answers.items()}
            return make_judgement(about, findings, {d: answer["match"] for d, answer in answers.items()})
        if released:
            analysis = await models.ask(model, request, max_tokens=4096, **sampling)
            about |= {"analysis": analysis, "replies": [models.last_exchange[1]]}
            answers = await ask(make_chat(released.formatting, analysis), ReleasedVerdicts, 1024)
            return Judgement(**about, **read_released(answers))
        findings = await ask(request, Analysis, 600)
        request = fill_prompt("judge_verdicts", analysis=join_findings(findings))
        return make_judgement(about, findings, await ask(request, Verdicts, 80))
    except CallFailed as error:
        return Judgement(**about, error=str(error))


def make_judgement(about: dict, findings: dict[str, str], verdicts: dict[str, bool]) -> Judgement:
    """The judgement, without the verdicts that say the opposite of their finding; unscored if all do."""
    contradicted = [d for d, match in verdicts.items() if read_finding(findings[d]) == (not match)]
    kept = {d: match for d, match in verdicts.items() if d not in contradicted}
    error = None if kept else "its verdicts contradict its analysis"
    about = about | {"analysis": join_findings(findings), "contradicted": contradicted}
    return Judgement(**about, verdicts=kept or None, error=error)


def read_finding(text: str) -> bool | None:
    """Whether a finding says that it is a match; None where it says neither."""
    if NO_MATCH.search(text):
        return False
    return True if MATCH.search(text) and not DOUBT.search(text) else None


def find_unscored_reason(transcript: Conversation) -> str | None:
    """Why a transcript is not judged: its rollout failed, has a role break or no user message."""
    kind = transcript.role_break or (None if list_judged_messages(transcript) else "says nothing")
    return transcript.error or (f"role break: {kind}" if kind else None)


def make_judge_request(case: Case, transcript: Conversation, settings: JudgeSettings) -> str | list[dict]:
    """The first call: our prompt, or the released one as system message, with both lists as indented JSON."""
    sides = sort_sides(case, transcript, settings.order)
    if settings.prompt is None:
        a, b = map(render_judged_messages, sides)
        return fill_prompt("judge_analysis", reference=a, candidate=b)
    lists = [json.dumps(list_judged_messages(side), indent=2, ensure_ascii=False) for side in sides]
    return make_chat(settings.prompt.system, "\n\n".join(f"USER{n}:\n{t}" for n, t in enumerate(lists, 1)))


def make_chat(system: str, user: str) -> list[dict]:
    """A system message and a user's."""
    return [{"role": "system", "content": system}, {"role": "user", "content": user}]


def join_findings(findings: dict[str, str]) -> str:
    """Findings as text, one line a dimension."""
    return "\n".join(f"{dimension}: {text}" for dimension, text in findings.items())


async def judge_transcripts(
    models: Models, model: str, cases: list[Case], transcripts: list[Conversation], settings: JudgeSettings
) -> list[Judgement]:
    """One judgement of a model on each transcript, in order."""
    by_id = {case.case_id: case for case in cases}
    tasks = [judge_transcript(models, model, by_id[t.case_id], t, settings) for t in transcripts]
    return list_results(await models.run_all(tasks, f"judging by {model}"))


Rule = Callable[[list[list[str]], list[list[str]]], pd.DataFrame]
RULES: dict[str, Callable[..., Rule]] = {"measured": authorship.learn_authorship}
"""Judges that call no model, by name: each learns from people who are in no case (``people``, ``seed``), and
then compares originals and candidates, a list of messages each: how likely (0..1) it is one person, a row a
pair and a column a dimension; half or more is a match. InputError if there are too few people."""


def name_judges(judge: str | list[str] | None, simulator: str) -> list[str]:
    """The judges of a study: those named, or the simulator's model and every rule."""
    named = [judge] if isinstance(judge, str) else judge
    return list(dict.fromkeys(named or [simulator, *RULES]))


def choose_model_judge(judge: str | list[str] | None, simulator: str) -> str | None:
    """The first model among the judges of a study (None: the simulator's); None if all of them are rules."""
    return next((name for name in name_judges(judge, simulator) if name not in RULES), None)


def make_judges(
    judge: str | list[str] | None,
    simulator: str,
    people: list[Conversation],
    *,
    seed: int,
    first: int | None = None,
) -> tuple[dict[str, Rule | None], list[str]]:
    """The judges of a study by name, None for a model; and a sentence on each rule that was left out.

    ``first``: how many user messages of a conversation a rule learns from, as many as it will judge. A rule
    that cannot learn from ``people`` is left out unless it was named: then InputError.
    """
    judges, left_out = {}, []
    people = [cut_conversation(c, first) for c in people] if first else people
    for name in name_judges(judge, simulator):
        try:
            judges[name] = RULES[name](people, seed=seed) if name in RULES else None
        except InputError as problem:
            if judge:
                raise
            left_out.append(f"{problem} It is left out.")
    return judges, left_out


def judge_by_rule(
    name: str, rule: Rule, cases: list[Case], transcripts: list[Conversation]
) -> list[Judgement]:
    """One judgement of a rule on each transcript, in order."""
    originals = {case.case_id: list_judged_messages(case.original) for case in cases}
    abouts = [t.model_dump(include=KEYS) | {"error": find_unscored_reason(t)} for t in transcripts]
    scored = [(t, about) for t, about in zip(transcripts, abouts, strict=True) if not about["error"]]
    pairs = [originals[t.case_id] for t, _ in scored], [list_judged_messages(t) for t, _ in scored]
    likelihoods = rule(*pairs).to_dict("records") if scored else []
    for (_, about), likely in zip(scored, likelihoods, strict=True):
        about["verdicts"] = {d: p >= 0.5 for d, p in likely.items()}
        listed = ", ".join(f"{d} {p:.2f}" for d, p in likely.items())
        about["analysis"] = f"likelihood of one person: {listed}"
    return [Judgement(judge=name, **about) for about in abouts]


async def judge_all(
    models: Models,
    judges: dict[str, Rule | None],
    cases: list[Case],
    transcripts: list[Conversation],
    settings: JudgeSettings,
    *,
    orders: Iterable[Order] = ("real_first",),
) -> list[Judgement]:
    """Every judge's judgements of all transcripts; those of models with each of ``orders`` shown first."""
    judgements = []
    for name, rule in judges.items():
        if rule:
            judgements += judge_by_rule(name, rule, cases, transcripts)
        for order in () if rule else orders:
            ordered = replace(settings, order=order)
            judgements += await judge_transcripts(models, name, cases, transcripts, ordered)
    return judgements
