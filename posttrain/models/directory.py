"""What a model directory must hold, looked at without loading anything."""

from __future__ import annotations

import json
from pathlib import Path

from posttrain.pipeline.finding import UserError


def check_language_model(directory: Path) -> None:
    """Raises UserError for a model that has a head of labels in place of one over words: a reward model's
    embeddings would speak for it where no head of words is stored.
    """
    try:
        config = json.loads((directory / "config.json").read_text("utf-8"))
    except (OSError, ValueError):  # a name on the hub, or what ``check_directory`` refuses
        return
    named = str((config.get("architectures") or [""])[0])
    if named.endswith("ForSequenceClassification"):
        raise UserError(
            f"{directory}: {named} scores answers and cannot write any; expected a language model, such as "
            "the product of sft, alignment or rl"
        )


def check_directory(directory: Path) -> None:
    """Raises UserError for a directory that plain, pickle-free transformers cannot load."""
    config_file = directory / "config.json"
    if not config_file.is_file():
        found = ", ".join(sorted(path.name for path in directory.iterdir())[:8]) or "nothing"
        raise UserError(
            f"{directory}: no config.json (found: {found}); expected a Hugging Face model directory "
            "(config.json, tokenizer.json, model.safetensors)."
        )
    try:
        config = json.loads(config_file.read_text("utf-8"))
    except ValueError as problem:
        raise UserError(f"{config_file}: not JSON ({problem}); copy the model again.") from None
    if "auto_map" in config:
        raise UserError(
            f"{config_file}: asks for code of its own (auto_map); posttrain runs no code that comes with a "
            "checkpoint. Use an architecture that transformers knows."
        )
    if not list(directory.glob("*.safetensors")):
        pickles = sorted(directory.glob("*.bin")) + sorted(directory.glob("*.pt"))
        if pickles:
            raise UserError(
                f"{directory}: only pickled weights ({pickles[0].name}), which can run code when opened. "
                "Convert them where that is safe: model.save_pretrained(directory) writes model.safetensors."
            )
        raise UserError(f"{directory}: no *.safetensors file; expected the weights beside config.json.")
