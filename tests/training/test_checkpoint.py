from __future__ import annotations

import errno
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from posttrain.core.batch import PreferenceBatch
from posttrain.core.preferences import ranked
from posttrain.storage.unfinished import Log, Scratch
from posttrain.training import checkpoint
from posttrain.training.optimizer import Group, Optimizer
from tests.tiny import rollouts


def scratch(directory: Path, identity: str = "inputs", **more: Any) -> Scratch:
    directory.mkdir(exist_ok=True)
    told: list[str] = []
    made = Scratch(directory, identity, say=told.append, **more)
    made.told = told  # type: ignore[attr-defined]
    return made


def preferences() -> PreferenceBatch:
    tokens = torch.randint(1, 5, (2, 4))
    facts = rollouts(tokens, torch.ones(2, 3, dtype=torch.bool))
    return ranked(facts, torch.tensor([0, 1]))


def test_every_kind_of_value_comes_back(tmp_path: Path) -> None:
    shared = torch.arange(6.0).reshape(2, 3)
    value = {
        "numbers": [1, 2.5, float("inf"), None, True, "text", "é"],
        "by number": {0: {"step": torch.tensor(3.0)}, 1: torch.zeros(0, 4)},
        "same memory": [shared, shared, shared[0], shared.T],
        "kinds": [torch.tensor([True, False]), torch.tensor(7), torch.ones(2, dtype=torch.bfloat16)],
        "record": (4, preferences()),
    }
    checkpoint.save(scratch(tmp_path), 1, {"all": value}, [])
    known = checkpoint.load(scratch(tmp_path), [])
    assert known is not None
    found = known.contents["all"]
    assert found["numbers"] == value["numbers"]
    assert list(found["by number"]) == [0, 1]
    assert all(torch.equal(a, b) for a, b in zip(found["same memory"], value["same memory"], strict=True))
    assert [x.dtype for x in found["kinds"]] == [torch.bool, torch.int64, torch.bfloat16]
    number, record = found["record"]
    assert number == 4
    assert isinstance(record, PreferenceBatch)
    assert torch.equal(record.rollouts.actions, value["record"][1].rollouts.actions)
    assert record.reference is None


def test_what_it_cannot_hold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="Path"):
        checkpoint.save(scratch(tmp_path), 1, {"a": tmp_path}, [])


def trained(updates: int) -> tuple[torch.nn.Linear, Optimizer]:
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 2)
    group = Group(
        name="policy",
        parameters=list(model.parameters()),
        learning_rate=0.1,
        weight_decay=0.1,
        decay_to_start=0.5,
    )
    optimizer = Optimizer([group])
    learn(model, optimizer, range(updates))
    return model, optimizer


def learn(model: torch.nn.Linear, optimizer: Optimizer, updates: range) -> None:
    for update in updates:
        model(torch.full((1, 3), 1.0 + update)).square().sum().backward()
        optimizer.step()


def test_after_loading_the_files_may_go_and_adam_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    model, optimizer = trained(3)
    checkpoint.save(scratch(tmp_path), 3, {"optimizer": optimizer.state_dict()}, [])
    learn(model, optimizer, range(3, 6))
    again, other = trained(0)
    known = checkpoint.load(scratch(tmp_path), [])
    assert known is not None
    shutil.rmtree(tmp_path / "checkpoints")
    other.load_state_dict(known.contents["optimizer"])
    learn(again, other, range(3, 6))
    assert torch.equal(again.weight, model.weight)
    assert torch.equal(again.bias, model.bias)


def two(directory: Path) -> tuple[Scratch, Log]:
    here, log = scratch(directory), Log(directory / "metrics.jsonl")
    for step in (1, 2):
        log.write([f'{{"step": {step}}}'])
        checkpoint.save(here, step, {"a": {"x": torch.tensor(step)}, "b": {"step": step}}, [log])
    return here, log


def test_only_the_newest_are_kept(tmp_path: Path) -> None:
    for step in range(5):
        checkpoint.save(scratch(tmp_path, keep_last=2), step, {"a": step}, [])
    names = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert names == ["step-00000003", "step-00000004"]


