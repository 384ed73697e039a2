"""A directory for the hub: the model, a card of its lineage and metrics, and an adapter whose base is
there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from posttrain.cli import main
from posttrain.exports.hub import push
from posttrain.models.adapter_files import save_adapter
from posttrain.models.loading import load_causal_lm, save_causal_lm
from posttrain.models.lora import Adapter, Lora
from posttrain.pipeline.finding import UserError
from tests.models.small import causal, llama, tokenizer

STAGE = "posttrain.stages.base.ExistingModel"
PLACES = {
    "spaced": "/home/john doe/models/my base",
    "address": "file:///home/me/x.jsonl",
    "several": ["~/secret/a b.jsonl", "owner/data"],
    "inner": {"class": "Mix", "of": "C:\\Users\\me\\mix.txt"},
}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("posttrain.exports.parity.TOKENS", 4)
    return tmp_path


def product(here: Path, source: str) -> Path:
    """A workspace with a base from ``source``, a policy with an adapter on it, and a run that measured it."""
    products = here / "workspace" / "products"
    base, policy = products / "base-1", products / "sft-2"
    save_causal_lm(base, causal(llama(), dtype=torch.float32), tokenizer())
    known = {"address": "base", "stage": STAGE, "fingerprint": "f1", "settings": {"source": source}}
    (base / "made.json").write_text(json.dumps({**known, "report": {}}))
    model, words = load_causal_lm(base)
    adapter = Adapter(model.base_model, Lora(rank=2, alpha=2.0), seed=0)
    save_causal_lm(policy, model, words)
    save_adapter(policy / "adapter", model, adapter)
    (policy / "metrics.jsonl").write_text('{"step": 1}\n')
    made = {
        "address": "sft",
        "stage": "posttrain.stages.sft.Sft",
        "fingerprint": "f2",
        "settings": {
            "epochs": 2,
            "file": str(here / "secret" / "mine.jsonl"),
            "page": "https://a.org/b/c",
            **PLACES,
        },
        "inputs": [{"field": "base", "address": "base", "fingerprint": "f1", "content": "c1"}],
        "ancestors": {"f1": {**known, "path": str(here / "secret" / "dir")}},
        "report": {"figures": {"nll_heldout": 1.25}},
    }
    (policy / "made.json").write_text(json.dumps(made))
    evaluated = products / "evaluate-3"
    evaluated.mkdir()
    metrics = {"report": {"figures": {"win_rate": 0.625}}, "address": "evaluate", "stage": "x.Evaluate"}
    (evaluated / "made.json").write_text(json.dumps(metrics))
    run = here / "workspace" / "runs" / "1-toy"
    run.mkdir(parents=True)
    places = {"base": "products/base-1", "sft": "products/sft-2", "evaluate": "products/evaluate-3"}
    stages = [{"address": address, "path": place, "state": "made"} for address, place in places.items()]
    record = {"recipe": "toy", "products": places, "stages": stages, "overrides": []}
    (run / "run.json").write_text(json.dumps(record))
    return policy


def test_a_model_on_a_base_of_the_hub_goes_with_its_adapter_its_lineage_and_its_metrics(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    policy = product(here, "owner/small")
    (here / "workspace" / "pins.json").write_text(json.dumps({"models/owner/small": "abc123"}))
    assert main(["export", "sft", "--to", "hub", "--license", "mit"]) == 0
    assert "20 of 20 greedy answers are the model's" in capsys.readouterr().out
    made = here / "exports" / "sft-2-hub"
    card = (made / "README.md").read_text()
    front = card.split("---\n")[1].splitlines()
    assert front[:2] == ["license: mit", "base_model: owner/small"]
    assert "| `sft.nll_heldout` | 1.25 |" in card
    assert "| `evaluate.win_rate` | 0.625 |" in card
    assert "epochs = 2" in card
    assert str(here) not in card, "no path of this machine"
    assert "file = mine.jsonl\n" in card
    assert "given: dir\n" in card
    assert "spaced = my base\n" in card
    assert "address = x.jsonl\n" in card
    assert 'several = ["a b.jsonl", "owner/data"]\n' in card
    assert "inner.of = mix.txt\n" in card
    assert "source = owner/small\n" in card
    assert "https://a.org/b/c" in card
    assert not (made / "made.json").exists()
    assert not (made / "metrics.jsonl").exists()
    config = json.loads((made / "adapter" / "adapter_config.json").read_text())
    assert (config["base_model_name_or_path"], config["revision"]) == ("owner/small", "abc123")
    ours, theirs = (AutoModelForCausalLM.from_pretrained(path).state_dict() for path in (policy, made))
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())


def test_without_a_base_on_the_hub_the_model_goes_whole_under_the_licence_beside_its_base(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = here / "mine"
    mine.mkdir()
    (mine / "README.md").write_text("---\ntags:\n- a\nlicense: gpl-3.0\n---\n# Mine\n")
    product(here, str(mine))
    assert main(["export", "sft", "--to", "hub", "--output", "out"]) == 0
    assert "Licence unknown" not in capsys.readouterr().out
    card = (here / "out" / "README.md").read_text()
    assert "license: gpl-3.0\nlibrary_name" in card
    assert "base_model:" not in card
    assert not (here / "out" / "adapter").exists()
    assert "no adapter to load" in card
    (mine / "README.md").unlink()
    assert main(["export", "sft", "--to", "hub", "--output", "once more"]) == 0
    printed = capsys.readouterr().out
    assert "give it with --license ID" in printed
    assert "Next: hf upload OWNER/NAME 'once more'\n" in printed
    assert "license: other" in (here / "once more" / "README.md").read_text()


def test_nothing_is_uploaded_unless_it_is_asked_for_and_then_to_a_private_repository(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls: list[tuple[str, Any]] = []

    class Api:
        def create_repo(self, name: str, **how: Any) -> None:
            calls.append((name, how))

        def upload_folder(self, *, repo_id: str, folder_path: str) -> None:
            if repo_id == "refused/it":
                raise ValueError("403 Forbidden\nmore")
            calls.append((repo_id, sorted(path.name for path in Path(folder_path).iterdir())))

    monkeypatch.setattr("huggingface_hub.HfApi", Api)
    product(here, "owner/small")
    assert main(["export", "sft", "--to", "hub", "--output", "kept"]) == 0
    assert calls == []
    assert main(["export", "sft", "--to", "hub", "--output", "pushed", "--push", "me/mine"]) == 0
    assert calls[0] == ("me/mine", {"private": True, "exist_ok": True})
    assert "README.md" in calls[1][1]
    assert main(["export", "sft", "--to", "hub", "--output", "third", "--push", "refused/it"]) == 2
    assert "did not take it (403 Forbidden)" in capsys.readouterr().err
    assert (here / "third" / "README.md").is_file()
    assert main(["export", "sft", "--to", "gguf", "--push", "me/mine"]) == 2


def test_a_hub_that_cannot_be_reached_is_no_fault_of_posttrain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Unreachable:
        def create_repo(self, name: str, **how: Any) -> None:
            raise ConnectionFailed("[Errno -3] no name resolution")

    class ConnectionFailed(Exception):
        """As httpx's: no OSError and no ValueError."""

    monkeypatch.setattr("huggingface_hub.HfApi", Unreachable)
    with pytest.raises(UserError, match=r"me/mine: the hub did not take it \(\[Errno -3\]"):
        push(tmp_path, "me/mine")
