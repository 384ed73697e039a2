"""name=value reaches the declared field as its declared type, or is refused with the nearest match."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import pytest

from posttrain import settings
from posttrain.pipeline import values
from posttrain.pipeline.finding import UserError
from posttrain.pipeline.fingerprint import Finished
from posttrain.pipeline.sources import SourceFile
from posttrain.pipeline.stage import Stage, making_order
from posttrain.policy_gradients.ppo import PPO

ROWS = SourceFile("rows.jsonl", "datasets")


@dataclass(frozen=True)
class Fast:
    rate: float = 1.0

    def __post_init__(self) -> None:
        if self.rate <= 0:
            raise ValueError(f"rate is {self.rate}, expected above 0")


@dataclass(frozen=True)
class Slow:
    delay: int
    rate: float = 0.5


@dataclass(frozen=True, kw_only=True)
class Data(Stage):
    address = "data"
    source: SourceFile = ROWS
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class Train(Stage):
    address = "train"
    data: Stage
    method: Fast | Slow = Fast()
    loss: Any = field(default_factory=PPO)
    learning_rate: float = 1e-3
    steps: int = 10
    whole: bool = True
    kind: Literal["a", "b"] = "a"
    limit: float | None = None
    sizes: tuple[int, ...] = (1, 2)
    parts: tuple[Fast, ...] = (Fast(), Fast())
    critic: Stage | None = None


def recipe(seed: int = 0, base: str | None = None) -> Stage:
    data = Data(seed=seed, source=SourceFile(base or "rows.jsonl", "datasets"))
    first = Train(data=data)
    return Train(data=first, critic=data)


def made(*wishes: str) -> Any:
    return settings.expression(recipe, settings.parse(wishes))


@pytest.mark.parametrize(
    ("wish", "value"),
    [
        ("train[2].learning_rate=1e-5", 1e-5),
        ("train[2].learning_rate=1", 1.0),
        ("train[2].steps=1e3", 1000),
        ("train[2].whole=no", False),
        ("train[2].kind=b", "b"),
        ("train[2].limit=2", 2.0),
        ("train[2].limit=none", None),
        ("train[2].sizes=[3, 4, 5]", (3, 4, 5)),
        ("train[2].sizes=7", (7,)),
        ("train[2].critic=none", None),
        ("train[2].method.rate=2", Fast(2.0)),
        ("train[2].parts[2].rate=3", (Fast(), Fast(3.0))),
        ("train[2].loss.clip_range=0.1", PPO(clip_range=0.1)),
    ],
)
def test_a_value_has_its_declared_type(wish: str, value: object) -> None:
    found = getattr(made(wish), wish.split("=")[0].split(".")[1].partition("[")[0])
    assert found == value
    assert type(found) is type(value)


def test_a_recipes_parameters_are_coerced() -> None:
    data = made("seed=3", "base=mine.jsonl").critic
    assert (data.seed, data.source) == (3, SourceFile("mine.jsonl", "datasets"))


def test_a_source_keeps_its_kind() -> None:
    assert made("data.source=other/rows").critic.source == SourceFile("other/rows", "datasets")


def test_a_bare_name_means_all_and_a_number_one() -> None:
    both = made("train.steps=5", "train[1].steps=6")
    assert (both.data.steps, both.steps) == (6, 5)


def test_what_was_shared_stays_shared() -> None:
    rewritten = made("data.seed=4")
    assert rewritten.critic is rewritten.data.data
    assert rewritten.critic.seed == 4
    assert len(making_order(rewritten)) == 3


def test_whole_values_come_before_their_fields_whatever_the_order() -> None:
    assert made("train.method.rate=0.25", "train.method=Slow", "train.method.delay=3").method == Slow(3, 0.25)
    with pytest.raises(UserError, match=r"Slow also needs train\.method\.delay"):
        made("train.method=slow")


def test_a_name_finds_a_file_of_the_folder() -> None:
    assert made("train.loss=ppo", "train.loss.gamma=0.9").loss == PPO(gamma=0.9)
    with pytest.raises(UserError, match=r"train\.loss=pp0: no such choice; did you mean ppo"):
        made("train.loss=pp0")


def test_a_name_given_twice_is_refused_and_not_the_last_one_taken() -> None:
    for wishes in (["seed=1", "seed=2"], ["train.steps=3", "train.limit=1", " train.steps =3"]):
        told = rf"{wishes[-1].strip()}: .* is set twice, first by {wishes[0]}; keep one"
        with pytest.raises(UserError, match=told):
            settings.parse(wishes)
    assert [made("train.steps=5", "train[1].steps=6").steps] == [5]


class Scores(Protocol):
    unit: str

    def score(self, answer: str) -> float: ...


class Explained(Scores, Protocol):
    @property
    def why(self) -> str: ...


@dataclass(frozen=True)
class Whole:
    unit: str
    why: str = ""

    def score(self, answer: str) -> float:
        return 0.0


@dataclass(frozen=True)
class Unexplained:
    unit: str

    def score(self, answer: str) -> float:
        return 0.0


@dataclass(frozen=True)
class Uncalled:
    unit: str
    why: str
    score: float = 0.0


@pytest.mark.parametrize(
    ("kinds", "fitting"),
    [
        ((Scores,), {Whole, Unexplained}),
        ((Explained,), {Whole}),
        ((Explained, type(None)), {Whole}),
        ((Explained, Uncalled), {Whole, Uncalled}),
        ((Uncalled,), {Whole, Unexplained, Uncalled}),
    ],
)
def test_a_class_is_offered_where_it_has_what_one_of_the_kinds_declares(
    kinds: tuple[Any, ...], fitting: set[type], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fields without a default, what a protocol inherits, and members of a union are looked at too."""
    known = {"whole_": Whole, "unexplained_": Unexplained, "uncalled_": Uncalled}
    monkeypatch.setattr(values, "_classes", lambda module: known)
    assert set(values._offered("posttrain.policy_gradients", "ppo", kinds)) == fitting


