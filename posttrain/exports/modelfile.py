"""A chat template in Ollama's language, found from what it renders.

Ollama reads Go templates, and a Jinja template cannot be translated in general. What nearly all of them do
can: something before the first message, a frame around what each role says, and something that asks for the
answer. The frames are read off rendered conversations, then the whole is compared with the template on
conversations of one to three turns; a template that does anything else is refused.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from jinja2 import TemplateError

from posttrain.exports.vocabulary import Vocabulary, plain_template
from posttrain.models.chat import Chat
from posttrain.pipeline.finding import UserError

_PLACEHOLDERS = ("alpha7", "bravo8", "charlie9", "delta5", "echo6", "foxtrot4")  # stand for messages


@dataclass(frozen=True, kw_only=True)
class Frames:
    """``start`` opens a conversation without a system message, ``system`` one with it (None: the template
    takes none); ``turn`` frames each role's words, ``ask`` asks for the answer.
    """

    start: str
    system: tuple[str, str] | None
    user: tuple[str, str]
    assistant: tuple[str, str]
    ask: str

    def render(self, messages: Sequence[Mapping[str, Any]]) -> str:
        """The text that Ollama makes of the messages."""
        has_system = any(message["role"] == "system" for message in messages)
        text = "" if has_system and self.system else self.start
        for message in messages:
            frame = getattr(self, str(message["role"])) or ("", "")
            text += frame[0] + str(message["content"]) + frame[1]
        return text + self.ask


def modelfile(chat: Chat, weights: str, words: Vocabulary) -> str:
    """The Modelfile beside the GGUF file ``weights``, whose tokenizer is ``words``: its template and the
    texts that end an answer. A BOS that the tokenizer adds is not written again.

    Raises UserError for a template that is no frame around each message.
    """
    frames, tokenizer = frames_of(chat), chat.tokenizer
    if words.adds_bos:
        bos = str(tokenizer.bos_token)
        system = frames.system and (frames.system[0].removeprefix(bos), frames.system[1])
        frames = replace(frames, start=frames.start.removeprefix(bos), system=system)
    ends = [str(tokenizer.convert_ids_to_tokens(number)) for number in chat.stop_ids]
    parameters = "".join(f"PARAMETER stop {json.dumps(end, ensure_ascii=False)}\n" for end in ends)
    return f'FROM ./{weights}\nTEMPLATE """{_go(frames)}"""\n{parameters}'


def frames_of(chat: Chat) -> Frames:
    """The frames of a chat template. Raises UserError for a template that is not made of frames."""

    def rendered(messages: Sequence[Mapping[str, Any]], ask: bool = True) -> str:
        return str(
            chat.tokenizer.apply_chat_template(
                [dict(message) for message in messages],
                tokenize=False,
                add_generation_prompt=ask,
                chat_template=plain_template(chat.template),
            )
        )

    try:
        frames = _frames(rendered)
    except (TemplateError, ValueError) as problem:
        raise UserError(f"{_REFUSED} ({problem})") from None
    for turns in (1, 2, 3):
        for system in (False, True) if frames.system else (False,):
            asked = _conversation(turns, system)
            if frames.render(asked) != rendered(asked):
                raise UserError(
                    f"{_REFUSED} ({turns} turns{' after a system message' if system else ''} come out as "
                    f"{frames.render(asked)!r}, not {rendered(asked)!r})"
                )
    if '"""' in _go(frames):
        raise UserError(f'{_REFUSED} (it writes """)')
    return frames


_REFUSED = (
    "the chat template is more than a frame around each message, which is all that can be written for "
    "Ollama; export with --to gguf, which carries the template as it is"
)


def _conversation(turns: int, system: bool) -> list[dict[str, str]]:
    """Ends with a question."""
    words = iter(_PLACEHOLDERS)
    messages = [{"role": "system", "content": next(words)}] if system else []
    for turn in range(turns):
        messages.append({"role": "user", "content": next(words)})
        if turn + 1 < turns:
            messages.append({"role": "assistant", "content": next(words)})
    return messages


def _frames(rendered: Callable[..., str]) -> Frames:
    """Raises ValueError where a message is absent, or where what comes later changes what came before."""
    user, answered, again = (_conversation(2, False)[:count] for count in (1, 2, 3))
    texts = [rendered(messages, False) for messages in (user, answered, again)]
    first, second, third = _PLACEHOLDERS[:3]
    opening, after_user = texts[0].split(first)
    before_assistant, after_assistant = _added(texts[0], texts[1]).split(second)
    before_user, _ = _added(texts[1], texts[2]).split(third)
    if not opening.endswith(before_user):
        raise ValueError("a first question is framed otherwise than a second")
    system = None
    with suppress(TemplateError):  # the template takes no system message
        head, rest = rendered(_conversation(1, True), False).split(first)
        system = (head, rest.split(second)[0].removesuffix(before_user))
    return Frames(
        start=opening.removesuffix(before_user),
        system=system,
        user=(before_user, after_user),
        assistant=(before_assistant, after_assistant),
        ask=_added(texts[0], rendered(user)),
    )


def _added(before: str, after: str) -> str:
    if not after.startswith(before):
        raise ValueError("a message changes what stands before it")
    return after.removeprefix(before)


def _go(frames: Frames) -> str:
    """The frames as a Go template over ``.Messages``."""
    text = _word(frames.start)
    if frames.system and text:
        text = f"{{{{ if not .System }}}}{text}{{{{ end }}}}"
    parts = [("user", frames.user), ("assistant", frames.assistant)]
    if frames.system:
        parts.insert(0, ("system", frames.system))
    text += "{{ range .Messages }}"
    for index, (role, (before, after)) in enumerate(parts):
        text += f'{{{{ {"else " if index else ""}if eq .Role "{role}" }}}}'
        text += f"{_word(before)}{{{{ .Content }}}}{_word(after)}"
    return text + "{{ end }}{{ end }}" + _word(frames.ask)


def _word(text: str) -> str:
    """Text as it stands in a Go template: what opens an action is written as a string of one."""
    return text.replace("{{", '{{ "{{" }}')
