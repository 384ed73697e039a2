"""What a run reports of itself: of batches, not of updates, and of more than its last one."""

from __future__ import annotations

from typing import Any

import pytest

from posttrain.core.batch import Evaluation
from posttrain.metrics import flat
from posttrain.models.collate import rollouts
from posttrain.rollouts.collect import FLAT_GROUPS
from posttrain.storage.token_rows import TokenRow
from posttrain.training.rollout_metrics import of_rollouts
from posttrain.training.run_summary import of_run


def history(steps: int, updates: int = 2) -> list[dict[str, Any]]:
    """Reward rises by 1 a batch; later updates of a batch differ in what they report of themselves."""
    return [
        {
            "step": step + 1,
            "reward": float(step),
            "kl": 0.1 * step,
            "rows": 8,
            "ratio_max": 1.0 + update + step,
            "clip_fraction": float(update),
            **(
                {"sampler_delta_max": delta, "sampler_delta_mean": delta / 2} if update == 0 and delta else {}
            ),
        }
        for step in range(steps)
        for delta in [{0: 0.1, 16: 0.4, 32: 0.2}.get(step)]
        for update in range(updates)
    ]


def test_a_run_begins_with_its_first_batch_and_ends_with_the_mean_of_its_last_tenth() -> None:
    metrics = flat(of_run(history(40)))
    assert metrics["reward_start"] == 0.0
    assert metrics["reward_final"] == pytest.approx((36 + 37 + 38 + 39) / 4)
    assert metrics["kl_final"] == pytest.approx(3.75)
    assert of_run(history(3))["reward_final"].value == 2.0  # a tenth is at least one


def test_the_first_update_of_a_batch_stands_for_it() -> None:
    metrics = flat(of_run(history(20)))
    assert metrics["ratio_start"] == 1.0
    assert metrics["clip_fraction_start"] == metrics["clip_fraction_final"] == 0.0


def test_the_largest_difference_of_any_batch_from_the_sampler_is_reported() -> None:
    metrics = flat(of_run(history(40)))
    assert metrics["sampler_delta_max"] == 0.4
    assert metrics["sampler_delta_mean"] == 0.2


def test_batches_answers_and_updates_are_counted_apart() -> None:
    metrics = flat(of_run(history(40)))
    assert (metrics["steps"], metrics["answers"], metrics["updates"]) == (40, 320, 80)


def test_steps_and_groups_that_paid_every_answer_the_same_are_counted() -> None:
    rows = history(4)
    for row, spread in zip(rows, (0.0, 0.0, 0.5, 0.5, 0.0, 0.0, 1e-9, 1e-9), strict=True):
        row["reward_std"] = spread
    for row, share in zip(rows[::2], (1.0, 0.5, 1.0, 0.0), strict=True):
        row["answers/flat_groups"] = share
    metrics = flat(of_run(rows, means={"answers/flat_groups": FLAT_GROUPS}))
    assert metrics["flat_steps"] == 0.5
    assert metrics["flat_groups"] == 0.625
    assert "flat_steps" not in of_run(history(4))


@pytest.mark.parametrize(("rewards", "expected"), [((1, 2, 3), 1.0), ((5, 5, 5), 0.0), ((1, 3, 2), 0.5)])
def test_the_correlation_of_reward_and_length(rewards: tuple[float, ...], expected: float) -> None:
    rows = [
        TokenRow(
            ids=[0] * (length + 1), mask=[False] + [True] * length, logprobs=[0.0] * length, reward=reward
        )
        for length, reward in zip((2, 3, 4), rewards, strict=True)
    ]
    past = rollouts(rows, 0)
    metrics = of_rollouts(past, Evaluation(logprobs=past.logprobs), None)
    assert metrics["reward_length"] == pytest.approx(expected, abs=1e-6)


def test_batches_without_variance_say_nothing_of_length() -> None:
    rows = history(4, updates=1)
    for row, (spread, found) in zip(rows, ((0.5, 0.8), (0.5, 0.6), (0.0, 0.0), (0.0, 0.0)), strict=True):
        row["reward_std"], row["reward_length"] = spread, found
    assert of_run(rows)["reward_length"].value == pytest.approx(0.7)
