"""A reward model's score, on the scale of the answers it was made to compare."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from posttrain.pipeline.finding import Finding, UserError
from posttrain.pipeline.kinds import RewardModelStage
from posttrain.pipeline.stage import Inputs, Machine
from posttrain.rewards.base import Episode, Rewards, all_scored

if TYPE_CHECKING:  # a recipe names this source; transformers is imported when it is opened
    from posttrain.models.chat import Chat
    from posttrain.models.language_policy import LanguageReward

SCALE_FILE = "scale.json"


@dataclass(frozen=True, kw_only=True)
class ScoreScale:
    """Mean and standard deviation of a reward model's scores on answers of the instruction-tuned model."""

    mean: float
    std: float
    rows: int

    @classmethod
    def of(cls, scores: Tensor) -> ScoreScale:
        """Of scores [n]. Raises ValueError where they do not differ."""
        std = float(scores.double().std(correction=0))
        if not std > 0:
            raise ValueError(f"{len(scores)} scores with standard deviation {std}: the model ranks nothing")
        return cls(mean=float(scores.double().mean()), std=std, rows=len(scores))

    def save(self, directory: Path) -> None:
        """Beside the reward model's weights."""
        (directory / SCALE_FILE).write_text(json.dumps(vars(self), indent=2) + "\n", "utf-8")

    @classmethod
    def load(cls, directory: Path) -> ScoreScale:
        """Raises UserError where there is none."""
        path = directory / SCALE_FILE
        if not path.is_file():
            raise UserError(
                f"{path}: not there, so its scores have no known scale; make it with posttrain, "
                "or set normalise=false to use them as they are"
            )
        return cls(**json.loads(path.read_text("utf-8")))


@dataclass(frozen=True, kw_only=True)
class LearnedReward:
    """(score - mean) / std, minus ``missing_eos_penalty`` for an answer that a limit cut.

    With ``normalise`` the reward of the instruction-tuned model has mean 0 (Ouyang et al. 2022, section 3.5)
    and standard deviation 1, so that one KL coefficient suits every reward model. Always in fp32.
    """

    model: RewardModelStage
    """The reward model."""
    normalise: bool = True
    """Scores have mean 0 and standard deviation 1 over answers of the instruction-tuned model."""
    missing_eos_penalty: float = 0.0
    """Subtracted from the reward of an answer that the length limit cut, in units of the reward."""

    def __post_init__(self) -> None:
        if not 0 <= self.missing_eos_penalty < math.inf:
            raise UserError(
                f"missing_eos_penalty is {self.missing_eos_penalty}, expected 0 or more: it "
                "would pay for never ending"
            )

    @contextmanager
    def open(self, inputs: Inputs, machine: Machine) -> Iterator[LearnedScorer]:
        """Loads the reward model. Raises UserError where it has no scale but is to be normalised."""
        from posttrain.models.chat import Chat
        from posttrain.models.language_policy import LanguageReward
        from posttrain.models.loading import load_reward_model
        from posttrain.models.prepare import prepare
        from posttrain.models.scalar_files import head_as_written

        directory = inputs.of(self.model).path
        scale = ScoreScale.load(directory) if self.normalise else ScoreScale(mean=0.0, std=1.0, rows=0)
        model, tokenizer = load_reward_model(directory, device=machine.device)
        reward = LanguageReward(prepare(model))
        written = head_as_written(directory, model, reward.role.head)
        yield LearnedScorer(reward, Chat(tokenizer), scale, self.missing_eos_penalty, written)


@dataclass(frozen=True)
class LearnedScorer:
    """A reward model in memory. ``as_written``: whether its head is the one that stands in its directory;
    None where that is not known.
    """

    model: LanguageReward
    chat: Chat
    scale: ScoreScale
    missing_eos_penalty: float = 0.0
    as_written: bool | None = None

    def findings(self) -> list[Finding]:
        """What a look at it before the first step says."""
        return [
            Finding(
                name="reward_head_is_trained",
                value=0.0 if self.as_written is False else 1.0,
                threshold=1.0,
                passed=self.as_written is not False,
                evidence="the head that scores answers "
                + ("does not hold" if self.as_written is False else "holds")
                + " the numbers that stand in the reward model's directory",
                advice="load the reward model with posttrain.models.loading.load_reward_model, which makes "
                "no new head",
            )
        ]

    @torch.no_grad()
    def raw(self, episodes: Sequence[Episode]) -> Tensor:
        """The model's own scores [n] fp32. Raises UserError for answers made with another vocabulary."""
        from posttrain.models.collate import rollouts
        from posttrain.storage.token_rows import TokenRow

        for episode in episodes:
            answer_ids = [token for token, chosen in zip(episode.ids, episode.mask, strict=True) if chosen]
            if (decoded := self.chat.decode(answer_ids)) != episode.response:
                raise UserError(
                    f"the reward model reads the answer {episode.response[:60]!r} as {decoded[:60]!r}: "
                    "it has another vocabulary than the policy; use a reward model trained from the same base"
                )
        rows = [TokenRow(ids=episode.ids, mask=episode.mask) for episode in episodes]
        return self.model.score(rollouts(rows, self.chat.pad_id)).sum(-1).float().cpu()

    def score(self, episodes: Sequence[Episode]) -> Rewards:
        """Scores everything; parts: ``learned``, before the penalty."""
        scaled = (self.raw(episodes) - self.scale.mean) / self.scale.std
        rewards = all_scored(scaled, "learned")
        cut = torch.tensor([not episode.ended for episode in episodes], dtype=torch.float32)
        values = rewards.values - self.missing_eos_penalty * cut
        return Rewards(values=values, scored=rewards.scored, parts=rewards.parts)
