"""Any sequence classifier as a reward: it reads the text with its own tokenizer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from posttrain.pipeline.finding import UserError
from posttrain.pipeline.sources import SourceFile
from posttrain.pipeline.stage import Inputs, Machine
from posttrain.rewards.base import Episode, Rewards, all_scored

if TYPE_CHECKING:  # transformers is imported when it is opened
    from posttrain.models.classifier import TextClassifier


@dataclass(frozen=True, kw_only=True)
class Classifier:
    """(logit - mean) / std of the sequence classifier ``source``, minus
    ``missing_eos_penalty`` where truncated.

    ``source`` is a Hugging Face model of any architecture and vocabulary, a directory or a name on the
    hub. A model with one label pays its score; with several, ``label`` (a name or a number) is the one
    whose log-odds against all others are paid. It reads prompt and answer in its chat template, or as a
    pair of texts.
    """

    source: SourceFile
    """The sequence classifier: a directory or a name on the hub."""
    label: str = ""
    """Which label is paid, by name or number, where there are several; empty for a classifier with one."""
    mean: float = 0.0
    """Subtracted from the logit before it is divided by ``std``; its mean on the start policy suits."""
    std: float = 1.0
    """The logit is divided by this, so that one KL coefficient suits every classifier."""
    missing_eos_penalty: float = 0.0
    """Subtracted from the reward of an answer that the length limit cut."""

    def __post_init__(self) -> None:
        if not self.std > 0 or self.missing_eos_penalty < 0:
            raise UserError(
                f"std={self.std}, missing_eos_penalty={self.missing_eos_penalty}: expected above 0, and 0 "
                "or more"
            )
        self.source.check_directory()

    @contextmanager
    def open(self, inputs: Inputs, machine: Machine) -> Iterator[ClassifierScorer]:
        """Loads the model. Raises UserError where it has several labels and none is named."""
        from posttrain.models.classifier import TextClassifier
        from posttrain.models.hub_snapshot import directory_of

        directory = directory_of(self.source, machine.workspace)
        model = TextClassifier(directory, self.label, machine.device)
        yield ClassifierScorer(model, self)


@dataclass(frozen=True)
class ClassifierScorer:
    """A classifier in memory."""

    model: TextClassifier
    wanted: Classifier

    def score(self, episodes: Sequence[Episode]) -> Rewards:
        """Scores everything; parts: ``classifier``, before scale and penalty."""
        raw = torch.tensor([self.model.logit(e.prompt["prompt"], e.response) for e in episodes])
        rewards = all_scored(raw, "classifier")
        cut = torch.tensor([not e.ended for e in episodes], dtype=torch.float32)
        values = (rewards.values - self.wanted.mean) / self.wanted.std - self.wanted.missing_eos_penalty * cut
        return Rewards(values=values, scored=rewards.scored, parts=rewards.parts)
