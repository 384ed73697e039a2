"""Adapters as peft directories: ``PeftModel.from_pretrained(base, directory)`` reads what is written here.

Beside peft's two files lies ``base.json``, the SHA-256 of the trunk's weights: an adapter means nothing
on another trunk, and nothing in peft's format would say so.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from posttrain.models.lora import Adapter, Lora
from posttrain.pipeline.finding import UserError

_START = "base_model.model."
_NOT_PLAIN = ("use_dora", "use_rslora", "rank_pattern", "alpha_pattern")


def trunk_hash(trunk: nn.Module) -> str:
    """SHA-256 over the names, shapes and bytes of a trunk's weights, heads left out."""
    digest = hashlib.sha256()
    for name, tensor in sorted(trunk.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def save_adapter(
    directory: str | Path, model: Any, adapter: Adapter, *, head: nn.Module | None = None
) -> None:
    """Writes the adapter of ``model`` (its trunk as it is, without the adapter), with the head of one
    label if given.
    """
    target = Path(directory)
    target.mkdir(parents=True, exist_ok=True)
    tensors: dict[str, Tensor] = {}
    for key in adapter.A:
        path = f"{_START}{model.base_model_prefix}.{key.replace('/', '.')}"
        tensors[f"{path}.lora_A.weight"] = adapter.A[key].detach().cpu().contiguous()
        tensors[f"{path}.lora_B.weight"] = adapter.B[key].detach().cpu().contiguous()
    if head is not None:
        tensors[f"{_START}score.weight"] = head.weight.detach().cpu().contiguous()  # type: ignore[union-attr, operator]
    save_file(tensors, target / "adapter_model.safetensors")
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM" if head is None else "SEQ_CLS",
        "base_model_name_or_path": "",  # base.json knows the trunk; a path would name somebody's machine
        "r": adapter.settings.rank,
        "lora_alpha": adapter.settings.alpha,
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": sorted({key.rpartition("/")[2] for key in adapter.A}),
        "modules_to_save": None if head is None else ["score"],
        "fan_in_fan_out": any(isinstance(m, Conv1D) for m in model.base_model.modules()),
        "inference_mode": True,
    }
    (target / "adapter_config.json").write_text(json.dumps(config, indent=2) + "\n", "utf-8")
    (target / "base.json").write_text(json.dumps({"trunk_sha256": trunk_hash(model.base_model)}) + "\n")


def fits(directory: str | Path, trunk: nn.Module) -> bool:
    """Whether ``directory`` holds an adapter that was made on exactly this trunk."""
    note = Path(directory) / "base.json"
    return note.is_file() and json.loads(note.read_text()).get("trunk_sha256") == trunk_hash(trunk)


def load_adapter(directory: str | Path, model: Any) -> tuple[Adapter, Tensor | None]:
    """An adapter for the trunk of ``model``, and its head [1, D] where it has one.

    Raises UserError for what is not plain LoRA (DoRA, rank patterns, biases), a missing file, tensors
    that do not belong to this trunk, and a trunk other than the recorded one.
    """
    target = Path(directory)
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        if not (target / name).is_file():
            raise UserError(f"{target}: no {name}; expected a peft directory.")
    config = json.loads((target / "adapter_config.json").read_text("utf-8"))
    odd = [name for name in _NOT_PLAIN if config.get(name)]
    if config.get("peft_type") != "LORA" or odd or config.get("bias", "none") != "none":
        raise UserError(
            f"{target}: {config.get('peft_type')} with {odd or 'bias'}; only plain LoRA can share a trunk. "
            "Merge it with peft first."
        )
    if (target / "base.json").is_file() and not fits(target, model.base_model):
        raise UserError(
            f"{target}: was made on a trunk with other weights than {model.config._name_or_path}."
        )
    tensors = load_file(str(target / "adapter_model.safetensors"))
    start = f"{_START}{model.base_model_prefix}."
    lora = {n.removeprefix(start): t for n, t in tensors.items() if ".lora_" in n}
    names = {name.rpartition(".lora_")[0].rpartition(".")[2] for name in lora}
    settings = Lora(rank=int(config["r"]), alpha=float(config["lora_alpha"]), targets=tuple(sorted(names)))
    adapter = Adapter(model.base_model, settings, seed=0)
    wanted = {f"{key.replace('/', '.')}.lora_{m}.weight" for key in adapter.A for m in "AB"}
    if wanted != set(lora):
        raise UserError(
            f"{target}: its matrices are not those of the trunk; "
            f"the first that differs is {sorted(wanted ^ set(lora))[0]}."
        )
    with torch.no_grad():
        for key in adapter.A:
            adapter.A[key].copy_(lora[f"{key.replace('/', '.')}.lora_A.weight"])
            adapter.B[key].copy_(lora[f"{key.replace('/', '.')}.lora_B.weight"])
    return adapter, tensors.get(f"{_START}score.weight")
