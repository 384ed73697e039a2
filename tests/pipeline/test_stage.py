"""Stages nest anywhere, are named once each, and find their inputs by path and by themselves."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from posttrain.pipeline.files import lock
from posttrain.pipeline.finding import UserError
from posttrain.pipeline.stage import Inputs, Product, Stage, addresses, making_order
from posttrain.pipeline.stage_report import Report
from posttrain.pipeline.store import Workspace


@dataclass(frozen=True, kw_only=True)
class Leaf(Stage):
    address = "leaf"
    number: int = 1


@dataclass(frozen=True, kw_only=True)
class Wrapped:
    model: Stage


@dataclass(frozen=True, kw_only=True)
class Join(Stage):
    address = "join"
    first: Stage
    others: tuple[Stage, ...] = ()
    reward: Wrapped | None = None


@dataclass(frozen=True, kw_only=True)
class Tuned(Stage):
    address = "tuned"
    positive = ("rate",)
    rate: float = 1.0
    warmup: int = 0
    limit: float | None = None


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"rate": 0.0}, "rate is 0.0, expected a number above 0"),
        ({"rate": -1.0}, "rate is -1.0, expected a number above 0"),
        ({"rate": float("nan")}, "rate is nan"),
        ({"limit": float("inf")}, "limit is inf, expected 0 or more"),
        ({"warmup": -1}, "warmup is -1, expected 0 or more"),
    ],
)
def test_numbers_out_of_range_are_refused_before_anything_is_made(wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError, match=told):
        Tuned(**wrong)
    assert Tuned(warmup=0, limit=0.0).rate == 1.0


def test_leaves_come_first_and_a_shared_stage_once() -> None:
    shared, late = Leaf(), Leaf(number=2)
    inner = Join(first=shared)
    outer = Join(first=inner, others=(late, shared))
    assert making_order(outer) == [shared, late, inner, outer]


def test_stages_of_one_name_are_numbered_in_the_order_of_making() -> None:
    first = Join(first=Leaf(name="data"))
    named = addresses(Join(first=first, reward=Wrapped(model=Leaf())))
    assert list(named) == ["data", "leaf", "join[1]", "join[2]"]
    assert named["join[1]"] is first


def test_inputs_are_found_by_field_by_dotted_path_and_by_stage(tmp_path: Path) -> None:
    leaves = [Leaf(number=n) for n in range(3)]
    stage = Join(first=leaves[0], others=(leaves[1],), reward=Wrapped(model=leaves[2]))
    inputs = Inputs.gather(stage, lambda leaf: Product(tmp_path / str(leaf.number)))  # type: ignore[attr-defined]
    assert inputs["first"].path.name == "0"
    assert [product.path.name for product in inputs["others"]] == ["1"]
    assert inputs["reward.model"] is inputs.of(leaves[2])
    assert "missing" not in inputs


def test_a_product_is_whole_or_absent(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    final = workspace.place("sft", "f" * 64)

    def fail_halfway() -> None:
        with workspace.making(final) as output:
            (output / "half").write_text("x")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_halfway()
    assert not list(workspace.products.iterdir())
    with workspace.making(final) as output:
        (output / "inner").mkdir()
        (output / "inner" / "file").write_text("x")
        made = workspace.finish(output, final, {"report": Report(metrics={"loss": 1.5}).to_json()})
    assert [p.name for p in workspace.products.iterdir()] == ["sft-ffffffffffff"]
    assert Product.load(made.path) == made
    assert Product.load(made.path).values == {"loss": 1.5}
    assert workspace.damage(made) == []


@pytest.mark.parametrize("harm", ["change", "remove"])
def test_damage_names_the_file(tmp_path: Path, harm: str) -> None:
    workspace = Workspace(tmp_path)
    with workspace.making(workspace.place("sft", "a" * 64)) as output:
        (output / "weights").write_text("good")
        made = workspace.finish(output, workspace.place("sft", "a" * 64), {})
    target = made.path / "weights"
    target.unlink() if harm == "remove" else target.write_text("harmed")
    (told,) = workspace.damage(made)
    assert str(target) in told


def test_a_second_process_is_told_who_holds_the_lock(tmp_path: Path) -> None:
    def hold() -> None:
        with lock(tmp_path / "held", "sft"):
            pass

    with lock(tmp_path / "held", "sft"), pytest.raises(UserError, match=r"sft is being made by process \d+"):
        hold()
    hold()
