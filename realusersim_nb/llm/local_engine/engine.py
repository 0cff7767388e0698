"""OpenVINO's continuous batching of the embedded model: tokens in, tokens out, many requests at once."""

import asyncio
import itertools
import os
import shutil
import traceback
from collections.abc import AsyncIterator
from functools import cached_property
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import openvino
import openvino_genai as genai
from filelock import FileLock

CONTEXT = 16_384  # tokens of a prompt and its reply
PROPERTIES = {"KV_CACHE_PRECISION": "f16", "ENABLE_CPU_PINNING": False}
"""Keys and values at the precision they are computed in: so a text gets the same probabilities in one piece
or in two, and from the prefix cache or not. Threads that may move wait less for cores that others use."""
Output = tuple[list[int], list[float], str]
"""New tokens, their log-probabilities, and the reason of the end or ""."""


def convert_model(gguf: Path) -> Path:
    """The folder of the model in OpenVINO's form, made of the GGUF file the first time.

    A start from it takes half as long, and the memory of its weights is shared.
    """
    folder = gguf.with_name(f"{gguf.stem}-openvino-{openvino.__version__.split('-')[0]}")
    with FileLock(f"{folder}.lock"):
        if folder.exists():
            return folder
        work = folder.with_name(f"{folder.name}.unfinished")
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        os.link(gguf, work / gguf.name)  # the library writes beside the file that it reads
        options = {"enable_save_ov_model": True}
        tokenizer = genai.Tokenizer(work / gguf.name, **options)
        genai.ContinuousBatchingPipeline(work / gguf.name, tokenizer, make_scheduler(), "CPU", **options)
        (work / gguf.name).unlink()
        lift_limit(work / "openvino_tokenizer.xml")
        return work.replace(folder)


def lift_limit(tokenizer: Path) -> None:
    """Let the tokenizer read texts of any length: as converted it keeps the last 8,192 tokens only."""
    graph = ElementTree.parse(tokenizer)
    (limit,) = (
        graph.find(f"./edges/edge[@to-layer='{layer.get('id')}'][@to-port='1']").get("from-layer")
        for layer in graph.iterfind("./layers/layer[@type='Minimum']")
    )
    place = int(graph.find(f"./layers/layer[@id='{limit}']/data").get("offset"))
    with tokenizer.with_suffix(".bin").open("r+b") as weights:
        weights.seek(place)
        weights.write((2**30).to_bytes(4, "little"))


def make_scheduler(*, prefix_caching: bool = False) -> genai.SchedulerConfig:
    """How requests share a step: up to 16 of them, 256 tokens, and 1 or 2 GB of keys and values."""
    scheduler = genai.SchedulerConfig()
    scheduler.max_num_seqs, scheduler.max_num_batched_tokens = 16, 256
    scheduler.cache_size = 2 if prefix_caching else 1
    scheduler.enable_prefix_caching = prefix_caching
    return scheduler


class Engine:
    """A pipeline, stepped as long as it has requests.

    A step keeps Python's lock, so threads would not help: between two steps the event loop gets its turn.
    """

    def __init__(self, folder: Path, *, prefix_caching: bool):
        scheduler = make_scheduler(prefix_caching=prefix_caching)
        self.pipeline = genai.ContinuousBatchingPipeline(folder, scheduler, "CPU", PROPERTIES)
        self.numbers = itertools.count()
        self.outputs: dict[genai.GenerationHandle, asyncio.Queue] = {}
        self.stepping: asyncio.Task | None = None

    async def run(self, ids: list[int], config: genai.GenerationConfig) -> AsyncIterator[Output]:
        """The outputs of a request as they come; it is dropped when nobody waits for them any more."""
        handle = self.pipeline.add_request(next(self.numbers), openvino.Tensor(np.array([ids])), config)
        self.outputs[handle] = queue = asyncio.Queue()
        if self.stepping is None:
            self.stepping = asyncio.create_task(self._step())
        try:
            reason = ""
            while not reason:
                output = await queue.get()
                reason = output[2]
                yield output
        finally:
            if self.outputs.pop(handle, None):
                handle.cancel()

    async def _step(self) -> None:
        while self.pipeline.has_non_finished_requests():
            try:
                self.pipeline.step()
            except RuntimeError:  # after one, every further step fails too
                traceback.print_exc()
                os._exit(1)
            for handle, queue in self.outputs.items():
                while handle.can_read():
                    for output in handle.read().values():
                        reason = read_reason(output.finish_reason)
                        queue.put_nowait((output.generated_ids, output.generated_log_probs, reason))
            await asyncio.sleep(0.001)  # answers go out, and requests that came in meanwhile join
        self.stepping = None


def read_reason(reason: genai.GenerationFinishReason) -> str:
    """Why a reply ended, in OpenAI's words; "" while it goes on."""
    return {"STOP": "stop", "LENGTH": "length"}.get(reason.name, "")


class Vocabulary:
    """Texts to token ids and back, byte by byte, and the model's chat template."""

    def __init__(self, folder: Path):
        self.tokenizer = genai.Tokenizer(folder)
        self.stops = {self.tokenizer.get_eos_token_id(), self.encode("<|endoftext|>")[0]}

    @cached_property
    def pieces(self) -> dict[int, bytes]:
        """The bytes of every token."""
        return {number: piece for piece, number in self.tokenizer.get_vocab().items()}

    def encode(self, text: str) -> list[int]:
        """Token ids of a text."""
        return self.tokenizer.encode(text, add_special_tokens=False).input_ids.data[0].tolist()

    def fill_template(self, messages: list[dict], tools: list[dict] | None) -> str:
        """The prompt that the model's chat template makes of messages."""
        return self.tokenizer.apply_chat_template(messages, add_generation_prompt=True, tools=tools)

    def join(self, ids: list[int]) -> bytes:
        """The bytes of tokens, without those that end a reply."""
        return b"".join(self.pieces[number] for number in ids if number not in self.stops)
