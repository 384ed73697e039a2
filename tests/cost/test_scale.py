"""The drawing of a recipe with its sizes, and the table of its scale."""

from __future__ import annotations

from pathlib import Path

from posttrain.cli import main
from posttrain.cost.drawing import drawing
from posttrain.cost.scale import Paper, scale_table
from posttrain.pipeline.plan import plan
from posttrain.pipeline.stage import Machine, addresses, nested
from posttrain.pipeline.store import Workspace
from posttrain.recipes.deepseek_r1 import deepseek_r1
from posttrain.recipes.instructgpt import PAPER, instructgpt
from posttrain.settings import expression, parse


def test_a_drawing_has_every_stage_with_its_size() -> None:
    recipe = instructgpt()
    lines = drawing(recipe).splitlines()
    for address, stage in addresses(recipe).items():
        own = [line for line in lines if f"<- {address} (" in line or line.startswith(f"{address} (")]
        assert own, address
        assert any(stage.size() in line for line in own)
    assert any("sft (InstructionTuning)" in line for line in lines)
    steps = addresses(recipe)["rl"].steps  # type: ignore[attr-defined]
    assert f"{steps} steps, 192 prompts a step" in drawing(recipe)
    edges = sum(len(nested(stage)) for stage in addresses(recipe).values())
    assert len(lines) == 1 + edges  # what was drawn above is named once for every use


def test_sizes_follow_the_settings_as_they_come_out() -> None:
    changed = expression(instructgpt, parse(["rl.method=grpo", "rl.steps=7", "demonstrations.rows=1234"]))
    told = drawing(changed)
    assert "7 steps, 48 prompts a step, 4 answers each" in told
    assert "1,234 rows" in told
    assert "3 reasoning : 1 general" in drawing(deepseek_r1())


def test_reinforcement_has_its_share_of_the_operations(tmp_path: Path) -> None:
    recipe = instructgpt()
    planned = plan(recipe, Workspace(tmp_path), Machine())
    found = {row.address: row.estimate for row in planned}
    assert {address for address, one in found.items() if one.reinforces} == {"rl"}
    answers = addresses(recipe)["rl"].steps * 192  # type: ignore[attr-defined]
    assert found["rl"].examples == answers
    assert found["sft"].examples == 6000
    assert found["rl"].tokens > answers * 10
    told = scale_table(planned, Paper(title="A paper", scale=(("sft", "13 thousand"),)))
    whole = sum(one.operations for one in found.values() if one.tokens)
    assert f"Reinforcement has {found['rl'].operations / whole:.0%} of the operations." in told
    assert told.splitlines()[-1].split() == ["sft", "13", "thousand"]


def test_a_step_of_reinforcement_counts_every_answer(tmp_path: Path) -> None:
    recipe = expression(instructgpt, parse(["rl.method=grpo", "rl.steps=7", "rl.group_size=4"]))
    found = {row.address: row.estimate for row in plan(recipe, Workspace(tmp_path), Machine())}
    assert found["rl"].examples == 7 * 192 * 4


def test_the_command_line_draws_and_weighs(tmp_path: Path, capsys: object) -> None:
    import pytest

    assert isinstance(capsys, pytest.CaptureFixture)
    assert main(["run", "instructgpt", "--draw", "--workspace", str(tmp_path)]) == 0
    assert "├─ " in capsys.readouterr().out
    assert main(["run", "instructgpt", "--dry-run", "--workspace", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert PAPER.title in out
    assert "FLOPS" in out
    assert not any(tmp_path.iterdir())
