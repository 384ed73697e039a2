"""Final answers are found and compared, and no text of a model's is run."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("math_verify")

from posttrain.pipeline.finding import UserError
from posttrain.pipeline.stage import Inputs, Machine
from posttrain.rewards.base import solved
from posttrain.rewards.first_that_scores import FirstThatScores
from posttrain.rewards.format import Format
from posttrain.rewards.math_answer import MathAnswer, MathScorer, final, gold_of
from posttrain.rewards.weighted_sum import Weighted, WeightedSum
from posttrain.sandbox.tiers import SandboxError
from tests.rewards.adversarial import MATH_RIGHT, MATH_WRONG, SETS, counted, episode, wrong
from tests.rewards.sentences import NOT_SAID, SENTENCES

PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "rewards.md"
BOMBS = ("9**9**9**9", "factorial(10**7)", "__import__('os')", "(10**7)!", "\\binom{1000000}{500000}")


@pytest.fixture(scope="module")
def scorer() -> Iterator[MathScorer]:
    with MathAnswer().open(Inputs({}), Machine()) as opened:
        yield opened


def test_gold_answers_score_one(scorer: MathScorer) -> None:
    golds = sorted({gold for gold, _ in (*MATH_RIGHT, *MATH_WRONG)})
    for form in ("{}", "<think>so</think><answer>{}</answer>", "It follows that \\boxed{{{}}}."):
        said = [episode({"answer": gold}, form.format(gold_of(gold))) for gold in golds]
        values = scorer.score(said).values.tolist()
        assert [gold for gold, value in zip(golds, values, strict=True) if value != 1] == []


@pytest.mark.slow
def test_the_page_says_how_often_it_is_wrong() -> None:
    refused, paid = wrong(*SETS["math_answer"])
    assert counted("math_answer", refused, paid) in PAGE.read_text("utf-8"), (refused, paid)


def processor_time(pid: int) -> float:
    """Seconds that a process and the children it has waited for have worked."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def test_a_factorial_before_an_equals_sign_is_no_inequality(scorer: MathScorer) -> None:
    said = ["5!=120", "5! = 120", "n != 4", "x \\neq 4"]
    golds = ["120", "120", "n \\neq 4", "x != 4"]
    rewards = scorer.score([episode({"answer": gold}, text) for gold, text in zip(golds, said, strict=True)])
    assert rewards.values.tolist() == [1.0] * 4


def test_no_sentence_that_gives_the_answer_is_refused_and_none_that_does_not_is_paid(
    scorer: MathScorer,
) -> None:
    assert len(SENTENCES) == 100
    for pairs, worth in ((SENTENCES, 1.0), (NOT_SAID, 0.0)):
        rewards = scorer.score([episode({"answer": gold}, text) for gold, text in pairs])
        wrong_ones = [pair for pair, paid in zip(pairs, rewards.values, strict=True) if paid != worth]
        assert (wrong_ones, rewards.failed) == ([], {})


@pytest.mark.parametrize("text", BOMBS)
def test_what_would_hang_or_run_scores_zero_within_two_seconds_of_work(scorer: MathScorer, text: str) -> None:
    for said in (text, f"\\boxed{{{text}}}"):
        before = processor_time(scorer.worker.process.pid)
        rewards = scorer.score([episode({"answer": "85"}, said)])
        assert processor_time(scorer.worker.process.pid) - before < 2
        assert (rewards.values.tolist(), rewards.scored.tolist()) == ([0.0], [True])


def test_the_next_answer_does_not_wait_for_one_that_hung(scorer: MathScorer) -> None:
    rewards = scorer.score([episode({"answer": "85"}, text) for text in ("(10**7)!", "80+5")])
    assert rewards.values.tolist() == [0.0, 1.0]
    assert rewards.parts["math_answer/late"].tolist() == [1.0, 0.0]
    assert rewards.parts["math_answer/found"].tolist() == [1.0, 1.0]


