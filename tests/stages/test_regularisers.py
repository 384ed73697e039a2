"""What holds a policy besides KL: pretraining text, the likelihood of chosen answers, the weights it had."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import PreTrainedTokenizerFast

from posttrain.field_guide.corpus import page
from posttrain.models.loading import load_causal_lm
from posttrain.pipeline.finding import UserError
from posttrain.pipeline.runner import Run, run
from posttrain.pipeline.sources import SourceFile
from posttrain.pipeline.stage import Machine, Stage
from posttrain.pipeline.store import Workspace
from posttrain.recipes.instructgpt import instructgpt
from posttrain.stages.alignment import Alignment
from posttrain.stages.base import ExistingModel
from posttrain.stages.contest import Contest
from posttrain.stages.labels import ComparisonRows
from posttrain.stages.rl import Reinforcement
from posttrain.stages.text import PretrainingPages, TextRows
from posttrain.training.optimizer import Group, Optimizer
from tests.stages.test_instructgpt import make, recipe, save_llama


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory, letters: PreTrainedTokenizerFast) -> Path:
    return save_llama(tmp_path_factory.mktemp("model"), letters)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("workspace")


def weights_moved(run: Run, address: str, start: str) -> float:
    """How far a policy's weights are from those it began with."""
    now, then = (load_causal_lm(run.products[name].path)[0].state_dict() for name in (address, start))
    return sum(float((now[name] - then[name]).square().sum()) for name in now) ** 0.5


def reinforcement(source: Path, **changed: Any) -> Reinforcement:
    final = recipe(source).final
    assert isinstance(final, Reinforcement)
    return replace(final, **changed)


@pytest.mark.slow
def test_pretraining_text_is_part_of_every_update(source: Path, workspace: Path) -> None:
    text = PretrainingPages(rows=12, heldout=4)
    stage = reinforcement(
        source, pretraining=text, pretraining_coef=50.0, pretraining_rows=6, steps=6, learning_rate=3e-3
    )
    product = make(stage, workspace).products["rl"]
    lines = [json.loads(line) for line in (product.path / "metrics.jsonl").open()]
    read = [line["pretraining_nll"] for line in lines]
    assert len(read) == 6 * stage.method.epochs * stage.method.minibatches
    assert sum(read[-4:]) < sum(read[:4])  # each of the 12 texts came several times
    assert float(product.values["pretraining_nll_final"]) < float(product.values["pretraining_nll_start"])


def test_without_text_nothing_changes(source: Path, workspace: Path) -> None:
    plain = make(reinforcement(source), workspace).products["rl"]
    again = make(reinforcement(source, decay_to_start=0.0, pretraining_coef=1.0), workspace)
    assert again.made == []
    assert again.products["rl"].content == plain.content


def test_the_average_of_the_weights_is_kept(source: Path, workspace: Path) -> None:
    short = {"steps": 2, "learning_rate": 3e-3}
    last = make(reinforcement(source, **short), workspace)
    still = make(reinforcement(source, average=0.999, **short), workspace)
    assert 0 < weights_moved(still, "rl", "sft") < weights_moved(last, "rl", "sft")
    with pytest.raises(UserError, match="average is 1"):
        reinforcement(source, average=1.0)


def test_pages_are_none_that_pretraining_read_and_held_out_ones_are_fixed(tmp_path: Path) -> None:
    stages = [PretrainingPages(rows=5, heldout=5, seed=seed) for seed in (0, 1)]
    rows: dict[tuple[int, str], list[str]] = {}
    for seed, stage in enumerate(stages):
        (tmp_path / str(seed)).mkdir()
        stage.run(None, tmp_path / str(seed), Machine())  # type: ignore[arg-type]
        for side in ("train", "heldout"):
            lines = (tmp_path / str(seed) / f"{side}.jsonl").open()
            rows[seed, side] = [json.loads(line)["completion"] for line in lines]
    assert rows[0, "heldout"] == rows[1, "heldout"] != rows[0, "train"]
    assert rows[0, "train"] != rows[1, "train"]
    assert rows[0, "heldout"][0] == page(10_000_000, late=True)


