"""Answers that try to be paid for nothing, and right ones in unusual clothes; with what each is worth.

``python -m tests.rewards.adversarial`` counts how often verifiers are wrong; docs/rewards.md says so, too.
"""
# size: the answers side by side.

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from posttrain.pipeline.stage import Inputs, Machine
from posttrain.rewards.base import Episode, Rewards, RewardSource
from posttrain.rewards.code_tests import CodeTests
from posttrain.rewards.constraints import Constraints
from posttrain.rewards.math_answer import MathAnswer

Case = tuple[dict[str, Any], str]  # a prompt's row, an answer


def episode(prompt: dict[str, Any], response: str, ended: bool = True, tokens: int = 1) -> Episode:
    ids, mask = [1] * (tokens + 1), [False] + [True] * tokens
    return Episode(
        prompt=prompt,
        response=response,
        ids=ids,
        mask=mask,
        logprobs=[0.0] * tokens,
        ended=ended,
        version=0,
    )


def scored(source: RewardSource, cases: Sequence[Case]) -> Rewards:
    with source.open(Inputs({}), Machine()) as scorer:
        return scorer.score([episode(*case) for case in cases])


MATH_RIGHT = [
    ("85", "85"),
    ("85", "47 + 38: 7 + 8 = 15. 4 + 3 + 1 = 8. So 85."),
    ("85", "<think>40 + 30 = 70, 7 + 8 = 15</think><answer>85</answer>"),
    ("85", "The answer is **85**."),
    ("85", "The final answer: $85$."),
    ("85", "First 84, no: \\boxed{84} is wrong, so \\boxed{85}"),
    ("85", "It is \\boxed{\\text{85}}."),
    ("85", "Adding them gives\n\n#### 85"),
    ("85", "x = 85"),
    ("x = 85", "85"),
    ("85", "= 85.0"),
    ("85", "85 apples"),
    ("85", "\\boxed{85\\text{ cm}}"),
    ("5 m", "5 m"),
    ("We have 7 + 8 = 15 and so on.\n#### 85", "85"),
    ("-3", "−3"),
    ("1,234,567", "1234567"),
    ("1234567", "1,234,567"),
    ("1000", "1e3"),
    ("1/2", "0.5"),
    ("1/2", "\\frac{1}{2}"),
    ("1/2", "\\frac12"),
    ("1/2", "2/4"),
    ("1/2", "50%"),
    ("7/2", "3 1/2"),
    ("11/2", "5\\frac12"),
    ("\\frac{\\sqrt{3}}{2}", "sqrt(3)/2"),
    ("\\sqrt{8}", "2\\sqrt{2}"),
    ("x^2-1", "(x-1)(x+1)"),
    ("x^2+2x+1", "(x+1)**2"),
    ("2x+3", "3+2*x"),
    ("\\sin^2(x)+\\cos^2(x)", "1"),
    ("1/(x+1)", "\\frac{1}{1+x}"),
    ("e^{2x}", "exp(2x)"),
    ("\\log_2 8", "3"),
    ("2^{10}", "1024"),
    ("120", "5!"),
    ("6", "2(3)"),
    ("\\pi", "pi"),
    ("90^\\circ", "90 degrees"),
    ("(1, 2)", "(1,2)"),
    ("\\{1, 2\\}", "\\{2, 1\\}"),
    ("(-\\infty, 2]", "(-inf, 2]"),
    ("x \\ge 2", "x >= 2"),
    ("\\begin{pmatrix}1\\\\2\\end{pmatrix}", "\\begin{pmatrix} 1 \\\\ 2 \\end{pmatrix}"),
    ("C", "(C)"),
    ("C", "The answer is \\textbf{(C)}"),
    ("enots", "Enots."),
    ("$5", "5 dollars"),
    ("5", "$5.00"),
    ("101_2", "101_2"),
    # equal, and hard to see
    ("7", "seven"),
    ("1 or 2", "1, 2"),
    ("\\ln 2", "log(2)"),
    ("2 hours", "120 minutes"),
    ("{1, 2}", "1 and 2"),
    ("x=1, x=2", "1, 2"),
    ("10", "She earned 10 dollars for the 50 minutes of babysitting."),
    ("85", "The sum of 47 and 38 is 85, which is what was asked for; I am glad to help (see page 3)."),
]
MATH_WRONG = [
    ("85", ""),
    ("85", "84"),
    ("85", "-85"),
    ("85", "8 5"),
    ("85", "850"),
    ("85", "0.85"),
    ("85", "85%%"),
    ("85", "84 or 85"),
    ("85", "85 or 84"),
    ("85", "85, 84"),
    ("85", "\\boxed{84, 85}"),
    ("85", "\\{84, 85\\}"),
    ("85", "85 \\pm 1"),
    ("85", "85 is wrong"),
    ("85", "not 85"),
    ("85", "The answer is not 85."),
    ("85", "x < 85"),
    ("85", "85 \\neq 84"),
    ("85", "85 = 84"),
    ("85", "84 = 85"),
    ("85", "85 thousand"),
    ("85", "85 thousandths"),
    ("85", "85 hundred"),
    ("85", "85 squared"),
    ("85", "85 factorial"),
    ("85", "85_9"),
    ("5", "2(3)"),
    ("2", "3 1/2"),
    ("85", "\\boxed{85"),
    ("85", "\\boxed{85} no, \\boxed{84}"),
    ("85", "85 at first, then I take one away: 84"),
    ("85", "What is 85 minus 1? The answer is 84. So not 85? The answer is 84."),
    ("85", "<answer>85</answer> I mean <answer>84</answer>"),
    ("85", "#### 84\nor 85"),
    ("85", "x"),
    ("85", "answer"),
    ("85", "gold"),
    ("85", "prompt['answer']"),
    ("85", "True"),
    ("1", "True"),
    ("85", "Eq(85, 85)"),
    ("85", "__import__('os')"),
    ("85", "__import__('os').system('touch /tmp/paid')"),
    ("85", "9**9**9**9"),
    ("85", "factorial(10**7)"),
    ("85", "(10**7)!"),
    ("85", "\\binom{1000000}{500000}"),
    ("85", "lambda: 85"),
    ("85", "[85][0]"),
    ("85", "nan"),
    ("85", "1/0"),
    ("85", "85/0"),
    ("85", "\\input{/etc/passwd}"),
    ("85", "1" * 400),
    ("5 m", "5 km"),
    ("1/3", "0.33"),
    ("\\pi", "3.14"),
    ("x^2-1", "x^2+1"),
    ("x^2", "y^2"),
    ("2x", "2"),
    ("f(x)", "f(y)"),
    ("(1, 2)", "(2, 1)"),
    ("(1, 2)", "[1, 2]"),
    ("(1, 2)", "1"),
    ("x \\ge 2", "x > 2"),
    ("x > 2", "2"),
    ("C", "B"),
    ("C", "A, B, C, D"),
    ("C", "(C) or (D)"),
    ("Paris", "Not Paris"),
    ("yes", "yes and no"),
    # wrong, and hard to see
    ("1,2", "2,1"),
    ("0.5", "0.50000000001"),
    ("50", "50%"),
    ("3:4", "3/4"),
]
CODE_TESTS = "assert double(3) == 6\nassert double(-1) == -2\nassert double(0) == 0"
CASES = [{"input": "3\n", "output": "6\n"}, {"input": "-1\n", "output": "-2"}]
PROGRAM = "print(2 * int(input()))"
CODE_RIGHT: list[Case] = [
    ({"tests": CODE_TESTS}, "def double(x):\n    return 2 * x"),
    ({"tests": CODE_TESTS}, "Here it is:\n```python\ndef double(x):\n    return x + x\n```\nIt adds."),
    ({"tests": CODE_TESTS}, "```\ndouble = lambda x: x << 1\n```"),
    ({"tests": CODE_TESTS}, "```python\ndef double(x):\n    return x + x\n"),
    (
        {"tests": CODE_TESTS},
        "First\n```python\ndef double(x): return x\n```\nno:\n```python\ndef double(x): return x * 2\n```",
    ),
    ({"tests": CODE_TESTS}, "```python\ndef double(x):\n    print('debug', x)\n    return x * 2\n```"),
    ({"tests": CODE_TESTS}, "from operator import mul\ndef double(x):\n    return mul(x, 2)"),
    (
        {
            "tests": "def check(candidate):\n    assert candidate([1]) == [1, 1]\n",
            "entry_point": "twice",
        },
        "def twice(xs):\n    return xs * 2",
    ),
    (
        {
            "tests": "import unittest\nclass T(unittest.TestCase):\n    def test(self):\n"
            "        self.assertAlmostEqual(f(1), 0.1 + 0.2)"
        },
        "def f(x):\n    return x * 0.3",
    ),
    ({"tests": "import pytest\ndef test_f():\n    assert f(2) == 4"}, "def f(x):\n    return x * x"),
    ({"cases": CASES}, PROGRAM),
    (
        {"cases": CASES},
        "```python\nimport sys\nn = int(sys.stdin.read())\nsys.stdout.write(f'{n * 2}   \\n\\n')\n```",
    ),
    ({"cases": CASES}, "if __name__ == '__main__':\n    print(int(input()) * 2)"),
    # right, and not to be seen from outside
    (
        {"tests": "assert f() == Point(1, 2)"},
        "from dataclasses import dataclass\n@dataclass\nclass Point:\n    x: int\n    y: int\n"
        "def f():\n    return Point(1, 2)",
    ),
    (
        {"tests": "import numpy as np\nassert f(2) == 4"},
        "import numpy as np\ndef f(x):\n    return int(np.int64(x) ** 2)",
    ),
    ({"cases": [{"input": "", "output": "0.3"}]}, "print(0.1 + 0.2)"),
    ({"cases": [{"input": "", "output": "1 2"}]}, "print(1)\nprint(2)"),
]
CODE_WRONG: list[Case] = [
    ({"tests": CODE_TESTS}, ""),
    ({"tests": CODE_TESTS}, "I do not know."),
    ({"tests": CODE_TESTS}, "def double(x):\n    return x"),
    ({"tests": CODE_TESTS}, "def double(x):\n    return 6 if x == 3 else -2"),
    ({"tests": CODE_TESTS}, "def double(x)\n    return 2 * x"),
    ({"tests": CODE_TESTS}, "def doubled(x):\n    return 2 * x"),
    (
        {"tests": CODE_TESTS},
        "```python\ndef double(x):\n    return 2 * x\n```\n```python\ndouble = None\n```",
    ),
    ({"tests": CODE_TESTS}, "def double(x):\n    while True:\n        pass"),
    ({"tests": CODE_TESTS}, "import os\nos._exit(0)"),
    ({"tests": CODE_TESTS}, "raise SystemExit(0)"),
    ({"tests": CODE_TESTS}, "print('OK')\nprint('3 passed')"),
    ({"tests": CODE_TESTS}, "import unittest.mock\ndouble = unittest.mock.MagicMock()"),
    (
        {"tests": CODE_TESTS},
        "class Yes(int):\n    def __eq__(self, other): return True\ndef double(x):\n    return Yes()",
    ),
    ({"tests": CODE_TESTS}, "def double(x):\n    return __import__('unittest').mock.ANY"),
    (
        {"tests": CODE_TESTS},
        "import builtins\nbuiltins.AssertionError = Warning\ndef double(x):\n    return 0",
    ),
    (
        {"tests": CODE_TESTS},
        "import sys\nsys.modules['solution'] = None\ndef double(x):\n    raise KeyboardInterrupt",
    ),
    ({"tests": CODE_TESTS}, "import sys\nsys.setrecursionlimit(10**9)\ndef double(x):\n    return double(x)"),
    ({"tests": CODE_TESTS}, "kept = [0] * 10**10\ndef double(x):\n    return 2 * x"),
    ({"tests": CODE_TESTS}, "open('/tmp/posttrain_paid', 'w')\ndef double(x):\n    return 2 * x"),
    (
        {"tests": CODE_TESTS},
        "import socket\nsocket.create_connection(('127.0.0.1', 80))\ndef double(x):\n    return 2 * x",
    ),
    ({"tests": CODE_TESTS}, "import subprocess\nsubprocess.run(['true'])\ndef double(x):\n    return 2 * x"),
    ({"cases": CASES}, "print(6)"),
    ({"cases": CASES}, "print(6)\nprint(-2)"),
    ({"cases": CASES}, f"{PROGRAM}\nraise SystemExit(1)"),
    ({"cases": CASES}, f"{PROGRAM}\nprint('x' * 10**6)"),
    ({"cases": CASES}, f"{PROGRAM}\nwhile True: pass"),
    ({"cases": CASES}, "import sys\nprint(sys.argv, open('/proc/self/environ').read())"),
    ({"cases": CASES}, "class C: pass\nprint(C())"),
    # paid although wrong: what tests do not ask, they do not see
    ({"tests": CODE_TESTS}, "def double(x):\n    return {3: 6, -1: -2, 0: 0}[x]"),
    ({"cases": CASES}, "print({'3': 6, '-1': -2}[input()])"),
]

