"""Prompts to practise on: not those that were demonstrated, and without their answers."""

from __future__ import annotations

import json
from pathlib import Path

from posttrain.pipeline.stage import Inputs, Machine, Product, Stage
from posttrain.stages.demonstrations import FieldGuideDemonstrations
from posttrain.stages.prompts import FieldGuidePrompts, PromptsOf
from posttrain.storage.jsonl import read_jsonl, write_jsonl


def test_prompts_are_others_than_the_demonstrated_ones(tmp_path: Path) -> None:
    asked = {}
    for name, stage in (
        ("shown", FieldGuideDemonstrations(rows=150, heldout=1, seed=2)),
        ("asked", FieldGuidePrompts(rows=150, heldout=1, seed=2)),
    ):
        (tmp_path / name).mkdir()
        stage.run(Inputs({}), tmp_path / name, Machine(quiet=True))
        rows = read_jsonl(tmp_path / name / "train.jsonl")
        asked[name] = [json.dumps(row.get("prompt", row.get("messages", [])[:1])) for row in rows]
    again = sum(one in asked["shown"] for one in asked["asked"])
    assert again < 75, "drawn apart, some of a small world come twice by chance"


def test_the_prompt_of_a_demonstration_ends_before_its_answer(tmp_path: Path) -> None:
    talk = [
        {"role": role, "content": f"{role} {turn}"} for turn in range(2) for role in ("user", "assistant")
    ]
    for side in ("train", "heldout"):
        write_jsonl(tmp_path / f"{side}.jsonl", [{"messages": talk}])
    stage = PromptsOf(rows=Stage(name="shown"))
    (tmp_path / "out").mkdir()
    stage.run(Inputs({"rows": Product(tmp_path)}), tmp_path / "out", Machine())
    (row,) = read_jsonl(tmp_path / "out" / "train.jsonl")
    assert row["prompt"] == talk[:3]
