"""What a model does to its logits: as its config says, and held against what the model does."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel

from posttrain.core.logit_transform import LogitTransform
from posttrain.pipeline.finding import UserError

_FACTORS = ("logit_scale", "lm_head_multiplier")  # Cohere, Falcon-H1
_DIVISORS = ("logits_scaling",)  # Granite
_CAP = "final_logit_softcapping"  # Gemma
_LOUD = 100.0  # logits so large that a cap, which a quiet model hides, shows


def transform_of(config: PreTrainedConfig) -> LogitTransform:
    """From the names that transformers' configs have for it."""
    scale = 1.0
    for name in _FACTORS:
        scale *= getattr(config, name, None) or 1.0
    for name in _DIVISORS:
        scale /= getattr(config, name, None) or 1.0
    return LogitTransform(scale, getattr(config, _CAP, None) or None)


def check_finite(model: PreTrainedModel, source: object) -> None:
    """Raises UserError for a weight that is no number."""
    for name, weight in model.named_parameters():
        if weight.is_floating_point() and not torch.isfinite(weight).all():
            raise UserError(
                f"{source}: {name} holds NaN or infinity, so all that the model says would be NaN. Its "
                "training went astray or the file is damaged; take an earlier one."
            )


@torch.no_grad()
def check_head(model: PreTrainedModel, source: object) -> None:
    """Log-probabilities are made from hidden states, the head's matrix and ``transform_of``: that must be all
    that the model does, for quiet logits and for loud ones. Raises UserError where it is not.
    """
    head, transform = model.get_output_embeddings(), transform_of(model.config)
    if head is None:
        raise UserError(
            f"{source}: {type(model).__name__} has no head over words; take a causal language model"
        )
    ids = torch.arange(4, device=model.device)[None]
    read: list[Tensor] = []
    made: list[Tensor] = []

    def louder(_: nn.Module, given: tuple[Tensor, ...], out: Tensor) -> Tensor:
        read.append(given[0])
        made.append(out * (_LOUD / (abs(transform.scale) * out.float().abs().max().clamp_min(1e-6))).to(out))
        return made[0]

    hooks = [
        model.base_model.register_forward_hook(lambda _, given, out: read.append(out.last_hidden_state)),
        head.register_forward_hook(louder),
    ]
    try:
        wanted = model(input_ids=ids, use_cache=False).logits
    finally:
        for hook in hooks:
            hook.remove()
    if len(read) < 2:  # some call a part of it
        read.append(model.base_model(input_ids=ids, use_cache=False).last_hidden_state)
    near = max(1e-3, 4 * torch.finfo(wanted.dtype).eps)
    same = made and all(
        torch.allclose(a.float(), b.float(), rtol=near, atol=near)
        for a, b in ((read[0], read[1]), (transform(made[0].float().clone()), wanted))
    )
    if not same:
        raise UserError(
            f"{source}: {type(model).__name__} makes its logits otherwise than by one matrix and the scaling "
            f"and soft-capping that its config states ({transform}), so no log-probability would be the "
            "model's; take a model of another family, or correct config.json"
        )
