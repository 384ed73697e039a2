"""A class or function that gets another name or another file keeps the products that were made with it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from posttrain.pipeline.fingerprint import Fingerprints, recorded_as, recorded_name
from posttrain.pipeline.runner import run
from posttrain.pipeline.stage import Inputs, Machine, Report, Stage
from posttrain.pipeline.store import Workspace
from posttrain.rollouts import pair_rules, rejection_rules
from posttrain.rollouts.online_reward import Comparisons


def double(number: int) -> int:
    return 2 * number


def twice(number: int) -> int:
    return 2 * number


@dataclass(frozen=True)
class Amount:
    number: int = 1


@dataclass(frozen=True)
class Quantity:
    recorded_as = f"{__name__}:Amount"
    number: int = 1


@dataclass(frozen=True, kw_only=True)
class Count(Stage):
    address = "count"
    amount: Amount | Quantity = Amount()

    def run(self, inputs: Inputs, output: Path, machine: Machine) -> Report:
        (output / "count").write_text(str(self.amount.number))
        return Report(metrics={"number": self.amount.number})


@dataclass(frozen=True, kw_only=True)
class Counting(Count):
    recorded_as = f"{__name__}:Count"


@dataclass(frozen=True, kw_only=True)
class CountingMore(Counting):
    """Another stage: it has no alias of its own."""


def made(stage: Stage, tmp_path: Path) -> list[str]:
    workspace = Workspace(tmp_path / "work")
    return run(stage, workspace, Machine(), recipe="toy", say=lambda line: None).made


def test_a_product_made_under_the_old_name_is_current(tmp_path: Path) -> None:
    assert made(Count(amount=Amount(3)), tmp_path) == ["count"]
    assert made(Counting(amount=Quantity(3)), tmp_path) == []
    assert made(Counting(amount=Quantity(4)), tmp_path) == ["count"]


def test_a_subclass_of_a_renamed_class_is_another(tmp_path: Path) -> None:
    assert made(Counting(), tmp_path) == ["count"]
    assert made(CountingMore(), tmp_path) == ["count"]


def test_a_function_is_known_by_the_name_it_had(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(twice, "recorded_as", f"{__name__}:double", raising=False)
    assert recorded_name(twice) == recorded_name(double) == [__name__, "double"]
    assert recorded_name(Amount) == [__name__, "Amount"]


def test_the_decorator_keeps_the_name_that_a_function_had() -> None:
    @recorded_as(f"{__name__}:double")
    def two_times(number: int) -> int:
        return 2 * number

    assert two_times(4) == 8
    assert recorded_name(two_times) == recorded_name(double)


@pytest.mark.parametrize(
    ("value", "first"),
    [
        (rejection_rules.best_per_prompt, "posttrain.rollouts.choosing:best_per_prompt"),
        (rejection_rules.best_overall, "posttrain.rollouts.choosing:best_overall"),
        (rejection_rules.at_full_reward, "posttrain.rollouts.choosing:at_full_reward"),
        (rejection_rules.random_per_prompt, "posttrain.rollouts.choosing:random_per_prompt"),
        (rejection_rules.random_overall, "posttrain.rollouts.choosing:random_overall"),
        (pair_rules.best_and_worst, "posttrain.rollouts.pairing:best_and_worst"),
        (pair_rules.best_and_any, "posttrain.rollouts.pairing:best_and_any"),
        (pair_rules.any_two, "posttrain.rollouts.pairing:any_two"),
        (Comparisons, "posttrain.rollouts.compared:Comparisons"),
    ],
)
def test_what_moved_keeps_the_name_that_products_were_made_under(value: Any, first: str) -> None:
    assert ":".join(recorded_name(value)) == first


def test_the_alias_is_no_setting() -> None:
    assert replace(Quantity(), number=2) == Quantity(2)
    assert "recorded_as" not in Quantity.__dataclass_fields__


def test_a_class_that_moved_within_the_package_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the package's own classes the module counts, so a move alone would make everything again."""
    fingerprint = Fingerprints(Workspace(tmp_path)).of(Count())
    monkeypatch.setattr(Counting, "__module__", "posttrain.stages.elsewhere")
    monkeypatch.setattr(Counting, "recorded_as", "posttrain.stages.counting:Count")
    monkeypatch.setattr(Count, "__module__", "posttrain.stages.counting")
    own = Fingerprints(Workspace(tmp_path))
    assert own.of(Counting()) == own.of(Count()) != fingerprint
