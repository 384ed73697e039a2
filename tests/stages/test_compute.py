"""A recipe in bfloat16: what is rounded, what is not, and what is said of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedTokenizerFast

from posttrain.cli import main
from posttrain.core.importance import Masked, Truncated
from posttrain.models.loading import load_causal_lm, load_reward_model
from posttrain.models.lora import Lora
from posttrain.pipeline.fingerprint import Fingerprints
from posttrain.pipeline.lineage import lineage
from posttrain.pipeline.runner import Run
from posttrain.pipeline.stage import Stage, addresses, rewrite
from posttrain.pipeline.store import Workspace
from posttrain.policy_gradients.grpo import GRPO
from posttrain.policy_gradients.ppo import PPO
from posttrain.policy_gradients.rloo import RLOO
from posttrain.stages.rl import Reinforcement
from tests.stages.test_instructgpt import make, recipe, save_llama


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory, letters: PreTrainedTokenizerFast) -> Path:
    return save_llama(tmp_path_factory.mktemp("model"), letters)


def shortened(expression: Stage) -> Stage:
    def change(_: Stage, now: Stage) -> Stage:
        return replace(now, compute="bfloat16") if hasattr(now, "compute") else now  # type: ignore[call-arg]

    return rewrite(expression, change)


@pytest.fixture(scope="module", params=[None, pytest.param(Lora(rank=2), marks=pytest.mark.slow)])
def whole(request: Any, tmp_path_factory: pytest.TempPathFactory, source: Path) -> Run:
    return make(shortened(recipe(source, request.param)), tmp_path_factory.mktemp("workspace"))


def test_what_is_saved_is_in_full_precision(whole: Run) -> None:
    for address in ("sft", "rl"):
        model, _ = load_causal_lm(whole.products[address].path, dtype="float32")
        rounded = [torch.equal(p, p.bfloat16().float()) for p in model.parameters() if p.ndim == 2]
        assert not all(rounded), address
    assert load_reward_model(whole.products["rm"].path)[0].score.weight.dtype == torch.float32


def test_the_gate_knows_that_both_sides_round(whole: Run) -> None:
    metrics = whole.products["rl"].values
    assert metrics["ratio_start"] == 1.0
    assert metrics["kl_start"] == 0.0
    assert float(metrics["sampler_delta_max"]) > 1e-5  # it did round
    assert float(metrics["sampler_delta_mean"]) < 0.1


def test_what_a_stage_changed_by_itself_is_recorded(whole: Run) -> None:
    """The settings are those that were set; ``effective`` has the values that the stage worked with."""
    rl = whole.products["rl"]
    assert rl.settings["method"]["correction"] is None
    assert rl.made["effective"]["method"]["correction"] == {"class": "Truncated", "cap": Truncated().cap}
    updates = rl.settings["steps"] * rl.settings["method"]["epochs"] * rl.settings["method"]["minibatches"]
    assert rl.made["effective"].get("warmup", rl.settings["warmup"]) == min(
        rl.settings["warmup"], updates // 4
    )
    assert whole.products["sft"].made["effective"] == {}
    shown = lineage(rl).splitlines()
    assert "  method.correction = Truncated  (in effect)" in shown
    assert len([line for line in shown if "(in effect)" in line and "gae_lambda" in line]) == 0


@pytest.mark.slow
def test_the_same_twice(whole: Run, source: Path, tmp_path: Path) -> None:
    lora = whole.products["sft"].settings["lora"]
    again = make(shortened(recipe(source, Lora(rank=2) if lora else None)), tmp_path)
    assert again.products["rl"].values == whole.products["rl"].values


def test_it_is_part_of_a_fingerprint_where_it_is_not_the_default(source: Path, tmp_path: Path) -> None:
    def named(expression: Stage) -> dict[str, str]:
        prints = Fingerprints(Workspace(tmp_path))
        return {address: prints.of(stage) for address, stage in addresses(expression).items()}

    plain, short = named(recipe(source)), named(shortened(recipe(source)))
    assert {name for name in plain if plain[name] != short[name]} == {
        "sft", "pairs", "labels", "rm", "rl", "evaluate",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        (PPO(), Truncated()),
        (PPO(correction=Masked()), Masked()),
        (GRPO(), Truncated()),
        (RLOO(), Truncated()),
    ],
)
def test_a_rounding_sampler_is_corrected_for(source: Path, method: Any, expected: Any) -> None:
    final = recipe(source).final
    assert isinstance(final, Reinforcement)
    stage = replace(final, method=method, compute="bfloat16")
    assert stage.effective().method.correction == expected  # type: ignore[attr-defined]
    assert stage.effective().method.wants.before  # without the trainer's word there is nothing to correct by
    assert replace(stage, compute="float32").effective().method is stage.method


def test_one_option_reaches_every_stage_and_a_setting_of_one_goes_before_it(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    seen: list[Stage] = []

    def plan(expression: Stage, *rest: Any) -> Any:
        seen.append(expression)
        raise SystemExit(0)

    monkeypatch.setattr("posttrain.cli.run.plan", plan)
    with pytest.raises(SystemExit):
        main(["run", "instructgpt", "rm.compute=float32", "--compute", "bfloat16", "--dry-run"])
    found = {a: s.compute for a, s in addresses(seen[0]).items() if hasattr(s, "compute")}
    assert found.pop("rm") == "float32"
    assert set(found.values()) == {"bfloat16"}
    assert {"sft", "pairs", "rl"} <= set(found)


def test_one_option_reaches_all_rounds(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen: list[Stage] = []

    def plan(expression: Stage, *rest: Any) -> Any:
        seen.append(expression)
        raise SystemExit(0)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("posttrain.cli.run.plan", plan)
    with pytest.raises(SystemExit):
        main(
            [
                "run",
                "rounds",
                "count=3",
                "evidence=full",
                "rl.compute=float32",
                "--compute",
                "bfloat16",
                "--dry-run",
            ]
        )
    found = {a: s.compute for a, s in addresses(seen[0]).items() if hasattr(s, "compute")}
    assert {found.pop(f"rl[{n}]") for n in (1, 2, 3)} == {"float32"}
    assert len(found) > 9
    assert set(found.values()) == {"bfloat16"}


def test_another_type_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "instructgpt", "rl.compute=int8", "--dry-run"]) == 2
    assert "rl.compute=int8" in capsys.readouterr().err
