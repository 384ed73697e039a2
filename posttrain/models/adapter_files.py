"""Adapters as peft directories: ``AutoPeftModelForCausalLM.from_pretrained(directory)`` reads what is written
here, on the base that it names.

An adapter is written against the model it fits: where that was itself made by an adapter and holds it merged,
both are written as one adapter of the model below. Beside peft's two files lies ``base.json``, the SHA-256 of
the trunk's weights: an adapter means nothing on another trunk, and nothing in peft's format would say so.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.pytorch_utils import Conv1D

from posttrain.models.lora import Adapter, Lora, merged
from posttrain.models.reading import is_mean, layers_of
from posttrain.pipeline.finding import UserError
from posttrain.pipeline.store import LOCATED

_START = "base_model.model."
_NOT_PLAIN = ("use_dora", "use_rslora", "rank_pattern", "alpha_pattern")
MERGED_ONLY = "merged only: load the directory that holds this one"  # no name of a model, so nothing loads it


def trunk_hash(trunk: nn.Module) -> str:
    """SHA-256 over the names, shapes and bytes of a trunk's weights, heads left out."""
    return _hash(sorted(trunk.state_dict().items()))


def _hash(tensors: Iterable[tuple[str, Tensor]]) -> str:
    """Of tensors in the order of their names, each let go before the next is asked for."""
    digest = hashlib.sha256()
    for name, tensor in tensors:
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
        del tensor
    return digest.hexdigest()


AdapterConfig = dict[str, Any]  # adapter_config.json of peft


def save_adapter(
    directory: str | Path,
    model: PreTrainedModel,
    adapter: Adapter,
    *,
    head: nn.Linear | None = None,
    plain: PreTrainedModel | None = None,
) -> None:
    """Writes the adapter of ``model`` (its trunk as it is, without the adapter), with the head of one
    label if given. ``plain`` is the model as it was loaded, where ``model`` holds it in fewer bits: what
    was saved of a policy is that one with the adapter.

    The base is where ``model`` was loaded from. A policy's adapter goes down to the nearest model that no
    adapter of posttrain made (``_below``). A reward model or critic names the model it grew from, and where
    peft could not read its score (layers cut off, a mean over tokens) it says ``MERGED_ONLY``.
    """
    target = Path(directory)
    target.mkdir(parents=True, exist_ok=True)
    trunk = trunk_hash(model.base_model)
    base = _absolute(str(model.config._name_or_path))
    settings: AdapterConfig = {"r": adapter.settings.rank, "lora_alpha": adapter.settings.alpha}
    tensors = {}
    for key in adapter.A:
        path = f"{_START}{model.base_model_prefix}.{key.replace('/', '.')}"
        tensors[f"{path}.lora_A.weight"] = adapter.A[key].detach().cpu().contiguous()
        tensors[f"{path}.lora_B.weight"] = adapter.B[key].detach().cpu().contiguous()
    note = {"trunk_sha256": trunk}
    if head is not None:
        tensors[f"{_START}score.weight"] = head.weight.detach().cpu().contiguous()  # type: ignore[union-attr, operator]
        base = base if _read_alike(model.config, base) else MERGED_ONLY
    else:
        plain = model if plain is None else plain
        loaded = trunk if plain is model else trunk_hash(plain.base_model)
        if (below := _below(Path(base), loaded)) is not None:
            tensors, settings["r"] = _sum((below[0], below[1]), (tensors, settings))
            settings["lora_alpha"] = float(settings["r"])
            base, note["trunk_sha256"] = below[1]["base_model_name_or_path"], below[2]
        prefix = f"{model.base_model_prefix}."
        whole = ((n.removeprefix(prefix), t) for n, t in merged(plain, adapter) if n.startswith(prefix))
        note["merged_sha256"] = _hash(whole)
    save_file(tensors, target / "adapter_model.safetensors")
    names = {name.rpartition(".lora_")[0].rpartition(".")[2] for name in tensors if ".lora_" in name}
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM" if head is None else "SEQ_CLS",
        "base_model_name_or_path": base,
        **settings,
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": sorted(names),
        "modules_to_save": None if head is None else ["score"],
        "fan_in_fan_out": any(isinstance(m, Conv1D) for m in model.base_model.modules()),
        "inference_mode": True,
    }
    (target / LOCATED).write_text(json.dumps(config, indent=2) + "\n", "utf-8")
    (target / "base.json").write_text(json.dumps({**note, **settings}) + "\n")


