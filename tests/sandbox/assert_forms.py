"""Answers with tests of every form that a task may have, and how many tests each runs and passes."""

from __future__ import annotations

import json
import sys

# code, tests, entry point, tests that run and that pass
Form = tuple[str, str, str | None, tuple[int, int]]
FORMS: dict[str, Form] = {
    "asserts": ("def f(x):\n    return x + 1", "assert f(1) == 2\nassert f(2) == 4", None, (2, 1)),
    "asserts after one that fails": (
        "def f(x):\n    return x + 1",
        "assert f(1) == 3\nassert f(2) == 3",
        None,
        (2, 1),
    ),
    "test functions": ("def f(x): return x", "def test_a():\n    assert f(3) == 3", None, (1, 1)),
    "cases": (
        "def f(x): return x if x else 1 / 0",
        "import unittest\nclass T(unittest.TestCase):\n"
        "    def test_a(self): self.assertEqual(f(3), 3)\n"
        "    def test_b(self): self.assertEqual(f(3), 4)\n"
        "    def test_c(self): self.assertEqual(f(0), 0)\n"
        "    @unittest.skip('later')\n    def test_d(self): pass",
        None,
        (3, 1),
    ),
    "check": ("def f(x): return x", "def check(candidate):\n    assert candidate(3) == 3", "f", (1, 1)),
    "imports": (
        "def f(x): return x",
        "from solution import f as g\nassert g((1, {2})) == (1, {2})",
        None,
        (1, 1),
    ),
    "a name of Python's": ("def sum(a, b): return a - b", "assert sum(3, 1) == 2", "sum", (1, 1)),
    "in place": ("def f(x): x.sort()", "a = [2, 1]\nf(a)\nassert a == [1, 2]", None, (1, 1)),
    "objects": (
        "class Stack:\n    def __init__(self): self.kept = []\n    def push(self, x): self.kept.append(x)\n"
        "    def __len__(self): return len(self.kept)\n    def __iter__(self): return iter(self.kept)",
        "s = Stack()\ns.push(4)\nassert len(s) == 1\nassert list(s) == [4]\nassert s.kept == [4]",
        None,
        (3, 3),
    ),
    "generators": ("def f(n): yield from range(n)", "assert list(f(3)) == [0, 1, 2]", None, (1, 1)),
    "errors": (
        "def f(x):\n    raise ValueError('no')",
        "try:\n    f(1)\n    bad = True\nexcept ValueError:\n    bad = False\nassert not bad",
        None,
        (1, 1),
    ),
}


F = "def f(x):\n    return x + 1"
CHECK = "def check(g):\n    assert g(1) == 2\n"
IN_STATEMENTS: dict[str, Form] = {
    "for": (F, "for x in range(3):\n    assert f(x) == x + 1", None, (3, 3)),
    "for goes on": (F, "for x in range(4):\n    assert f(x) == 2 * x", None, (4, 1)),
    "nested": (
        F,
        "for x in (1, 2):\n    if x:\n        assert f(x) == 2\n        assert f(1) == 2",
        None,
        (4, 3),
    ),
    "with": (F, "import io\nwith io.StringIO() as s:\n    assert f(1) == 2", None, (1, 1)),
    "try": (F, "try:\n    f('a')\n    assert False\nexcept TypeError:\n    pass", None, (1, 1)),
    "try that should have raised": (
        F,
        "try:\n    f(1)\n    assert False\nexcept TypeError:\n    pass",
        None,
        (1, 0),
    ),
    "try of an answer that raises": (
        "def f(x): raise OSError",
        "try:\n    assert f(1)\nexcept OSError:\n    pass",
        None,
        (1, 1),
    ),
    "swallowed": (F, "try:\n    assert f(1) == 3\nexcept AssertionError:\n    pass", None, (1, 0)),
    "check called": (F, CHECK + "check(f)", None, (1, 1)),
    "check called in vain": (F, CHECK + "check(f)\ncheck(lambda x: f(x) + 1)", None, (2, 1)),
    "check that raises": (F, "def check(g):\n    if g(1) != 3: raise ValueError\ncheck(f)", None, (1, 0)),
    "main": (
        F,
        "import unittest\nclass T(unittest.TestCase):\n    def test(self): self.assertIn(f(1), [2])\n"
        "unittest.main()",
        None,
        (1, 1),
    ),
    "asks without a test": (F, "x = f(1)\nprint(f(2))\nassert x == 2", None, (1, 1)),
}
FORMS |= IN_STATEMENTS


def main() -> None:
    """``assert_forms.py ROOT``: what every form counts in every safe tier that there is, as JSON."""
    sys.path.insert(0, sys.argv[1])
    from posttrain.sandbox.examination import examine
    from posttrain.sandbox.tiers import SAFE

    by_tier = {}
    for tier in SAFE:
        if not tier.missing():
            counted = by_tier[tier.name] = {}
            for form, (code, tests, entry_point, _) in FORMS.items():
                verdict = examine(code, tests, tier=tier, entry_point=entry_point)
                counted[form] = (verdict.ran, verdict.passed)
    print(json.dumps(by_tier))


if __name__ == "__main__":
    main()
