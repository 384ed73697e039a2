from __future__ import annotations

import pytest

from posttrain.training.kl_control import AdaptiveKL, FixedKL


def test_the_controller_is_proportional_and_bounded() -> None:
    control = AdaptiveKL(target=6.0, horizon=100)
    assert control.next(0.1, 6.0, 10) == 0.1
    assert control.next(0.1, 6.6, 10) == pytest.approx(0.1 * 1.01)
    assert control.next(0.1, 600.0, 10) == pytest.approx(0.1 * 1.02)
    assert control.next(0.1, -3.0, 10) == pytest.approx(0.1 * 0.98)


def test_it_finds_the_price_of_its_target() -> None:
    control, coef = AdaptiveKL(target=3.0, horizon=500), 0.05
    for _ in range(200):
        coef = control.next(coef, 0.9 / coef, 64)  # a world where KL is inversely proportional to its price
    assert coef == pytest.approx(0.3, rel=1e-3)


def test_a_fixed_price_stays() -> None:
    assert FixedKL().next(0.1, 600.0, 10) == 0.1


def test_a_target_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="greater than 0"):
        AdaptiveKL(target=0)


def test_the_price_never_turns_negative_however_large_the_batch() -> None:
    assert AdaptiveKL(target=6.0, horizon=10).next(0.1, 0.0, 1000) == pytest.approx(0.08)
