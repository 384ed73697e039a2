"""A role: one way through a trunk to one head. It is an argument of every forward, never a state of a
module.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.pytorch_utils import Conv1D

from posttrain.core.logit_transform import LogitTransform
from posttrain.kernels.matmul import rows_to_add
from posttrain.models.head import transform_of
from posttrain.models.lora import Adapter, wearing
from posttrain.models.packed_attention import lined_up, packs
from posttrain.models.sub_batches import SubBatch
from posttrain.models.tree import Tree


@dataclass(frozen=True, eq=False)
class Role:
    """``trunk`` maps tokens to hidden states wearing ``adapter`` (None: as it is), ``head`` is a matrix
    on top.

    The head of a policy is [V, D], of a critic or a reward model [1, D]. ``compute`` is the type of the
    trunk's matrix products where it is shorter than that of the weights: they, their gradients and the head
    stay as they are.
    """

    trunk: Any
    head: Any
    adapter: Adapter | None = None
    compute: torch.dtype | None = None

    @property
    def device(self) -> torch.device:
        """Where its head is."""
        found: torch.device = self.head.weight.device
        return found

    @property
    def transform(self) -> LogitTransform:
        """What the model of this trunk does to the logits of its words; a head of one label is as it is."""
        return transform_of(self.trunk.config)

    def hidden(self, tokens: Tensor, tree: Tree | None = None) -> Tensor:
        """[b, L] tokens padded on the right to [b, L, D]. Causal attention never looks right, so no mask
        is needed. With a ``tree`` the tokens are its line, [1, N].
        """
        where, count = {}, tokens.shape[1]
        if tree is not None:  # what is added stands behind the line, where nobody looks
            more = rows_to_add(count, tokens.device)
            tokens = F.pad(tokens, (0, more))
            where = {"position_ids": F.pad(tree.positions, (0, more))[None]}
        short = (
            nullcontext() if self.compute is None else torch.autocast(self.device.type, dtype=self.compute)
        )
        with wearing(self.adapter), lined_up(tree), short:
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
        return (self.trunk, self.adapter, self.compute) == (other.trunk, other.adapter, other.compute)

    def parameters(self) -> list[nn.Parameter]:
        """What an optimizer may move for this role: its adapter, or the whole trunk, and its head; each
        once.
        """
        own = (self.trunk if self.adapter is None else self.adapter).parameters()
        found = {id(p): p for p in (*own, *self.head.parameters()) if p.requires_grad}
        return list(found.values())


def precise(x: Tensor) -> Tensor:
    """At least float32: scores in half precision tie."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def role_of(model: Any, compute: torch.dtype | None = None) -> Role:
    """The plain role of a transformers model: a causal language model, or one with a single label."""
    if isinstance(model, Role):
        return model
    head = model.score if hasattr(model, "score") else model.get_output_embeddings()
    return Role(model.base_model, head, compute=compute)


def still_role_of(model: Any, compute: torch.dtype | None = None) -> Role:
    """The role of a model that never learns.

    Under ``compute`` its trunk holds its matrices in that type. They would be read in it anyway, so nothing
    that it says changes, to the bit; it takes little more than half the memory and no time to convert.
    """
    role = role_of(model.requires_grad_(False), compute)
    if compute is not None:
        packs(role.trunk)  # finds it out by reading in the type of the weights, so before they differ
        for module in role.trunk.modules():
            if isinstance(module, nn.Linear | Conv1D):
                module.to(compute)
    return role