def test_a_finished_product_takes_a_stages_place(tmp_path: Path) -> None:
    replaced = made(f"train[1]={tmp_path}")
    assert isinstance(replaced.data, Finished)
    assert (replaced.data.path, replaced.data.name) == (str(tmp_path), "train")
    with pytest.raises(UserError, match="finished product here, it has no settings"):
        made(f"train[1]={tmp_path}", "train[1].steps=4")
    with pytest.raises(UserError, match="must be the directory of a finished product"):
        made("train=./absent")
    with pytest.raises(UserError, match=r"train=: train is a stage, and no directory is named"):
        made("train=")


@pytest.mark.parametrize(
    ("wish", "told"),
    [
        ("trian.steps=1", "nothing is called trian; did you mean train"),
        ("sead=1", "nothing is called sead; did you mean seed"),
        ("whole=no", "whole=no: whole is a setting of a stage; write train.whole=no"),
        ("rate=2", "rate is a setting of a stage; write train.method.rate=2"),
        ("train.step=1", "train has no setting step; did you mean steps"),
        ("train.name=x", "train has no setting name"),
        ("train.method.rat=1", "train.method has no setting rat; did you mean rate"),
        ("train.steps=1.5", "train.steps=1.5: expected a whole number"),
        ("train.steps=many", "expected a whole number"),
        ("train.steps=inf", "expected a whole number"),
        ("train.steps=-1", "train.steps=-1: steps is -1, expected 0 or more"),
        ("train.learning_rate=inf", "train.learning_rate=inf: learning_rate is inf"),
        ("train.learning_rate=nan", "not a number"),
        ("train.whole=maybe", "expected true or false"),
        ("train.kind=c", "expected a, b"),
        ("train.limit=x", "expected a number or none"),
        ("train.method.rate=-1", "train.method.rate=-1: rate is -1.0, expected above 0"),
        ("train.steps.more=1", "train.steps is 10, it has no fields"),
        ("train.parts[3].rate=1", "train.parts has no 3; it has 1, 2"),
        ("train[2].data.steps=1", r"train[2].data is the stage train[1]; write train[1].steps="),
        ("train[2].data=DIR", r"train[2].data is the stage train[1]; write train[1]="),
        ("seed", "expected name=value"),
        ("train..steps=1", "expected a name such as"),
        ("seed=x", "seed=x: expected a whole number"),
    ],
)
def test_what_does_not_fit_is_refused_in_words(wish: str, told: str) -> None:
    with pytest.raises(UserError) as caught:
        made(wish)
    assert told in str(caught.value)


