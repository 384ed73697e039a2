"""A model without its upper layers: the lower ones are the same modules, so weights and hooks are shared."""

from __future__ import annotations

import copy
from typing import Any

from torch import nn
from transformers import PreTrainedModel

from posttrain.models.packed_attention import packs
from posttrain.pipeline.finding import UserError

_A_LAYER_EACH = ("layer_types", "attention_layers", "no_rope_layers")  # lists in configs, an entry a layer


def cut(model: PreTrainedModel, layers: int) -> PreTrainedModel:
    """``model`` with the first ``layers`` layers of its trunk and the final norm; 0 is the model itself.

    The result has its own modules and config, and shares the layers with ``model``. Raises UserError for more
    layers than there are, and for a trunk whose layers are not one list.
    """
    whole = int(model.config.num_hidden_layers)
    if layers in (0, whole):
        return model
    if layers > whole:
        raise UserError(f"reading.layer is {layers}, but the model has {whole} layers")
    packs(model.base_model)  # tried on the whole trunk, whose layers share what it finds
    made, trunk = _alone(model), _alone(model.base_model)
    made.config = trunk.config = copy.deepcopy(model.config)
    made.config.num_hidden_layers = layers
    for name in _A_LAYER_EACH:
        if isinstance(listed := getattr(made.config, name, None), list):
            setattr(made.config, name, listed[:layers])
    name = _list_of_layers(trunk, whole)
    trunk._modules[name] = trunk._modules[name][:layers]
    made._modules[model.base_model_prefix] = trunk
    return made


def _alone(module: nn.Module) -> Any:
    """A copy that shares children, but whose own set of them may be changed."""
    made = copy.copy(module)
    made._modules = dict(module._modules)
    return made


def _list_of_layers(trunk: nn.Module, layers: int) -> str:
    lists = [
        name
        for name, child in trunk._modules.items()
        if isinstance(child, nn.ModuleList) and len(child) == layers
    ]
    if len(lists) != 1:
        raise UserError(
            f"the layers of {type(trunk).__name__} are not one list, so it cannot be cut; use reading.layer=0"
        )
    return lists[0]
