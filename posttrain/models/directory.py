"""What a model directory must hold, looked at without loading anything."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from posttrain.pipeline.files import check_regular, load_json, parsed
from posttrain.pipeline.finding import UserError

# what transformers itself has; another name is that of a program on the hub, fetched and run
IMPLEMENTATIONS = (
    "eager",
    "sdpa",
    "flash_attention_2",
    "flash_attention_3",
    "flex_attention",
    "batched_mm",
    "grouped_mm",
)
EMBEDDINGS = ("embed_tokens.weight", "wte.weight", "embed_in.weight", "word_embeddings.weight")
COUNTS = {  # numbers of a config and their largest: a model of more would be built for ever
    ("num_hidden_layers", "n_layer"): 10_000,
    ("hidden_size", "n_embd", "num_attention_heads", "n_head"): 1_000_000,
    ("vocab_size",): 1 << 31,
}
HEADER = 100_000_000  # bytes at most, as safetensors itself has it
_WHOLE = re.compile(r"[IU]\d+|BOOL|F[468]_\w+|F4")  # types of tensors that are no floats of 16 bits or more


def check_language_model(directory: Path) -> None:
    """Raises UserError for a model that has a head of labels in place of one over words: a reward model's
    embeddings would speak for it where no head of words is stored.
    """
    try:
        config = load_json(directory / "config.json")
    except (OSError, ValueError, UserError):  # a name on the hub, or what ``check_directory`` refuses
        return
    names = config.get("architectures") if isinstance(config, dict) else None
    named = str(names[0]) if isinstance(names, list) and names else ""
    if named.endswith("ForSequenceClassification"):
        raise UserError(
            f"{directory}: {named} scores answers and cannot write any; expected a language model, such as "
            "the product of sft, alignment or rl"
        )


def check_directory(directory: Path) -> None:
    """Raises UserError for a directory that transformers cannot load without pickle, or would load as another
    kind of model.
    """
    config_file = directory / "config.json"
    if not config_file.exists():
        present = ", ".join(sorted(path.name for path in directory.iterdir())[:8]) or "nothing"
        raise UserError(
            f"{directory}: no config.json (found: {present}); expected a Hugging Face model directory "
            "(config.json, tokenizer.json, model.safetensors)."
        )
    try:
        config = load_json(config_file)
    except ValueError as problem:
        raise UserError(f"{config_file}: not JSON ({problem}); copy the model again.") from None
    if not isinstance(config, dict):
        raise UserError(f"{config_file}: expected an object; copy the model again.")
    _check_config(config, config_file)
    weights = sorted(directory.glob("*.safetensors"))
    if not weights:
        pickles = sorted(directory.glob("*.bin")) + sorted(directory.glob("*.pt"))
        if pickles:
            raise UserError(
                f"{directory}: only pickled weights ({pickles[0].name}), which can run code when opened. "
                "Convert them where that is safe: model.save_pretrained(directory) writes model.safetensors."
            )
        raise UserError(f"{directory}: no *.safetensors file; expected the weights beside config.json.")
    for file in weights:
        _check_weights(file, config.get("vocab_size"))


def _check_config(config: Mapping[str, object], file: Path) -> None:
    if "auto_map" in config:
        raise UserError(
            f"{file}: asks for code of its own (auto_map); posttrain runs no code that comes with a "
            "checkpoint. Use an architecture that transformers knows."
        )
    if "quantization_config" in config:
        raise UserError(
            f"{file}: the weights are quantised (quantization_config), which cannot be trained further. Take "
            "the model before it was quantised, or dequantise it and save that."
        )
    for names, most in COUNTS.items():
        for name in names:
            value = config.get(name)
            if isinstance(value, str) or (isinstance(value, int | float) and not 1 <= value <= most):
                raise UserError(
                    f"{file}: {name} is {str(value)[:40]}, expected a whole number from 1 to {most:,}; "
                    "copy the model again."
                )
    for path, value in _implementations(config):
        if value is not None and value not in IMPLEMENTATIONS:
            raise UserError(
                f"{file}: {path} is {value!r}, expected one of {', '.join(IMPLEMENTATIONS)}; another would "
                "be a program fetched from the hub. Correct it, or leave it out."
            )


def _implementations(config: object, path: str = "") -> Iterator[tuple[str, object]]:
    """Every choice of an implementation in a config or in the configs inside it."""
    for key, value in config.items() if isinstance(config, dict) else ():
        here = f"{path}.{key}" if path else key
        if str(key).removesuffix("_internal").endswith("_implementation"):
            yield from (
                ((f"{here}.{part}", one) for part, one in value.items())
                if isinstance(value, dict)
                else [(here, value)]
            )
        else:
            yield from _implementations(value, here)


def _check_weights(file: Path, vocabulary: object) -> None:
    """Raises UserError for integer weights, which would be read as floats, and for embeddings of another
    vocabulary size than the config's. An unreadable header is reported by the loader.
    """
    check_regular(file)
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if not 2 <= length <= min(HEADER, file.stat().st_size):
            return
        try:
            header = parsed(stream.read(length).decode("utf-8"))
        except ValueError:
            return
    for name, tensor in header.items() if isinstance(header, dict) else ():
        kind = str(tensor.get("dtype")) if isinstance(tensor, dict) else ""
        if name.endswith("weight") and _WHOLE.fullmatch(kind):
            raise UserError(
                f"{file}: {name} is stored as {kind}: quantised weights, which would be read as the numbers "
                "they are stored as. Dequantise the model and save that."
            )
        shape = tensor.get("shape") if isinstance(tensor, dict) else None
        rows = shape[0] if isinstance(shape, list) and len(shape) == 2 else vocabulary
        if name.endswith(EMBEDDINGS) and isinstance(vocabulary, int) and rows != vocabulary:
            raise UserError(
                f"{file}: {name} has {rows} rows, config.json says vocab_size {vocabulary}; they do not "
                "belong together. Copy the model again."
            )


def check_report(report: Mapping[str, Any], kind: str, layers: int, source: str | Path) -> None:
    """What transformers says of the tensors it loaded into a model of that class and number of layers. Raises
    UserError for those that are missing, of another shape, or left out.
    """
    missing = sorted(report["missing_keys"])
    odd = sorted(
        f"{name} is {list(stored)}, {list(wanted_shape)} by config.json"
        for name, stored, wanted_shape in report.get("mismatched_keys", ())
    )
    if missing or odd:
        raise UserError(
            f"{source}: {len(missing)} tensors are missing (first: {missing[:3]}) and {len(odd)} have "
            f"another shape (first: {'; '.join(odd[:3])}); they would be random numbers. Expected a complete "
            f"{kind}; copy the model again."
        )
    if beyond := layers_too_many(list(report["unexpected_keys"]), layers):
        raise UserError(
            f"{source}: the weights have layers that config.json does not ({layers} layers; "
            f"first left out: {beyond[0]}); a part of the model would be missing. Correct num_hidden_layers."
        )


def layers_too_many(unexpected: list[str], layers: int) -> list[str]:
    """Of the tensors that a config does not expect, those of layers beyond the config's last."""
    numbered = [(re.search(r"\.(?:layers|h|blocks|layer)\.(\d+)\.", f".{name}"), name) for name in unexpected]
    return [name for match, name in numbered if match and int(match[1]) >= layers > 0]
