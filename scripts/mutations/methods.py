"""Mistakes in single methods: policy gradients, direct alignment, reward losses."""

from __future__ import annotations

from mutations.mutation import contract, of

PPO, DPO = "policy_gradients/ppo.py", "direct_alignment/dpo.py"
SHARED = "policy_gradients/base.py"

MUTATIONS = [
    of(
        "values shifted by one",
        SHARED,
        "zero_outside(evaluation.values, mask)",
        "zero_outside(evaluation.values.roll(1, 1), mask)",
        *contract("ppo"),
    ),
    of(
        "the gradient of a clipped weight",
        "policy_gradients/cispo.py",
        "r = ratio(now.logprobs, experience.before.logprobs, mask).detach()",
        "r = ratio(now.logprobs, experience.before.logprobs, mask)",
        *contract("cispo"),
    ),
    of(
        "temperatures of SAPO swapped",
        "policy_gradients/sapo.py",
        "experience.advantages > 0",
        "experience.advantages < 0",
        *contract("sapo"),
    ),
    of(
        "dynamic sampling keeps what teaches nothing",
        "policy_gradients/dapo.py",
        "rollouts.group) & differing(",
        "rollouts.group) & ~differing(",
        *contract("dapo"),
    ),
    of(
        "long answers are paid for their length",
        "policy_gradients/dapo.py",
        "reward - self.overlong_penalty",
        "reward + self.overlong_penalty",
        *contract("dapo"),
    ),
    of(
        "no greedy baseline",
        "policy_gradients/remax.py",
        "on_steps(total - greedy.to(total.dtype), rollouts.action_mask)",
        "on_steps(total, rollouts.action_mask)",
        *contract("remax"),
    ),
    of(
        "entropy is lowered",
        SHARED,
        "reduction, -self.entropy_coef)",
        "reduction, self.entropy_coef)",
        *contract("ppo"),
    ),
    of(
        "the critic's clip takes the smaller error",
        PPO,
        "error = torch.maximum(error",
        "error = torch.minimum(error",
        *contract("ppo"),
    ),
    of(
        "whitened returns for the critic",
        PPO,
        "reference, advantages, returns)",
        "reference, advantages, advantages + before.values)",
        *contract("ppo"),
    ),
    of(
        "a length penalty that pays for length",
        DPO,
        "longer = self.length_penalty",
        "longer = -self.length_penalty",
        *contract("dpo"),
    ),
    of(
        "the sign of label smoothing",
        "direct_alignment/c_dpo.py",
        "return self.label_smoothing +",
        "return -self.label_smoothing +",
        *contract("c_dpo"),
    ),
    of(
        "the sign of the flip rate",
        "direct_alignment/robust_dpo.py",
        "(confidence - self.flipped)",
        "(confidence + self.flipped)",
        *contract("robust_dpo"),
    ),
    of(
        "IPO's target without its half",
        "direct_alignment/ipo.py",
        "1 / (2 * self.beta)",
        "1 / self.beta",
        *contract("ipo"),
    ),
    of(
        "the gradient of KTO's baseline",
        "direct_alignment/kto.py",
        "(log_ratio(now, batch) - batch.baseline)",
        "(log_ratio(now, batch) - batch.baseline + batch.baseline.detach()"
        " - (log_ratio(now, batch) * (batch.rank < 0)).sum() / (batch.rank < 0).sum().clamp(min=1))",
        *contract("kto"),
    ),
    of(
        "a baseline below zero",
        "direct_alignment/kto.py",
        "mean.clamp(min=0)",
        "mean.clamp(min=-9)",
        "tests/direct_alignment/test_kto.py",
        *contract("kto"),
    ),
    of(
        "SimPO's margin is given away",
        "direct_alignment/simpo.py",
        "F.logsigmoid(d - self.gamma)",
        "F.logsigmoid(d + self.gamma)",
        *contract("simpo"),
    ),
    of(
        "odds of 1 + p",
        "direct_alignment/orpo.py",
        "below - torch.log(-torch.expm1(below))",
        "below - torch.log1p(below.exp())",
        *contract("orpo"),
    ),
    of(
        "the margin of a pair is given away",
        "reward_losses/bradley_terry.py",
        "logistic(won - lost - wanted_gap",
        "logistic(won - lost + wanted_gap",
        *contract("bradley_terry"),
    ),
    of(
        "centring the gap",
        "reward_losses/bradley_terry.py",
        "(won + lost).square()",
        "(won - lost).square()",
        *contract("bradley_terry"),
    ),
    of(
        "each row is chosen among those above",
        "reward_losses/plackett_luce.py",
        "(rank[None, :] > rank[:, None])",
        "(rank[None, :] >= rank[:, None])",
        "tests/reward_losses/test_plackett_luce.py",
        *contract("plackett_luce"),
    ),
    of(
        "steps nobody judged count as wrong",
        "reward_losses/process.py",
        "spoken = batch.rollouts.action_mask & ~batch.labels.isnan()",
        "spoken = batch.rollouts.action_mask",
        *contract("process"),
    ),
]
