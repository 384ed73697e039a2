"""Sabotage: one stage of a recipe is spoilt, and a gate names that stage and no other."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from posttrain.pipeline.finding import Finding, UserError
from posttrain.pipeline.runner import run
from posttrain.pipeline.stage import Inputs, Machine, Report, Stage, addresses, rewrite
from posttrain.pipeline.store import Workspace
from posttrain.recipes.instructgpt import instructgpt
from posttrain.rewards.base import Episode, Rewards, all_scored
from posttrain.settings import expression, parse
from posttrain.stages import sft
from posttrain.stages.evaluate import HeldoutEvaluation
from posttrain.stages.labels import Annotation
from posttrain.stages.rl import Reinforcement
from posttrain.stages.sft import InstructionTuning
from posttrain.storage.jsonl import read_jsonl, write_jsonl
from posttrain.training.kl_control import FixedKL

SMALL = (
    *("demonstrations.rows=2000", "demonstrations.heldout=100", "pairs.rows=400", "pairs.heldout=60"),
    *("rl.steps=12", "rl.prompts_per_step=96"),
)


class NeverStops(InstructionTuning):
    """The end of an answer is not learned, as where padding is the end token and both are masked."""

    def run(self, inputs: Inputs, output: Path, machine: Machine) -> Report:
        plain = sft.examples

        def cut(chat: Any, rows: Any, most: int, kept: Any, *chunks: Any) -> int:
            return plain(chat, rows, most, _Cut(kept), *chunks)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sft, "examples", cut)
            return super().run(inputs, output, machine)


@dataclass
class _Cut:
    kept: Any

    def append(self, row: Any) -> None:
        last = max(place for place, own in enumerate(row.mask) if own)
        self.kept.append(replace(row, mask=[own and place != last for place, own in enumerate(row.mask)]))


class Turned(Annotation):
    """Comparisons that are turned where ``turns`` says so of a row."""

    def turns(self, row: dict[str, Any]) -> bool:
        raise NotImplementedError

    def run(self, inputs: Inputs, output: Path, machine: Machine) -> Report:
        report = super().run(inputs, output, machine)
        for side in ("train", "heldout"):
            rows = [row for row in read_jsonl(output / f"{side}.jsonl") if not row["tie"]]
            write_jsonl(output / f"{side}.jsonl", [self._turned(row) for row in rows])
        return report

    def _turned(self, row: dict[str, Any]) -> dict[str, Any]:
        if not self.turns(row):
            return row
        other = {"chosen": row["rejected"], "rejected": row["chosen"]}
        ended = {"chosen_ended": row["rejected_ended"], "rejected_ended": row["chosen_ended"]}
        return {**row, **other, **ended, "choice": {"a": "b", "b": "a"}[row["choice"]]}


class Shuffled(Turned):
    def turns(self, row: dict[str, Any]) -> bool:
        return sum(json.dumps([row["id"], row["annotator"]]).encode()) % 2 == 0


class Longer(Turned):
    """People who prefer the longer answer, whatever it says."""

    def turns(self, row: dict[str, Any]) -> bool:
        longer = [sum(len(said["content"]) for said in row[name]) for name in ("chosen", "rejected")]
        return longer[0] < longer[1]


@dataclass(frozen=True, kw_only=True)
class Pays:
    """A cent for each token, or the same for all."""

    by_length: bool

    @contextmanager
    def open(self, inputs: Inputs, machine: Machine) -> Iterator[Pays]:
        yield self

    def score(self, episodes: Sequence[Episode]) -> Rewards:
        said = [len(e.logprobs) / 100 if self.by_length else 0.5 for e in episodes]
        return all_scored(torch.tensor(said), "pays")


def in_place(kind: type[Stage], new: type[Stage]) -> Callable[[Stage], Stage]:
    """The recipe with stages of a kind made by another class."""

    def change(_: Stage, now: Stage) -> Stage:
        if type(now) is not kind:
            return now
        return new(**{item.name: getattr(now, item.name) for item in fields(now) if item.init})

    return lambda recipe: rewrite(recipe, change)


def without_kl(recipe: Stage) -> Stage:
    """Nothing holds the policy; so few steps go far enough only if they are long."""
    assert isinstance(recipe, Reinforcement)
    kl = replace(recipe.method.kl, coef=0.0)  # type: ignore[attr-defined]
    method: Any = replace(recipe.method, kl=kl)  # type: ignore[type-var]
    return replace(recipe, method=method, control=FixedKL(), learning_rate=4 * recipe.learning_rate)


def paid(by_length: bool) -> Callable[[Stage], Stage]:
    return lambda recipe: replace(recipe, reward=Pays(by_length=by_length))  # type: ignore[call-arg]


SABOTAGE: dict[str, tuple[Callable[[Stage], Stage], str, str]] = {
    "sft that never stops": (in_place(InstructionTuning, NeverStops), "sft", "sft_ends"),
    "labels by a coin": (in_place(Annotation, Shuffled), "rm", "rm_above_chance"),
    "labels that pay for length": (in_place(Annotation, Longer), "rm", "rm_more_than_length"),
    "a reward for length": (paid(by_length=True), "rl", "rl_more_than_length"),
    "a reward without variance": (paid(by_length=False), "rl", "rl_reward_varies"),
    "no KL": (without_kl, "rl", "rl_kl_budget"),
}


def healthy() -> Stage:
    recipe = expression(instructgpt, parse(SMALL))
    assert isinstance(recipe, HeldoutEvaluation)
    return recipe.final


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for all, so that what stands before a spoilt stage is made once."""
    return tmp_path_factory.mktemp("workspace")