def _absolute(source: str) -> str:
    """A directory in full, since peft would look for it from wherever it is called; a hub name as it is."""
    path = Path(source).expanduser()
    return str(path.resolve()) if source and path.is_dir() else source


def _read_alike(config: PreTrainedConfig, base: str) -> bool:
    """Whether a plain classifier on the whole of ``base`` reads the score where it was trained."""
    whole = Path(base) / "config.json"
    layers = layers_of(json.loads(whole.read_text("utf-8"))) if whole.is_file() else layers_of(config)
    return not is_mean(config) and layers == layers_of(config)


def _below(model: Path, trunk: str) -> tuple[dict[str, Tensor], AdapterConfig, str] | None:
    """Of a model directory that is an adapter merged into another model: the adapter's tensors, its config
    and the hash of the trunk it fits. None for any other directory, and where the weights were changed since.
    """
    directory = model / "adapter"
    if not (directory / "base.json").is_file() or not (directory / LOCATED).is_file():
        return None
    note = json.loads((directory / "base.json").read_text("utf-8"))
    if note.get("merged_sha256") != trunk:
        return None
    config = json.loads((directory / LOCATED).read_text("utf-8"))
    return load_file(str(directory / "adapter_model.safetensors")), config, note["trunk_sha256"]


def _sum(
    *parts: tuple[Mapping[str, Tensor], AdapterConfig],
) -> tuple[dict[str, Tensor], int]:
    """Adapters of one trunk as one, and its rank, the sum of theirs; its alpha is its rank, so that nothing
    is scaled: ``[s1 B1, s2 B2] [A1; A2] = s1 B1 A1 + s2 B2 A2``. A matrix that only some of them change has
    zeros for the others.
    """
    rank = sum(int(config["r"]) for _, config in parts)
    made: dict[str, Tensor] = {}
    for path in sorted({name.rpartition(".lora_")[0] for tensors, _ in parts for name in tensors}):
        like = next(t for t, _ in parts if f"{path}.lora_A.weight" in t)
        low, high = like[f"{path}.lora_A.weight"], like[f"{path}.lora_B.weight"]
        a, b = low.new_zeros(rank, low.shape[1]), high.new_zeros(high.shape[0], rank)
        start = 0
        for tensors, config in parts:
            end = start + int(config["r"])
            if f"{path}.lora_A.weight" in tensors:
                scale = float(config["lora_alpha"]) / int(config["r"])
                a[start:end] = tensors[f"{path}.lora_A.weight"]
                b[:, start:end] = tensors[f"{path}.lora_B.weight"] * scale
            start = end
        made[f"{path}.lora_A.weight"], made[f"{path}.lora_B.weight"] = a, b
    return made, rank


def fits(directory: str | Path, trunk: nn.Module) -> bool:
    """Whether ``directory`` holds an adapter that was made on exactly this trunk."""
    note = Path(directory) / "base.json"
    return note.is_file() and json.loads(note.read_text()).get("trunk_sha256") == trunk_hash(trunk)


def load_adapter(directory: str | Path, model: PreTrainedModel) -> tuple[Adapter, Tensor | None]:
    """An adapter for the trunk of ``model``, and its head [1, D] where it has one.

    Raises UserError for what is not plain LoRA (DoRA, rank patterns, biases), a missing file, tensors
    that do not belong to this trunk, and a trunk other than the recorded one.
    """
    target = Path(directory)
    for name in (LOCATED, "adapter_model.safetensors"):
        if not (target / name).is_file():
            raise UserError(f"{target}: no {name}; expected a peft directory.")
    config = json.loads((target / LOCATED).read_text("utf-8"))
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
