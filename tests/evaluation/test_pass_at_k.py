"""How often one of k answers is right: the mean over all choices of k among those that were drawn."""

from __future__ import annotations

from itertools import combinations

import pytest

from posttrain.evaluation.pass_at_k import pass_at_k


@pytest.mark.parametrize("right", [0, 1, 3, 5, 6])
@pytest.mark.parametrize("k", [1, 2, 4, 6])
def test_it_is_the_mean_over_all_choices_of_k(right: int, k: int) -> None:
    answers = [place < right for place in range(6)]
    chosen = [any(some) for some in combinations(answers, k)]
    assert pass_at_k([answers], k).value == pytest.approx(sum(chosen) / len(chosen))


def test_prompts_count_alike_whatever_was_drawn_for_each() -> None:
    found = pass_at_k([[True, False], [False] * 8, [True, True, False]], 2)
    assert found.value == pytest.approx((1 + 0 + 1) / 3)
    assert found.n == 3
    assert found.low <= found.value <= found.high


def test_fewer_answers_than_k_are_refused() -> None:
    with pytest.raises(ValueError, match=r"pass@3 of 2 answers"):
        pass_at_k([[True] * 4, [True] * 2], 3)
