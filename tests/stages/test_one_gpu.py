"""What a small memory asks for: activations recomputed, a trunk in fewer bits; what a stage says of it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from transformers import PreTrainedTokenizerFast

from posttrain.cli import main
from posttrain.cost.sizes import Size
from posttrain.models import lora as adapters
from posttrain.models.lora import Lora
from posttrain.pipeline.runner import run
from posttrain.pipeline.sources import SourceFile
from posttrain.pipeline.stage import Inputs, Machine, Product, Stage, addresses
from posttrain.pipeline.store import Workspace
from posttrain.stages.base import ExistingModel
from posttrain.stages.demonstrations import FieldGuideDemonstrations
from posttrain.stages.sft import InstructionTuning
from tests.stages.test_instructgpt import save_llama


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory, letters: PreTrainedTokenizerFast) -> Path:
    return save_llama(tmp_path_factory.mktemp("model"), letters)


def tuned(source: Path, place: Path, lora: Lora | None, **machine: Any) -> Product:
    stage = InstructionTuning(
        base=ExistingModel(source=SourceFile(str(source))),
        demonstrations=FieldGuideDemonstrations(rows=16, heldout=4, seed=3),
        batch_size=8,
        lora=lora,
        learning_rate=1e-2,
        as_control=True,
    )
    here = Machine(quiet=True, micro_batch_tokens=512, **machine)
    return run(stage, Workspace(place), here, say=lambda text: None).products["sft"]


@pytest.mark.parametrize("lora", [None, Lora(rank=2)], ids=["whole", "lora"])
def test_recomputed_activations_change_no_bit_of_a_product(
    source: Path, tmp_path: Path, lora: Lora | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = tuned(source, tmp_path / "kept", lora)
    again, plain = [], adapters._recompute

    def counted(*inputs: Any) -> Any:
        again.append(1)
        return plain(*inputs)

    monkeypatch.setattr(adapters, "_recompute", counted)
    recomputed = tuned(source, tmp_path / "recomputed", lora, recompute=True)
    assert again
    both = [load_file(product.path / "model.safetensors") for product in (kept, recomputed)]
    assert all((both[0][name] == both[1][name]).all() for name in both[0])
    assert kept.values == recomputed.values
    assert any(
        (both[0][name] != value).any() for name, value in load_file(source / "model.safetensors").items()
    )


def test_a_report_says_what_the_trunk_lost(source: Path, tmp_path: Path) -> None:
    whole = tuned(source, tmp_path / "whole", Lora(rank=2))
    short = tuned(source, tmp_path / "short", Lora(rank=2, trunk="bfloat16"))
    assert "trunk_rounding" not in whole.values
    made = json.loads((short.path / "made.json").read_text())
    assert made["settings"]["lora"]["trunk"] == "bfloat16"
    assert 1e-3 < made["report"]["metrics"]["trunk_rounding"]["value"] < 4e-3
    assert short.values["nll_heldout"] == pytest.approx(whole.values["nll_heldout"], abs=0.02)
    assert whole.path.name != short.path.name


def test_one_option_reaches_every_stage_with_adapters(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[Stage, Machine]] = []

    def plan(expression: Stage, _: Any, machine: Machine, *rest: Any) -> Any:
        seen.append((expression, machine))
        raise SystemExit(0)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("posttrain.cli.run.plan", plan)
    with pytest.raises(SystemExit):
        main(["run", "instructgpt", "lora=4", "--trunk", "int8", "--recompute", "--dry-run"])
    expression, machine = seen[0]
    found = {a: s.lora.trunk for a, s in addresses(expression).items() if getattr(s, "lora", None)}
    assert {"sft", "rm", "rl"} <= set(found)
    assert set(found.values()) == {"int8"}
    assert machine.recompute
    assert main(["run", "instructgpt", "lora=0", "--trunk", "int8", "--dry-run"]) == 2
    assert "no stage here trains adapters; give lora=16 as well" in capsys.readouterr().err


def test_both_are_part_of_the_estimate() -> None:
    size = Size(parameters=1_000_000_000, layers=16, width=2048, cached=1024, vocabulary=32_000)
    stage, kept = Lora(), Machine()
    known = Product(Path("nowhere"), {"report": {"metrics": size.figures()}})
    rows = {"rows": 100, "heldout_rows": 0, "row_tokens": 300.0, "fresh": 1.0}
    data = Product(Path("nowhere"), {"report": {"metrics": rows}})
    base, rows_of = (ExistingModel(source=SourceFile(name)) for name in ("x", "y"))
    sft = InstructionTuning(base=base, demonstrations=rows_of, lora=stage)

    def needed(stage: InstructionTuning, machine: Machine) -> int:
        work = stage.work(Inputs({"base": known, "demonstrations": data}))
        assert work is not None
        return work.estimate(machine).bytes

    less = needed(sft, replace(kept, recompute=True))
    assert needed(sft, kept) - less == 4 * 256 * 32 * 2048 * (17 * 16 - 17 - 16)
    short = replace(sft, lora=Lora(trunk="bfloat16"))
    assert needed(sft, kept) - needed(short, kept) == 2 * (size.parameters - 32_000 * 2048)
    wider = replace(sft, lora=Lora(rank=32))
    assert needed(wider, kept) - needed(sft, kept) == pytest.approx(16 * size.adapters(16), abs=2)