def test_a_misspelt_parameter_is_named_before_what_the_recipe_misses() -> None:
    def needs(base: str = "") -> Stage:
        if not base:
            raise UserError("there is no base")
        return recipe(base=base)

    with pytest.raises(UserError, match="bases=x: nothing is called bases; did you mean base"):
        settings.expression(needs, settings.parse(["bases=x"]))
    with pytest.raises(UserError, match=r"^there is no base$"):
        settings.expression(needs, settings.parse(["train.steps=5"]))


def test_a_file_says_the_same_as_the_command_line(tmp_path: Path) -> None:
    path = tmp_path / "overrides.yaml"
    path.write_text(
        "seed: 3\ntrain:\n  whole: no\n  learning_rate: 1e-5\n  limit: ~\n  sizes: [4, 5]\n"
        "train[1].method:\n  rate: 2\n"
    )
    from_file = settings.expression(recipe, settings.from_yaml(path))
    assert from_file == made(
        "seed=3",
        "train.whole=false",
        "train.learning_rate=1e-5",
        "train.limit=none",
        "train.sizes=4,5",
        "train[1].method.rate=2",
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("seed: 1\nseed: 2\n", "overrides.yaml:2:1: seed is set twice"),
        ("train:\n  steps: 1\n  steps: 2\n", "overrides.yaml:3:3: steps is set twice"),
        (
            "train.steps: 1\ntrain:\n  steps: 2\n",
            "overrides.yaml:3:10: train.steps is set twice, first in line 1; keep one",
        ),
        (
            "train:\n  method.rate: 1\n  method:\n    rate: 2\n",
            "overrides.yaml:4:11: train.method.rate is set twice, first in line 2; keep one",
        ),
        ("train:\n\tsteps: 1\n", "overrides.yaml:2:1"),
        ("seed: 1\n? [a]\n: 2\n", "overrides.yaml:2:3: expected a name"),
        ("train:\n  sizes: [[1], 2]\n", "overrides.yaml:2:10: train.sizes is a list of more"),
        ("- 1\n", "overrides.yaml:1:1: expected lines such as"),
        ("train:\n  step: 1\n", "overrides.yaml:2:9: train.step=1: train has no setting step"),
    ],
)
def test_a_faulty_file_is_told_by_line_and_column(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "overrides.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        settings.expression(recipe, settings.from_yaml(path))
    assert told in str(caught.value)


def test_a_recipe_that_fails_or_returns_no_stage_is_told() -> None:
    def broken() -> Stage:
        raise KeyError("x")

    def empty() -> Stage:
        return 3  # type: ignore[return-value]

    with pytest.raises(UserError, match=r"broken\(\) raised KeyError"):
        settings.expression(broken, [])
    with pytest.raises(UserError, match=r"empty\(\) returned int, expected its last stage"):
        settings.expression(empty, [])


def test_an_empty_file_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "overrides.yaml"
    path.write_text("# nothing\n")
    assert settings.from_yaml(path) == []


def test_a_class_that_stands_there_already_keeps_what_the_recipe_set() -> None:
    """As help shows it: ``rl.method=PPO`` of a recipe whose PPO has settings of its own."""
    from posttrain.recipes.thermostat import thermostat

    plain = settings.expression(thermostat, [])
    for name in ("rl.method=PPO", "rl.method=ppo"):
        assert settings.expression(thermostat, settings.parse([name])) == plain
    changed = settings.expression(thermostat, settings.parse(["rl.method=ppo", "rl.method.epochs=7"]))
    assert changed != plain


def test_what_is_below_a_setting_that_is_no_stage_is_told() -> None:
    with pytest.raises(UserError, match="seed is a setting of the recipe and no stage"):
        made("seed.epochs=2")
