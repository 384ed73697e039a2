"""What is written down of settings and errors, without what looks like a secret: by its name, by its shape,
and by being the value of an environment variable or setting that is named like one.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from typing import Any

HIDDEN = "***"
SHORTEST = 8  # characters; a shorter value would be found in words that are no secret

_NAMED = re.compile(
    r"(?:^|_)(?:api_?keys?|apikey|secret(?:_key|_access_key)?|passw(?:or)?d|passwd|passphrase|pwd|credentials?"
    r"|authorization|auth|bearer|private_key|access_key|cookie|signature|pat)$",
    re.IGNORECASE,
)
# words of a vocabulary are tokens too: eos_token, stop_token
_TOKEN = re.compile(
    r"(?<!eos)(?<!bos)(?<!pad)(?<!unk)(?<!sep)(?<!cls)(?<!mask)(?<!stop)(?<!end)(?<!start)(?<!special)"
    r"(?<!first)(?<!last)(?<!next)(?:^|_)token$",
    re.IGNORECASE,
)
_SHAPES = re.compile(
    r"(?<![A-Za-z0-9_-])(?:"  # not in a name: desk-reviews, multitask-sft
    r"hf_[A-Za-z0-9]{16,}"
    r"|sk-[A-Za-z0-9_-]{16,}"
    r"|(?:gh[pousr]|github_pat)_[A-Za-z0-9_]{16,}"
    r"|glpat-[A-Za-z0-9_-]{16,}"
    r"|xox[abeoprs]-[A-Za-z0-9-]{10,}"
    r"|AIza[A-Za-z0-9_-]{30,}"
    r"|A[KS]IA[A-Z0-9]{16}"
    r"|eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*"
    r")|-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"
)
_BEFORE = re.compile(
    r"(?P<kept>\bBearer\s+(?=\S{8})|\bAuthorization:\s*\w+\s+"
    r"|[?&;](?:[\w-]*(?:token|key|secret|password|passwd|signature|credential|auth)|sig|pwd)=)"
    r"[^\s&;\"'<>]{4,}",
    re.IGNORECASE,
)
_USERINFO = re.compile(r"(?P<kept>\b[a-z][a-z0-9+.-]*://)[^\s/@\"'<>]+@", re.IGNORECASE)


def secret_name(name: str) -> bool:
    """Whether a setting or an environment variable is named like a secret; ``a.b.api_key`` by its last
    part.
    """
    last = re.split(r"[.\[\]]", name.rstrip("]"))[-1].replace("-", "_")
    return bool(_NAMED.search(last) or _TOKEN.search(last))


class Redaction:
    """Hides secrets. It knows those of the environment, and of the settings it has been shown."""

    def __init__(self, *settings: Any) -> None:
        texts = {value for name, value in os.environ.items() if secret_name(name)}
        texts |= {text for value in settings for text in _named(value)}
        self._values = sorted(filter(_telling, texts), key=len, reverse=True)

    def text(self, text: str) -> str:
        """The text with every secret in it hidden."""
        for value in self._values:
            text = text.replace(value, HIDDEN)
        text = _USERINFO.sub(rf"\g<kept>{HIDDEN}@", text)
        return _SHAPES.sub(HIDDEN, _BEFORE.sub(rf"\g<kept>{HIDDEN}", text))

    def value(self, value: Any) -> Any:
        """A JSON value with its texts hidden; whole where they are named like a secret."""
        if isinstance(value, str):
            name, equals, content = value.partition("=")  # an override
            return f"{name}={HIDDEN}" if equals and content and secret_name(name) else self.text(value)
        if isinstance(value, Mapping):
            return {
                str(key): HIDDEN if _is_secret(str(key), inner) else self.value(inner)
                for key, inner in value.items()
            }
        if isinstance(value, list | tuple):
            return [self.value(inner) for inner in value]
        return value


def _telling(text: str) -> bool:
    """Whether a value stands for nothing but a secret: long enough, and neither a path nor a plain word."""
    return len(text) >= SHORTEST and not re.fullmatch(r"/.*|[a-z]{1,15}|[A-Z]?[a-z]{1,15}|[\d.]+", text)


def _is_secret(name: str, value: Any) -> bool:
    return isinstance(value, str) and bool(value) and secret_name(name)


def _named(value: Any) -> Iterable[str]:
    """The texts that are named like a secret, in settings or in overrides ``name=value``."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if _is_secret(str(key), inner):
                yield inner
            else:
                yield from _named(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _named(inner)
    elif isinstance(value, str):
        name, equals, content = value.partition("=")
        if equals and secret_name(name):
            yield content
        yield from (match[1] for match in re.finditer(r"://([^\s/@]+)@", value))
        yield from (match[1] for match in re.finditer(r"://[^\s/@:]*:([^\s/@]+)@", value))
