"""A recipe's own settings are overrides as a user writes them, and are refused where a user's would be."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import pytest

from posttrain.pipeline.finding import UserError
from posttrain.pipeline.stage import addresses
from posttrain.recipes import deepseek_r1, deepseek_r1_zero, own_data, presets, rounds, tulu3
from posttrain.recipes.dpo import dpo
from posttrain.recipes.instructgpt import instructgpt
from posttrain.recipes.instructgpt_stages import embedded_stages
from posttrain.recipes.presets import in_place_of
from posttrain.settings import with_overrides, with_settings
from posttrain.stages.rl import Reinforcement
from posttrain.stages.rm import RewardModeling
from posttrain.stages.sft import InstructionTuning


@pytest.mark.parametrize(
    ("misspelt", "complaint"),
    [
        ("sfd.epochs=2", "nothing is called sfd; did you mean sft"),
        ("rm.epoch=2", "rm has no setting epoch; did you mean epochs"),
        ("rl.method.kl.coeff=0.1", "rl.method.kl has no setting coeff; did you mean coef"),
        ("rl.warmup=many", "rl.warmup=many: expected a whole number"),
    ],
)
def test_a_misspelt_preset_is_an_error(
    misspelt: str, complaint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def preset(seed: int) -> presets.Preset:
        return replace(presets.field_guide(seed), overrides=misspelt)

    monkeypatch.setitem(presets.PRESETS, "field_guide", preset)
    for recipe in (instructgpt, dpo, tulu3.tulu3):
        with pytest.raises(UserError, match=complaint):
            recipe()


@pytest.mark.parametrize("module", [rounds, tulu3, deepseek_r1])
@pytest.mark.parametrize("model", ["field_guide", "smollm2"])
def test_a_misspelt_override_of_a_recipe_is_an_error(
    module: Any, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = getattr(module, module.__name__.rpartition(".")[2])
    recipe(model=model)
    monkeypatch.setitem(module.OVERRIDES, model, f"{module.OVERRIDES[model]} rl.stepz=3")
    with pytest.raises(UserError, match="rl has no setting stepz; did you mean steps"):
        recipe(model=model)


@pytest.mark.parametrize("name", [item.name for item in fields(own_data.Sizes)])
def test_each_setting_for_a_size_of_model_is_checked(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every recipe on own data, with what makes the most stages: each text is applied by one of them."""
    rows = {"demonstrations": "a.jsonl", "comparisons": "b.jsonl"}

    def made() -> None:
        from posttrain.recipes.best_of_n import best_of_n

        instructgpt(base="somewhere", **rows)
        dpo(base="somewhere", **rows)
        best_of_n(base="somewhere", **rows)
        tulu3.tulu3(base="somewhere", problems="p.jsonl", **rows)
        deepseek_r1_zero.deepseek_r1_zero(base="somewhere", problems="p.jsonl", evidence="full")

    made()
    wrong = replace(own_data.SMALL_MODEL, **{name: "no_such_setting=1"})
    monkeypatch.setattr(own_data, "SMALL_MODEL", wrong)
    with pytest.raises(UserError, match="has no setting no_such_setting"):
        made()


@dataclass(frozen=True)
class Pair:
    """A record of two stages, one of which is also in the other."""

    sft: InstructionTuning
    rm: RewardModeling


def pair() -> Pair:
    stages = embedded_stages(0, "field_guide")
    return Pair(sft=stages.sft, rm=stages.rm)


def test_overrides_of_a_record_reach_every_stage_once() -> None:
    changed = with_overrides(pair(), "sft.epochs=3  # read more often", "rm.reading.mean=true")
    assert (changed.sft.epochs, changed.rm.reading.mean) == (3, True)
    assert addresses(changed)["sft"] is changed.sft
    assert changed.rm.base is changed.sft


def test_settings_are_of_one_stage_alone() -> None:
    rl = embedded_stages(0, "field_guide").rl
    changed = with_settings(rl, "steps=3 method.kl.coef=0.5", "steps=4")
    assert isinstance(changed, Reinforcement)
    assert (changed.steps, changed.policy) == (4, rl.policy)
    assert changed.policy is rl.policy
    with pytest.raises(UserError, match="rl has no setting stps; did you mean steps"):
        with_settings(rl, "stps=3")
    with pytest.raises(UserError, match=r"rl\.steps is set twice"):
        with_settings(rl, "steps=3 steps=4")
    again = replace(rl, policy=rl)  # another stage of the same name below it stays as it is
    last = with_settings(again, "steps=3")
    assert (last.steps, last.policy) == (3, rl)


def test_a_stage_in_place_of_another_is_in_every_stage_above_it() -> None:
    stages = embedded_stages(0, "field_guide")
    rm = replace(stages.rm, epochs=9)
    changed = in_place_of(stages, stages.rm, rm)
    assert changed.rm is changed.rl.critic is changed.evaluate.reward_model is rm
    assert changed.evaluate.final is changed.rl
    assert changed.sft is stages.sft


def test_nothing_in_the_recipes_is_cast_or_a_dict_of_dicts() -> None:
    folder = Path(presets.__file__).parent
    for path in folder.glob("*.py"):
        text = path.read_text("utf-8")
        for word in (" cast", "import Any", "dict[str, dict", "type: ignore"):
            assert word not in text, f"{path.name}: {word}"
