"""``--device auto`` takes what is here and can compute, and says it in one line."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from posttrain.cli import main
from posttrain.device import device
from posttrain.pipeline.finding import UserError


def machine(monkeypatch: pytest.MonkeyPatch, *, gpus: int, mps: bool, broken: str = "") -> None:
    """A machine with so many GPUs, of which ``broken`` is there and fails at the first number."""
    facts = SimpleNamespace(name="A card", total_memory=24 << 30)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda number: facts)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    plain = torch.ones

    def ones(*shape: int, device: str = "cpu", **more: Any) -> torch.Tensor:
        if device == broken:
            raise RuntimeError("the driver is too old")
        return plain(*shape, **more)

    monkeypatch.setattr(torch, "ones", ones)


@pytest.mark.parametrize(
    ("gpus", "mps", "broken", "found", "said"),
    [
        (2, True, "", "cuda", "--device auto: cuda (A card, 24 GiB)"),
        (0, True, "", "mps", "--device auto: mps (Apple's GPU)"),
        (1, True, "cuda", "mps", "--device auto: mps (Apple's GPU)"),
        (0, True, "mps", "cpu", "--device auto: cpu; there is no CUDA GPU and no mps here"),
        (0, False, "", "cpu", "--device auto: cpu; there is no CUDA GPU and no mps here"),
    ],
)
def test_auto_takes_the_first_that_computes_and_says_which(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    gpus: int,
    mps: bool,
    broken: str,
    found: str,
    said: str,
) -> None:
    machine(monkeypatch, gpus=gpus, mps=mps, broken=broken)
    assert device("auto") == found
    assert capsys.readouterr().err == f"posttrain: {said}\n"


def test_a_device_that_was_asked_for_by_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    machine(monkeypatch, gpus=2, mps=False)
    assert (device("cpu"), device("cuda"), device("cuda:1")) == ("cpu", "cuda", "cuda:1")
    assert capsys.readouterr().err == ""
    assert (device("cuda:2"), device("mps")) == ("cpu", "cpu")
    assert capsys.readouterr().err.splitlines() == [
        "posttrain: there is no cuda:2 here; going on with the CPU",
        "posttrain: there is no mps here; going on with the CPU",
    ]
    with pytest.raises(UserError, match="--device gpu: expected auto, cpu, mps, cuda or cuda:1"):
        device("gpu")


def test_chat_is_told_where_to_compute(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Any
) -> None:
    asked: list[str] = []

    def load(path: Any, *, device: str) -> Any:
        asked.append(device)
        raise UserError("loaded")

    (tmp_path / "config.json").write_text("{}")
    monkeypatch.setattr("posttrain.models.loading.load_causal_lm", load)
    machine(monkeypatch, gpus=0, mps=True)
    assert main(["chat", str(tmp_path), "--device", "auto"]) == 2
    assert asked == ["mps"]
    assert "--device auto: mps" in capsys.readouterr().err
