"""Mistakes in the loops, the optimizer, its schedule and the average of weights."""

from __future__ import annotations

from mutations.mutation import of

MUTATIONS = [
    of(
        "a mean over each micro-batch",
        "training/update.py",
        "_amount(name, term, weight if len(slices) == 1 else weight[rows])",
        "_amount(name, term, term.reduction(past))",
        "tests/training/test_update.py",
    ),
    of(
        "the reward on the pad",
        "models/collate.py",
        "rewards[i, mask.nonzero()[-1]] = row.reward",
        "rewards[i, (mask.nonzero()[-1] + 1).clamp(max=T - 1)] = row.reward",
        "tests/models/test_language_policy.py",
        "tests/rollouts/test_collect.py",
    ),
    of(
        "a price that falls where KL is too high",
        "training/kl_control.py",
        "coef * (1 + error",
        "coef * (1 - error",
        "tests/training/test_kl_control.py",
    ),
]
