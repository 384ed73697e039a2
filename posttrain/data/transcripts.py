"""Conversations as other tools write them, turned into messages {"role", "content"}.

A value of an unexpected type is returned as it is, so that validation can name it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

SPEAKERS = {
    "human": "user",
    "user": "user",
    "prompter": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "assistant": "assistant",
    "bard": "assistant",
    "bing": "assistant",
    "model": "assistant",
    "system": "system",
}
_TURN = re.compile(r"(?:^|\n\n)(Human|Assistant):[ ]?", re.ASCII)
RENDERED = re.compile(r"<\|im_start\|>|\[INST\]|<\|start_header_id\|>|<\|user\|>|<start_of_turn>")


def messages(value: Any) -> Any:
    """ShareGPT's turns {"from", "value"}, or turns with ``role`` and ``value`` or ``text``, as messages."""
    if not isinstance(value, list):
        return message(value)
    return [message(turn) for turn in value]


def message(turn: Any) -> Any:
    """One turn as a message; a role that is not known stays as it is."""
    if not isinstance(turn, Mapping) or not ({"from", "value"} & set(turn) or "text" in turn):
        return turn
    role = turn.get("from", turn.get("role"))
    content = next((turn[name] for name in ("content", "value", "text") if name in turn), None)
    rest = {name: value for name, value in turn.items() if name not in ("from", "role", "value", "text")}
    return {**rest, "role": SPEAKERS.get(str(role).lower(), role), "content": content}


def transcript(text: Any) -> list[dict[str, Any]] | None:
    r"""Messages of a text such as "\n\nHuman: ...\n\nAssistant: ..."; None where it does not begin so."""
    if not isinstance(text, str):
        return None
    parts = _TURN.split(text.lstrip("\n"))
    if len(parts) < 3 or parts[0].strip():
        return None
    turns = zip(parts[1::2], parts[2::2], strict=True)
    return [{"role": SPEAKERS[who.lower()], "content": content.strip()} for who, content in turns]


def prompt_messages(value: Any) -> Any:
    """A transcript that waits for its answer, without the empty turn at its end; anything else as it is."""
    turns = transcript(value)
    if turns is None:
        return value
    return turns[:-1] if turns[-1]["role"] == "assistant" and not turns[-1]["content"] else turns


def without_last_answer(value: Any) -> Any:
    """The prompt of a conversation: everything before the last answer where it ends with one."""
    last = value[-1] if isinstance(value, list) and value else None
    return value[:-1] if isinstance(last, Mapping) and last.get("role") == "assistant" else value


def joined(instruction: Any, more: Any) -> Any:
    """An instruction and the text that it is about, a blank line between them."""
    if isinstance(instruction, str) and isinstance(more, str) and more.strip():
        return f"{instruction}\n\n{more}"
    return instruction


def with_system(prompt: Any, system: Any) -> Any:
    """The prompt or conversation after a system message, unless it begins with one of its own."""
    if not isinstance(system, str) or not system.strip():
        return prompt
    if isinstance(prompt, str):
        prompt = [{"role": "user", "content": prompt}]
    if not isinstance(prompt, list) or not prompt or not isinstance(prompt[0], Mapping):
        return prompt
    return prompt if prompt[0].get("role") == "system" else [{"role": "system", "content": system}, *prompt]
