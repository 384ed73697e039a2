"""The settings that reinforcement works with where they follow from other settings."""

from __future__ import annotations

from dataclasses import replace
from typing import Self

from posttrain.core.batch import PolicyGradient
from posttrain.core.importance import Truncated
from posttrain.pipeline.stage import Compute

GROUP = 4  # answers a prompt, where a method compares them and nobody says how many


class EffectiveSettings:
    """Batch, method and warmup of ``Reinforcement``, as they follow from its settings."""

    method: PolicyGradient
    steps: int
    prompts_per_step: int
    group_size: int | None
    warmup: int
    compute: Compute

    @property
    def compares(self) -> bool:
        """Whether the method compares the answers to one prompt."""
        return self.method.wants.group or self.method.wants.whole_groups

    @property
    def batch_shape(self) -> tuple[int, int]:
        """Prompts of a step, and answers to each."""
        if self.group_size is not None:
            return self.prompts_per_step, self.group_size
        size = GROUP if self.compares else 1
        return max(self.prompts_per_step // size, 1), size

    @property
    def sampled(self) -> int:
        """Answers that are sampled and learned from."""
        prompts, answers = self.batch_shape
        return self.steps * prompts * answers

    def effective(self) -> Self:
        """With the prompts and answers of a step as they are sampled, the warmup that fits in the updates,
        and the correction of the method: where sampler and trainer both round, each step is weighted by the
        truncated ratio of trainer to sampler (Yao et al. 2025), for which the trainer reads every batch
        before it learns.
        """
        method = self.method
        if self.compute != "float32" and getattr(method, "correction", "none to give") is None:
            method = replace(method, correction=Truncated())  # type: ignore[type-var]
        prompts, answers = self.batch_shape
        updates = self.steps * method.epochs * method.minibatches
        return replace(  # type: ignore[type-var]
            self,
            method=method,
            prompts_per_step=prompts,
            group_size=answers,
            warmup=min(self.warmup, updates // 4),
        )
