"""Rewards in units of their own discounted sums: a critic's targets are about 1 in every environment."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from posttrain.core.batch import Rollouts
from posttrain.core.masked import wide
from posttrain.metrics import declare_metric
from posttrain.models.running import RunningNormaliser

REWARD_SCALE = declare_metric(
    "reward_scale",
    "What rewards are divided by: the standard deviation of discounted returns so far.",
    unit="reward",
    better="none",
)


class ScaledRewards:
    """``paying``'s rows, their rewards divided by the standard deviation of ``R_t = gamma R_{t-1} + r_t``.

    It is taken over all steps so far, this batch's included (Engstrom et al. 2020, section 3,
    code-level optimization 2). A positive factor changes no policy's rank. ``parts["return"]`` stays in
    the environment's units.
    """

    def __init__(self, paying: Callable[[int], Rollouts], gamma: float) -> None:
        self.paying, self.gamma = paying, gamma
        self.sums = RunningNormaliser(1)
        self.last_metrics: dict[str, float] = {}

    @property
    def scale(self) -> float:
        """What rewards are divided by."""
        return max(float(self.sums.variance.sqrt()), 1e-4)

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint holds of it."""
        paying: dict[str, Any] = getattr(self.paying, "state_dict", dict)()
        return {"sums": self.sums.state_dict(), "last_metrics": self.last_metrics, "paying": paying}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from :meth:`state_dict`."""
        self.sums.load_state_dict(state["sums"])
        self.last_metrics = state["last_metrics"]
        if state["paying"]:
            self.paying.load_state_dict(state["paying"])  # type: ignore[attr-defined]

    def __call__(self, step: int) -> Rollouts:
        rollouts = self.paying(step)
        rewards, total, sums = wide(rollouts.rewards), torch.zeros(len(rollouts)).double(), []
        for reward in rewards.unbind(1):
            total = self.gamma * total + reward
            sums.append(total)
        self.sums.update(torch.stack(sums, 1)[rollouts.action_mask][:, None])
        self.last_metrics = getattr(self.paying, "last_metrics", {}) | {REWARD_SCALE.name: self.scale}
        return replace(rollouts, rewards=(rewards / self.scale).to(rollouts.rewards.dtype))
