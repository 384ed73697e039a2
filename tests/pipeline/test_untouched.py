"""What a person may have touched is neither made again nor deleted unasked."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest

from posttrain.pipeline.finding import UserError
from posttrain.pipeline.fingerprint import Finished
from posttrain.pipeline.plan import plan
from posttrain.pipeline.runner import Run, run
from posttrain.pipeline.sources import finished_identity
from posttrain.pipeline.stage import Inputs, Machine, Report, Stage
from posttrain.pipeline.store import Product, Workspace


@dataclass(frozen=True, kw_only=True)
class Words(Stage):
    address = "words"
    text: str = "abc"

    def run(self, inputs: Inputs, output: Path, machine: Machine) -> Report:
        (output / "text").write_text(self.text)
        return Report(metrics={"characters": float(len(self.text))})


@dataclass(frozen=True, kw_only=True)
class Doubled(Stage):
    address = "doubled"
    words: Stage
    meanwhile: ClassVar[list[Path]] = []

    def run(self, inputs: Inputs, output: Path, machine: Machine) -> Report:
        (output / "text").write_text((inputs["words"].path / "text").read_text() * 2)
        (output / "metrics.jsonl").write_text('{"step": 1}\n')
        (output / "adapter_config.json").write_text('{"base_model_name_or_path": "/here"}')
        for other in self.meanwhile:
            other.write_text("touched while another stage was made")
        return Report(metrics={"characters": 6.0})


def go(tmp_path: Path, expression: Stage | None = None, **options: Any) -> Run:
    said: list[str] = options.pop("said", [])
    made = expression or Doubled(words=Words())
    return run(made, Workspace(tmp_path), Machine(), recipe="toy", say=said.append, **options)


def everything(directory: Path) -> dict[str, str]:
    return {str(p.relative_to(directory)): p.read_text() for p in directory.rglob("*") if p.is_file()}


def test_a_note_beside_the_weights_changes_nothing(tmp_path: Path) -> None:
    product = go(tmp_path).products["doubled"].path
    (product / "NOTES.md").write_text("x\n")
    (product / "plots").mkdir()
    (product / "plots" / "one.svg").write_text("<svg/>")
    before = everything(tmp_path / "products")
    assert go(tmp_path).made == []
    assert everything(tmp_path / "products") == before


def test_a_curve_that_changed_changes_nothing(tmp_path: Path) -> None:
    product = go(tmp_path).products["doubled"].path
    (product / "metrics.jsonl").write_text('{"step": 1, "smoothed": 2}\n')
    assert go(tmp_path).made == []
    (product / "metrics.jsonl").unlink()
    assert go(tmp_path).made == []


def test_an_adapters_base_may_be_said_anew_where_it_lies_now(tmp_path: Path) -> None:
    product = go(tmp_path).products["doubled"].path
    assert "adapter_config.json" in Product.load(product).made["files"]
    (product / "adapter_config.json").write_text('{"base_model_name_or_path": "/elsewhere"}')
    assert go(tmp_path).made == []
    other = shutil.copytree(product, tmp_path / "other")
    (other / "adapter_config.json").write_text('{"base_model_name_or_path": "/a/third/place"}')
    same = [finished_identity(str(path), Workspace(tmp_path)) for path in (product, other)]
    assert same[0] == same[1]


def _flip(file: Path) -> None:
    text = file.read_text()
    file.write_text(text.replace('"value": 6.0', '"value": 7.0'))
    assert file.read_text() != text


HARMS: dict[str, tuple[str, Any, str]] = {
    "changed": ("text", lambda file: file.write_text("harm"), r"text has sha256 \w{12}, was written with"),
    "removed": ("text", lambda file: file.unlink(), "text is missing"),
    "a pipe": ("text", lambda file: file.rename(file.with_name("old")), "text is missing"),
    "no made.json": ("made.json", lambda file: file.unlink(), "its made.json is missing"),
    "made.json cut short": ("made.json", lambda file: file.write_text('{"fing'), "not JSON"),
    "made.json with a metric changed": ("made.json", _flip, "its record_sha256 is another"),
    "made.json of another form": ("made.json", lambda file: file.write_text("[]"), "a list, expected an obj"),
    "made.json of another version": (
        "made.json",
        lambda file: file.write_text(file.read_text().replace('"format": 3', '"format": 4')),
        "format 4, expected 3",
    ),
}


@pytest.mark.parametrize("harm", HARMS)
def test_a_product_that_was_touched_is_named_and_kept(tmp_path: Path, harm: str) -> None:
    name, change, told = HARMS[harm]
    product = go(tmp_path).products["doubled"].path
    change(product / name)
    before = everything(tmp_path)
    with pytest.raises(UserError, match=f"(?s)stage doubled: .*{told}.*--remake doubled") as raised:
        go(tmp_path)
    assert str(product) in str(raised.value)
    assert str(tmp_path / "aside") in str(raised.value)
    assert everything(tmp_path) == before


def test_all_that_was_touched_is_told_before_anything_is_made(tmp_path: Path) -> None:
    first = go(tmp_path)
    for product in first.products.values():
        (product.path / "text").write_text("harm")
    with pytest.raises(UserError, match=r"(?s)stage words: .*stage doubled: .*--remake words --remake doub"):
        go(tmp_path)


def test_what_is_made_again_as_asked_is_kept_aside(tmp_path: Path) -> None:
    product = go(tmp_path).products["doubled"].path
    for number in (1, 2):
        (product / "text").write_text(f"mine {number}")
        (product / "NOTES.md").write_text(f"note {number}")
        said: list[str] = []
        assert go(tmp_path, remake=["doubled"], said=said).made == ["doubled"]
        assert any(f"kept in {tmp_path / 'aside'}" in line for line in said)
        assert (product / "text").read_text() == "abcabc"
        assert not (product / "NOTES.md").exists()
    kept = sorted((tmp_path / "aside").iterdir())
    assert [p.name for p in kept] == [f"{product.name}.1", f"{product.name}.2"]
    assert [(p / "NOTES.md").read_text() for p in kept] == ["note 1", "note 2"]
    assert [(p / "text").read_text() for p in kept] == ["mine 1", "mine 2"]


def test_the_old_one_stands_until_the_new_one_is_whole(tmp_path: Path) -> None:
    @dataclass(frozen=True, kw_only=True)
    class Fails(Words):
        def run(self, inputs: Inputs, output: Path, machine: Machine) -> Report:
            if (tmp_path / "fail").exists():
                raise UserError("row 3: empty")
            return super().run(inputs, output, machine)

    product = go(tmp_path, Fails()).products["words"].path
    (product / "text").write_text("mine")
    before = everything(product)
    (tmp_path / "fail").touch()
    with pytest.raises(UserError, match="row 3: empty"):
        go(tmp_path, Fails(), remake=["words"])
    assert everything(product) == before
    assert not (tmp_path / "aside").exists()


def test_what_is_touched_while_another_stage_is_made_is_kept_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    last = Doubled(words=Doubled(words=Words(), name="first"), name="second")
    victim = go(tmp_path, last).products["second"].path / "text"
    monkeypatch.setattr(Doubled, "meanwhile", [victim])
    with pytest.raises(UserError, match=r"(?s)stage second: .*--remake second"):
        go(tmp_path, last, remake=["first"])
    assert victim.read_text() == "touched while another stage was made"


@pytest.mark.parametrize(
    ("asked", "told"),
    [("doubeld", "did you mean doubled"), ("words", "words is a finished product here; it is not made")],
)
def test_only_what_is_made_can_be_made_again(tmp_path: Path, asked: str, told: str) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "text").write_text("xy")
    with pytest.raises(UserError, match=re.escape(f"--remake {asked}: ") + ".*" + told):
        go(tmp_path / "work", Doubled(words=Finished(str(tmp_path / "mine"), "words")), remake=[asked])
    assert not (tmp_path / "work").exists()


def test_a_name_stands_for_all_its_rounds(tmp_path: Path) -> None:
    twice = Doubled(words=Doubled(words=Words()))
    assert go(tmp_path, twice).made == ["words", "doubled[1]", "doubled[2]"]
    assert go(tmp_path, twice, remake=["doubled"]).made == ["doubled[1]", "doubled[2]"]
    assert go(tmp_path, twice, remake=["doubled[1]"]).made == ["doubled[1]"]


def test_a_dry_run_says_what_changed(tmp_path: Path) -> None:
    product = go(tmp_path).products["doubled"].path
    (product / "text").unlink()
    rows = {row.address: row for row in plan(Doubled(words=Words()), Workspace(tmp_path), Machine())}
    assert rows["words"].state == "cached"
    assert "text is missing" in rows["doubled"].state


def test_a_note_in_a_finished_product_makes_nothing_that_follows_again(tmp_path: Path) -> None:
    given = go(tmp_path).products["words"].path
    whole = Doubled(words=Finished(str(given), "words"), name="other")
    assert go(tmp_path, whole).made == ["other"]
    (given / "NOTES.md").write_text("x")
    assert go(tmp_path, whole).made == []
    (given / "text").write_text("harm")
    with pytest.raises(UserError, match="text has sha256"):
        go(tmp_path, whole)


def test_made_json_may_not_name_files_elsewhere(tmp_path: Path) -> None:
    product = go(tmp_path).products["doubled"]
    made = json.loads((product.path / "made.json").read_text())
    del made["record_sha256"]
    for name in ("../../secret", "/etc/hostname"):
        (product.path / "made.json").write_text(json.dumps({**made, "format": 1, "files": {name: "0" * 64}}))
        (told,) = Workspace(tmp_path).damage(Product.load(product.path))
        assert f"names {name}, which is no file of the product" in told