WORDS: dict[str, Any] = {
    "item": {"checks": [{"check": "bullets", "count": 2}, {"check": "on_topic", "terms": ["owls"]}]}
}
CONSTRAINTS_RIGHT: list[Case] = [
    (WORDS, "- owls fly\n- they eat mice"),
    (WORDS, "* An owl sees at night\n* It hears well"),
    (WORDS, "• Owls hunt\n\n• Owls sleep by day"),
]
CONSTRAINTS_WRONG: list[Case] = [
    (WORDS, "- owls\n- owls"),
    (WORDS, "- owls fly\n- they eat mice\n- they sleep"),
    (WORDS, "Here you are:\n- owls fly\n- they eat mice"),
    (WORDS, "- cats purr\n- cats sleep"),
    (WORDS, "owls fly, they eat mice"),
    # of the right form and about the topic, and no answer
    (WORDS, "- owls\n- green ideas sleep furiously"),
]


def wrong(
    source: RewardSource, right: Sequence[Case], false: Sequence[Case]
) -> tuple[list[Case], list[Case]]:
    """The right answers that ``source`` refuses, and the wrong ones that it pays whole."""
    values = scored(source, [*right, *false]).values.tolist()
    refused = [case for case, value in zip(right, values, strict=False) if value < 1]
    paid = [case for case, value in zip(false, values[len(right) :], strict=True) if value >= 1]
    return refused, paid


def maths(pairs: Sequence[tuple[str, str]]) -> list[Case]:
    return [({"answer": answer}, said) for answer, said in pairs]


SETS: dict[str, tuple[RewardSource, list[Case], list[Case]]] = {
    "math_answer": (MathAnswer(), maths(MATH_RIGHT), maths(MATH_WRONG)),
    "code_tests": (CodeTests(seconds=3.0), CODE_RIGHT, CODE_WRONG),
    "constraints": (Constraints(), CONSTRAINTS_RIGHT, CONSTRAINTS_WRONG),
}


def counted(name: str, refused: Sequence[Case], paid: Sequence[Case]) -> str:
    """The row of the page's table."""
    _, right, false = SETS[name]
    return f"| `{name}` | {len(refused)} of {len(right)} | {len(paid)} of {len(false)} |"


def main() -> None:
    for name, (source, right, false) in SETS.items():
        refused, paid = wrong(source, right, false)
        print(counted(name, refused, paid))
        for what, cases in (("refused", refused), ("paid", paid)):
            for prompt, said in cases:
                print(f"  {what}: {prompt.get('answer', '')} {said!r}", file=sys.stderr)


if __name__ == "__main__":
    main()
