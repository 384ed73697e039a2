"""A role: a trunk, an adapter and a head. It is an argument of every forward, never a state of a module."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from posttrain.core.logit_transform import LogitTransform
from posttrain.kernels.matmul import rows_to_add
from posttrain.models.head import transform_of
from posttrain.models.lora import Adapter, use_adapter
from posttrain.models.packed_attention import packed_context, packs
from posttrain.models.prefix_tree import PrefixTree
from posttrain.models.sub_batches import SubBatch


@dataclass(frozen=True, eq=False)
class Role:
    """``trunk`` with ``adapter`` (None: without) maps tokens to hidden states; ``head`` is a matrix on top.

    The head of a policy is [V, D], of a critic or a reward model [1, D]. ``compute_dtype`` is the type of the
    trunk's matrix products where it is shorter than the weights'; gradients and head keep the weights' type.
    """

    trunk: nn.Module
    head: nn.Linear
    adapter: Adapter | None = None
    compute_dtype: torch.dtype | None = None

    @property
    def device(self) -> torch.device:
        """The device of the head."""
        return self.head.weight.device

    @property
    def transform(self) -> LogitTransform:
        """What the trunk's model does to its logits, such as soft-capping; unused for a head of one label."""
        return transform_of(cast(PreTrainedModel, self.trunk).config)

    def hidden(self, tokens: Tensor, tree: PrefixTree | None = None) -> Tensor:
        """[b, L] tokens padded on the right to [b, L, D]. Causal attention never looks right, so no mask
        is needed. With a ``tree`` the tokens are its line, [1, N].
        """
        where, count = {}, tokens.shape[1]
        if tree is not None:  # padding after the line, which causal attention does not see
            more = rows_to_add(count, tokens.device)
            tokens = F.pad(tokens, (0, more))
            where = {"position_ids": F.pad(tree.positions, (0, more))[None]}
        short = (
            nullcontext()
            if self.compute_dtype is None
            else torch.autocast(self.device.type, dtype=self.compute_dtype)
        )
        with use_adapter(self.adapter), packed_context(tree), short:
            out: Tensor = self.trunk(input_ids=tokens, use_cache=False, **where).last_hidden_state
        return out[:, :count]

    def states(self, part: SubBatch) -> Tensor:
        """[S, D] of a sub-batch."""
        return self.hidden(part.tokens.to(self.device), part.tree).flatten(0, 1)

    def scalar(self, hidden: Tensor) -> Tensor:
        """[N, D] to [N] through a head of one row, in at least float32."""
        return precise(hidden) @ precise(self.head.weight)[0]

    def shares_forward_with(self, other: Role) -> bool:
        """Whether both see the same hidden states, so that one forward serves both."""
        return (self.trunk, self.adapter, self.compute_dtype) == (
            other.trunk,
            other.adapter,
            other.compute_dtype,
        )

    def parameters(self) -> list[nn.Parameter]:
        """The trainable parameters of this role: its adapter or the whole trunk, and its head; each once."""
        of_trunk = (self.trunk if self.adapter is None else self.adapter).parameters()
        parameters = {id(p): p for p in (*of_trunk, *self.head.parameters()) if p.requires_grad}
        return list(parameters.values())


def precise(x: Tensor) -> Tensor:
    """At least float32: scores in half precision tie."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def role_of(model: PreTrainedModel | Role, compute_dtype: torch.dtype | None = None) -> Role:
    """The plain role of a transformers model: a causal language model, or one with a single label."""
    if isinstance(model, Role):
        return model
    head = model.score if hasattr(model, "score") else model.get_output_embeddings()
    return Role(model.base_model, cast(nn.Linear, head), compute_dtype=compute_dtype)


def frozen_role_of(model: PreTrainedModel, compute_dtype: torch.dtype | None = None) -> Role:
    """The role of a model that is never trained.

    With a ``compute_dtype`` its trunk holds its matrices in that type, in which they would be multiplied
    anyway: the results have the same bits, and the memory is little more than half.
    """
    role = role_of(model.requires_grad_(False), compute_dtype)
    if compute_dtype is not None:
        packs(role.trunk)  # its trial must run before the weights are rounded
        for module in role.trunk.modules():
            if isinstance(module, nn.Linear | Conv1D):
                module.to(compute_dtype)
    return role
