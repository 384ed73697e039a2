"""How large models and rows are, read from their files, and what work on them takes: what estimates are
made of.

A product that is not made yet has no files; then the figures it is expected to have stand for them, so
estimates follow one another through a recipe.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from posttrain.metrics import Value
from posttrain.pipeline.files import check_regular, parsed, read_json
from posttrain.pipeline.finding import UserError
from posttrain.pipeline.stage import Estimate, Machine
from posttrain.pipeline.store import Product

PROCESS = 450_000_000  # bytes held before a model is loaded: Python, PyTorch, transformers
FLOAT = 4  # bytes
ACTIVATIONS = (
    17  # floats a layer keeps for backward, a token and unit of width (Korthikanti et al. 2022, eq. 2)
)
LOADED = 200_000_000  # bytes a second through loading, checking, writing and hashing
WRITTEN = 1e-4  # seconds a row takes to be made or read, checked and written
_ANSWERS = ("chosen", "rejected")
HELD = {"float32": 4.0, "bfloat16": 2.0, "int8": 1.0, "nf4": 0.52}  # bytes a number, its scales with it
SAMPLED = 2000  # rows looked at of a longer file


@dataclass(frozen=True, kw_only=True)
class Size:
    """A transformer's parameters, layers, width, keys and values a token keeps in each layer, vocabulary."""

    parameters: int
    layers: int
    width: int
    cached: int
    vocabulary: int

    @classmethod
    def of(cls, product: Product | None) -> Size | None:
        """From config.json and the headers of the weights, or as expected; None where neither is there."""
        if product is None:
            return None
        if (product.path / "config.json").is_file():
            return cls.of_directory(product.path)
        names = tuple(cls.__dataclass_fields__)
        if not all(name in product.values for name in names):
            return None
        return cls(**{name: int(product.values[name]) for name in names})

    @classmethod
    def of_directory(cls, directory: Path) -> Size | None:
        """None where the directory holds no such model, or its config has other names than usual."""
        config = read_json(directory / "config.json", {})
        parameters = sum(_count(path) for path in directory.glob("*.safetensors"))
        width = _whole(config.get("hidden_size", config.get("n_embd")))
        layers = _whole(config.get("num_hidden_layers", config.get("n_layer")))
        heads = _whole(config.get("num_attention_heads", config.get("n_head")))
        if not (parameters and width and layers and heads):
            return None
        head = _whole(config.get("head_dim")) or width // heads
        cached = 2 * head * (_whole(config.get("num_key_value_heads")) or heads)
        vocabulary = _whole(config.get("vocab_size"))
        return cls(parameters=parameters, layers=layers, width=width, cached=cached, vocabulary=vocabulary)

    def figures(self) -> dict[str, Value]:
        return dict(asdict(self))

    def reading(self, tokens: float) -> float:
        """Operations of a forward pass (Kaplan et al. 2020: two a parameter and token)."""
        return 2.0 * self.parameters * tokens

    def learning(self, tokens: float, share: float = 1.0) -> float:
        """Operations of a forward and a backward pass; with adapters a small ``share`` learns."""
        return (2.0 + share) * self.reading(tokens)

    @property
    def weights(self) -> int:
        """Bytes in float32."""
        return FLOAT * self.parameters

    def held(self, trunk: str) -> int:
        """Bytes of weights whose matrices are held in that type, the head over words in float32."""
        words = min(self.vocabulary * self.width, self.parameters)
        return int(FLOAT * words + HELD[trunk] * (self.parameters - words))

    def adapters(self, rank: int) -> float:
        """Numbers in a role's adapter on every matrix: of rank times the height and width of each. A layer is
        taken to have seven, one side of each as wide as the model.
        """
        layer = self.parameters / self.layers - self.vocabulary * self.width / self.layers
        return rank * self.layers * (max(layer, 0.0) / self.width + 7 * self.width)

    def activations(self, tokens: float, recompute: bool = False) -> float:
        """Bytes kept for the backward pass of a micro-batch, and its logits; recomputed, a layer keeps its
        input, and one layer at a time the rest.
        """
        kept = self.layers + ACTIVATIONS if recompute else self.layers * ACTIVATIONS
        return FLOAT * tokens * (self.width * kept + self.vocabulary)

    def sampling_bytes(self, rows: int, length: float) -> int:
        """Peak memory of generating: the engine's copy of the weights, a cache of at most 1 GB, and its copy
        when rows leave.
        """
        cache = min(float(1 << 30), FLOAT * min(rows, 512) * length * self.layers * self.cached)
        return int(PROCESS + 2 * self.weights + 2 * cache)


