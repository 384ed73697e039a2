"""The process that runs a row's tests. What the answer defines is not here: a call of it is a request to the
other process, and what comes back is plain data.

So tests compare values of built-in types with expectations that the answer's process has never seen, and the
verdict goes to the parent on a pipe that it does not have.
"""

from __future__ import annotations

import ast
import builtins
import json
import os
import sys
import types
import unittest
from collections.abc import Mapping
from functools import partial
from typing import Any

from posttrain.sandbox.collecting import REPORT, Asserts, attempted, collected, cut, is_test
from posttrain.sandbox.inside import begin
from posttrain.sandbox.plain_data import decoded, encoded, receive, send

# These would end a loop of the tests instead of failing them: all(map(f, xs)) holds where f raises the first.
ENDS_LOOPS = (StopIteration, StopAsyncIteration)


class AnswerError(Exception):
    """The answer raised something that is no ordinary built-in exception, or is gone."""


class Answer:
    """The way to the process that runs the answer."""

    def __init__(self, calls: int, replies: int) -> None:
        self.calls, self.replies = calls, replies
        self.asked = 0  # how often

    def ask(
        self, do: str, of: int | None, name: str = "", given: tuple[Any, ...] = (), named: Any = None
    ) -> dict[str, Any]:
        """The reply. Raises what the answer raised, or AnswerError."""
        request: dict[str, Any] = {"do": do, "of": of, "name": name}
        request["given"] = [encoded(item, _handed) for item in given]
        request["named"] = {key: encoded(item, _handed) for key, item in (named or {}).items()}
        self.asked += 1
        try:
            send(self.calls, request)
            reply = receive(self.replies)
        except (EOFError, OSError, ValueError) as problem:
            raise AnswerError(f"no reply: {problem}") from None
        if not isinstance(reply, dict):
            raise AnswerError("the reply is no reply")
        if "raised" in reply:
            raise _exception(reply)
        return reply

    def value(self, reply: Mapping[str, Any], given: tuple[Any, ...] = ()) -> Any:
        """The value in a reply; lists, dicts and sets among ``given`` are updated to the answer's changes."""
        try:
            for mine, theirs in zip(given, reply.get("after") or [], strict=False):
                if isinstance(mine, list | dict | set) and theirs is not None:
                    _replace(mine, decoded(theirs, self._remote))
            return decoded(reply["value"], self._remote)
        except (TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RecursionError):
            raise AnswerError("the reply is no value") from None

    def _remote(self, value: Mapping[str, Any]) -> Any:
        number = value["object"]
        if type(number) is not int:
            raise TypeError("an object's name is a number")
        return Remote(self, number)


class Remote:
    """An object that the answer keeps. It equals nothing but itself: its own ``__eq__`` is not asked."""

    def __init__(self, answer: Answer, number: int) -> None:
        self.__dict__.update(_answer=answer, _number=number)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        reply = self._answer.ask("get", self._number, name)
        return (
            Function(self._answer, name, self._number) if "callable" in reply else self._answer.value(reply)
        )

    def _do(self, what: str, *given: Any) -> Any:
        return self._answer.value(self._answer.ask(what, self._number, given=given), given)

    def __len__(self) -> int:
        return int(self._do("len"))

    def __iter__(self) -> Any:
        return iter(list(self._do("iterate")))

    def __getitem__(self, key: Any) -> Any:
        return self._do("item", key)

    def __str__(self) -> str:
        return str(self._do("str"))

    def __repr__(self) -> str:
        return str(self._do("repr"))

    def __bool__(self) -> bool:
        return True

    def __call__(self, *given: Any, **named: Any) -> Any:
        return Function(self._answer, "__call__", self._number)(*given, **named)


class Function:
    """A function or class of the answer, or a method of an object it keeps."""

    def __init__(self, answer: Answer, name: str, number: int | None = None) -> None:
        self._answer, self._number, self.__name__ = answer, number, name

    def __call__(self, *given: Any, **named: Any) -> Any:
        reply = self._answer.ask("call", self._number, self.__name__, given, named)
        return self._answer.value(reply, given)


def _handed(value: Any) -> dict[str, Any]:
    if isinstance(value, Remote):
        return {"object": value.__dict__["_number"]}
    raise TypeError(f"a {type(value).__name__} cannot be handed to the answer: give it plain data")


