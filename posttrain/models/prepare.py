"""What is done to a loaded model before roles read it and learn on it. Roles, policies and adapters change
nothing of a model when they are made."""

from __future__ import annotations

from transformers import PreTrainedModel

from posttrain.models.fast_layers import use_fast_kernels
from posttrain.models.lora import attach, checkpoint_activations
from posttrain.models.packed_attention import packs


def prepare(model: PreTrainedModel, *, adapters: bool = False, recompute: bool = False) -> PreTrainedModel:
    """The model itself, made ready in this order:

    1. fast kernels: its modules compute in fewer passes, with the same weights, names and hooks;
    2. with ``adapters``, every matrix of its trunk asks at each call which adapter is in use;
    3. the packing trial: a few tokens are read in one line and as rows, by the code that will read them;
    4. with ``recompute``, layers keep their input alone for the backward pass.

    A trunk that is held in fewer bits is held before (``place.held``), where the trial comes first because
    its numbers then differ. A model that is to be copied is copied before it recomputes. A step that was
    done is not done again, so whoever is given a model may prepare it.
    """
    trunk = model.base_model
    use_fast_kernels(trunk)
    if adapters:
        attach(trunk)
    packs(trunk)
    if recompute:
        checkpoint_activations(model)
    return model