def _count(path: Path) -> int:
    """Numbers in a safetensors file, from its header; 0 where it is damaged or no regular file."""
    try:
        check_regular(path)
        with path.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            header = parsed(stream.read(min(length, 100_000_000)).decode())
        return sum(math.prod(facts["shape"]) for name, facts in header.items() if name != "__metadata__")
    except (OSError, ValueError, UserError, AttributeError, LookupError, TypeError):
        return 0


def _whole(value: Any) -> int:
    """A number of a config; 0 for what is none."""
    return value if isinstance(value, int) and value > 0 else 0


@dataclass(frozen=True, kw_only=True)
class Rows:
    """How many rows there are to learn from and to measure with, and the tokens of one. ``fresh`` is the
    share of their answers that are in no other row: of three answers compared in pairs a half.
    """

    rows: int
    heldout_rows: int
    row_tokens: float
    fresh: float = 1.0

    @classmethod
    def of(cls, product: Product | None) -> Rows | None:
        """From its train.jsonl and heldout.jsonl, or as expected; rows that share an id are one."""
        if product is None:
            return None
        files = [product.path / f"{side}.jsonl" for side in ("train", "heldout")]
        if files[0].is_file():
            rows, tokens, fresh = _look(files[0])
            held, _, _ = _look(files[1]) if files[1].is_file() else (0, 0.0, 1.0)
            return cls(rows=rows, heldout_rows=held, row_tokens=tokens, fresh=fresh)
        names = tuple(cls.__dataclass_fields__)
        if not all(name in product.values for name in names):
            return None
        known: dict[str, Any] = product.values
        held = int(known["heldout_rows"])
        tokens, fresh = float(known["row_tokens"]), float(known["fresh"])
        return cls(rows=int(known["rows"]), heldout_rows=held, row_tokens=tokens, fresh=fresh)

    def figures(self) -> dict[str, Value]:
        return dict(asdict(self))


def training_bytes(size: Size, tokens: float, lora: Any, machine: Machine, roles: int = 1) -> int:
    """Peak memory of so many ``roles`` trained by Adam with ``tokens`` in a micro-batch: adapters as ``lora``
    says on one trunk that stands still, or all weights where it is None.
    """
    weights: float = (1 + 3 * roles) * size.weights
    if lora is not None:
        weights = size.held(lora.trunk) + 4 * FLOAT * roles * size.adapters(lora.rank)
    return int(PROCESS + weights + size.activations(tokens, machine.recompute))


def sampler_bytes(size: Size, lora: Any, compute: str, critics: int) -> int:
    """Of what stands beside a policy that learns by sampling: reference, reward model, engine and critic;
    with adapters in place of the reference the weights that go to the engine, and a critic's own trunk.
    """
    if lora is None:
        return 4 * size.weights
    engine = size.weights // 2 if compute == "bfloat16" else size.weights
    return engine + 2 * size.weights + critics * size.held(lora.trunk)


def opened(size: Size) -> Estimate:
    """Of loading a model, checking it and writing it down again."""
    return Estimate(
        seconds=1 + size.weights / LOADED,
        bytes=PROCESS + 2 * size.weights,
        expects=size.figures(),
    )


def loaded(rows: int, heldout_rows: int, row_tokens: float, fresh: float = 1.0) -> Estimate:
    """Of writing rows that come from a file or a program."""
    known = Rows(rows=rows, heldout_rows=heldout_rows, row_tokens=row_tokens, fresh=fresh)
    return Estimate(
        seconds=WRITTEN * (rows + heldout_rows),
        bytes=PROCESS + 2000 * (rows + heldout_rows),
        expects=known.figures(),
    )


def _look(path: Path) -> tuple[int, float, float]:
    with path.open("rb") as stream:
        some = [json.loads(line) for line in islice(stream, SAMPLED)]
        lines = len(some) + sum(1 for _ in stream)
    different = len({row.get("id", place) for place, row in enumerate(some)}) / max(len(some), 1)
    pairs = {row.get("id", place): row for place, row in enumerate(some) if "chosen" in row}
    asked = [(json.dumps(row["prompt"]), json.dumps(row[a])) for row in pairs.values() for a in _ANSWERS]
    fresh = len(set(asked)) / len(asked) if asked else 1.0
    return round(lines * different), tokens_of(some), fresh


def tokens_of(rows: Sequence[Mapping[str, Any]]) -> float:
    """About how many tokens a row has, mean: a third of its characters and four for each message's marks."""
    found = [_texts(name, value) for row in rows for name, value in row.items()]
    texts = [text for some in found for text in some]
    return sum(len(text) / 3 + 4 for text in texts) / max(len(rows), 1)


def _texts(name: str, value: Any) -> list[str]:
    """What was said in messages or as plain text; other fields of a row are no text for a model."""
    if isinstance(value, str) and name in ("prompt", "completion"):
        return [value]
    if not isinstance(value, list):
        return []
    return [str(one["content"]) for one in value if isinstance(one, Mapping) and "content" in one]
