"""What tests of several folders share: a tokenizer of single characters and a Llama that fits it."""

from __future__ import annotations

import os
import string

os.environ["OMP_NUM_THREADS"] = "1"  # a process has a core; and sums keep one order on every machine

import pytest
import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

for name in ("POSTTRAIN_WORKSPACE", "POSTTRAIN_DEBUG"):
    os.environ.pop(name, None)  # each test has a directory of its own, whatever the caller has set

SPECIAL = ("<bos>", "<pad>", "<user>", "<assistant>", "<end>")
TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'assistant' %}<assistant>"
    "{% generation %}{{ message['content'] }}<end>{% endgeneration %}"
    "{% else %}<user>{{ message['content'] }}<end>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


@pytest.fixture(scope="session")
def letters() -> PreTrainedTokenizerFast:
    """Every letter, digit and mark is a token; <end> ends an answer."""
    characters = string.ascii_letters + string.digits + " .,?!-\n"
    vocabulary = {token: number for number, token in enumerate([*SPECIAL, *characters])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    made = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<bos>",
        pad_token="<pad>",
        eos_token="<end>",
        additional_special_tokens=["<user>", "<assistant>"],
    )
    made.chat_template = TEMPLATE
    return made


@pytest.fixture
def small_llama(letters: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """Random weights, two layers, a context of 64."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(letters),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        tie_word_embeddings=True,
        initializer_range=0.3,
        pad_token_id=letters.pad_token_id,
        eos_token_id=letters.eos_token_id,
    )
    return LlamaForCausalLM(config).eval()
