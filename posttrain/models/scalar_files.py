"""What is known of a one-label model from its directory, and how one is written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import AutoConfig, PreTrainedModel, PreTrainedTokenizerBase

from posttrain.models.adapter_files import fits, save_adapter
from posttrain.models.cutting import cut
from posttrain.models.loading import save_reward_model, scalar_model
from posttrain.models.lora import merged
from posttrain.models.reading import CONFIG_KEY, MEAN, Reading, layers_of
from posttrain.models.role import Role
from posttrain.pipeline.finding import UserError

Source = str | Path


def is_scalar(source: Source) -> bool:
    return str((read_config(source).get("architectures") or [""])[0]).endswith("ForSequenceClassification")


def read_config(source: Source) -> dict[str, Any]:
    """A model's config as JSON; empty where it cannot be read, which the loader reports."""
    config = Path(source) / "config.json"
    if config.is_file():
        return dict(json.loads(config.read_text("utf-8")))
    if Path(source).exists() or not isinstance(source, str):
        return {}
    return dict(AutoConfig.from_pretrained(source, trust_remote_code=False).to_dict())


def cut_as(source: Source, model: PreTrainedModel) -> PreTrainedModel:
    """``model`` with as many layers as the reward model ``source`` has, so that its adapter fits; the whole
    model for any other source.
    """
    layers = layers_of(read_config(source)) if is_scalar(source) else 0
    return cut(model, layers) if 0 < layers < int(model.config.num_hidden_layers) else model


def as_it_was(model: PreTrainedModel) -> PreTrainedModel:
    """The model before its trunk was held in fewer bits, with as many layers as it has now; the model itself
    where it is held as it was loaded.
    """
    again = getattr(model, "_again", None)
    return model if again is None else cut(again(), int(model.config.num_hidden_layers))


def shares(source: Source, model: PreTrainedModel) -> bool:
    return fits(Path(source) / "adapter", model.base_model)


def head_of(weight: Tensor, model: PreTrainedModel) -> nn.Linear:
    head = nn.Linear(weight.shape[1], 1, bias=False, device=model.device, dtype=weight.dtype)
    with torch.no_grad():
        head.weight.copy_(weight)
    return head


def head_as_written(directory: Path, model: Any, head: Any) -> bool | None:
    """Whether the ``head`` of a model that was loaded from ``directory`` equals the file's; None where the
    file has it under another name, or is not safetensors.
    """
    from safetensors import safe_open

    weight = head.weight
    name = next((name for name, parameter in model.named_parameters() if parameter is weight), "")
    for file in sorted(directory.glob("*.safetensors")):
        with safe_open(file, framework="pt") as written:
            if name in written.keys():  # noqa: SIM118
                return torch.equal(written.get_tensor(name).to(weight), weight.detach())
    return None


def save_scalar(
    directory: Path, role: Role, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
) -> None:
    """A scalar role as a plain model with one label; ``model`` is the one whose trunk it goes through."""
    if role.adapter is None:
        save_reward_model(directory, model, tokenizer)
        return
    plain = as_it_was(model)
    made = scalar_model(plain, tokenizer, seed=0)
    prefix = f"{model.base_model_prefix}."
    trunk = made.base_model.state_dict()
    with torch.no_grad():
        for name, tensor in merged(plain, role.adapter):
            if name.startswith(prefix):
                trunk[name.removeprefix(prefix)].copy_(tensor)
        cast(nn.Linear, made.score).weight.copy_(role.head.weight)
    save_reward_model(directory, made, tokenizer)
    save_adapter(directory / "adapter", model, role.adapter, head=role.head)


def reading_of(source: Source, wanted: Reading) -> Reading:
    """The recorded reading of a reward model. Raises UserError where ``wanted`` is another one."""
    config = read_config(source)
    recorded = Reading(layer=layers_of(config), mean=config.get(CONFIG_KEY) == MEAN)
    if wanted != Reading() and (wanted.mean, wanted.layer or recorded.layer) != (
        recorded.mean,
        recorded.layer,
    ):
        raise UserError(
            f"{source} is a reward model that is read after layer {recorded.layer}, mean={recorded.mean}; "
            f"expected no other reading than that, found layer={wanted.layer}, mean={wanted.mean}"
        )
    return recorded
