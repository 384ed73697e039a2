"""The two shapes of OpenAI's answers: of a chat and of plain text, whole and in the chunks of a stream."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from posttrain.models.chat import Chat
from posttrain.serving.engine_thread import Piece


@dataclass(frozen=True, kw_only=True)
class Shape:
    """How one kind of request is answered: the kind's name, whole and as a chunk of a stream, and how a
    piece of text stands in each.
    """

    start: str  # of the answer's id
    whole: str
    chunk: str
    choice: Callable[[str, Any, str | None], dict[str, Any]]
    delta: Callable[[str, Any, str | None], dict[str, Any]]
    logprobs: Callable[[Chat, Sequence[Piece]], dict[str, Any]]
    opening: dict[str, Any] | None = None  # the first chunk's choice, before any text


def usage(prompt: int, answer: int) -> dict[str, int]:
    """Tokens of a prompt and its answer."""
    return {"prompt_tokens": prompt, "completion_tokens": answer, "total_tokens": prompt + answer}


def _token(chat: Chat, piece: Piece) -> dict[str, Any]:
    text = str(chat.tokenizer.decode([piece.token], clean_up_tokenization_spaces=False))
    raw = None if "\ufffd" in text else list(text.encode())
    return {"token": text, "logprob": piece.logprob, "bytes": raw, "top_logprobs": []}


CHAT = Shape(
    start="chatcmpl",
    whole="chat.completion",
    chunk="chat.completion.chunk",
    choice=lambda text, logprobs, reason: {
        "index": 0,
        "message": {"role": "assistant", "content": text, "refusal": None},
        "logprobs": logprobs,
        "finish_reason": reason,
    },
    delta=lambda text, logprobs, reason: {
        "index": 0,
        "delta": {"content": text} if reason is None else {},
        "logprobs": logprobs,
        "finish_reason": reason,
    },
    logprobs=lambda chat, pieces: {"content": [_token(chat, piece) for piece in pieces], "refusal": None},
    opening={"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None},
)


def _choice(text: str, logprobs: Any, reason: str | None) -> dict[str, Any]:
    return {"index": 0, "text": text, "logprobs": logprobs, "finish_reason": reason}


TEXT = Shape(
    start="cmpl",
    whole="text_completion",
    chunk="text_completion",
    choice=_choice,
    delta=_choice,
    logprobs=lambda chat, pieces: {
        "tokens": [_token(chat, piece)["token"] for piece in pieces],
        "token_logprobs": [piece.logprob for piece in pieces],
        "top_logprobs": None,
        "text_offset": None,
    },
)
