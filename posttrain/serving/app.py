"""The routes of OpenAI's interface over one model: ``/v1/models``, ``/v1/chat/completions``,
``/v1/completions``, streamed or whole, and errors in OpenAI's shape."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.exceptions import HTTPException
from starlette.middleware.trustedhost import TrustedHostMiddleware

from posttrain.engines.base import Sampling
from posttrain.models.chat import Chat
from posttrain.pipeline.finding import UserError
from posttrain.serving.answers import CHAT, TEXT, Shape, usage
from posttrain.serving.engine_thread import AnswerText, End, EngineWorker, Job, Piece
from posttrain.serving.requests import ChatRequest, Sampled, TextRequest

ASK = 1.0  # seconds from one look whether the client of a whole answer is still there to the next


class Refused(Exception):
    """A request that is answered by an error."""

    def __init__(self, message: str, *, status: int = 400, param: str | None = None, code: str | None = None):
        super().__init__(message)
        self.message, self.status, self.param, self.code = message, status, param, code


@dataclass(frozen=True, kw_only=True)
class Served:
    """A model that is asked: its ``name`` for the ``model`` of a request, and the most tokens of an answer
    whose request names no number.
    """

    name: str
    chat: Chat
    worker: EngineWorker
    max_tokens: int = 1024

    @property
    def vocabulary(self) -> int:
        return len(self.chat.tokenizer)

    def job(
        self, asked: Sampled, prompt: list[int], most: int | None, tell: Callable[[Piece | End], None]
    ) -> Job:
        """Raises Refused for another model, and where the answer has no room."""
        if asked.model != self.name:
            raise Refused(
                f"the model {asked.model!r} does not exist; this server has {self.name!r}",
                status=404,
                param="model",
                code="model_not_found",
            )
        context = self.worker.engine.context
        room = context - len(prompt)
        if room < (most or 1):
            raise Refused(
                f"the model reads {context} tokens; the prompt has {len(prompt)} and the answer may have "
                f"{most or 1}. Shorten the prompt, or lower max_tokens",
                param="messages" if isinstance(asked, ChatRequest) else "prompt",
                code="context_length_exceeded",
            )
        sampling = Sampling(
            temperature=1.0 if asked.temperature is None else asked.temperature,
            top_p=1.0 if asked.top_p is None else asked.top_p,
            max_tokens=most or min(self.max_tokens, room),
            stop_ids=tuple(self.chat.stop_ids),
        )
        seed = secrets.randbits(62) if asked.seed is None else asked.seed
        text = AnswerText(self.chat.decode, asked.stops)
        return Job(prompt=prompt, sampling=sampling, seed=seed, text=text, tell=tell)

    def chat_prompt(self, asked: ChatRequest) -> list[int]:
        """Raises Refused where the chat template does."""
        try:
            return self.chat.prompt_ids([message.plain() for message in asked.messages])
        except UserError as problem:
            raise Refused(str(problem), param="messages") from None

    def text_prompt(self, asked: TextRequest) -> list[int]:
        """Raises Refused for no tokens, or for tokens that the model does not have."""
        try:
            ids = self.chat.text_ids(asked.prompt) if isinstance(asked.prompt, str) else asked.prompt
        except UserError as problem:
            raise Refused(str(problem), param="prompt") from None
        if not ids:
            raise Refused("the prompt has no tokens; expected at least one", param="prompt")
        if not 0 <= min(ids) <= max(ids) < self.vocabulary:
            raise Refused(f"token ids are from 0 to {self.vocabulary - 1}", param="prompt")
        return ids


def application(served: Served, hosts: Sequence[str]) -> FastAPI:
    """The application. Only requests to one of ``hosts`` are answered, so that no web page can reach a server
    on the loopback under a name of its own (``*`` answers all).
    """
    app = FastAPI(title="posttrain", docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(hosts))
    app.add_exception_handler(Refused, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _unknown)
    made = int(time.time())

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        return {"object": "list", "data": [_model(served, made)]}

    @app.get("/v1/models/{name:path}")
    async def model(name: str) -> dict[str, Any]:
        if name != served.name:
            raise Refused(f"the model {name!r} does not exist", status=404, code="model_not_found")
        return _model(served, made)

    @app.post("/v1/chat/completions")
    async def chat(asked: ChatRequest, request: Request) -> Response:
        most = asked.max_completion_tokens or asked.max_tokens
        prompt = served.chat_prompt(asked)
        return await _answer(served, asked, (prompt, most, bool(asked.logprobs)), CHAT, request)

    @app.post("/v1/completions")
    async def completions(asked: TextRequest, request: Request) -> Response:
        most = asked.max_tokens or 16  # OpenAI's default, here alone
        prompt = served.text_prompt(asked)
        return await _answer(served, asked, (prompt, most, asked.logprobs is not None), TEXT, request)

    return app


async def _answer(
    served: Served, asked: Sampled, what: tuple[list[int], int | None, bool], shape: Shape, request: Request
) -> Response:
    """``what``: the prompt's tokens, the most tokens of an answer, and whether it has log-probabilities."""
    prompt, most, wants = what
    events: asyncio.Queue[Piece | End] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    job = served.job(asked, prompt, most, lambda event: _tell(loop, events, event))
    head = {
        "id": f"{shape.start}-{secrets.token_hex(12)}",
        "created": int(time.time()),
        "model": served.name,
    }
    served.worker.submit(job)
    if asked.stream:
        chunks = _streamed(served, asked, job, events, (head, shape, wants))
        return StreamingResponse(
            chunks, media_type="text/event-stream", headers={"Cache-Control": "no-cache"}
        )
    pieces, end = await _whole(job, events, request)
    text = "".join(piece.text for piece in pieces) + end.text
    logprobs = shape.logprobs(served.chat, pieces) if wants else None
    choice = shape.choice(text, logprobs, end.reason)
    body = {**head, "object": shape.whole, "choices": [choice], "usage": usage(len(prompt), len(pieces))}
    return JSONResponse(body)


