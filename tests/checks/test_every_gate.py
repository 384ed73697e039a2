"""All gates of all recipes: each says what it saw and what to do, stands in the documentation, and is moved
by the settings that are its thresholds.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from posttrain.checks.thresholds import (
    OfAlignment,
    OfBase,
    OfEvaluation,
    OfReinforcement,
    OfRewardModel,
    OfTuning,
    Thresholds,
)
from posttrain.cli import find_recipe, recipes
from posttrain.metrics import typed
from posttrain.pipeline.finding import Finding, UserError
from posttrain.pipeline.gates import _Zeros
from posttrain.pipeline.stage import Report, Stage, addresses
from posttrain.recipes.dpo import dpo
from posttrain.recipes.instructgpt import instructgpt
from posttrain.settings import expression, parse

# Wishes that a recipe needs, or that put other gates into it.
WISHES: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "environment": (("id=CartPole-v1",),),
    "instructgpt": ((), ("rl.method=grpo",), ("rl.as_control=true",)),
}
PAGE = (Path(__file__).parents[2] / "docs" / "gates.md").read_text("utf-8")
DOCUMENTED = {
    name
    for cell in re.findall(r"^\| (`[^|]*`) \|", PAGE, re.MULTILINE)  # the first of a row
    for name in re.findall(r"`(\w+)`", cell)
}


def stages() -> Iterator[tuple[str, Stage]]:
    for name in recipes():
        for wishes in WISHES.get(name, ((),)):
            for address, stage in addresses(expression(find_recipe(name), parse(wishes))).items():
                yield f"{name} {address}", stage


def findings() -> dict[str, Finding]:
    return {
        f"{where} {found.name}": found
        for where, stage in stages()
        for metrics in (_Zeros(), _Zeros(typed({"steps": 100})))
        for found in stage.gates(Report(metrics=metrics))
    }


def test_every_gate_has_evidence_and_advice_and_is_documented() -> None:
    found = findings()
    assert len({one.name for one in found.values()}) >= 18
    assert [where for where, one in found.items() if not one.evidence.strip() or not one.advice.strip()] == []
    assert {one.name for one in found.values()} - DOCUMENTED == set()


FIGURES: dict[type[Thresholds], list[dict[str, Any]]] = {
    OfBase: [{"facts_heldout": 0.5, "continues": 0.5}],
    OfTuning: [{"ends_heldout": 0.5, "ends_heldout_n": 99, "nll_heldout": 1.5, "nll_train_final": 1.0}],
    OfRewardModel: [
        {
            "label_accuracy": 0.6,
            "label_accuracy_low": 0.55,
            "label_accuracy_high": 0.65,
            "label_accuracy_n": 99,
            "confidence_heldout": 0.7,
            "score_length": 0.8,
            "score_length_low": 0.75,
            "score_length_high": 0.85,
            "score_length_n": 99,
            "label_accuracy_uneven": 0.62,
            "longer_chosen": 0.6,
        }
    ],
    OfAlignment: [{"label_accuracy": 0.6, "label_accuracy_low": 0.55, "label_accuracy_n": 99}],
    OfReinforcement: [
        {
            "ratio_start": 1.0,
            "kl_final": kl,
            "length_start": 10.0,
            "length_final": length,
            "steps": 50,
            "flat_steps": 0.5,
            "truncated_final": 0.5,
            "reward_length": 0.5,
            "entropy_before_start": 1.0,
            "entropy_before_final": 0.5,
            "clip_fraction_final": 0.3,
            "sampler_delta_max": 0.5,
            "sampler_delta_mean": 0.5,
        }
        for length, kl in ((20.0, 5.0), (1000.0, 50.0))
    ],
    OfEvaluation: [
        {"accuracy_on_policy": 0.6, "accuracy_on_policy_low": 0.5, "accuracy_on_policy_high": 0.7}
    ],
}
SETTINGS = [(kind, item.name) for kind in FIGURES for item in fields(kind)]


def of_kind(kind: type[Thresholds]) -> list[Any]:
    """Stages of a recipe that have such thresholds, in both types that they compute in."""
    found: list[Any] = [*addresses(instructgpt()).values(), *addresses(dpo()).values()]
    having = [stage for stage in found if isinstance(getattr(stage, "thresholds", None), kind)]
    assert having
    return [*having, *(replace(one, compute="bfloat16") for one in having if hasattr(one, "compute"))]


@pytest.mark.parametrize(("kind", "name"), SETTINGS, ids=lambda value: getattr(value, "__name__", value))
def test_every_threshold_moves_a_gate(kind: type[Thresholds], name: str) -> None:
    """Between one that lets everything pass and one that lets nothing."""
    for stage in of_kind(kind):
        for metrics in FIGURES[kind]:
            passed = set()
            for value in (0.0, 1.0, 1e6):
                try:
                    strict = replace(stage, thresholds=replace(stage.thresholds, **{name: value}))
                except UserError:  # above a share's 1
                    continue
                found = strict.gates(Report(metrics=_Zeros(typed(metrics))))
                passed.add(tuple((one.name, one.passed) for one in found))
            if len(passed) > 1:
                return
    pytest.fail(f"{kind.__name__}.{name} moves no gate")
