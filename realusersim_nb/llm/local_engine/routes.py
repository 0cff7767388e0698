"""OpenAI's API on the engine: chat and text completions, in the fields and forms that vLLM answers with."""

import codecs
import json
import uuid
from collections.abc import AsyncIterator, Callable
from functools import cached_property
from pathlib import Path

import openvino_genai as genai
from aiohttp import web

from realusersim_nb.llm.local_engine.engine import CONTEXT, Engine, Vocabulary
from realusersim_nb.llm.local_engine.protocol import (
    answer_fault,
    answer_health,
    count_usage,
    describe_answer,
    open_stream,
    send_event,
)

SAMPLING = {"top_k": 40, "top_p": 0.95, "min_p": 0.05}  # where a request names none
PADDING = 8  # tokens after a scored text: steps of fewer than 7 round in another way
CALL_MARKS = [("<tool_call>\n", "\n</tool_call>"), ("", "")]  # small models often forget them


class Server:
    """The routes of one model.

    ``scorer`` keeps no prefixes, since a cached token gets no probability; it is made when first needed.
    """

    def __init__(self, model: str, folder: Path):
        self.model, self.folder, self.vocabulary = model, folder, Vocabulary(folder)
        self.writer = Engine(folder, prefix_caching=True)

    @cached_property
    def scorer(self) -> Engine:
        """The engine that gives the probabilities of a prompt's tokens."""
        return Engine(self.folder, prefix_caching=False)

    def make_app(self) -> web.Application:
        """The application with all routes."""
        app = web.Application(client_max_size=64 * 2**20, middlewares=[answer_errors])
        app.router.add_get("/health", answer_health)
        app.router.add_post("/v1/chat/completions", self.complete_chat)
        app.router.add_post("/v1/completions", self.complete_text)
        return app

    async def complete_chat(self, request: web.Request) -> web.StreamResponse:
        """``/v1/chat/completions``."""
        body = await request.json()
        tools = body.get("tools")
        ids = self.vocabulary.encode(self.vocabulary.fill_template(body["messages"], tools))
        config = self.read_config(body, ids, constrain_reply(body, tools))
        about = describe_answer("chat.completion", self.model)
        if body.get("stream"):
            if tools:
                raise ValueError("replies that may call tools are not streamed")
            return await self.stream_chat(request, about, ids, config)
        text, reason, usage = await self.collect(ids, config)
        message = {"role": "assistant", "content": text}
        if tools:
            message |= read_tool_call(text)
            reason = "tool_calls" if message["tool_calls"] else reason
        choice = {"index": 0, "message": message, "finish_reason": reason}
        return web.json_response(about | {"choices": [choice], "usage": usage})

    async def stream_chat(
        self, request: web.Request, about: dict, ids: list[int], config: genai.GenerationConfig
    ) -> web.StreamResponse:
        """The reply as server-sent events, with the usage in the last one."""
        response = await open_stream(request)
        about |= {"object": "chat.completion.chunk"}
        shown, usage = "", {}
        async for text, reason, used in self.read_texts(ids, config):
            usage = used
            choice = {"index": 0, "delta": {"content": text[len(shown) :]}, "finish_reason": reason or None}
            shown = text
            await send_event(response, about | {"choices": [choice]})
        await send_event(response, about | {"choices": [], "usage": usage})
        await send_event(response, "[DONE]")
        return response

    async def complete_text(self, request: web.Request) -> web.Response:
        """``/v1/completions``; ``echo`` and ``logprobs`` give the log-probability of each prompt token.

        With ``echo`` and ``max_tokens`` 0 nothing is written, as with vLLM.
        """
        body = await request.json()
        prompt, scored = body["prompt"], body.get("logprobs") is not None
        ids = self.vocabulary.encode(prompt) if isinstance(prompt, str) else prompt
        config = self.read_config(body, ids)
        config.logprobs = int(scored)
        tokens, scores, reason = [], [], "length"
        if body.get("echo"):
            tokens, scores = ids, await self.score_prompt(ids) if scored else []
        if body.get("max_tokens") != 0:
            async for output in self.writer.run(ids, config):
                tokens, scores, reason = tokens + output[0], scores + output[1], output[2]
        pieces = [self.vocabulary.pieces[number] for number in tokens]
        choice = {
            "index": 0,
            "text": b"".join(pieces).decode(errors="replace"),
            "logprobs": describe_tokens(pieces, scores) if scored else None,
            "finish_reason": reason,
        }
        usage = count_usage(len(ids), len(tokens) - len(ids) * bool(body.get("echo")))
        answer = describe_answer("text_completion", self.model) | {"choices": [choice], "usage": usage}
        return web.json_response(answer)

    async def score_prompt(self, ids: list[int]) -> list[float | None]:
        """The log-probability of each token after those before it; the first has none."""
        config = genai.GenerationConfig(apply_chat_template=False, max_new_tokens=1, echo=True, logprobs=1)
        scores = []
        async for _, some, _ in self.scorer.run(ids + [ids[0]] * PADDING, config):
            scores += some
        return [None, *scores[1 : len(ids)]]

    def read_config(
        self, body: dict, ids: list[int], constraint: dict | None = None
    ) -> genai.GenerationConfig:
        """How to write the reply to a request; ValueError if that cannot be done."""
        if not 0 < len(ids) < CONTEXT:
            raise ValueError(
                f"the prompt has {len(ids)} tokens; this model's maximum context length is {CONTEXT}"
            )
        asked = body.get("max_completion_tokens") or body.get("max_tokens")
        config = genai.GenerationConfig(apply_chat_template=False, stop_token_ids=self.vocabulary.stops)
        config.max_new_tokens = min(asked or CONTEXT, CONTEXT - len(ids))
        if (temperature := body.get("temperature", 1)) > 0:
            config.do_sample, config.temperature, config.rng_seed = True, temperature, body.get("seed") or 0
            for name, default in SAMPLING.items():
                setattr(config, name, body.get(name, default))
        if stops := body.get("stop"):
            config.stop_strings = {stops} if isinstance(stops, str) else set(stops)
            config.include_stop_str_in_output = (
                True  # else the library drops the whole token that it begins in
            )
        if constraint:
            tags = json.dumps({"type": "structural_tag", "format": constraint})
            config.structured_output_config = genai.StructuredOutputConfig(structural_tags_config=tags)
        return config

    async def read_texts(
        self, ids: list[int], config: genai.GenerationConfig
    ) -> AsyncIterator[tuple[str, str, dict]]:
        """The reply so far, each time that it grows, why it ended, and the tokens used."""
        decoder, text, n_tokens = codecs.getincrementaldecoder("utf-8")("replace"), "", 0
        async for tokens, _, reason in self.writer.run(ids, config):
            n_tokens += len(tokens)
            text += decoder.decode(self.vocabulary.join(tokens), final=bool(reason))
            yield cut_at(text, config.stop_strings), reason, count_usage(len(ids), n_tokens)

    async def collect(self, ids: list[int], config: genai.GenerationConfig) -> tuple[str, str, dict]:
        """The whole reply, why it ended, and the tokens used."""
        return [result async for result in self.read_texts(ids, config)][-1]