def _exception(reply: Mapping[str, Any]) -> Exception:
    kind = getattr(builtins, str(reply["raised"]), None)
    text = str(reply.get("said", ""))
    if isinstance(kind, type) and issubclass(kind, Exception) and not issubclass(kind, ENDS_LOOPS):
        try:
            return kind(text)
        except TypeError:  # UnicodeDecodeError takes five arguments
            pass
    return AnswerError(f"{reply['raised']}: {text}")


def _replace(mine: Any, theirs: Any) -> None:
    if type(mine) is not type(theirs):
        return
    mine.clear()
    (mine.extend if isinstance(mine, list) else mine.update)(theirs)


def asked_for(tree: ast.Module, entry_point: str | None) -> set[str]:
    """The names that the tests use without defining them, and that are no builtins: those of the answer.

    The answer's own definitions are not consulted, so it cannot replace ``len`` or ``unittest``.
    """
    loaded: set[str] = set()
    defined = set(dir(builtins))
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            (loaded if isinstance(node.ctx, ast.Load) else defined).add(node.id)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
            defined.add(node.name)
        elif isinstance(node, ast.arg):
            defined.add(node.arg)
        elif isinstance(node, ast.ExceptHandler) and node.name:
            defined.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            if isinstance(node, ast.ImportFrom) and node.module == "solution":
                continue
            defined |= {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
    return (loaded - defined) | ({entry_point} if entry_point else set())


class _Solution(types.ModuleType):
    """``import solution`` and ``from solution import name`` in tests."""

    def __init__(self, answer: Answer) -> None:
        super().__init__("solution")
        self.__dict__["_answer"] = answer

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _looked_up(self.__dict__["_answer"], name)


def _looked_up(answer: Answer, name: str) -> Any:
    reply = answer.ask("get", None, name)
    return Function(answer, name) if "callable" in reply else answer.value(reply)


class _Space(dict):  # type: ignore[type-arg]
    """The names of the tests: their own, and behind them the answer's."""

    def __init__(self, answer: Answer, theirs: set[str]) -> None:
        super().__init__(__name__="tests", __builtins__=builtins)
        for name in theirs:
            try:
                self[name] = _looked_up(answer, name)
            except Exception:  # the tests then meet a NameError, which fails them
                continue


def examine(tests: str, entry_point: str | None, answer: Answer) -> dict[str, Any]:
    """How many tests ran and passed; ``broken`` where the tests themselves cannot be read.

    Tests are asserts outside of functions, each time they are executed, also in ``for``, ``with`` and
    ``try``; calls of the tests' own functions; ``test`` functions; unittest's cases; and ``check(candidate)``
    where there are no others.
    """
    try:
        tree = ast.parse(tests)
        theirs = asked_for(tree, entry_point)
        asserts = Asserts()
        steps = [(node, compile(asserts.around(node), "tests.py", "exec")) for node in tree.body]
    except (SyntaxError, ValueError, RecursionError) as problem:
        return {"broken": cut(f"the tests are no Python: {problem}")}
    try:
        answer.ask("load", None)
    except Exception as problem:
        return {"ran": 1, "passed": 0, "first": cut(f"{type(problem).__name__}: {problem}")}
    sys.modules["solution"] = _Solution(answer)
    unittest.main = lambda *given, **named: None  # type: ignore[assignment,misc]  # cases are found anyway
    space = _Space(answer, theirs)
    space[REPORT] = asserts.report
    for node, code in steps:
        asked, before = answer.asked, len(asserts.results)
        failed = attempted(partial(exec, code, space))
        tests_it = isinstance(node, ast.Assert) or is_test(node, space)
        told_nothing = len(asserts.results) == before and tests_it
        if failed or isinstance(node, ast.Assert) or (told_nothing and answer.asked > asked):
            asserts.results.append(failed)
        if failed and not tests_it:
            break
    else:
        asserts.results += collected(space, entry_point, bool(asserts.results))
    results = asserts.results
    first = next((failed for failed in results if failed), "")
    return {"ran": len(results), "passed": results.count(""), "first": first}


def main() -> None:
    """One row's tests, one verdict."""
    assignment = begin()
    answer = Answer(assignment.ends["calls"], assignment.ends["replies"])
    verdict = examine(assignment.task["tests"], assignment.task["entry_point"], answer)
    os.write(assignment.ends["verdict"], json.dumps(verdict).encode())
    os._exit(0)