def make(recipe: Stage, workspace: Path) -> list[str]:
    """The stages that a gate stopped, then the gates that did not pass; nothing where none stopped."""
    try:
        run(recipe, Workspace(workspace), Machine(quiet=True), accept=(), say=lambda text: None)
    except UserError as error:
        told = str(error)
        wishes = told.splitlines()[-1]
        return [
            *re.findall(r"^stage (\S+) is made, but did not do its work", told, re.MULTILINE),
            *re.findall(r"--accept-gate (\S+)", wishes),
        ]
    return []


@pytest.mark.slow
def test_a_healthy_recipe_is_stopped_by_nothing(workspace: Path) -> None:
    assert make(healthy(), workspace) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", SABOTAGE)
def test_a_gate_names_the_stage_that_was_spoilt_and_no_other(name: str, workspace: Path) -> None:
    spoil, stage, gate = SABOTAGE[name]
    stopped, *gates = make(spoil(healthy()), workspace)
    assert stopped == stage
    assert gate in gates
    assert all(one.startswith(f"{stage}_") for one in gates)


FIGURES: dict[str, dict[str, Any]] = {  # of a healthy run on the embedded model, shrunken
    "sft": {
        "nll_heldout": 0.744,
        "nll_heldout_before": 3.095,
        "nll_train_final": 0.559,
        "ends_heldout": 0.788,
        "ends_heldout_n": 200,
    },
    "rm": {
        "label_accuracy": 0.669,
        "label_accuracy_low": 0.632,
        "label_accuracy_high": 0.704,
        "label_accuracy_n": 658,
        "confidence_heldout": 0.582,
        "score_length": 0.522,
        "score_length_low": 0.462,
        "score_length_high": 0.577,
        "score_length_n": 617,
        "label_accuracy_uneven": 0.668,
        "longer_chosen": 0.616,
        "label_control/longer": 0.609,
    },
    "rl": {
        "reward_start": 0.02,
        "reward_final": 0.497,
        "kl_start": 0.0,
        "kl_final": 2.21,
        "length_start": 15.5,
        "length_final": 13.3,
        "truncated_final": 0.0,
        "entropy_before_start": 0.677,
        "entropy_before_final": 0.369,
        "clip_fraction_final": 0.0,
        "ratio_start": 1.0,
        "sampler_delta_max": 0.0,
        "flat_steps": 0.0,
        "reward_length": 0.51,
        "steps": 12,
    },
}
SPOILT: dict[str, tuple[str, dict[str, Any]]] = {
    "sft_ends": ("sft", {"ends_heldout": 1e-4}),
    "rm_above_chance": ("rm", {"label_accuracy": 0.51, "label_accuracy_low": 0.47}),
    "rm_more_than_length": (
        "rm",
        {"score_length": 0.85, "score_length_low": 0.82, "score_length_high": 0.87},
    ),
    "rl_more_than_length": ("rl", {"reward_length": 1.0}),
    "rl_reward_varies": ("rl", {"flat_steps": 1.0, "reward_start": 0.5, "reward_final": 0.5}),
    "rl_kl_budget": ("rl", {"kl_final": 14.0}),
}


def stopping(stages: dict[str, Stage], metrics: dict[str, dict[str, Any]]) -> dict[str, list[Finding]]:
    found = {name: stages[name].gates(Report(metrics=metrics[name])) for name in metrics}
    wrong = {name: [one for one in of if not one.passed and one.stops] for name, of in found.items()}
    return {name: of for name, of in wrong.items() if of}


@pytest.mark.parametrize("gate", SPOILT)
def test_metrics_of_a_spoilt_stage_stop_it_and_no_other(gate: str) -> None:
    stages = {name: stage for name, stage in addresses(healthy()).items() if name in FIGURES}
    assert stages.keys() == FIGURES.keys()
    assert stopping(stages, FIGURES) == {}
    stage, metrics = SPOILT[gate]
    failed = stopping(stages, {**FIGURES, stage: {**FIGURES[stage], **metrics}})
    assert failed.keys() == {stage}
    assert gate in {one.name for one in failed[stage]}
    assert all(one.evidence and one.advice for one in failed[stage])
