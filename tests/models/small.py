"""Tiny Llama and GPT-2 models and a tokenizer, made on the spot: nothing is downloaded."""

from __future__ import annotations

import copy
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, pre_tokenizers, trainers
from tokenizers import models as tokenizer_models
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    GPT2Config,
    LlamaConfig,
    PretrainedConfig,
    PreTrainedTokenizerFast,
)

from posttrain.storage.token_rows import TokenRow

VOCABULARY = 320
MARKED = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}{{ '<|assistant|>' }}"
    "{% generation %}{{ message['content'] + '<|end|>' }}{% endgeneration %}"
    "{% else %}{{ '<|user|>' + message['content'] + '<|end|>' }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


def llama() -> PretrainedConfig:
    """Grouped-query attention and tied embeddings."""
    return LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=128,
        tie_word_embeddings=True,
        pad_token_id=1,
    )


def gpt2() -> PretrainedConfig:
    """Learned positions, biases, matrices stored as [in, out]; dropout as GPT-2 has it."""
    return GPT2Config(
        vocab_size=VOCABULARY,
        n_embd=16,
        n_layer=2,
        n_head=2,
        n_positions=128,
        pad_token_id=1,
        bos_token_id=0,
        eos_token_id=4,
    )


CONFIGS = {"llama": llama, "gpt2": gpt2}


def causal(config: PretrainedConfig, *, seed: int = 0, dtype: torch.dtype = torch.float64) -> Any:
    """A random policy."""
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config, dtype=dtype).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(4.0)  # far from uniform, so that a mistake shows
    return model


def scalar(config: PretrainedConfig, *, seed: int = 1, dtype: torch.dtype = torch.float64) -> Any:
    """A random critic or reward model."""
    config = copy.deepcopy(config)
    config.num_labels = 1
    torch.manual_seed(seed)
    return AutoModelForSequenceClassification.from_config(config, dtype=dtype).eval()


def rows(count: int = 7, *, temperature: float = 0.7, seed: int = 3) -> list[TokenRow]:
    """Conversations of 5 to 18 tokens, with gaps in what the assistant says, as a tool's answer leaves
    them.
    """
    generator = torch.Generator().manual_seed(seed)
    made = []
    for _ in range(count):
        n = int(torch.randint(5, 19, (1,), generator=generator))
        ids = torch.randint(5, VOCABULARY, (n,), generator=generator).tolist()
        mask = [False] * 2 + [i % 5 != 1 for i in range(n - 2)]
        made.append(TokenRow(ids=ids, mask=mask, temperature=temperature))
    return made


def tokenizer(template: str | None = MARKED, **special: str | None) -> PreTrainedTokenizerFast:
    """A byte-level BPE of ``VOCABULARY`` tokens with its own pad, and a chat template with markers."""
    names = ["<|endoftext|>", "<|pad|>", "<|user|>", "<|assistant|>", "<|end|>"]
    bpe = Tokenizer(tokenizer_models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=names,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(["the cat sat on the mat, and where is the other cat?"] * 3, trainer)
    tokens = {"bos_token": "<|endoftext|>", "eos_token": "<|end|>", "pad_token": "<|pad|>", **special}
    made = PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        extra_special_tokens=["<|user|>", "<|assistant|>"],
        clean_up_tokenization_spaces=False,
        **{name: token for name, token in tokens.items() if token is not None},
    )
    made.chat_template = template
    return made
