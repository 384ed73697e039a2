"""How large models and rows are, read from their files: what a stage states its work in.

A product that is not made yet has no files; then the metrics it is expected to have stand for them, so
estimates follow one another through a recipe.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from posttrain.metrics import Value
from posttrain.pipeline.files import check_regular, parsed, read_json
from posttrain.pipeline.finding import UserError
from posttrain.pipeline.store import Product

PROCESS = 450_000_000  # bytes held before a model is loaded: Python, PyTorch, transformers
FLOAT = 4  # bytes
# floats a layer keeps for backward, a token and unit of width (Korthikanti et al. 2022, eq. 2)
ACTIVATIONS = 17
ENGINE_ROWS = 512  # answers that an engine has under way at most
_ANSWERS = ("chosen", "rejected")
HELD = {"float32": 4.0, "bfloat16": 2.0, "int8": 1.0, "nf4": 0.52}  # bytes a number, its scales with it
ANSWERS = 0.5  # share of the tokens of a conversation that are of its answers
SAMPLED = 2000  # rows looked at of a longer file


@dataclass(frozen=True)
class Tokens:
    """Tokens that the trunk of a model reads, and those of them whose successor its head scores.

    Ten prompts of 20 tokens with four answers of 5 each, a prompt read once for all of its answers:
    ``Tokens.of_answers(10, 4, 20, 5) == Tokens(trunk=400, head=200)``.
    """

    trunk: float = 0.0
    head: float = 0.0

    @classmethod
    def of_answers(cls, prompts: float, each: float, prompt: float, answer: float) -> Tokens:
        """``each`` answers of ``answer`` tokens to every one of ``prompts`` prompts of ``prompt`` tokens."""
        return cls(prompts * (prompt + each * answer), prompts * each * answer)

    def __add__(self, other: Tokens) -> Tokens:
        return Tokens(self.trunk + other.trunk, self.head + other.head)

    def __rmul__(self, times: float) -> Tokens:
        return Tokens(times * self.trunk, times * self.head)


NO_TOKENS = Tokens()


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

    @property
    def head(self) -> int:
        """Numbers of the matrix that scores the next token, which is that of the embeddings or as large."""
        return min(self.vocabulary * self.width, self.parameters)

    def operations(self, tokens: Tokens, depth: float = 1.0) -> float:
        """Of a forward pass: two a number and token (Kaplan et al. 2020, table 1), of the trunk for every
        token and of the head for those that it scores. ``depth`` is the share of the layers that are read;
        those of attention's scores, small beside these for rows of hundreds of tokens, are left out.
        """
        trunk = depth * (self.parameters - self.head) * tokens.trunk
        return 2.0 * (trunk + self.head * tokens.head)

    def held(self, trunk: str) -> int:
        """Bytes of weights whose matrices are held in that type, the head over words in float32."""
        return int(FLOAT * self.head + HELD[trunk] * (self.parameters - self.head))

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
        widths = self.layers + ACTIVATIONS if recompute else self.layers * ACTIVATIONS
        return FLOAT * tokens * (self.width * widths + self.vocabulary)


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
    def of_sample(cls, rows: int, heldout_rows: int, sample: Iterable[Mapping[str, Any]]) -> Rows:
        """So many rows like those of a ``sample``."""
        return cls(rows=rows, heldout_rows=heldout_rows, row_tokens=tokens_of(list(sample)))

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
        values: dict[str, Any] = product.values
        held = int(values["heldout_rows"])
        tokens, fresh = float(values["row_tokens"]), float(values["fresh"])
        return cls(rows=int(values["rows"]), heldout_rows=held, row_tokens=tokens, fresh=fresh)

    def figures(self) -> dict[str, Value]:
        return dict(asdict(self))


def _look(path: Path) -> tuple[int, float, float]:
    with path.open("rb") as stream:
        some = [json.loads(line) for line in islice(stream, SAMPLED)]
        lines = len(some) + sum(1 for _ in stream)
    different = len({row.get("id", number) for number, row in enumerate(some)}) / max(len(some), 1)
    pairs = {row.get("id", number): row for number, row in enumerate(some) if "chosen" in row}
    asked = [(json.dumps(row["prompt"]), json.dumps(row[a])) for row in pairs.values() for a in _ANSWERS]
    fresh = len(set(asked)) / len(asked) if asked else 1.0
    return round(lines * different), tokens_of(some), fresh


def tokens_of(rows: Sequence[Mapping[str, Any]]) -> float:
    """About how many tokens a row has, mean: a third of its characters and four for each message's marks."""
    texts = [text for row in rows for name, value in row.items() for text in _texts(name, value)]
    return sum(len(text) / 3 + 4 for text in texts) / max(len(rows), 1)


def _texts(name: str, value: Any) -> list[str]:
    """What was said in messages or as plain text; other fields of a row are no text for a model."""
    if isinstance(value, str) and name in ("prompt", "completion"):
        return [value]
    if not isinstance(value, list):
        return []
    return [str(one["content"]) for one in value if isinstance(one, Mapping) and "content" in one]
