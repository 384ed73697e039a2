"""Batches of play with what they are paid, and what the policy that reads them has seen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from posttrain.core.batch import Rollouts
from posttrain.models.mlp import MLPPolicy
from posttrain.rollouts.play import paid_at_the_end

Paying = Callable[[int], Rollouts]


class Collected:
    """What pays, the last batch it paid for, and what the ``policy`` that reads observations saw of it."""

    def __init__(self, paying: Paying, at_the_end: bool, policy: MLPPolicy) -> None:
        self.paying, self.at_the_end, self.policy = paying, at_the_end, policy
        self.last: Rollouts | None = None
        self.observed = 0  # versions of the weights before which the policy was shown the last batch

    def __call__(self, step: int) -> Rollouts:
        facts = self.paying(step)
        self.last = paid_at_the_end(facts) if self.at_the_end else facts
        return self.last

    def observe(self, version: int) -> None:
        """Shows the policy the last batch, once, before the weights of ``version`` play."""
        if self.last is not None and version > self.observed:
            self.policy.observe(self.last)
            self.observed = version

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint holds of it."""
        paying: dict[str, Any] = getattr(self.paying, "state_dict", dict)()
        buffers = dict(self.policy.named_buffers())
        return {"last": self.last, "observed": self.observed, "buffers": buffers, "paying": paying}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from :meth:`state_dict`."""
        self.last, self.observed = state["last"], state["observed"]
        for name, buffer in self.policy.named_buffers():
            buffer.copy_(state["buffers"][name])
        if state["paying"]:
            self.paying.load_state_dict(state["paying"])  # type: ignore[attr-defined]
