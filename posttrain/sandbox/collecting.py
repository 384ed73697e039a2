"""What of a row's Python is a test, and what became of each."""

from __future__ import annotations

import ast
import types
import unittest
from collections.abc import Callable, Mapping
from typing import Any

REPORT = "__posttrain_report__"  # what an assert in a loop, ``with`` or ``try`` reports to
LONGEST_MESSAGE = 200  # characters
COMPOUND = (ast.For, ast.While, ast.If, ast.With, ast.Try)


def cut(message: str) -> str:
    """As much of it as a verdict has room for."""
    return message[:LONGEST_MESSAGE]


class Asserts(ast.NodeTransformer):
    """Lets the asserts in a top-level loop, ``with`` or ``try`` report what became of them, and go on where
    one failed, so that each that is executed counts. What a condition itself raises is raised on.
    """

    def __init__(self) -> None:
        self.results: list[str] = []  # empty: it held

    def around(self, node: ast.stmt) -> ast.Module:
        """The statement as a program."""
        made = node if isinstance(node, ast.Assert) else self.visit(node)
        return ast.fix_missing_locations(ast.Module([made], []))

    def report(self, problem: BaseException | None = None) -> None:
        """What an assert calls."""
        self.results.append("" if problem is None else cut(f"AssertionError: {problem}"))

    def visit_Assert(self, node: ast.Assert) -> ast.Try:
        """try: the assert; except AssertionError as why: report it; else: report that it held."""
        why = f"{REPORT}why"

        def reports(*given: ast.expr) -> ast.stmt:
            return ast.Expr(ast.Call(ast.Name(REPORT, ast.Load()), list(given), []))

        caught = ast.ExceptHandler(
            ast.Name("AssertionError", ast.Load()), why, [reports(ast.Name(why, ast.Load()))]
        )
        return ast.Try([node], [caught], [reports()], [])

    def _unchanged(self, node: ast.AST) -> ast.AST:
        return node

    visit_FunctionDef = visit_AsyncFunctionDef = visit_ClassDef = _unchanged


def is_test(node: ast.stmt, space: Mapping[str, Any]) -> bool:
    """Whether a statement that asks the answer tests it by itself: it may assert or raise, or calls a
    function of the tests.
    """
    if isinstance(node, COMPOUND):
        return any(isinstance(part, ast.Assert | ast.Raise) for part in ast.walk(node))
    if not isinstance(node, ast.Expr) or not isinstance(node.value, ast.Call):
        return False
    called = node.value.func
    return isinstance(called, ast.Name) and isinstance(space.get(called.id), types.FunctionType)


def collected(space: dict[str, Any], entry_point: str | None, asserted: bool) -> list[str]:
    """The results of unittest's cases, of ``test`` functions, and of ``check`` where there are no others."""
    results: list[str] = []
    for name, value in list(space.items()):
        if isinstance(value, type) and issubclass(value, unittest.TestCase):
            results += _cases(value)
        elif isinstance(value, types.FunctionType) and name.startswith("test"):
            results.append(attempted(value))
    check = space.get("check")
    if not results and not asserted and isinstance(check, types.FunctionType) and entry_point:
        results.append(attempted(lambda: check(space.get(entry_point))))
    return results


def _cases(kind: type[unittest.TestCase]) -> list[str]:
    outcome = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromTestCase(kind).run(outcome)
    bad = [cut(text.strip().splitlines()[-1]) for _, text in outcome.failures + outcome.errors]
    bad += ["an unexpected success" for _ in outcome.unexpectedSuccesses]
    return bad + [""] * max(outcome.testsRun - len(outcome.skipped) - len(bad), 0)


def attempted(test: Callable[[], Any]) -> str:
    """Empty where it passed."""
    try:
        test()
    except unittest.SkipTest:
        return ""
    except (Exception, SystemExit) as problem:
        return cut(f"{type(problem).__name__}: {problem}") or "failed"
    return ""
