"""What a message asks for, as one neutral sentence in the third person, written by a model.

::

    "hey can u do the 2nd paragraph in french"  ->  "The user wants the second paragraph in French."

It says *what* a person wants and leaves out *how* they put it. Goals of cases and demonstrations are made of
such sentences, so both are of one form.
"""

import re
from collections.abc import Iterable

from pydantic import BaseModel, Field

from realusersim_nb.llm.errors import CallFailed, Outcome
from realusersim_nb.llm.models import Models
from realusersim_nb.prompts.fill import fill_prompt
from realusersim_nb.text import cut_at_word, list_copied_runs, measure_longest_copy, split_words

COPIED_WORDS = 5  # of the person's in a row are too many (ours)
SHOWN_CHARS = 600  # of a message
SHOT_WORDS = {"sourdough", "bread", "1969", "1970", "spanish", "ortega", "parcel"}
"""Words of the examples in the prompt: in a sentence about a message without them, they have leaked."""


class Request(BaseModel):
    """What the user wants, as the rest of a sentence that begins with "The user"."""

    the_user: str = Field(min_length=5)

    def __str__(self) -> str:
        return f"The user {re.sub('^the user ', '', self.the_user.strip(), flags=re.IGNORECASE)}"


async def state_request(models: Models, model: str, message: str, *, seed: int) -> tuple[str, bool]:
    """The neutral sentence on a message, and whether it was asked for once more.

    That is done where five words in a row are the person's, and the version that copies less is kept.
    CallFailed where there is no usable one, also not at the second try.
    """
    prompt = [{"role": "user", "content": fill_prompt("neutral_sentence", message=cut_message(message))}]
    sentence = await ask_sentence(models, model, prompt, message, seed=seed)
    copied = list_copied_runs(sentence, [message], at_least=COPIED_WORDS)
    if not copied:
        return sentence, False
    question = fill_prompt("neutral_sentence_again", copied="; ".join(copied))
    reply = Request(the_user=sentence.removeprefix("The user ")).model_dump_json()
    prompt += [{"role": "assistant", "content": reply}, {"role": "user", "content": question}]
    try:
        again = await ask_sentence(models, model, prompt, message, seed=seed)
    except CallFailed:
        return sentence, True
    return min(sentence, again, key=lambda version: measure_longest_copy(version, [message])), True


async def ask_sentence(models: Models, model: str, prompt: list[dict], message: str, *, seed: int) -> str:
    """A model's sentence, drawn a second time where the first has a leak; CallFailed after that."""
    for sample, temperature in enumerate((0.001, 0.7)):
        sampling = {"temperature": temperature, "max_tokens": 100, "seed": seed, "sample": sample}
        sentence = str(await models.ask_json(model, prompt, Request, **sampling))
        if not has_leaked(sentence, message):
            return sentence
    raise CallFailed("invalid", f"the sentence has words of the prompt's examples: {sentence!r}")


def cut_message(message: str) -> str:
    """A message as the model reads it: a long one up to a word, with marks that it goes on."""
    head = cut_at_word(message.replace('"""', '"'), SHOWN_CHARS)
    return head + " ..." * (len(head) < len(message.strip()))


def has_leaked(sentence: str, message: str) -> bool:
    """Whether a sentence has words of the examples that its message does not have."""
    return bool(SHOT_WORDS & set(split_words(sentence)) - set(split_words(message)))


async def state_requests(
    models: Models, model: str, messages: Iterable[str], *, seed: int
) -> list[Outcome[tuple[str, bool]]]:
    """What became of each message (see ``state_request``), in order."""
    tasks = [state_request(models, model, message, seed=seed) for message in messages]
    return await models.run_all(tasks, "what messages ask for")
