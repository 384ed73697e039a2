"""What the models inside a reward source do with answers."""

from __future__ import annotations

from posttrain.cost.sizes import Size, Tokens
from posttrain.cost.work import ModelWork
from posttrain.pipeline.stage import Inputs, Product


def scorers(inputs: Inputs, answers: Tokens) -> list[ModelWork]:
    """One for each model inside the field ``reward``: it reads every answer with its prompt."""
    products = [inputs[path] for path in inputs if path.startswith("reward.")]
    sizes = [Size.of(product) for product in products if isinstance(product, Product)]
    return [ModelWork(size=size, read=Tokens(answers.trunk)) for size in sizes if size is not None]
