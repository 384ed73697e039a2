"""Tasks of reasoning-gym are prompts, and its scorers pay for answers without running them."""

from __future__ import annotations

import json
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from posttrain.data.gym_tasks import EVALUATES, UNSTABLE, check_tasks, harmless, tasks_of
from posttrain.pipeline.finding import UserError
from posttrain.pipeline.stage import Inputs, Machine
from posttrain.rewards.reasoning_gym import GymScorer, ReasoningGym, final
from posttrain.stages.reasoning_gym import ReasoningGymTasks
from tests.rewards.adversarial import episode

TASKS = ("basic_arithmetic", "leg_counting", "countdown", "spiral_matrix", "simple_integration")
NO_ORACLE = {"boxnet", "graph_color", "propositional_logic", "rubiks_cube", "rush_hour"}


@pytest.fixture(scope="module")
def scorer() -> Iterator[GymScorer]:
    pytest.importorskip("reasoning_gym")
    with ReasoningGym(seconds=5).open(Inputs({}), Machine()) as opened:
        yield opened


def test_gold_answers_score_one(scorer: GymScorer) -> None:
    rows = list(tasks_of(TASKS, 15, 3, "Answer."))
    for form in ("{}", "<think>1 or 2</think><answer>{}</answer>"):
        rewards = scorer.score([episode(row, form.format(row["answer"])) for row in rows])
        assert rewards.values.tolist() == [1.0] * 15
        assert rewards.parts["reasoning_gym/solved"].tolist() == [1.0] * 15
    cut = scorer.score([episode(rows[0], rows[0]["answer"], ended=False), episode({}, "1")])
    assert (cut.values.tolist(), cut.scored.tolist()) == ([0.0, 0.0], [True, False])


@pytest.mark.slow
def test_gold_answers_of_every_task_score_one() -> None:
    pytest.importorskip("reasoning_gym")
    from reasoning_gym.factory import DATASETS

    names = sorted(set(DATASETS) - UNSTABLE - NO_ORACLE - {"composite"})
    assert len(names) > 90
    rows = [row for seed in (3, 4) for row in tasks_of(names, 2 * len(names), seed, "")]
    with ReasoningGym().open(Inputs({}), Machine()) as scorer:
        values = scorer.score([episode(row, row["answer"]) for row in rows]).values.tolist()
    assert [row["id"] for row, value in zip(rows, values, strict=True) if value != 1] == []


def test_generating_the_task_again_is_no_part_of_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    from posttrain.data import gym_tasks

    class Dataset(list):  # type: ignore[type-arg]
        def score_answer(self, said: str, entry: dict[str, str]) -> float:
            return float(said == entry["answer"])

    made = [Dataset([{"question": "q", "answer": "Integral(x) + f(1)"}])]
    monkeypatch.setattr(gym_tasks, "_dataset", lambda *given: made[0])
    gym_tasks.generated.cache_clear()
    task = gym_tasks.again("simple_integration", 1, 0, "q", "")
    monkeypatch.setattr(gym_tasks, "_dataset", lambda *given: pytest.fail("generated again"))
    for said, worth in (("Integral(x) + f(1)", 1.0), ("Integral(x)", 0.0)):  # the gold one, though it calls f
        assert gym_tasks.score(task, "simple_integration", 1, 0, "q", said) == worth
    gym_tasks.generated.cache_clear()


@pytest.mark.slow
def test_wrong_answers_and_code_score_nothing(scorer: GymScorer, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    for row in tasks_of(TASKS, 5, 3, ""):
        texts = ["", "I do not know", "9**9**9**9" if row["gym"]["task"] != "countdown" else "factorial(10)"]
        texts.append(f"__import__('os').mkdir('{mark}')")
        values = scorer.score([episode(row, text) for text in texts]).values.tolist()
        assert max(values) < 0.5, row["gym"]["task"]
    assert not mark.exists()
    assert "countdown" in EVALUATES


def test_a_question_that_is_generated_no_more_is_not_scored(scorer: GymScorer) -> None:
    (row,) = tasks_of(("leg_counting",), 1, 3, "")
    other = {**row, "gym": {**row["gym"], "question": "How many?"}}
    rewards = scorer.score([episode(other, row["answer"])])
    assert rewards.scored.tolist() == [False]
    assert "another question" in rewards.failed[0]


def test_held_out_questions_are_not_trained_on(tmp_path: Path) -> None:
    pytest.importorskip("reasoning_gym")
    stage = ReasoningGymTasks(tasks=("leg_counting", "basic_arithmetic"), rows=20, heldout=10, seed=1)
    metrics = stage.run(Inputs({}), tmp_path, Machine()).values
    sides = [
        [json.loads(line) for line in (tmp_path / f"{side}.jsonl").open()] for side in ("train", "heldout")
    ]
    assert len(sides[0]) == metrics["rows"] == 20 - int(metrics["also_held_out"])
    assert not {r["gym"]["question"] for r in sides[0]} & {r["gym"]["question"] for r in sides[1]}
    assert {r["gym"]["task"] for r in sides[1]} == set(stage.tasks)
    assert sides[0][0]["prompt"][0]["content"].endswith(stage.instruction)


def test_unknown_tasks_and_a_missing_package_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    if "reasoning_gym" in sys.modules or pytest.importorskip("reasoning_gym"):
        with pytest.raises(UserError, match="did you mean leg_counting"):
            check_tasks(["leg_countin"])
        with pytest.raises(UserError, match="no task is named"):
            check_tasks([])
        with pytest.raises(UserError, match="a second time"):
            check_tasks(["ransom_note"])
    monkeypatch.setitem(sys.modules, "reasoning_gym.factory", None)
    with pytest.raises(UserError, match=r"posttrain\[reasoning-gym\]"):
        check_tasks(["leg_counting"])


def test_every_extra_that_is_named_can_be_installed() -> None:
    """Python 3.11 ships a pip that finds an extra only by the name that metadata has, with hyphens."""
    root = Path(__file__).resolve().parent.parent.parent
    extras = set(tomllib.loads((root / "pyproject.toml").read_text())["project"]["optional-dependencies"])
    assert {re.sub(r"[-_.]+", "-", name).lower() for name in extras} == extras
    files = [*(root / "posttrain").rglob("*.py"), *(root / "docs").rglob("*.md"), root / "README.md"]
    named = {name for file in files for name in re.findall(r"posttrain\[([\w-]+)\]", file.read_text("utf-8"))}
    assert "reasoning-gym" in named
    assert named <= extras


@pytest.mark.parametrize("text", ["[[1, 2], [3]]", "('a', 'b')", "ABCDA", "2*x**3 + C", "sin(x)/2", "1 2 3"])
def test_answers_that_only_compute_are_let_through(text: str) -> None:
    assert harmless(text)


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os')",
        "exit()",
        "print(1)",
        "(1).__class__()",
        "[c for c in ().__class__.__bases__]",
        "x.f(1)",
        "sin.f(x)",
        "exec(chr(95))",
        "(lambda x: x)(1)",
        "1 .real(2)",
    ],
)
def test_answers_that_would_call_something_are_not(text: str) -> None:
    assert not harmless(text)


def test_the_final_answer_is_in_the_last_tags() -> None:
    assert final("<answer>1</answer> no <answer> 2 </answer> ok") == "2"
    assert final(" 3 ") == "3"
