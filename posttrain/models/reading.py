"""Where a trunk is read for a score: after which layer, and at which tokens of an answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import PreTrainedConfig

from posttrain.pipeline.finding import UserError

CONFIG_KEY = "posttrain_score_is"  # in config.json; transformers keeps it and does not read it
MEAN = "mean over the answer's tokens"
README = "README.md"


@dataclass(frozen=True, kw_only=True)
class Reading:
    """Where a score is read: after ``layer`` layers (0: all), at the answer's end or, with ``mean``, averaged
    over the answer's tokens.

    The layers above are cut off, so they are neither computed nor saved. Raises UserError for
    a negative layer.
    """

    layer: int = 0
    """Layers of the trunk below the head; those above are cut off. 0 keeps all."""
    mean: bool = False
    """The head reads the mean over the answer's tokens, not the end token alone."""

    def __post_init__(self) -> None:
        if self.layer < 0:
            raise UserError(
                f"reading.layer is {self.layer}: expected a number of layers, or 0 for all of them"
            )


def is_mean(config: PreTrainedConfig | None) -> bool:
    """Whether a model with this transformers config scores the mean over an answer's tokens."""
    return getattr(config, CONFIG_KEY, None) == MEAN


def mark(config: PreTrainedConfig, mean: bool) -> None:
    """Writes into a config what ``is_mean`` reads."""
    if mean:
        setattr(config, CONFIG_KEY, MEAN)
    elif hasattr(config, CONFIG_KEY):
        delattr(config, CONFIG_KEY)


def describe(directory: str | Path, config: PreTrainedConfig) -> None:
    """Says beside a model that scores a mean what plain transformers would make of it."""
    if is_mean(config):
        (Path(directory) / README).write_text(_CARD.format(layers=config.num_hidden_layers), "utf-8")


def refuse_mean(config: PreTrainedConfig, source: str | Path) -> None:
    """Raises UserError where a score would be read at the end token of a model that was trained on means."""
    if is_mean(config):
        raise UserError(
            f"{source}: its score is the {MEAN} ({CONFIG_KEY} in config.json), and a plain classifier reads "
            "the end token; use it as a reward model of posttrain (rl.reward.model), or train one with "
            "rm.reading.mean=false"
        )


def layers_of(config: PreTrainedConfig | Mapping[str, Any]) -> int:
    """How many layers a config says there are; 0 where it does not."""
    if isinstance(config, Mapping):
        return int(config.get("num_hidden_layers", config.get("n_layer", 0)))
    return int(getattr(config, "num_hidden_layers", 0))


_CARD = """# A reward model that scores the mean over an answer's tokens

`AutoModelForSequenceClassification` loads this directory, but its logit is the head's value at the last
token. This model was trained on another number: the mean of the head's values over the answer's tokens (its
end token included, the prompt left out), read after layer {layers}, the last of this checkpoint. The two do
not rank answers alike. With transformers alone:

    states = model.model(input_ids=ids).last_hidden_state[0]    # prompt and answer, one row
    score = model.score(states[answer_start:]).mean()

posttrain reads it so by itself (`posttrain_score_is` in config.json).
"""
