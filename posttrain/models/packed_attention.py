"""Attention of transformers' models over a line of packed rows (``prefix_tree``), without padding, where a
shared prefix is computed once.

It is registered as one of transformers' attention implementations (``AttentionInterface``) and is theirs
(``sdpa``) wherever no line is set, so such a model generates and is saved as before. The line is an argument
of the forward, carried in the context like an adapter (``lora.use_adapter``).
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedConfig, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from posttrain.models.frozen import reads_in
from posttrain.models.prefix_tree import PrefixTree, build_tree, sort_by_prefix
from posttrain.models.short_attention import attention
from posttrain.models.varlen import at_once, takes

NAME = "posttrain"
_UNLIMITED = 1 << 62
_MORE = ("softcap", "position_bias", "s_aux")  # what a model may do to its scores: nothing here does it
_line: ContextVar[PrefixTree | None] = ContextVar("line of rows", default=None)


@contextmanager
def packed_context(tree: PrefixTree | None) -> Iterator[None]:
    """Forwards inside read ``tree.tokens`` as the rows they are; None: as they stand."""
    token = _line.set(tree)
    try:
        yield
    finally:
        _line.reset(token)


def line() -> PrefixTree | None:
    """What is in force."""
    return _line.get()


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """query [1, H, N, E], key and value [1, K, N, E] of a line of N tokens to [1, N, H, E].

    Tokens behind the line that is in force see nothing, and nobody sees them. Raises NotImplementedError in a
    line for a model that does more to its scores than scale them.
    """
    tree = _line.get()
    if tree is None:
        out, _ = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **others
        )
        return out, None
    if more := [name for name in _MORE if others.get(name) is not None]:
        raise NotImplementedError(f"attention with {', '.join(more)} in a line of rows")
    kind = value.dtype  # under autocast the rotation of queries and keys has widened them
    count, real = query.shape[2], sum(tree.sizes)
    q, k, v = (x[0].transpose(0, 1)[:real].to(kind) for x in (query, key, value))  # [N, heads, E]
    if takes(q.device, kind, q.shape[2]):
        done = [at_once(q, k, v, tree.varlen_index, scaling)]
    else:
        done = _by_block(q, k, v, tree, scaling)
    if count > real:
        done.append(q.new_zeros(count - real, *q.shape[1:]))
    return torch.cat(done)[None], None


def _by_block(q: Tensor, k: Tensor, v: Tensor, tree: PrefixTree, scaling: float | None) -> list[Tensor]:
    """q, k and v [N, heads, E] of a line to [N, H, E]."""
    if q.shape[1] != k.shape[1]:
        k, v = (x.repeat_interleave(q.shape[1] // k.shape[1], 1) for x in (k, v))
    at = tree.fetched
    shapes = [block.shape for block in tree.blocks]
    queries = _each(q, at.queries, shapes)
    sees = [(block.shape[0], block.width) for block in tree.blocks]
    keys, values = (_each(x, at.keys, sees) for x in (k, v))
    done = []
    for block, query, key, value in zip(tree.blocks, queries, keys, values, strict=True):
        out = attention(query, key, value, block.mask(q.dtype), scaling)
        done.append(out.transpose(1, 2).flatten(0, 1))
    return done if at.real is None else [torch.cat(done).index_select(0, at.real)]


def _each(x: Tensor, places: Tensor | None, shapes: list[tuple[int, int]]) -> list[Tensor]:
    """[N, H, E] of the line, fetched from ``places``, as [b, H, n, E] for each of the blocks' (b, n)."""
    whole = x if places is None else x.index_select(0, places)
    parts = whole.split([b * n for b, n in shapes])
    return [
        part.view(*shape, *x.shape[1:]).transpose(1, 2) for part, shape in zip(parts, shapes, strict=True)
    ]


def _mask(*args: Any, **kwargs: Any) -> Tensor | None:
    return None if _line.get() is not None else sdpa_mask(*args, **kwargs)


AttentionInterface.register(NAME, attend)
AttentionMaskInterface.register(NAME, _mask)


def packs(trunk: nn.Module) -> int:
    """The longest row for which the trunk computes the same packed and alone; 0 for a trunk that cannot pack.

    A trial with a few tokens decides, once for each trunk. Trunks whose attention has more than scaled scores
    (soft-capping, biases, sinks) cannot pack, whatever the trial shows. The packed attention has no sliding
    window, so rows must be shorter than the model's. The trial holds for longer rows, because no row is
    longer than the length at which positions change (``positions``).
    """
    longest = getattr(trunk, "_packs", None)
    if longest is None:
        model = cast(PreTrainedModel, trunk)
        longest = _window(model.config) if _reads_lines(model) else 0
        trunk._packs = longest  # type: ignore[assignment]
    return int(longest)


def in_one_call(trunk: nn.Module, device: torch.device, compute: torch.dtype | None) -> bool:
    """Whether all rows of a line attend together, as they must where calls are dear: on a GPU."""
    model = cast(PreTrainedModel, trunk)
    config = model.config
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return takes(device, compute or reads_in(model), width)


def _window(config: PreTrainedConfig) -> int:
    limits = (getattr(config, name, None) for name in ("sliding_window", "attention_chunk_size"))
    return min((int(limit) for limit in limits if limit), default=_UNLIMITED)


def _reads_lines(trunk: PreTrainedModel) -> bool:
    if getattr(trunk.config, "_attn_implementation", None) != "sdpa":
        return getattr(trunk.config, "_attn_implementation", None) == NAME
    if "position_ids" not in inspect.signature(trunk.forward).parameters:
        return False
    trunk.set_attn_implementation(NAME)
    with suppress(NotImplementedError):
        if trunk.config._attn_implementation == NAME and _equal_in_a_line(trunk):
            return True
    trunk.set_attn_implementation("sdpa")
    warnings.warn(
        f"this {trunk.config.model_type} reads a row among others otherwise than alone, so rows are padded: "
        "the same results, slower",
        stacklevel=2,
    )
    return False


@torch.no_grad()
def _equal_in_a_line(trunk: PreTrainedModel) -> bool:
    weight = cast(nn.Embedding, trunk.get_input_embeddings()).weight
    words = [i % weight.shape[0] for i in range(1, 12)]
    rows = [words[:5] + words[6:8], words[:8], words[8:]]
    order, shared = sort_by_prefix(rows)
    rows = [rows[i] for i in order]
    tree = build_tree(rows, shared, weight.device)
    with packed_context(tree):
        line = trunk(
            input_ids=tree.tokens[None], position_ids=tree.positions[None], use_cache=False
        ).last_hidden_state[0]
    longest = max(map(len, rows))
    padded = torch.tensor([[*row, *[0] * (longest - len(row))] for row in rows], device=weight.device)
    alone = trunk(input_ids=padded, use_cache=False).last_hidden_state  # what is read does not look right
    return all(
        _close(line[path], states[: len(row)])
        for row, states, path in zip(rows, alone, tree.paths, strict=True)
    )


def _close(states: Tensor, others: Tensor) -> bool:
    """Whether the states [n, D] of n tokens differ by rounding alone.

    Rounding is in proportion to a state's largest numbers, which in trained models are hundreds of times its
    others, so states are compared whole. Single tokens that training rarely saw amplify it tenfold (2.6e-4 in
    a tuned SmolLM2, near the bound of 3.5e-4), so the mean over the tokens decides.
    """
    near = torch.finfo(states.dtype).eps ** 0.5
    sizes = others.norm(dim=-1).clamp_min(torch.finfo(states.dtype).tiny)  # 0 of a padding token
    return bool(((states - others).norm(dim=-1) / sizes).mean() <= near)
