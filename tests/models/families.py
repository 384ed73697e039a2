"""Tiny random models of the families that people bring."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import (
    AutoModelForCausalLM,
    BloomConfig,
    CohereConfig,
    FalconConfig,
    Gemma2Config,
    Gemma3TextConfig,
    GemmaConfig,
    GPT2Config,
    GPTNeoXConfig,
    GraniteConfig,
    LlamaConfig,
    MambaConfig,
    MistralConfig,
    MptConfig,
    Olmo2Config,
    OPTConfig,
    Phi3Config,
    PhiConfig,
    PretrainedConfig,
    Qwen2Config,
    Qwen3Config,
    SmolLM3Config,
    Starcoder2Config,
)

VOCABULARY = 48
CONTEXT = 64
WINDOWS = (9, 16)
SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": CONTEXT,
    "initializer_range": 0.3,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
GROUPED = {**SIZES, "num_key_value_heads": 1}
LONG = {"rope_type": "longrope", "rope_theta": 100.0}
LONG |= {"short_factor": [1.0] * 4, "long_factor": [2.0] * 4, "original_max_position_embeddings": 20}
GEMMA = {**GROUPED, "head_dim": 8}

FAMILIES: dict[str, Callable[[], PretrainedConfig]] = {
    "llama": lambda: LlamaConfig(**GROUPED),
    "qwen2": lambda: Qwen2Config(**GROUPED),
    "qwen3": lambda: Qwen3Config(**GROUPED, head_dim=8),
    "mistral": lambda: MistralConfig(**GROUPED, sliding_window=WINDOWS[1]),
    "gemma": lambda: GemmaConfig(**GEMMA),
    "gemma2": lambda: Gemma2Config(
        **GEMMA,
        sliding_window=WINDOWS[0],
        query_pre_attn_scalar=8,
        final_logit_softcapping=2.0,
        attn_logit_softcapping=2.0,
    ),
    "gemma3": lambda: Gemma3TextConfig(
        **GEMMA,
        sliding_window=WINDOWS[0],
        query_pre_attn_scalar=8,
        layer_types=["sliding_attention", "full_attention"],
    ),
    "phi": lambda: PhiConfig(**SIZES, partial_rotary_factor=0.5),
    "phi3": lambda: Phi3Config(**GROUPED, original_max_position_embeddings=20, rope_parameters=LONG),
    "olmo2": lambda: Olmo2Config(**GROUPED),
    "gpt2": lambda: GPT2Config(**SIZES),
    "gpt_neox": lambda: GPTNeoXConfig(**SIZES),
    "opt": lambda: OPTConfig(**SIZES, ffn_dim=24, word_embed_proj_dim=16, init_std=0.3),
    "falcon": lambda: FalconConfig(**SIZES),
    "falcon with alibi": lambda: FalconConfig(**SIZES, alibi=True),
    "granite": lambda: GraniteConfig(**GROUPED, logits_scaling=4.0),
    "cohere": lambda: CohereConfig(**GROUPED, logit_scale=0.25),
    "starcoder2": lambda: Starcoder2Config(**GROUPED, sliding_window=None),
    "smollm3": lambda: SmolLM3Config(**GROUPED),
}
WITHOUT_SCALAR = ("granite", "cohere")  # transformers has no class of one label for it, and stages say so
ENDS: dict[str, Any] = {"vocab_size": VOCABULARY, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
# No answers can be sampled from these in batches, and stages that would say so before anything is made.
UNSAMPLED: dict[str, Callable[[], PretrainedConfig]] = {
    "bloom": lambda: BloomConfig(**ENDS, hidden_size=16, n_layer=2, n_head=2),
    "mpt": lambda: MptConfig(**ENDS, d_model=16, n_layers=2, n_heads=2, max_seq_len=CONTEXT),
    "mamba": lambda: MambaConfig(**ENDS, hidden_size=16, num_hidden_layers=2, state_size=4),
}


@contextmanager
def double() -> Iterator[None]:
    """Models of float64 compute in it all the way: transformers makes norms and softmax in float32, where
    the gradient of a prompt read once and the sum of the gradients of its copies round differently.
    """
    to, narrow, softmax = Tensor.to, Tensor.float, F.softmax

    def wider(x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if x.dtype == torch.float64:
            args = tuple(torch.float64 if one is torch.float32 else one for one in args)
        return to(x, *args, **kwargs)

    def soft(x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if x.dtype == torch.float64 and kwargs.get("dtype") is torch.float32:
            kwargs["dtype"] = torch.float64
        return softmax(x, *args, **kwargs)

    with (
        patch.object(Tensor, "to", wider),
        patch.object(Tensor, "float", lambda x: x if x.dtype == torch.float64 else narrow(x)),
        patch.object(F, "softmax", soft),
    ):
        yield


def causal(family: str, dtype: torch.dtype = torch.float64, seed: int = 0) -> Any:
    """A random policy."""
    torch.manual_seed(seed)
    return AutoModelForCausalLM.from_config(FAMILIES[family](), dtype=dtype).eval()
