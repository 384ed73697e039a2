"""Five rows that end and pause at different places, in float64, with junk wherever no step was chosen."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from posttrain.core.batch import Evaluation, Experience, Rollouts
from tests.tiny import rollouts

JUNK = float("nan")
MASK = torch.tensor(
    [
        [False, True, True, False, False],
        [True, True, True, True, False],
        [False, False, True, False, False],
        [True, False, True, True, True],
        [False, True, True, True, False],
    ]
)
GROUP = [7, 7, 3, 7, 3]
PAID = [0.7, -1.1, 2.0, 0.4, -0.3]  # at each row's last step
STEPS = [row.nonzero().flatten().tolist() for row in MASK]
CLOSE = {"rtol": 1e-12, "atol": 1e-14}


def noise(seed: int, size: float = 1.0, middle: float = 0.0) -> Tensor:
    """[5, 5], junk outside the mask."""
    drawn = torch.randn(MASK.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.where(MASK, middle + size * drawn, JUNK)


def facts(**changed: Any) -> Rollouts:
    rewards = torch.full(MASK.shape, JUNK, dtype=torch.float64)
    rewards[MASK] = 0.0
    for row, steps in enumerate(STEPS):
        rewards[row, steps[-1]] = PAID[row]
    plain = rollouts(
        torch.zeros(5, 6, dtype=torch.long),
        MASK,
        rewards=rewards,
        group=torch.tensor(GROUP),
        logprobs=noise(4, 0.3, -1.0),
    )
    return replace(plain, **changed)


@dataclass
class Scene:
    """What each model says; ``now`` is a leaf."""

    facts: Rollouts = field(default_factory=facts)
    before: Tensor = field(default_factory=lambda: noise(1, 0.5, -1.5))
    reference: Tensor = field(default_factory=lambda: noise(2, 0.5, -1.5))
    now: Tensor = field(default_factory=lambda: (noise(1, 0.5, -1.5) + noise(3, 0.3)).requires_grad_())
    more: dict[str, Tensor] = field(default_factory=dict)  # values, kl, entropy

    def experience(self, method: Any) -> Experience:
        before = Evaluation(logprobs=self.before, **{k: v.detach() for k, v in self.more.items()})
        past = method.credit(self.facts, before, Evaluation(logprobs=self.reference))
        assert isinstance(past, Experience)
        return past

    def loss(self, method: Any) -> tuple[Tensor, Tensor]:
        """The method's loss on the whole batch, and its gradient in each chosen step's log-probability."""
        past = self.experience(method)
        terms = method.loss(Evaluation(logprobs=self.now, **self.more), past)
        total = sum((t.coef * (t.reduction(past) * t.values).sum() for t in terms.values()), torch.zeros(()))
        return total.detach(), self.gradient(total)

    def gradient(self, total: Tensor) -> Tensor:
        return torch.autograd.grad(total, self.now, retain_graph=True)[0][MASK]


def agree(scene: Scene, method: Any, want: Tensor) -> None:
    """Value and gradient of the method's loss are those of the formula ``want``."""
    got, gradient = scene.loss(method)
    torch.testing.assert_close(got, want.detach().to(got), **CLOSE)
    torch.testing.assert_close(gradient, scene.gradient(want), **CLOSE)
    assert bool(gradient.any())


def totals(scene: Scene, kl: float = 0.0) -> list[float]:
    """Of each row: what it was paid less ``kl`` times log before / reference, summed over its steps."""
    away = scene.before - scene.reference
    return [PAID[i] - kl * sum(float(away[i, t]) for t in steps) for i, steps in enumerate(STEPS)]


def others(row: int) -> list[int]:
    return [j for j, group in enumerate(GROUP) if group == GROUP[row] and j != row]


def standardized(worth: list[float], std: bool = True, eps: float = 1e-4) -> list[float]:
    """Each row's worth less the mean of its group, over its sample deviation."""
    found = []
    for row, own in enumerate(worth):
        group = [worth[j] for j in [row, *others(row)]]
        middle = sum(group) / len(group)
        width = (sum((x - middle) ** 2 for x in group) / (len(group) - 1)) ** 0.5
        found.append((own - middle) / (width + eps if std else 1.0))
    return found


def clipped(ratio: Tensor, advantage: float, low: float, high: float) -> Tensor:
    """What PPO's minimum keeps of one step, by cases."""
    if advantage > 0 and ratio > 1 + high:
        return torch.tensor((1 + high) * advantage, dtype=torch.float64)
    if advantage < 0 and ratio < 1 - low:
        return torch.tensor((1 - low) * advantage, dtype=torch.float64)
    return ratio * advantage


def ratio(scene: Scene, row: int, step: int) -> Tensor:
    return torch.exp(scene.now[row, step] - scene.before[row, step])


def k3_of(scene: Scene, row: int, step: int) -> Tensor:
    away = scene.reference[row, step] - scene.now[row, step]
    return torch.exp(away) - 1 - away
