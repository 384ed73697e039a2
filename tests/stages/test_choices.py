"""Which answers are kept, which are compared, which rows are mixed: rules that take nothing but numbers."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

import pytest

from posttrain.pipeline.finding import UserError
from posttrain.pipeline.stage import Inputs, Machine, Product, Stage
from posttrain.rollouts import pair_rules, rejection_rules
from posttrain.stages.mixture import Mixture, Source

SCORED = [[0.1, 0.9, 0.9], [0.8, None, 0.2], [None, None, None], [0.3, 0.3, 0.4]]


def test_best_per_prompt_keeps_one_of_each_and_the_best_of_those() -> None:
    assert rejection_rules.best_per_prompt(SCORED, 0, 0) == [(0, 1), (1, 0), (3, 2)]
    assert rejection_rules.best_per_prompt(SCORED, 2, 0) == [(0, 1), (1, 0)]


def test_best_overall_may_keep_two_of_one_prompt_and_none_of_another() -> None:
    assert rejection_rules.best_overall(SCORED, 3, 0) == [(0, 1), (0, 2), (1, 0)]
    assert len(rejection_rules.best_overall(SCORED, 0, 0)) == len(SCORED)


def test_controls_draw_as_many_and_look_at_no_reward() -> None:
    for control, rule in (
        (rejection_rules.random_per_prompt, rejection_rules.best_per_prompt),
        (rejection_rules.random_overall, rejection_rules.best_overall),
    ):
        for keep in (0, 2):
            assert len(control(SCORED, keep, 1)) == len(rule(SCORED, keep, 1))
        turned = [[None if r is None else -r for r in answers] for answers in SCORED]
        assert control(SCORED, 2, 7) == control(turned, 2, 7)
        assert len({tuple(control(SCORED, 2, seed)) for seed in range(20)}) > 1


def test_verified_answers_are_spread_over_prompts() -> None:
    scored = [[1.0] * 6, [0.0, 1.0, 0.0], [0.0], [1.0, None, 1.0]]
    kept = rejection_rules.at_full_reward(scored, 3, 0)
    assert sorted(prompt for prompt, _ in kept) == [0, 1, 3]
    assert len(rejection_rules.at_full_reward(scored, 0, 0)) == 9
    assert all(scored[p][a] == 1.0 for p, a in rejection_rules.at_full_reward(scored, 0, 0))


def test_what_is_paid_in_part_is_not_verified() -> None:
    scored = [[0.99, 0.5, 1.0], [0.999], [None, 1.25]]
    assert sorted(rejection_rules.at_full_reward(scored, 0, 0)) == [(0, 2), (2, 1)]


@pytest.mark.parametrize("rule", [pair_rules.best_and_worst, pair_rules.best_and_any, pair_rules.any_two])
def test_what_is_chosen_was_worth_more(rule: Any) -> None:
    for seed in range(10):
        rewards = [0.2, None, 0.7, 0.5]
        chosen, rejected = rule(rewards, Random(seed))
        assert rewards[chosen] > rewards[rejected]  # type: ignore[operator]
    assert rule([0.4, 0.4, None], Random(0)) is None
    assert rule([None], Random(0)) is None


def test_the_best_is_compared_with_the_worst_or_with_any() -> None:
    rewards = [0.2, 0.9, 0.5, 0.7]
    assert pair_rules.best_and_worst(rewards, Random(0)) == (1, 0)
    found = {pair_rules.best_and_any(rewards, Random(seed)) for seed in range(40)}
    assert found == {(1, 0), (1, 2), (1, 3)}


def mixture(tmp_path: Path, sizes: dict[str, tuple[int, int]], **settings: Any) -> tuple[Mixture, Inputs]:
    stages, products = {}, {}
    for name, (train, held) in sizes.items():
        folder = tmp_path / name
        folder.mkdir(parents=True)
        for side, count in (("train", train), ("heldout", held)):
            lines = [json.dumps({"id": str(n), "from": name}) for n in range(count)]
            (folder / f"{side}.jsonl").write_text("".join(line + "\n" for line in lines))
        stages[name] = Stage(name=name)
        products[id(stages[name])] = Product(folder)
    weights = settings.pop("weights")
    sources = tuple(Source(name=n, rows=s, weight=weights[n]) for n, s in stages.items())
    made = Mixture(sources=sources, **settings)
    return made, Inputs.gather(made, lambda stage: products[id(stage)])


def test_sources_are_mixed_by_weight_and_no_row_twice(tmp_path: Path) -> None:
    stage, inputs = mixture(tmp_path, {"a": (100, 7), "b": (40, 9)}, weights={"a": 3.0, "b": 1.0}, rows=80)
    (tmp_path / "out").mkdir()
    metrics = stage.run(inputs, tmp_path / "out", Machine()).values
    assert (metrics["rows/a"], metrics["rows/b"], metrics["rows"]) == (60, 20, 80)
    rows = [json.loads(line) for line in (tmp_path / "out" / "train.jsonl").open()]
    assert len({row["id"] for row in rows}) == 80
    assert all(row["source"] == row["from"] for row in rows)
    assert {row["source"] for row in rows[:20]} == {"a", "b"}  # shuffled


def test_without_a_number_as_many_as_the_weights_allow(tmp_path: Path) -> None:
    stage, _ = mixture(tmp_path, {"a": (1, 1), "b": (1, 1)}, weights={"a": 3.0, "b": 1.0})
    assert stage.counts([100, 40], 0) == [99, 33] or stage.counts([100, 40], 0) == [100, 33]
    assert stage.counts([9, 100], 0) == [9, 3]
    assert sum(stage.counts([1000, 1000], 7)) == 7


def test_too_few_rows_are_said_with_the_source(tmp_path: Path) -> None:
    stage, inputs = mixture(tmp_path, {"a": (10, 2), "b": (50, 2)}, weights={"a": 1.0, "b": 1.0}, rows=40)
    (tmp_path / "out").mkdir()
    with pytest.raises(UserError, match="a has 10 rows and its weight asks for 20 of 40"):
        stage.run(inputs, tmp_path / "out", Machine())
    with pytest.raises(UserError, match="a name of its own"):
        Mixture(sources=(stage.sources[0], stage.sources[0]))