def constrain_reply(body: dict, tools: list[dict] | None) -> dict | None:
    """The form that a reply is held to, as a structural tag of xgrammar; None: free text."""
    form = body.get("response_format") or {}
    if form.get("type") == "json_schema":
        return {"type": "json_schema", "json_schema": form["json_schema"]["schema"]}
    if form.get("type") == "json_object":
        return {"type": "json_schema", "json_schema": {"type": "object"}}
    if not tools:
        return None
    tags = [
        {
            "begin": f'{begin}{{"name": "{tool["function"]["name"]}", "arguments": ',
            "content": {"type": "json_schema", "json_schema": tool["function"].get("parameters") or {}},
            "end": f"}}{end}",
        }
        for tool in tools
        for begin, end in CALL_MARKS
    ]
    triggers = {"type": "triggered_tags", "triggers": ["<tool_call>", '{"name":'], "tags": tags}
    return triggers | {"at_least_one": False, "stop_after_first": True}


def read_tool_call(text: str) -> dict:
    """The message of a reply that may call a tool; ``tool_calls`` is empty if it does not."""
    before, begin, call = text.partition('{"name": ')
    try:
        call, _ = json.JSONDecoder().raw_decode(begin + call)
        function = {"name": call["name"], "arguments": json.dumps(call["arguments"], ensure_ascii=False)}
    except (ValueError, KeyError):  # none, or one that is cut off
        return {"content": text, "tool_calls": []}
    calls = [{"id": f"call_{uuid.uuid4().hex[:8]}", "type": "function", "function": function}]
    return {"content": before.removesuffix(CALL_MARKS[0][0]).strip() or None, "tool_calls": calls}


def describe_tokens(pieces: list[bytes], scores: list[float | None]) -> dict:
    """The ``logprobs`` of a text completion: tokens, where each begins in the text, log-probabilities."""
    tokens, offsets, place = [piece.decode(errors="replace") for piece in pieces], [], 0
    for piece in pieces:
        begins = sum(byte & 0xC0 != 0x80 for byte in piece)  # characters that begin in this token
        inside = piece[:1] and piece[0] & 0xC0 == 0x80  # its first byte goes on with the character before
        offsets.append(place - bool(inside))
        place += begins
    top = [score if score is None else {token: score} for token, score in zip(tokens, scores, strict=True)]
    return {"tokens": tokens, "text_offset": offsets, "token_logprobs": scores, "top_logprobs": top}


def cut_at(text: str, stops: set[str]) -> str:
    """The text before the first of the strings that end it."""
    return text[: min((text.find(stop) for stop in stops if stop in text), default=len(text))]


@web.middleware
async def answer_errors(request: web.Request, handler: Callable) -> web.StreamResponse:
    """A request that is wrong is answered as OpenAI does; any other error is a defect, for the log."""
    try:
        return await handler(request)
    except (ValueError, KeyError, TypeError) as error:
        return answer_fault(f"{type(error).__name__}: {error}", 400)
