"""Labels of which 30 % are wrong: what DPO makes of them, and what robust DPO does."""

from __future__ import annotations

import torch

from posttrain.core.batch import DirectAlignment, Evaluation
from posttrain.direct_alignment.dpo import DPO
from posttrain.direct_alignment.robust_dpo import RobustDPO
from tests.direct_alignment.tabular import LIKELY, PAIRS, REFERENCE, REWARD, every_pair, spread, tilted

BETA, LABELS, FLIPPED, WORLDS = 0.5, 4000, 0.3, 24


def learned(method: DirectAlignment, counts: torch.Tensor) -> torch.Tensor:
    """[4] log-probabilities that fit how often each ordered pair was said."""
    past, answers, _ = every_pair()
    logits = REFERENCE.clone().requires_grad_()
    optimizer = torch.optim.LBFGS([logits], max_iter=200, line_search_fn="strong_wolfe")
    weight = (counts / counts.sum()).repeat_interleave(2)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        logprobs = spread(logits.log_softmax(0), answers, past.rollouts.action_mask)
        loss = (method.loss(Evaluation(logprobs=logprobs), past)["pair_loss"].values * weight).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    return logits.detach().log_softmax(0)


def said(seed: int) -> torch.Tensor:
    """How often each ordered pair was said, of LABELS labels, 30 % of them turned round."""
    generator = torch.Generator().manual_seed(seed)
    likely = torch.stack([LIKELY[i, j] for i, j in PAIRS])
    likely = likely * (1 - FLIPPED) + (1 - likely) * FLIPPED
    drawn = torch.multinomial(likely / likely.sum(), LABELS, replacement=True, generator=generator)
    return torch.bincount(drawn, minlength=len(PAIRS)).double()


def kl(policy: torch.Tensor) -> float:
    best = tilted(REWARD / BETA)
    return float((policy.exp() * (policy - best)).sum())


def test_robust_dpo_is_unbiased_and_nearer_to_the_optimum() -> None:
    true = float(REWARD[0] - REWARD[1])
    robust, plain = [], []
    for seed in range(WORLDS):
        counts = said(seed)
        robust.append(learned(RobustDPO(beta=BETA, flipped=FLIPPED), counts))
        plain.append(learned(DPO(beta=BETA), counts))

    def gap(policies: list[torch.Tensor]) -> torch.Tensor:
        h = BETA * (torch.stack(policies) - REFERENCE)
        return h[:, 0] - h[:, 1]

    for policies, unbiased in ((robust, True), (plain, False)):
        error = gap(policies) - true
        bias, se = float(error.mean()), float(error.std() / WORLDS**0.5)
        assert (abs(bias) < 3 * se) is unbiased, (bias, se)
    assert max(map(kl, robust)) < min(map(kl, plain))
    assert sum(map(kl, robust)) < sum(map(kl, plain)) / 5
