"""The process that runs what a model wrote. It is handed calls and hands back values; of what these should be
it knows nothing, so there is nothing here to forge.
"""

from __future__ import annotations

import itertools
import operator
import os
import sys
import types
from collections.abc import Callable, Mapping
from typing import Any

from posttrain.sandbox.inside import begin
from posttrain.sandbox.plain_data import decoded, encoded, receive, send

MOST_ITEMS = 10_000  # of something endless
ASKS: dict[str, Callable[..., Any]] = {
    "iterate": lambda it: list(itertools.islice(iter(it), MOST_ITEMS)),
    "item": operator.getitem,
    "len": len,
    "str": str,
    "repr": repr,
}


def main() -> None:
    """As a module whose functions are called, or as a program with input and output."""
    assignment = begin()
    code, before = assignment.task.pop("code"), assignment.task.pop("before")
    if assignment.ends:
        code = completed(before, code)
        Module(code).serve(assignment.ends["calls"], assignment.ends["replies"])
    else:
        program = types.ModuleType("__main__")
        sys.modules["__main__"] = program
        exec(compile(code, "answer.py", "exec"), program.__dict__)


def completed(before: str, code: str) -> str:
    """``code`` behind what it completes: as it is, or with the indentation that its first line lost; alone
    where neither is Python.
    """
    if not before:
        return code
    first, line, rest = code.lstrip("\n").partition("\n")
    indented = next(
        (text[: len(text) - len(text.lstrip())] for text in rest.splitlines() if text.strip()), ""
    )
    together = [before + code, before + "\n" + code]
    together += [f"{before}\n{space}{first.lstrip()}{line}{rest}" for space in (indented, "    ")]
    for text in together:
        try:
            compile(text, "answer.py", "exec")
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue
        return text
    return code


class Module:
    """What the answer defines, and the objects it has handed out."""

    def __init__(self, code: str) -> None:
        self.code = code
        self.module = types.ModuleType("solution")
        self.objects: list[Any] = []

    def serve(self, calls: int, replies: int) -> None:
        """Answers until nobody asks."""
        while True:
            try:
                asked = receive(calls)
            except EOFError:
                os._exit(0)
            try:
                reply = self.answer(asked)
            except BaseException as problem:
                reply = {"raised": type(problem).__name__, "said": _said(problem)}
            try:
                send(replies, reply)
            except ValueError as problem:
                send(replies, {"raised": "ValueError", "said": str(problem)})

    def answer(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """The reply to one request. Whatever it raises is the reply, too."""
        if asked["do"] == "load":
            sys.modules["solution"] = self.module
            exec(compile(self.code, "answer.py", "exec"), self.module.__dict__)
            return {"value": None}
        target = self.objects[asked["of"]] if asked["of"] is not None else self.module
        if asked["do"] == "get":
            value = getattr(target, asked["name"])
            return {"callable": True} if callable(value) else {"value": encoded(value, self._named)}
        given = [decoded(item, self._known) for item in asked["given"]]
        named = {name: decoded(item, self._known) for name, item in asked["named"].items()}
        if asked["do"] == "call":
            value = getattr(target, asked["name"])(*given, **named)
        else:
            value = ASKS[asked["do"]](target, *given)
        after = [
            encoded(item, self._named) if isinstance(item, list | dict | set) else None for item in given
        ]
        return {"value": encoded(value, self._named), "after": after}

    def _named(self, value: Any) -> dict[str, Any]:
        self.objects.append(value)
        return {"object": len(self.objects) - 1}

    def _known(self, value: Mapping[str, Any]) -> Any:
        return self.objects[value["object"]]


def _said(problem: BaseException) -> str:
    try:
        return str(problem)[:200]
    except BaseException:
        return ""