def test_a_user_s_text_is_read_and_the_recipe_asks_for_it(tmp_path: Path) -> None:
    file = tmp_path / "text.jsonl"
    file.write_text("".join(json.dumps({"text": f"line {n}"}) + "\n" for n in range(40)))
    (tmp_path / "out").mkdir()
    stage = TextRows(source=SourceFile(str(file), "datasets"), heldout_share=0.3)
    metrics = stage.run(None, tmp_path / "out", Machine()).values  # type: ignore[arg-type]
    assert int(metrics["rows"]) + int(metrics["heldout_rows"]) == 40
    first = json.loads((tmp_path / "out" / "train.jsonl").open().readline())
    assert first["prompt"] == ""
    assert first["completion"].startswith("line")
    with pytest.raises(UserError, match="give text=FILE"):
        instructgpt(model="smollm2", ptx=1.0)


def test_the_recipe_measures_what_each_forgot(source: Path, workspace: Path) -> None:
    told = instructgpt(ptx=2.0, evidence="full")
    assert isinstance(told, Contest)
    mixed, plain = told.policies[1], told.controls[1]
    assert isinstance(mixed, Reinforcement)
    assert isinstance(plain, Reinforcement)
    assert mixed.pretraining is told.text
    assert plain.pretraining is None
    assert replace(mixed, name="", pretraining=None, pretraining_coef=1.0) == replace(plain, name="")
    small = recipe(source)
    text = PretrainingPages(rows=8, heldout=6)
    contest = Contest(
        controls=(replace(small.final, name="plain_control"),),
        policies=(small.sft, replace(small.final, pretraining=text)),  # type: ignore[call-arg]
        prompts=small.prompts,
        text=text,
        rows=8,
        samples=2,
        max_completion_length=8,
    )
    metrics = make(contest, workspace).products["evaluate"].values
    losses = {name: float(metrics[f"text_nll/{name}"]) for name in ("sft", "rl", "plain_control")}
    assert len(set(losses.values())) == 3
    assert not any(name.startswith("reward") for name in metrics)


@pytest.fixture(scope="module")
def comparisons(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    rows = [
        {"prompt": f"{n}?", "chosen": "a" * (1 + n % 3), "rejected": "b" * (1 + n % 2)} for n in range(24)
    ]
    file = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return ComparisonRows(source=SourceFile(str(file), "datasets"), heldout_share=0.2)


def aligned(source: Path, comparisons: Stage, workspace: Path, **settings: Any) -> Run:
    base = ExistingModel(source=SourceFile(str(source)))
    stage = Alignment(
        policy=base, comparisons=comparisons, batch_size=8, epochs=4, learning_rate=2e-3, **settings
    )
    machine = Machine(quiet=True, micro_batch_tokens=256)
    return run(stage, Workspace(workspace), machine, accept=None, say=lambda text: None)


def test_the_likelihood_of_chosen_answers_is_kept_by_its_term(
    source: Path, comparisons: Stage, workspace: Path
) -> None:
    said = {}
    for coef in (0.0, 1.0):
        result = aligned(source, comparisons, workspace, sft_coef=coef)
        lines = [json.loads(x) for x in (result.products["alignment"].path / "metrics.jsonl").open()]
        said[coef] = lines
    assert "sft_nll" not in said[0.0][0]
    assert said[1.0][-1]["sft_nll"] < said[1.0][0]["sft_nll"]
    assert said[1.0][-1]["reward_chosen"] > said[0.0][-1]["reward_chosen"]


def test_weights_stay_nearer_to_where_they_began(source: Path, comparisons: Stage, workspace: Path) -> None:
    free = aligned(source, comparisons, workspace)
    held = aligned(source, comparisons, workspace, decay_to_start=400.0)
    assert weights_moved(held, "alignment", "base") < 0.5 * weights_moved(free, "alignment", "base")


def test_decay_to_start_is_weight_decay_around_the_start() -> None:
    """Without a gradient the distance to the start shrinks by 1 - learning rate * decay in every update."""
    weight = nn.Parameter(torch.tensor([3.0, -1.0]))
    optimizer = Optimizer(
        [Group(name="policy", parameters=[weight], learning_rate=0.1, decay_to_start=2.0)], eps=1e-8
    )
    with torch.no_grad():
        weight.add_(torch.tensor([1.0, 2.0]))
    for _ in range(3):
        weight.grad = torch.zeros_like(weight)
        optimizer.step()
    expected = torch.tensor([3.0, -1.0]) + torch.tensor([1.0, 2.0]) * (1 - 0.1 * 2.0) ** 3
    assert torch.allclose(weight, expected)
