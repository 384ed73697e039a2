"""A model as one GGUF file, which llama.cpp, Ollama and LM Studio read.

The Llama family is mapped. llama.cpp turns neighbouring pairs of a head's numbers by a position's angle, and
transformers turns number i with number i + E/2, so the rows of query and key matrices change their order.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from posttrain.exports.vocabulary import Vocabulary, vocabulary
from posttrain.models.chat import Chat
from posttrain.models.positions import context_of
from posttrain.pipeline.finding import UserError

KINDS = ("f32", "f16", "bf16", "q8_0")  # what matrices are kept in; vectors stay in float32
FAMILIES = {"llama": "llama"}  # model_type of transformers to architecture of llama.cpp
PLAIN_OPTIONS = ("attention_bias", "mlp_bias")  # of a Llama; not mapped where they are set


def write_gguf(model: Any, chat: Chat, file: Path, *, name: str, kind: str = "f32") -> Vocabulary:
    """Writes ``model`` with the tokenizer and template of ``chat``; returns the vocabulary that it wrote.

    Raises UserError for a family, a tokenizer or a setting that is not mapped, and without the package gguf.
    """
    if importlib.util.find_spec("gguf") is None:
        raise UserError("GGUF is written by the package gguf; pip install 'posttrain[export]' brings it")
    import gguf

    config = model.config
    _check(config, kind)
    words = vocabulary(chat, model.get_input_embeddings().weight.shape[0])
    writer = gguf.GGUFWriter(str(file), FAMILIES[config.model_type], use_temp_file=True)
    writer.add_type("model")
    writer.add_name(name)
    heads = int(config.num_attention_heads)
    width = int(getattr(config, "head_dim", None) or config.hidden_size // heads)
    writer.add_context_length(context_of(model))
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(width)
    writer.add_value_length(width)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_dimension_count(width)
    writer.add_rope_freq_base(float(config.rope_parameters["rope_theta"]))
    writer.add_vocab_size(len(words.tokens))
    writer.add_file_type(
        gguf.LlamaFileType[{"f32": "ALL_F32"}.get(kind, f"MOSTLY_{kind.upper()}")].value  # type: ignore[attr-defined]
    )
    _write_vocabulary(writer, words)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    for path, tensor in _tensors(model, heads, int(config.num_key_value_heads)):
        where = names.get_name(path, try_suffixes=(".weight",))
        if where is None:
            raise UserError(f"{path}: GGUF's Llama has no such tensor; posttrain does not export this model")
        small = kind == "f32" or tensor.dim() == 1
        stored = gguf.GGMLQuantizationType["F32" if small else kind.upper()]
        try:
            writer.add_tensor(where, gguf.quants.quantize(tensor.numpy(), stored), raw_dtype=stored)
        except gguf.quants.QuantError as problem:
            raise UserError(f"{path} cannot be kept in {kind} ({problem}); take --type f16") from None
    factors = _turns(model, width)
    if factors is not None:
        writer.add_tensor("rope_freqs.weight", factors.numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return words


def _check(config: Any, kind: str) -> None:
    if kind not in KINDS:
        raise UserError(f"--type {kind}: expected one of {', '.join(KINDS)}")
    odd = [name for name in PLAIN_OPTIONS if getattr(config, name, False)]
    if config.model_type not in FAMILIES or odd or config.hidden_act != "silu":
        options = f" with {', '.join(odd)}" if odd else ""
        raise UserError(
            f"a model of type {config.model_type!r}{options} is not mapped to GGUF; posttrain maps "
            f"{', '.join(FAMILIES)} without biases. llama.cpp's convert_hf_to_gguf.py maps others: export "
            "with --to hub, and give it that directory"
        )


def _tensors(model: Any, heads: int, key_heads: int) -> Iterator[tuple[str, Tensor]]:
    """The model's weights by transformers' names, in float32 on the CPU, queries and keys in llama.cpp's
    order. A head that is the embeddings is left out, as llama.cpp then takes them.
    """
    embeddings = model.get_input_embeddings().weight
    tied = model.get_output_embeddings().weight is embeddings
    for path, tensor in model.state_dict().items():
        if path == "lm_head.weight" and tied:
            continue
        weight = tensor.detach().float().cpu().contiguous()
        if path.endswith("q_proj.weight"):
            weight = paired(weight, heads)
        elif path.endswith("k_proj.weight"):
            weight = paired(weight, key_heads)
        yield path, weight


def paired(weight: Tensor, heads: int) -> Tensor:
    """[heads * E, D]: rows i and i + E/2 of each head become neighbours."""
    return weight.unflatten(0, (heads, 2, -1)).transpose(1, 2).reshape(weight.shape).contiguous()


def _turns(model: Any, width: int) -> Tensor | None:
    """[E / 2] by how much each pair turns slower than the plain rule says (Llama 3's longer contexts); None
    where all turn by it. Raises UserError for a rule that is more than such factors.
    """
    rotary, rule = model.base_model.rotary_emb, model.config.rope_parameters
    if rule["rope_type"] not in ("default", "linear", "llama3") or rotary.attention_scaling != 1.0:
        raise UserError(
            f"positions of type {rule['rope_type']!r} are not mapped to GGUF; posttrain maps default, linear "
            "and llama3"
        )
    places = torch.arange(0, width, 2, dtype=torch.float32) / width
    plain = 1.0 / (float(rule["rope_theta"]) ** places)
    factors = plain / rotary.inv_freq.detach().float().cpu()
    return None if torch.allclose(factors, torch.ones_like(factors), atol=1e-6) else factors


def _write_vocabulary(writer: Any, words: Vocabulary) -> None:
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(words.splitter)
    writer.add_token_list(words.tokens)
    writer.add_token_types(words.types)
    writer.add_token_merges(words.merges)
    writer.add_add_bos_token(words.adds_bos)
    for number, add in (
        (words.bos, writer.add_bos_token_id),
        (words.eos, writer.add_eos_token_id),
        (words.unk, writer.add_unk_token_id),
        (words.pad, writer.add_pad_token_id),
        (words.end_of_turn, writer.add_eot_token_id),
    ):
        if number is not None:
            add(number)
    writer.add_chat_template(words.template)
