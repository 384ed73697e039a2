"""A linear scorer fitted to comparisons: the start of a reward model's head, and baselines beside one."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from posttrain.core.preferences import logistic

RIDGES = (1e-2, 1e-1, 0.3, 1.0, 3.0)  # of standardised features, beside the mean loss of a pair
FOLDS = 4
ITERATIONS = 60


def fit_linear(differences: Tensor, confidence: Tensor, prompts: Sequence[int]) -> tuple[Tensor, float]:
    """The weights [D] whose score difference is the log-odds of a comparison, and their ridge.

    Minimises ``mean(-c log sigmoid(d) - (1 - c) log sigmoid(-d)) + ridge |w|^2 / 2`` with d = w . x, x the
    features of the chosen less those of the rejected answer, divided by their root mean square. The loss is
    convex; the ridge is the one of ``RIDGES`` with the best prediction of held-out prompts.

    Args:
        differences: [n, D] features of chosen less rejected.
        confidence: [n] that the chosen answer is the better one.
        prompts: [n] a number for each prompt; its comparisons are in one fold.
    """
    x, c = differences.double(), confidence.double()
    scale = x.square().mean(0).sqrt()
    x = torch.where(scale > 0, x / scale.clamp(min=1e-12), 0.0)
    numbers = torch.tensor([number % FOLDS for number in _in_order(prompts)])
    losses = []
    for ridge in RIDGES:
        left_out = 0.0
        for fold in range(FOLDS):
            inside, outside = numbers != fold, numbers == fold
            if bool(inside.any()) and bool(outside.any()):
                weights = _fit(x[inside], c[inside], ridge)
                left_out += float(logistic(x[outside] @ weights, c[outside]).sum())
        losses.append(left_out)
    best = RIDGES[min(range(len(RIDGES)), key=losses.__getitem__)]
    weights = _fit(x, c, best)
    return torch.where(scale > 0, weights / scale.clamp(min=1e-12), 0.0).float(), best


def _in_order(prompts: Sequence[int]) -> list[int]:
    """Prompts numbered in the order of their first comparison."""
    order: dict[int, int] = {}
    return [order.setdefault(prompt, len(order)) for prompt in prompts]


def _fit(x: Tensor, c: Tensor, ridge: float) -> Tensor:
    """Newton's method, which converges since the ridge makes the loss strictly
    convex; steps are halved where the loss would rise.
    """
    rows, width = x.shape
    weights = x.new_zeros(width)
    for _ in range(ITERATIONS):
        difference = x @ weights
        p = torch.sigmoid(difference)
        gradient = x.T @ (p - c) / rows + ridge * weights
        if float(gradient.norm()) < 1e-9 * (1 + float(weights.norm())):
            break
        curvature = p * (1 - p) / rows
        hessian = (x.T * curvature) @ x + ridge * torch.eye(width, dtype=x.dtype)
        step = torch.linalg.solve(hessian, gradient)
        before, size = float(_loss(x, c, weights, ridge)), 1.0
        while size > 1e-6 and float(_loss(x, c, weights - size * step, ridge)) > before:
            size /= 2
        weights = weights - size * step
    return weights


def _loss(x: Tensor, c: Tensor, weights: Tensor, ridge: float) -> Tensor:
    return logistic(x @ weights, c).mean() + ridge * weights.square().sum() / 2
