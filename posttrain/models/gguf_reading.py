"""GGUF files read by transformers."""

from __future__ import annotations

import io
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from posttrain.models.loading import without_bars, without_dropout


def read_gguf(file: Path) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The model of a GGUF file in float32, whatever its tensors are kept in, and its tokenizer.

    Factors of positions (``rope_freqs.weight``, Llama 3's longer contexts), which transformers passes over,
    are set in the model that is returned; its config does not say them.
    """
    import gguf

    with without_bars(), redirect_stderr(io.StringIO()):  # the bar of the tensors obeys no setting
        tokenizer = AutoTokenizer.from_pretrained(str(file.parent), gguf_file=file.name)
        model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
            str(file.parent), gguf_file=file.name, dtype=torch.float32
        )
    for tensor in gguf.GGUFReader(str(file)).tensors:
        if tensor.name == "rope_freqs.weight":
            rotary: Any = model.base_model.rotary_emb
            for frequencies in (rotary.inv_freq, rotary.original_inv_freq):
                frequencies.div_(torch.tensor(tensor.data))
    return without_dropout(model), tokenizer
