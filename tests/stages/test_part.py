"""Two parts of somebody's comparisons share no prompt, and both measure on the same held-out ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from posttrain.cost.sizes import Rows
from posttrain.pipeline.finding import UserError
from posttrain.pipeline.sources import SourceFile
from posttrain.pipeline.stage import Inputs, Machine
from posttrain.pipeline.store import Product
from posttrain.stages.labels import ComparisonRows
from posttrain.stages.part import PartOfRows
from posttrain.storage.jsonl import read_jsonl, write_jsonl

PART = PartOfRows(rows=ComparisonRows(source=SourceFile("c.jsonl", "datasets")), share=0.6)


def made(part: PartOfRows, count: int, place: Path) -> list[str]:
    (place / "rows").mkdir(parents=True)
    (place / "out").mkdir()
    rows = [{"prompt": f"p{n // 2}", "chosen": f"a{n}", "rejected": "b"} for n in range(count)]
    write_jsonl(place / "rows" / "train.jsonl", rows)
    write_jsonl(place / "rows" / "heldout.jsonl", rows[:3])
    report = part.run(Inputs({"rows": Product(place / "rows", {})}), place / "out", Machine())
    kept = read_jsonl(place / "out" / "train.jsonl")
    held = part.most_heldout or 3
    assert report.values == {"rows": len(kept), "heldout_rows": held}
    assert read_jsonl(place / "out" / "heldout.jsonl") == rows[:held]
    assert len(report.notes) == bool(part.most) + bool(part.most_heldout)
    return [row["chosen"] for row in kept]


def test_the_parts_are_the_whole_and_share_no_prompt(tmp_path: Path) -> None:
    first = made(PART, 200, tmp_path / "first")
    rest = made(replace(PART, rest=True), 200, tmp_path / "rest")
    assert sorted(first + rest) == sorted(f"a{n}" for n in range(200))
    assert 90 < len(first) < 150
    assert not {int(a[1:]) // 2 for a in first} & {int(a[1:]) // 2 for a in rest}
    assert made(replace(PART, share=1.0), 20, tmp_path / "all") == [f"a{n}" for n in range(20)]
    assert made(replace(PART, most=5, most_heldout=2), 200, tmp_path / "few") == first[:5]


def test_an_empty_part_says_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="judge_share=0"):
        made(replace(PART, share=1.0, rest=True), 10, tmp_path)
    with pytest.raises(UserError, match=r"share is 1\.5"):
        replace(PART, share=1.5)


def test_its_estimate_has_its_share_of_the_rows() -> None:
    known = Rows(rows=100, heldout_rows=10, row_tokens=50.0)
    inputs = Inputs({"rows": Product(Path("nowhere"), {"report": {"metrics": known.figures()}})})
    for part, rows in ((PART, 60), (replace(PART, rest=True), 40), (replace(PART, most=7), 7)):
        work = part.work(inputs)
        assert work is not None
        assert work.product == replace(known, rows=rows)
