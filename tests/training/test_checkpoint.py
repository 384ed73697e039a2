from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch

from posttrain.policy_gradients.ppo import PPO
from posttrain.training import checkpoint
from posttrain.training.kl_control import AdaptiveKL
from tests.training.test_rl_loop import Run, bits


def contents(run: Run) -> dict[str, object]:
    return {"weights": run.policy.state_dict(), "optimizer": run.optimizer.state_dict(), "state": run.state}


def go_on(run: Run, saved: dict[str, object]) -> None:
    run.policy.load_state_dict(saved["weights"])  # type: ignore[arg-type]
    run.optimizer.load_state_dict(saved["optimizer"])  # type: ignore[arg-type]
    run.state = saved["state"]  # type: ignore[assignment]


def settings() -> Run:
    return Run(PPO(), kl_controller=AdaptiveKL(target=0.1, horizon=100))


def test_killed_at_any_update_it_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    whole = settings()
    log = []
    for row in whole.go(2):
        log.append(row["loss"])
        checkpoint.save(tmp_path / str(len(log)), whole.state.step, contents(whole))
    assert len(log) == 8
    for stop in range(1, 9):
        again = settings()
        saved = checkpoint.load(tmp_path / str(stop))
        assert saved is not None
        go_on(again, saved)
        assert [row["loss"] for row in again.go(2)] == log[stop:]
        assert bits(again.policy) == bits(whole.policy)
        assert again.state.kl_coef == whole.state.kl_coef


def two(directory: Path) -> Path:
    for step in (1, 2):
        newest = checkpoint.save(directory, step, {"a": {"x": torch.tensor(step)}, "b": {"step": step}})
    return newest


def test_only_the_newest_are_kept(tmp_path: Path) -> None:
    for step in range(5):
        checkpoint.save(tmp_path, step, {"a": step}, keep=2)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step-00000003", "step-00000004"]
    assert checkpoint.load(tmp_path) == {"a": 4}


@pytest.mark.parametrize("name", ["a.pt", "b.pt", "manifest.json"])
@pytest.mark.parametrize("damage", ["cut", "gone", "flipped", "empty"])
def test_with_damage_to_any_file_the_one_before_serves(tmp_path: Path, name: str, damage: str) -> None:
    path = two(tmp_path) / name
    data = path.read_bytes()
    half = len(data) // 2
    if damage == "gone":
        path.unlink()
    else:
        changed = {
            "cut": data[:half],
            "empty": b"",
            "flipped": data[:half] + bytes([data[half] ^ 1]) + data[half + 1 :],
        }
        path.write_bytes(changed[damage])
    saved = checkpoint.load(tmp_path)
    assert saved is not None
    assert saved["b"] == {"step": 1}


def test_a_write_that_was_killed_is_not_a_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    two(tmp_path)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "rename", killed)
    with pytest.raises(KeyboardInterrupt):
        checkpoint.save(tmp_path, 3, {"a": 3})
    saved = checkpoint.load(tmp_path)
    assert saved is not None
    assert saved["b"] == {"step": 2}


def test_nothing_saved_is_none(tmp_path: Path) -> None:
    assert checkpoint.load(tmp_path / "nowhere") is None


def test_what_runs_code_when_read_is_refused(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, 1, {"a": copy.copy})
    with pytest.raises(Exception, match="copy"):
        checkpoint.load(tmp_path)
