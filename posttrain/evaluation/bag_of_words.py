"""What the words of an answer say by themselves: a linear model of word counts, fitted to the same
comparisons as a reward model. What a reward model does not know beyond it, it knows of words alone.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from posttrain.training.linear_preferences import fit_linear

_PIECE = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*|[^\w\s]|\n")
LEAST = 3  # answers that a word must stand in
MOST = 1000  # words, the most frequent ones


def bag_of_words(
    comparisons: Sequence[Mapping[str, Any]], pairs: Sequence[Mapping[str, Any]]
) -> list[tuple[float, float]]:
    """Scores of a and b of each pair, by a linear model of word counts.

    ``comparisons`` are rows {"prompt", "chosen", "rejected", "confidence"}, one a pair. Features are the
    logarithm of one more than the count of each word, punctuation mark and line break, so length counts too.
    """
    both = [(_counts(_text(row["chosen"])), _counts(_text(row["rejected"]))) for row in comparisons]
    counts = Counter(word for chosen, rejected in both for word in {*chosen, *rejected})
    words = [word for word, count in counts.most_common(MOST) if count >= LEAST]
    column = {word: index for index, word in enumerate(words)}
    if not column:
        return [(0.0, 0.0) for _ in pairs]
    asked: dict[str, int] = {}
    prompts = [asked.setdefault(json.dumps(row["prompt"]), len(asked)) for row in comparisons]
    x = torch.stack([_vector(chosen, column) - _vector(rejected, column) for chosen, rejected in both])
    confidence = torch.tensor([float(row.get("confidence", 1.0)) for row in comparisons])
    weights, _ = fit_linear(x, confidence, prompts)

    def score(text: str) -> float:
        return float(_vector(_counts(text), column) @ weights)

    return [(score(pair["a"]), score(pair["b"])) for pair in pairs]


def _text(messages: Sequence[Mapping[str, Any]]) -> str:
    return "\n".join(str(message["content"]) for message in messages)


def _counts(text: str) -> Counter[str]:
    return Counter(piece.lower() for piece in _PIECE.findall(text))


def _vector(counts: Mapping[str, int], column: Mapping[str, int]) -> torch.Tensor:
    made = torch.zeros(len(column))
    for word, count in counts.items():
        if word in column:
            made[column[word]] = count
    return made.log1p()