def test_no_text_is_run(scorer: MathScorer, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    texts = [f"__import__('os').mkdir('{mark}')", f"open({str(mark)!r}, 'w')", "exec(chr(49))"]
    scorer.score([episode({"answer": gold}, text) for text in texts for gold in ("85", *texts)])
    assert not mark.exists()


def test_a_killed_worker_is_replaced() -> None:
    with MathAnswer().open(Inputs({}), Machine()) as scorer:
        asked = [episode({"answer": "85"}, "80+5"), episode({"answer": "85"}, "80+6")]
        first = scorer.worker.process.pid
        os.kill(first, signal.SIGKILL)
        scorer.worker.process.wait()
        rewards = scorer.score(asked)
        assert (rewards.values.tolist(), rewards.failed) == ([1.0, 0.0], {})
        assert scorer.worker.process.pid != first


def test_a_worker_that_fails_is_no_verdict(scorer: MathScorer) -> None:
    class Gone:
        def __call__(self, *given: Any) -> Any:
            raise SandboxError("the server does not answer")

    asked = [episode({"answer": "85"}, "80+5"), episode({"answer": "85"}, "80+5", ended=False)]
    rewards = MathScorer(Gone()).score(asked)  # type: ignore[arg-type]
    assert rewards.scored.tolist() == [False, True]
    assert rewards.failed == {0: "the server does not answer"}
    with pytest.raises(UserError, match="verifier failed on 1 of 2 answers"):
        solved(MathScorer(Gone()), asked)  # type: ignore[arg-type]

    class Broken(MathAnswer):
        def open(self, inputs: Inputs, machine: Machine) -> Any:
            from contextlib import nullcontext

            return nullcontext(MathScorer(Gone()))  # type: ignore[arg-type]

    parts = (Weighted(name="a", reward=Broken()), Weighted(name="b", reward=Format()))
    for source in (WeightedSum(parts=parts), FirstThatScores(parts=parts)):
        with source.open(Inputs({}), Machine()) as both:
            rewards = both.score(asked)
        assert rewards.scored.tolist() == [False, True], source  # nobody else pays in its place
        assert list(rewards.failed) == [0]


def test_a_cut_answer_earns_nothing_and_a_prompt_without_answer_is_not_scored(scorer: MathScorer) -> None:
    rewards = scorer.score(
        [episode({"answer": "85"}, "85", ended=False), episode({}, "85"), episode({"answer": 85}, "85")]
    )
    assert rewards.values.tolist() == [0.0, 0.0, 1.0]
    assert rewards.scored.tolist() == [True, False, True]


@pytest.mark.parametrize(
    ("text", "gold", "wanted"),
    [
        ("\\boxed{\\frac{1}{2}} and more", "", "\\frac{1}{2}"),
        ("\\boxed{1", "", "\\boxed{1"),
        ("\\boxed{3}, or rather \\boxed{4}", "", "4"),
        ("<answer>3</answer>, no: <answer>4</answer>", "", "4"),
        ("The answer is 3. No: the answer is 4.", "", "4"),
        ("<answer>\\boxed{7}</answer>", "", "7"),
        ("So the answer is 7. Good.", "", "7"),
        ("Answer: x = 7\nBye", "", "x = 7"),
        ("6, 7 and then, after a very long explanation of it all, at last 8 of them", "8", "8"),
        ("6, 7 and then, after a very long explanation of it all, at last 8 or so", "8", ""),
        ("7 + 8 = 15. So 15.", "15", "15"),
        ("= 15.", "15", "15"),
        ("\\boxed{1} and \\boxed{2}", "1", "1, 2"),
        ("\\boxed{1} papers and \\boxed{2} bins", "1", "1, 2"),
        ("\\boxed{1}. The rest and \\boxed{2}", "1", "2"),
        ("\\boxed{1} is wrong and \\boxed{2}", "1", "2"),
        ("\\boxed{7}, and so \\boxed{7}", "7", "7"),
        ("\\boxed{1}. The final answer is 2.", "1", "2"),
        ("It is 84, or 85", "85", "84, or 85"),
        ("We found 84 and 85 there", "85", "84, 85"),
        ("There are not 85", "85", ""),
        ("<think>84</think>So 85.", "85", "85"),
    ],
)
def test_the_final_answer_is_what_was_said_last(text: str, gold: str, wanted: str) -> None:
    assert final(text, gold) == wanted


@pytest.mark.parametrize(
    "piece", ["1", " ", "(", "$", "\\boxed{", "_a", "x = ", "\\[", "1,", "a and ", "{", "not "]
)
def test_looking_for_the_final_answer_takes_no_time(piece: str) -> None:
    began = time.process_time()
    for gold in ("1", "x"):
        final(piece * 20_000, gold)
        final("So " + piece * 20_000 + " is 5.", gold)
    assert time.process_time() - began < 2


def test_seconds_are_checked() -> None:
    with pytest.raises(UserError, match="seconds is 0"):
        MathAnswer(seconds=0)