FILES = ["a.json", "a.safetensors", "b.json", "manifest.json"]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", ["cut", "gone", "flipped", "empty"])
def test_with_damage_to_any_file_the_one_before_serves_and_it_is_set_aside(
    tmp_path: Path, name: str, damage: str
) -> None:
    _, log = two(tmp_path)
    path = tmp_path / "checkpoints" / "step-00000002" / name
    data = path.read_bytes()
    half = len(data) // 2
    changed = {
        "cut": data[:half],
        "empty": b"",
        "flipped": data[:half] + bytes([data[half] ^ 1]) + data[half + 1 :],
        "gone": b"",
    }
    path.write_bytes(changed[damage])
    if damage == "gone":
        path.unlink()
    here = scratch(tmp_path)
    known = checkpoint.load(here, [log])
    assert known is not None
    assert (known.updates, known.contents["b"]) == (1, {"step": 1})
    assert known.sizes == {"metrics.jsonl": len('{"step": 1}\n')}
    assert "damaged" in here.told[0]  # type: ignore[attr-defined]
    assert (tmp_path / "checkpoints" / "damaged-1-step-00000002").is_dir()


def test_every_byte_of_the_manifest_counts(tmp_path: Path) -> None:
    _, log = two(tmp_path)
    path = tmp_path / "checkpoints" / "step-00000002" / "manifest.json"
    record = json.loads(path.read_text())
    for name, value in (("updates", 7), ("ended", True), ("identity", "other")):
        path.write_text(json.dumps(record | {name: value}))
        known = checkpoint.load(scratch(tmp_path), [log])
        assert known is not None
        assert known.updates == 1
        (tmp_path / "checkpoints" / "damaged-1-step-00000002").rename(path.parent)
    path.write_text(json.dumps(record))
    known = checkpoint.load(scratch(tmp_path), [log])
    assert known is not None
    assert known.updates == 2


@pytest.mark.parametrize("bogus", ["empty directory", "a file", "a copy", "a copy and more"])
def test_a_bogus_newer_one_is_passed_over(tmp_path: Path, bogus: str) -> None:
    _, log = two(tmp_path)
    path = tmp_path / "checkpoints" / "step-00000009"
    if bogus == "a file":
        path.write_text("no checkpoint")
    else:
        path.mkdir()
    if bogus.startswith("a copy"):
        for file in (tmp_path / "checkpoints" / "step-00000002").iterdir():
            shutil.copy(file, path)
    if bogus.endswith("more"):
        (path / "more").write_text("")
    known = checkpoint.load(scratch(tmp_path), [log])
    assert known is not None
    assert known.updates == 2


def test_one_of_other_inputs_is_not_used(tmp_path: Path) -> None:
    _, log = two(tmp_path)
    here = scratch(tmp_path, identity="other inputs")
    assert checkpoint.load(here, [log]) is None
    assert "other inputs" in here.told[0]  # type: ignore[attr-defined]


def test_a_log_that_is_not_as_it_was_leaves_only_those_that_it_fits(tmp_path: Path) -> None:
    here, log = two(tmp_path)
    log.cut(15)  # within the second line
    known = checkpoint.load(here, [log])
    assert known is not None
    assert known.updates == 1
    log.path.write_text("other\n")
    assert checkpoint.load(here, [log]) is None


def test_a_write_that_was_killed_is_not_a_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here, log = two(tmp_path)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", killed)
        with pytest.raises(KeyboardInterrupt):
            checkpoint.save(here, 3, {"a": 3}, [log])
    known = checkpoint.load(here, [log])
    assert known is not None
    assert known.updates == 2
    checkpoint.save(here, 4, {"a": 4}, [log])
    assert not list((tmp_path / "checkpoints").glob(".*"))


def test_a_full_disk_is_an_oserror_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, log = two(tmp_path)
    from safetensors import SafetensorError

    def full(*_: object) -> None:
        raise SafetensorError('Error while serializing: IoError(Os { code: 28, message: "No space left" })')

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(OSError, match="No space left"):
        checkpoint.save(here, 3, {"a": torch.ones(2)}, [log])
    monkeypatch.undo()

    def later(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoint, "flush", later)
    with pytest.raises(OSError, match="No space left"):
        checkpoint.save(here, 3, {"a": torch.ones(2)}, [log])
    assert not list((tmp_path / "checkpoints").glob(".*"))
    known = checkpoint.load(here, [log])
    assert known is not None
    assert known.updates == 2


def test_nothing_saved_is_none(tmp_path: Path) -> None:
    assert checkpoint.load(scratch(tmp_path), []) is None


def test_nothing_is_pickled(tmp_path: Path) -> None:
    two(tmp_path)
    kinds = {path.suffix for path in (tmp_path / "checkpoints").rglob("*") if path.is_file()}
    assert kinds == {".json", ".safetensors"}
