"""What does not fit is dropped whole and counted; an answer is never cut away."""

from __future__ import annotations

from pathlib import Path

from transformers import PreTrainedTokenizerFast

from posttrain.models.chat import Chat
from posttrain.models.rows_on_disk import RowsOnDisk
from posttrain.stages.rm import pairs
from posttrain.stages.sft import examples


def said(prompt: str, answer: str) -> dict[str, object]:
    return {
        "messages": [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}],
        "id": prompt,
    }


def test_a_demonstration_that_does_not_fit_is_dropped_and_counted_never_cut(
    letters: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    kept, rows = RowsOnDisk(tmp_path), [said("x" * 40, "y"), said("x", "y"), said("x", "y" * 40)]
    dropped = examples(Chat(letters), rows, 20, kept)
    assert (len(kept), dropped) == (1, 2)
    assert all(any(row.mask) for row in kept)


def test_comparisons_that_teach_nothing_are_dropped_and_counted(letters: PreTrainedTokenizerFast) -> None:
    def pair(chosen: str, rejected: str, number: int, **more: object) -> dict[str, object]:
        sides = {"chosen": chosen, "rejected": rejected}
        answers = {side: [{"role": "assistant", "content": text}] for side, text in sides.items()}
        return {"id": str(number), "prompt": [{"role": "user", "content": "x"}], **answers, **more}

    rows = [
        pair("y", "n", 1),
        pair("y", "y", 2),
        pair("y", "n" * 40, 3),
        pair("y", "n", 4, tie=True),
    ]
    kept, counts = pairs(Chat(letters), rows, max_length=20)
    assert len(kept) == 1
    assert counts == {"ties": 1, "equal": 1, "too_long": 1}
