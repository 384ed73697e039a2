"""Plain data between two processes of which one is not trusted: tagged JSON in frames with a length.

What arrives is made of the built-in types alone, so that no method of the sender's (``__eq__``, ``__bool__``,
``__reduce__``) ever runs at the receiver's.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from typing import Any

LONGEST_FRAME = 1 << 20  # bytes

Unknown = Callable[[Any], dict[str, Any]]
Known = Callable[[Mapping[str, Any]], Any]


def _refuse(value: Any) -> Any:
    raise TypeError(f"a {type(value).__name__} is no plain data")


def encoded(value: Any, other: Unknown = _refuse) -> Any:
    """The value in terms of JSON; ``other`` says how to name what is no plain data."""
    if value is None or isinstance(value, bool):
        return value
    for kind in (int, float, str):
        if isinstance(value, kind):
            return kind(value)
    if isinstance(value, complex):
        return {"complex": [value.real, value.imag]}
    if isinstance(value, bytes | bytearray):
        return {"bytes": bytes(value).hex()}
    if isinstance(value, list):
        return [encoded(item, other) for item in value]
    if isinstance(value, dict):
        pairs = [[encoded(key, other), encoded(item, other)] for key, item in value.items()]
        return {"dict": pairs}
    for several, tag in ((tuple, "tuple"), (set, "set"), (frozenset, "frozenset")):
        if isinstance(value, several):
            return {tag: [encoded(item, other) for item in value]}
    return other(value)


def decoded(value: Any, other: Known = _refuse) -> Any:
    """The value that was encoded; ``other`` finds what an unknown tag names. Raises TypeError or ValueError
    for what ``encoded`` never writes.
    """
    if isinstance(value, list):
        return [decoded(item, other) for item in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        tag, inner = next(iter(value.items()))
        if tag == "dict":
            return {decoded(key, other): decoded(item, other) for key, item in inner}
        if tag in ("tuple", "set", "frozenset"):
            made = {"tuple": tuple, "set": set, "frozenset": frozenset}[tag]
            return made(decoded(item, other) for item in inner)
        if tag == "complex":
            return complex(*inner)
        if tag == "bytes":
            return bytes.fromhex(inner)
    return other(value)


def send(fd: int, message: Any, longest: int = LONGEST_FRAME) -> None:
    """One frame. Raises ValueError for one that is too long."""
    data = json.dumps(message).encode()
    if len(data) > longest:
        raise ValueError(f"{len(data)} bytes, expected at most {longest}")
    view = memoryview(len(data).to_bytes(4, "big") + data)
    while view:
        view = view[os.write(fd, view) :]


def receive(fd: int, longest: int = LONGEST_FRAME) -> Any:
    """The next frame. Raises EOFError at the end, ValueError for what is no frame."""
    size = int.from_bytes(_exactly(fd, 4), "big")
    if size > longest:
        raise ValueError(f"a frame of {size} bytes, expected at most {longest}")
    try:
        return json.loads(_exactly(fd, size))
    except RecursionError:
        raise ValueError("a frame nested too deeply") from None


def _exactly(fd: int, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = os.read(fd, size - len(data))
        if not more:
            raise EOFError("the other side is gone")
        data += more
    return data
