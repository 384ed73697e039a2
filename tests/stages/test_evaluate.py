"""What evaluation says of its prompts."""

from __future__ import annotations

from pathlib import Path

from posttrain.stages.heldout_inputs import also_trained_on
from posttrain.storage.jsonl import write_jsonl


def test_a_held_out_prompt_that_is_trained_on_is_found_under_any_id(tmp_path: Path) -> None:
    def row(name: str, text: str) -> dict[str, object]:
        return {"id": name, "prompt": [{"role": "user", "content": text}]}

    write_jsonl(tmp_path / "train.jsonl", [row("a", "What do owls eat?"), row("b", "Name three fruits.")])
    asked = [row("h-0", "Where do owls live?"), row("h-1", "Name three fruits.")]
    assert also_trained_on(tmp_path, asked) == ["h-1"]
