"""Sizes are read from files, estimates follow one another through a recipe, and history corrects them."""

import json
import struct
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel

from posttrain.cost.sizes import Rows, Size, tokens_of
from posttrain.pipeline.machine import Estimate, Work
from posttrain.pipeline.plan import plan
from posttrain.pipeline.plan_table import plan_table
from posttrain.pipeline.runner import run
from posttrain.pipeline.stage import Inputs, Machine, Product, Report, Stage
from posttrain.pipeline.store import Workspace, sealed
from posttrain.recipes.instructgpt import instructgpt
from posttrain.settings import expression, parse
from posttrain.stages.base import EMBEDDED


def test_a_models_size_is_what_transformers_counts() -> None:
    size = Size.of_directory(EMBEDDED)
    model = AutoModelForCausalLM.from_pretrained(EMBEDDED)
    assert size is not None
    assert size.parameters == sum({id(p): p.numel() for p in model.parameters()}.values())
    assert (size.layers, size.width, size.cached, size.vocabulary) == (4, 128, 256, 1024)


def test_a_gpt2_names_its_sizes_otherwise(tmp_path: Path) -> None:
    GPT2LMHeadModel(GPT2Config(n_layer=3, n_head=2, n_embd=8, vocab_size=16)).save_pretrained(tmp_path)
    size = Size.of_directory(tmp_path)
    assert size is not None
    assert (size.layers, size.width, size.cached, size.vocabulary) == (3, 8, 16, 16)


def test_a_directory_that_is_no_model_has_no_size(tmp_path: Path) -> None:
    assert Size.of_directory(tmp_path) is None
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(struct.pack("<Q", 9) + b"not json!")
    assert Size.of(Product(tmp_path)) is None


def test_rows_that_share_an_id_are_one(tmp_path: Path) -> None:
    said = [{"role": "user", "content": "x" * 30}]
    rows = [{"id": f"{n // 3}", "prompt": said, "annotator": "unread"} for n in range(30)]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = Rows.of(Product(tmp_path))
    assert found == Rows(rows=10, heldout_rows=0, row_tokens=14.0)
    assert tokens_of(rows) == 30 / 3 + 4


def test_answers_that_are_compared_with_several_others_are_counted_once(tmp_path: Path) -> None:
    asked = [{"role": "user", "content": "why"}]
    said = [[{"role": "assistant", "content": word}] for word in ("a", "b", "c")]
    compared = [(0, 1), (0, 2), (1, 2)]
    rows = [
        {"id": f"{a}-{b}", "prompt": asked, "chosen": said[a], "rejected": said[b], "annotator": voter}
        for a, b in compared
        for voter in ("one", "two")
    ]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = Rows.of(Product(tmp_path))
    assert found is not None
    assert (found.rows, found.fresh) == (3, 0.5)


def test_every_stage_of_a_fresh_recipe_is_estimated(tmp_path: Path) -> None:
    rows = plan(instructgpt(), Workspace(tmp_path / "work"), Machine(), lambda: 1e11)
    assert [row.address for row in rows if not (row.estimate.seconds and row.estimate.bytes)] == []
    assert all(row.estimate.tokens for row in rows if row.address in ("sft", "pairs", "rm", "rl", "evaluate"))
    assert "?" not in plan_table(rows)
    assert not (tmp_path / "work").exists()


def test_an_estimate_follows_the_settings(tmp_path: Path) -> None:
    def of(address: str, *wishes: str) -> Estimate:
        made = expression(instructgpt, parse(wishes))
        rows = plan(made, Workspace(tmp_path / "work"), Machine(), lambda: 1e11)
        return next(row.estimate for row in rows if row.address == address)

    assert of("sft", "sft.epochs=4").operations == pytest.approx(
        2 * of("sft", "sft.epochs=2").operations, rel=0.1
    )
    assert of("rl", "rl.steps=40").seconds == pytest.approx(2 * of("rl", "rl.steps=20").seconds)
    assert of("sft", "demonstrations.rows=100").tokens < of("sft").tokens / 5
    large = of("pairs", "model=smollm2")
    assert large.bytes > 4 * 135e6 * 2 > of("pairs").bytes


@dataclass(frozen=True, kw_only=True)
class Ones(Stage):
    address = "work"
    steps: int = 1

    def run(self, inputs: Inputs, output: Path, machine: Machine) -> Report:
        (output / "work").write_text(str(torch.ones(self.steps).sum()))
        return Report()

    def work(self, inputs: Inputs) -> Work:
        return self

    def estimate(self, machine: Machine) -> Estimate:
        return Estimate(operations=1e9 * self.steps, bytes=1000 * self.steps)


def test_what_such_a_stage_took_corrects_the_next_estimate(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "work")
    first = plan(Ones(), workspace, Machine(), lambda: 1e9)[0]
    assert (first.estimate.seconds, first.measured) == (1.0, False)
    product = run(Ones(), workspace, Machine(), say=lambda text: None).products["work"]
    record = {**product.made, "seconds": 7.0, "peak_bytes": 5000}
    (product.path / "made.json").write_text(json.dumps(sealed(record)))
    rows = plan(Ones(steps=3), workspace, Machine(), lambda: 1e9)
    assert rows[0].estimate.seconds == pytest.approx(21.0)
    assert rows[0].estimate.bytes == 15_000
    assert "about 21 s *" in plan_table(rows)
    far = plan(Ones(steps=100), workspace, Machine(), lambda: 1e9)[0]
    assert (far.estimate.seconds, far.measured) == (100.0, False)
