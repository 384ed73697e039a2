"""OpenAI's request bodies; unsupported fields are refused, not ignored.

The fields keep OpenAI's names and defaults. Without ``max_tokens`` the server's limit holds.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

COLDEST = 0.01  # above 0: logits divided by less may be beyond float32
NARROWEST = 1e-4  # float32 sums probabilities to about this


def _whole(value: Any) -> Any:
    """A text, texts, or what is none. Raises ValueError for half of a surrogate pair, which JSON can spell
    and no text has.
    """
    for text in value if isinstance(value, list) else [value]:
        try:
            text.encode() if isinstance(text, str) else None
        except UnicodeEncodeError as problem:
            raise ValueError(
                f"character {problem.start + 1} is half of a surrogate pair; expected Unicode text"
            ) from None
    return value


def _warm(temperature: float) -> float:
    if 0 < temperature < COLDEST:
        raise ValueError(f"expected 0, which takes the likeliest token, or at least {COLDEST}")
    return temperature


Whole = AfterValidator(_whole)
Nothing = Annotated[float, Field(ge=0, le=0)]  # a penalty that may be named, and only as none


class MessagePart(BaseModel):
    """A part of a message: text."""

    model_config = ConfigDict(extra="forbid")
    type: Literal["text"]
    text: Annotated[str, Whole]


class Message(BaseModel):
    """One message of a conversation."""

    model_config = ConfigDict(extra="forbid")
    role: Literal["system", "developer", "user", "assistant"]
    content: Annotated[str | list[MessagePart], Whole]
    name: None = None

    def plain(self) -> dict[str, str]:
        """As chat templates take it; ``developer`` is the newer word for ``system``."""
        text = self.content if isinstance(self.content, str) else "".join(p.text for p in self.content)
        return {"role": "system" if self.role == "developer" else self.role, "content": text}


class StreamOptions(BaseModel):
    """Whether a stream ends with what it took."""

    model_config = ConfigDict(extra="forbid")
    include_usage: bool = False
    include_obfuscation: Literal[False] = False


class TextFormat(BaseModel):
    """Plain text, the only format."""

    model_config = ConfigDict(extra="forbid")
    type: Literal["text"]


class Sampled(BaseModel):
    """What both kinds of request say of how to go on."""

    model_config = ConfigDict(extra="forbid")
    model: str
    stream: bool = False
    stream_options: StreamOptions | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2), AfterValidator(_warm)] | None = None
    top_p: Annotated[float, Field(ge=NARROWEST, le=1)] | None = None
    seed: int | None = None
    stop: Annotated[str | Annotated[list[str], Field(max_length=4)] | None, Whole] = None
    n: Literal[1] | None = None
    presence_penalty: Nothing | None = None
    frequency_penalty: Nothing | None = None
    logit_bias: Annotated[dict[str, Any], Field(max_length=0)] | None = None
    user: str | None = None  # says who asks; nothing is done with it

    @property
    def stops(self) -> tuple[str, ...]:
        """The texts that end the answer; an empty one ends nothing."""
        given = [self.stop] if isinstance(self.stop, str) else self.stop or []
        return tuple(text for text in given if text)

    @property
    def usage_at_the_end(self) -> bool:
        return self.stream_options is not None and self.stream_options.include_usage


class ChatRequest(Sampled):
    """``POST /v1/chat/completions``."""

    messages: Annotated[list[Message], Field(min_length=1)]
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    logprobs: bool | None = None
    top_logprobs: Literal[0] | None = None
    response_format: TextFormat | None = None


class TextRequest(Sampled):
    """``POST /v1/completions``."""

    prompt: Annotated[str | list[int], Whole]
    logprobs: Literal[0] | None = None
    best_of: Literal[1] | None = None
    echo: Literal[False] | None = None
    suffix: None = None
