"""Do people see the clusters? Three conversations, two of one cluster: which is the odd one out?

The validation study of arXiv 2605.07847, where people found 86.7% (Fleiss' kappa 0.74); chance is a third.
Answers are kept one a line in a JSONL file; a model can stand in for a person, under its name.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from pydantic import BaseModel, Field
from statsmodels.stats.inter_rater import aggregate_raters, fleiss_kappa

from realusersim_nb import files, stats
from realusersim_nb.llm.models import Models
from realusersim_nb.prompts.fill import fill_prompt
from realusersim_nb.text import cut_at_word

SHOWN_CHARS = 500  # characters of a message


class Triplet(BaseModel):
    """Three conversations (``system/conversation_id``), and which of them (0, 1, 2) is of another cluster."""

    conversations: list[str]
    texts: list[list[str]]
    odd: int

    @property
    def triplet_id(self) -> str:
        """The same for the same three conversations in the same order."""
        return " | ".join(self.conversations)


class Answer(BaseModel):
    """Which of three (0, 1, 2) an annotator chose as odd; None and an ``error`` if a model gave no answer."""

    triplet_id: str
    annotator: str
    chosen: int | None
    why: str = ""
    error: str | None = None


def draw_triplets(labels: pd.Series, listed: pd.DataFrame, *, n: int, seed: int) -> list[Triplet]:
    """Up to n triplets: two conversations of a cluster, one of another, shuffled; no conversation twice.

    Clusters are drawn in proportion to their sizes, as they count in the gap; fewer where they run out.
    """
    rng, triplets = np.random.default_rng(seed), []
    left = {c: list(rng.permutation(np.flatnonzero(labels.to_numpy() == c))) for c in sorted(labels.unique())}
    while len(triplets) < n:
        sizes = pd.Series({cluster: len(rows) for cluster, rows in left.items()})
        pairs = sizes[sizes > 1]
        if pairs.empty or len(sizes[sizes > 0]) < 2:
            break
        one = rng.choice(pairs.index, p=pairs / pairs.sum())
        others = sizes.drop(one)
        other = rng.choice(others.index, p=others / others.sum())
        drawn, order = [left[one].pop(), left[one].pop(), left[other].pop()], rng.permutation(3)
        keys = listed.index[[drawn[i] for i in order]]
        texts, names = listed.loc[keys, "messages"].tolist(), ["/".join(key) for key in keys]
        triplets.append(Triplet(conversations=names, texts=texts, odd=int(np.argmax(order))))
    return triplets


class Choice(BaseModel):
    """What a model answers."""

    why: str = Field(min_length=5, max_length=300)
    odd_one: int = Field(ge=1, le=3)


async def ask_annotator(models: Models, model: str, triplets: list[Triplet], *, seed: int) -> list[Answer]:
    """The answers of a model, under its name."""

    async def ask(triplet: Triplet) -> Choice:
        persons = [f"Person {i}:\n{write_person(texts)}" for i, texts in enumerate(triplet.texts, 1)]
        prompt = fill_prompt("odd_one_out", persons="\n\n".join(persons))
        return await models.ask_json(model, prompt, Choice, temperature=0.001, max_tokens=200, seed=seed)

    outcomes = await models.run_all([ask(triplet) for triplet in triplets], f"odd one out by {model}")
    return [
        Answer(triplet_id=t.triplet_id, annotator=model, chosen=o.result.odd_one - 1, why=o.result.why)
        if o.result
        else Answer(triplet_id=t.triplet_id, annotator=model, chosen=None, error=str(o.failure))
        for t, o in zip(triplets, outcomes, strict=True)
    ]


def write_person(texts: list[str]) -> str:
    """One person's messages, numbered and cut, for a prompt."""
    return "\n".join(f"{number}. {cut_at_word(text, SHOWN_CHARS)}" for number, text in enumerate(texts, 1))


def save_answer(path: Path, answer: Answer) -> None:
    """Append an answer to a file; the last of each annotator on each triplet counts."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(answer.model_dump_json() + "\n")


def read_answers(path: str | Path, triplets: list[Triplet]) -> list[Answer]:
    """The answers to these triplets in a file, the last of each annotator; none without a file."""
    if not Path(path).exists():
        return []
    asked = {triplet.triplet_id for triplet in triplets}
    answers = [a for a in files.read_records(path, Answer) if a.triplet_id in asked]
    return list({(a.annotator, a.triplet_id): a for a in answers}.values())


def tabulate_answers(triplets: list[Triplet], answers: list[Answer]) -> pd.DataFrame:
    """A row an answer: ``triplet_id, annotator, odd, chosen``, ``right`` (0, 1, NaN), ``why, error``."""
    odd = {triplet.triplet_id: triplet.odd for triplet in triplets}
    columns = "triplet_id annotator odd chosen right why error".split()
    table = pd.DataFrame([a.model_dump() | {"odd": odd[a.triplet_id]} for a in answers], columns=columns)
    right = table["chosen"].eq(table["odd"]).astype(float)
    return table.assign(right=right.where(table["chosen"].notna()))


def score_answers(table: pd.DataFrame, *, seed: int = 0) -> pd.DataFrame:
    """Share of right answers (chance 1/3) of each annotator with its interval by triplet, ``n, n_failed``."""
    item = {"unit": "triplet_id", "item": "triplet_id"}
    return stats.tabulate_rates(table, "right", by="annotator", **item, seed=seed)


def measure_kappa(table: pd.DataFrame) -> float:
    """Fleiss' kappa over the triplets that all answered: 1 all agree, 0 chance; NaN below two annotators."""
    wide = table.pivot_table("chosen", "triplet_id", "annotator").dropna()
    if wide.shape[1] < 2 or wide.empty:
        return float("nan")
    counts, chosen = aggregate_raters(wide.to_numpy(int))
    return float(fleiss_kappa(counts)) if len(chosen) > 1 else float("nan")
