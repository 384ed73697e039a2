"""How long a row may be before its length changes what a model reads at every position of a batch.

Longrope (Phi-3) and dynamic NTK choose their rotary factors by the longest row of a batch. Beyond a model's
original context an update would then depend on how rows are split, padded and ordered, and a sampler that
reads a row token by token would say something else than the trainer. Rows are therefore limited to the length
up to which the table stays one table. It is not fixed beyond that: a long row read with the short factors is
not what the saved model does anywhere else, and short rows read with the long factors are not either. Who
needs longer rows states one table for all lengths in config.json.

The tables are asked, whatever they are called: do the factors of a short row stay the same beside a long one?
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from posttrain.pipeline.finding import UserError

UNLIMITED = 1 << 62
_SHORT = 8  # tokens of the row that is looked at
_FURTHEST = 1 << 24  # positions are float32 inside a table
_FOLLOWS = "a longer one changes the rotary factors of every row beside it"
_LEARNED = "it has learned no position beyond"
FIX = "or state one table for all lengths in the model's config.json (docs/models.md)"


@dataclass(frozen=True)
class RowLimit:
    """Tokens that a row may have, and why no more."""

    tokens: int = UNLIMITED
    why: str = ""
    follows: bool = False  # factors that are there beyond it, and depend on the longest row


def row_limit(trunk: nn.Module) -> RowLimit:
    """The row limit of a trunk, computed once; the trunk's tables are not changed."""
    limit = getattr(trunk, "_row_limit", None)
    if limit is None:
        limit = trunk._row_limit = _limit(trunk)  # type: ignore[assignment]
    return limit  # type: ignore[no-any-return]


def row_limit_of(directory: Path) -> RowLimit:
    """The same of a model on disk, of which no weight is read."""
    config = AutoConfig.from_pretrained(directory, trust_remote_code=False)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    return _limit(model.base_model)


def context_at(directory: Path) -> int:
    """Tokens that a model on disk was made for; ``UNLIMITED`` where its config states none."""
    config = AutoConfig.from_pretrained(directory, trust_remote_code=False)
    return int(getattr(config, "max_position_embeddings", None) or UNLIMITED)


def context_of(model: PreTrainedModel) -> int:
    """Tokens of prompt and answer together: the model's context, as far as its positions stay the same."""
    return min(int(model.config.max_position_embeddings), row_limit(model.base_model).tokens)


def check_rows(trunk: nn.Module, longest: int) -> None:
    """Raises UserError where a row of so many tokens cannot be read as it would be read alone."""
    limit = row_limit(trunk)
    if longest > limit.tokens:
        raise UserError(
            f"a row has {longest} tokens, the model reads at most {limit.tokens}: {limit.why}; lower "
            f"max_length and max_completion_length{', ' + FIX if limit.follows else ''}"
        )


def _limit(trunk: nn.Module) -> RowLimit:
    tables = list(_tables(trunk))
    rotary = min((_turning_point(*table) for table in tables), default=UNLIMITED)
    if rotary < UNLIMITED:
        return RowLimit(rotary, _FOLLOWS, follows=True)
    context = int(getattr(trunk.config, "max_position_embeddings", None) or 0)
    words = trunk.get_input_embeddings()  # type: ignore[operator]
    learned = any(
        isinstance(module, nn.Embedding) and module is not words and 0 <= module.num_embeddings - context < 8
        for module in (trunk.modules() if context and not tables else ())
    )
    return RowLimit(context, _LEARNED) if learned else RowLimit()


def _tables(trunk: nn.Module) -> Iterator[tuple[nn.Module, dict[str, str]]]:
    """Modules that make factors of positions from nothing learned, and how else each is to be asked."""
    for module in trunk.modules():
        names = inspect.signature(module.forward).parameters
        if "position_ids" not in names or any(True for _ in module.parameters()):
            continue
        config = getattr(module, "config", trunk.config)
        kinds = sorted(set(getattr(config, "layer_types", None) or ())) if "layer_type" in names else [None]
        if any(x.device.type == "meta" for x in module.buffers()):
            module = type(module)(config)
        yield from ((module, {} if kind is None else {"layer_type": kind}) for kind in kinds)


def _turning_point(table: nn.Module, asked: dict[str, str]) -> int:
    """The longest row beside which a short one is read as it is alone."""
    first = _factors(table, asked, 0)
    if _same(first, _factors(table, asked, _FURTHEST)):
        return UNLIMITED
    low, high = 0, _FURTHEST  # the last position that changes nothing, and one that does
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _same(first, _factors(table, asked, middle)) else (low, middle)
    return high


def _factors(table: nn.Module, asked: dict[str, str], furthest: int) -> list[Tensor]:
    """Of a row of a few tokens, beside one that ends at position ``furthest``."""
    config = getattr(table, "config", None)
    fresh = copy.deepcopy(table, {id(config): config})  # some tables keep what they were asked last
    device = next((x.device for x in table.buffers()), torch.device("cpu"))
    step = torch.arange(_SHORT, device=device)
    positions = torch.stack([step, (furthest - step).clamp_min(0).flip(0)])
    made = fresh(torch.zeros(2, _SHORT, 1, device=device), position_ids=positions, **asked)
    return [one[0] for one in (made if isinstance(made, tuple | list) else [made])]


def _same(some: list[Tensor], others: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(some, others, strict=True))
