"""A tokenizer in the words of llama.cpp: which splitter of its own it uses, and its tables.

llama.cpp holds the rules that split text before byte pairs are merged in its code, under a name
(``tokenizer.ggml.pre``); a file can only name one. So a tokenizer is mapped where its rules are those of a
name, and refused otherwise: text would be cut elsewhere than in training, silently.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from posttrain.models.chat import Chat
from posttrain.pipeline.finding import UserError

NORMAL, CONTROL, USER_DEFINED, UNUSED = 1, 3, 4, 5  # token types of llama.cpp
_BYTES = {"type": "ByteLevel", "add_prefix_space": False}
_LLAMA_3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
# steps of a tokenizer.json to the name under which llama.cpp has them
SPLITTERS: tuple[tuple[list[dict[str, Any]], str], ...] = (
    ([{**_BYTES, "use_regex": True}], "gpt-2"),
    ([{"type": "Digits", "individual_digits": True}, {**_BYTES, "use_regex": True}], "smollm"),
    (
        [
            {"type": "Split", "pattern": {"Regex": _LLAMA_3}, "behavior": "Isolated", "invert": False},
            {**_BYTES, "use_regex": False},
        ],
        "llama-bpe",
    ),
)
_GENERATION = re.compile(r"\{%(-?)\s*(?:end)?generation\s*(-?)%\}")


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """What a GGUF file says of a tokenizer. ``tokens`` and ``types`` have an entry for each embedding; ids
    are None where there is no such token. ``end_of_turn`` is what ends an answer besides ``eos``.
    """

    splitter: str
    tokens: list[str]
    types: list[int]
    merges: list[str]
    adds_bos: bool
    bos: int | None
    eos: int | None
    unk: int | None
    pad: int | None
    end_of_turn: int | None
    template: str


def vocabulary(chat: Chat, embeddings: int) -> Vocabulary:
    """The vocabulary of a byte-level tokenizer, filled up to ``embeddings`` tokens.

    Raises UserError naming what llama.cpp has no rules for.
    """
    tokenizer: Any = chat.tokenizer
    settings = json.loads(tokenizer.backend_tokenizer.to_str())
    model = settings["model"]
    if model["type"] != "BPE" or model.get("byte_fallback"):
        kind = "SentencePiece, with bytes for what it lacks" if model.get("byte_fallback") else model["type"]
        raise UserError(
            f"the tokenizer is {kind}; GGUF is written for byte-level BPE (GPT-2, SmolLM, Llama 3). "
            "llama.cpp's convert_hf_to_gguf.py reads others"
        )
    tokens = [f"[PAD{number}]" for number in range(embeddings)]
    types = [UNUSED] * embeddings
    for token, number in model["vocab"].items():
        tokens[number], types[number] = token, NORMAL
    for added in settings["added_tokens"]:
        tokens[added["id"]] = added["content"]
        types[added["id"]] = CONTROL if added["special"] else USER_DEFINED
    bos, eos = _number(tokenizer.bos_token_id), _number(tokenizer.eos_token_id)
    others = [stop for stop in chat.stop_ids if stop != eos]
    return Vocabulary(
        splitter=_splitter(settings),
        tokens=tokens,
        types=types,
        merges=[merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]],
        adds_bos=bos is not None and tokenizer("a")["input_ids"][:1] == [bos],
        bos=bos,
        eos=eos,
        unk=_number(tokenizer.unk_token_id),
        pad=_number(tokenizer.pad_token_id),
        end_of_turn=others[0] if others else None,
        template=plain_template(chat.template),
    )


def plain_template(template: str) -> str:
    """A chat template without transformers' marks of assistant text, but with the stripping that they do."""
    return _GENERATION.sub(lambda match: f"{{#{match[1]} {match[2]}#}}", template)


def _number(value: Any) -> int | None:
    return None if value is None else int(value)


def _splitter(settings: dict[str, Any]) -> str:
    first = settings.get("pre_tokenizer") or {}
    steps = first.get("pretokenizers", [first]) if first.get("type") == "Sequence" else [first]
    plain = [{key: value for key, value in step.items() if key != "trim_offsets"} for step in steps]
    for wanted, name in SPLITTERS:
        if plain == wanted and settings.get("normalizer") is None:
            return name
    rules = ", ".join(str(step.get("type", "none")) for step in steps)
    normal = (settings.get("normalizer") or {}).get("type", "none")
    raise UserError(
        f"the tokenizer cuts text by rules ({rules}; normalizer: {normal}) for which posttrain knows no name "
        f"in llama.cpp; it knows those of {', '.join(name for _, name in SPLITTERS)}. llama.cpp's "
        "convert_hf_to_gguf.py reads others"
    )
