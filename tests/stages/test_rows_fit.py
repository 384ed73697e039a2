"""Rows longer than a model's table of positions stays the same are told before the first stage trains."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from posttrain.models import positions
from posttrain.pipeline.finding import UserError
from posttrain.pipeline.fingerprint import Finished
from posttrain.pipeline.plan import plan
from posttrain.pipeline.runner import run
from posttrain.pipeline.sources import SourceFile
from posttrain.pipeline.stage import Machine, Stage, rewrite
from posttrain.pipeline.store import Workspace
from posttrain.stages.base import ExistingModel
from posttrain.stages.demonstrations import FieldGuideDemonstrations
from posttrain.stages.sft import InstructionTuning
from tests.stages.test_instructgpt import make, recipe, save_llama

CONTEXT = 200
DYNAMIC = {"rope_type": "dynamic", "rope_theta": 100.0, "factor": 4.0}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory, letters: PreTrainedTokenizerFast) -> Path:
    """A model whose rotary factors follow rows of more than 200 tokens."""
    directory = save_llama(tmp_path_factory.mktemp("model"), letters)
    config = LlamaConfig.from_pretrained(directory)
    config.max_position_embeddings, config.rope_parameters = CONTEXT, DYNAMIC
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained(directory)
    return directory


def limited(expression: Stage, most: int) -> Stage:
    def change(_: Stage, now: Stage) -> Stage:
        return replace(now, max_length=most) if hasattr(now, "max_length") else now  # type: ignore[call-arg]

    return rewrite(expression, change)


def planned(expression: Stage, workspace: Path) -> None:
    plan(expression, Workspace(workspace), Machine())


def test_every_stage_with_longer_rows_is_named_before_anything_is_made(source: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError) as told:
        make(recipe(source), tmp_path / "work")
    for stage in ("sft", "rm"):
        assert f"{stage}.max_length is 256, the model reads rows of at most 200 tokens" in str(told.value)
        assert f"set {stage}.max_length=200" in str(told.value)
    assert "stage pairs" not in str(told.value)
    assert not (tmp_path / "work").exists()
    planned(limited(recipe(source), CONTEXT), tmp_path / "other")


def test_an_answer_needs_room_for_a_prompt(source: Path, tmp_path: Path) -> None:
    def longer(most: int) -> Stage:
        def change(_: Stage, now: Stage) -> Stage:
            wide: Any = now
            return replace(wide, max_completion_length=most) if now.address == "rl" else now

        return rewrite(limited(recipe(source), CONTEXT), change)

    planned(longer(CONTEXT - 1), tmp_path / "work")
    with pytest.raises(UserError, match=r"stage rl:[\s\S]*rl.max_completion_length is 200"):
        planned(longer(CONTEXT), tmp_path / "work")


def test_a_finished_model_is_looked_at_too(source: Path, tmp_path: Path) -> None:
    demonstrations = FieldGuideDemonstrations(rows=24, heldout=8, seed=3)
    tuned = InstructionTuning(base=Finished(str(source), "base"), demonstrations=demonstrations)
    with pytest.raises(UserError, match=r"sft.max_length is 256"):
        planned(tuned, tmp_path / "work")


@dataclass(frozen=True, kw_only=True)
class Fetched(ExistingModel):
    """A model that is nowhere before it is made, as one on the hub is."""

    def model(self) -> Path | None:
        return None


def test_a_model_that_is_fetched_first_is_looked_at_then(source: Path, tmp_path: Path) -> None:
    expression = recipe(source)
    base = Fetched(source=SourceFile(str(source)))
    fetched = rewrite(expression, lambda old, now: base if old.address == "base" else now)
    workspace = Workspace(tmp_path / "work")
    with pytest.raises(UserError, match=r"sft.max_length is 256"):
        run(fetched, workspace, Machine(quiet=True), say=lambda text: None)
    kinds = {path.name.partition("-")[0] for path in workspace.products.iterdir()}
    assert "base" in kinds
    assert not kinds & {"sft", "rm", "rl"}


def test_a_plain_model_is_not_loaded_for_it(
    tmp_path: Path, letters: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(positions, "row_limit_of", lambda path: pytest.fail("loaded"))
    planned(recipe(save_llama(tmp_path / "model", letters)), tmp_path / "work")


def test_every_stage_that_reads_rows_is_looked_at() -> None:
    """A stage with such a setting that did not look would train in silence."""
    import posttrain.stages as package
    from posttrain.checks import model_fits

    found = set()
    for file in Path(package.__file__).parent.glob("*.py"):
        module = __import__(f"posttrain.stages.{file.stem}", fromlist=["x"])
        for kind in vars(module).values():
            fields = getattr(kind, "__dataclass_fields__", {})
            if isinstance(kind, type) and {"max_length", "max_completion_length"} & set(fields):
                assert getattr(kind, "fits", None) is model_fits.check, kind
                found.add(kind)
    assert len(found) == 10