def _tell(loop: asyncio.AbstractEventLoop, events: asyncio.Queue[Piece | End], event: Piece | End) -> None:
    if not loop.is_closed():  # the server may be gone before the answer is over
        loop.call_soon_threadsafe(events.put_nowait, event)


async def _whole(job: Job, events: asyncio.Queue[Piece | End], request: Request) -> tuple[list[Piece], End]:
    pieces: list[Piece] = []
    asked = time.monotonic()
    while True:
        if time.monotonic() - asked >= ASK:
            asked, job.cancelled = time.monotonic(), await request.is_disconnected()
        try:
            event = await asyncio.wait_for(events.get(), timeout=ASK)
        except TimeoutError:
            continue
        if isinstance(event, Piece):
            pieces.append(event)
        elif event.problem:
            raise Refused(event.problem, status=500)
        else:
            return pieces, event


async def _streamed(
    served: Served,
    asked: Sampled,
    job: Job,
    events: asyncio.Queue[Piece | End],
    how: tuple[Mapping[str, Any], Shape, bool],
) -> AsyncIterator[str]:
    head, shape, wants = how
    count = 0

    def event(choices: list[Any], **more: Any) -> str:
        body = {**head, "object": shape.chunk, "choices": choices, **more}
        return f"data: {json.dumps(body, ensure_ascii=False)}\n\n"

    try:
        if shape.opening:
            yield event([shape.opening])
        while isinstance(piece := await events.get(), Piece):
            count += 1
            if piece.text or wants:
                logprobs = shape.logprobs(served.chat, [piece]) if wants else None
                yield event([shape.delta(piece.text, logprobs, None)])
        if piece.problem:
            yield f"data: {json.dumps(_error(piece.problem, 500))}\n\n"
            return
        if piece.text:
            yield event([shape.delta(piece.text, None, None)])
        yield event([shape.delta("", None, piece.reason)])
        if asked.usage_at_the_end:
            yield event([], usage=usage(len(job.prompt), count))
        yield "data: [DONE]\n\n"
    finally:
        job.cancelled = True  # the client is gone, or has everything


def _model(served: Served, made: int) -> dict[str, Any]:
    return {"id": served.name, "object": "model", "created": made, "owned_by": "posttrain"}


def _error(message: str, status: int, param: str | None = None, code: str | None = None) -> dict[str, Any]:
    kind = "invalid_request_error" if status < 500 else "server_error"
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


async def _refused(_: Request, refused: Exception) -> JSONResponse:
    assert isinstance(refused, Refused)
    body = _error(refused.message, refused.status, refused.param, refused.code)
    return JSONResponse(body, status_code=refused.status)


async def _invalid(_: Request, problem: Exception) -> JSONResponse:
    """The first thing that is wrong with a body, by the field's name."""
    assert isinstance(problem, RequestValidationError)
    first = problem.errors()[0]
    param = ".".join(str(part) for part in first["loc"][1:]) or None
    if first["type"] == "json_invalid":
        param, message, code = None, f"the body is not JSON ({first['ctx']['error']})", "invalid_json"
    elif first["type"] == "extra_forbidden":
        message, code = f"{param} is not supported by this server", "unsupported_parameter"
    else:
        message, code = f"{param or 'body'}: {first['msg']}", "invalid_value"
    return JSONResponse(_error(message, 400, param, code), status_code=400)


async def _unknown(_: Request, problem: Exception) -> JSONResponse:
    assert isinstance(problem, HTTPException)
    if problem.status_code == 400:  # FastAPI could not decode the bytes, or Python not follow the nesting
        message = "the body cannot be read; expected JSON in UTF-8, nested a few levels deep"
        return JSONResponse(_error(message, 400, None, "invalid_json"), status_code=400)
    message = f"{problem.detail}; there is /v1/chat/completions, /v1/completions and /v1/models"
    return JSONResponse(_error(message, problem.status_code), status_code=problem.status_code)
