"""Deliberate mistakes, each of which somebody has shipped or could: a line, and what stands there instead."""

# size: a table, one entry a mistake

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutation:
    """``old`` appears exactly once in the file; ``tests`` are asked first, as pytest's arguments."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


CONTRACT = "tests/contract/test_contract.py"


def of(name: str, file: str, old: str, new: str, *tests: str) -> Mutation:
    return Mutation(name, file, old, new, tests)


def contract(*methods: str) -> tuple[str, ...]:
    """The contract of these methods, without their pages."""
    return (CONTRACT, "-k", f"({' or '.join(f'{m}-' for m in methods)}) and not has_a_page")


KL, ADVANTAGES, REDUCTION = "core/kl.py", "core/advantages.py", "core/reduction.py"
MASKED, IMPORTANCE, PREFERENCES = "core/masked.py", "core/importance.py", "core/preferences.py"
PPO, DPO = "policy_gradients/ppo.py", "direct_alignment/dpo.py"
ORACLE = "tests/oracle/test_estimators.py"

MUTATIONS = [
    of(
        "the sign of KL in the reward",
        KL,
        "rewards - self.coef * zero_outside(paid, mask)",
        "rewards + self.coef * zero_outside(paid, mask)",
        "tests/core/test_kl.py",
    ),
    of(
        "k1 swapped",
        KL,
        "return policy - reference",
        "return reference - policy",
        "tests/core/test_kl.py",
    ),
    of("k2 without its half", KL, ".square() / 2", ".square()", "tests/core/test_kl.py"),
    of(
        "k3 swapped",
        KL,
        "difference = reference - policy",
        "difference = policy - reference",
        "tests/core/test_kl.py",
    ),
    of(
        "the exact KL the other way",
        KL,
        "(policy.exp() * (policy - reference))",
        "(reference.exp() * (reference - policy))",
        "tests/core/test_kl.py",
    ),
    of(
        "the exact KL charged to its own step",
        KL,
        """            out.append(later)
            later = torch.where(chosen, paid.to(rewards), later)""",
        """            later = torch.where(chosen, paid.to(rewards), later)
            out.append(later)""",
        "tests/core/test_kl.py",
        ORACLE,
    ),
    of(
        "the KL of best-of-n",
        KL,
        "math.log(n) - (n - 1) / n",
        "math.log(n) - 1 / n",
        "tests/core/test_kl.py",
        ORACLE,
    ),
    of(
        "gamma and lambda swapped in GAE",
        ADVANTAGES,
        "step = reward + gamma * after - value",
        "step = reward + gae_lambda * after - value",
        "tests/core/test_advantages.py",
    ),
    of(
        "a finished episode is bootstrapped, a cut one is not",
        ADVANTAGES,
        "torch.where(truncated, bootstrap.to(values), after)",
        "torch.where(truncated, after, bootstrap.to(values))",
        "tests/core/test_advantages.py",
    ),
    of(
        "whitening counts the padding",
        ADVANTAGES,
        "wide(zero_outside(x, mask)), mask.sum().clamp(min=1)",
        "wide(zero_outside(x, mask)), mask.new_tensor(mask.numel(), dtype=torch.long)",
        "tests/core/test_advantages.py",
    ),
    of(
        "whitening by the sample's deviation",
        ADVANTAGES,
        "std = (centred.square().sum() / count).sqrt()",
        "std = (centred.square().sum() / (count - 1)).sqrt()",
        *contract("ppo"),
    ),
    of(
        "the group's deviation divided by n",
        ADVANTAGES,
        "(squares / (size - 1)).sqrt()",
        "(squares / size).sqrt()",
        *contract("grpo"),
    ),
    of(
        "leave-one-out that leaves nobody out",
        ADVANTAGES,
        "(total - wide(x)) / (size - 1)",
        "total / size",
        *contract("rloo"),
    ),
    of(
        "a baseline that knows its own row",
        ADVANTAGES,
        "(sums[place] - inside) / others.clamp(min=1)",
        "sums[place] / (others + 1)",
        *contract("reinforce"),
    ),
    of(
        "values shifted by one",
        PPO,
        "        values = zero_outside(before.values, mask)\n",
        "        values = zero_outside(before.values.roll(1, 1), mask)\n",
        *contract("ppo"),
    ),
    of(
        "a mean over each micro-batch",
        "training/update.py",
        "_amount(name, term, weight if len(slices) == 1 else weight[rows])",
        "_amount(name, term, term.reduction(past))",
        "tests/training/test_update.py",
    ),
    of(
        "a token mean over padding",
        REDUCTION,
        "return wide(mask) / mask.sum().clamp(min=1)",
        "return wide(mask) / mask.numel()",
        "tests/core/test_reduction.py",
    ),
    of(
        "a sequence mean that forgets lengths",
        REDUCTION,
        "(length.clamp(min=1)[:, None] * (length > 0)",
        "(length.clamp(min=1, max=1)[:, None] * (length > 0)",
        "tests/core/test_reduction.py",
    ),
    of(
        "Dr. GRPO divided by the padded width",
        REDUCTION,
        "(mask.any(-1).sum().clamp(min=1) * max_length)",
        "(mask.any(-1).sum().clamp(min=1) * mask.shape[1])",
        "tests/core/test_reduction.py",
    ),
    of(
        "pairs divided by rows",
        REDUCTION,
        "(wide(past.rank) * 0 + 1) / max(len(pairs(past).winner), 1)",
        "(wide(past.rank) * 0 + 1) / max(len(past.rank), 1)",
        "tests/core/test_reduction.py",
        *contract("dpo"),
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
        "the temperature is missing",
        "core/logprobs.py",
        "return out if heat is None else out.div_(heat[s, None])",
        "return out",
        "tests/core/test_logprobs.py",
    ),
    of(
        "a decision's sum not given to its steps",
        MASKED,
        "return zero_outside(sums.gather(-1, dense), action_mask)",
        "return inside",
        "tests/core/test_masked.py",
    ),
    of(
        "sums that include padding",
        MASKED,
        "return zero_outside(x, mask).sum(-1)",
        "return x.sum(-1)",
        "tests/core/test_masked.py",
    ),
    of(
        "the ratio without its bound",
        MASKED,
        "return x.clamp(max=bound).exp() * (1 + (x - bound).relu())",
        "return x.exp()",
        *contract("grpo"),
    ),
    of(
        "sampler over trainer",
        IMPORTANCE,
        "zero_outside(trainer, known) - zero_outside(sampler, known)",
        "zero_outside(sampler, known) - zero_outside(trainer, known)",
        "tests/core/test_importance.py",
    ),
    of(
        "a correction cut from below",
        IMPORTANCE,
        ".clamp(max=self.cap)",
        ".clamp(min=self.cap)",
        "tests/core/test_importance.py",
    ),
    of(
        "clip sides swapped",
        IMPORTANCE,
        "ratio.clamp(1 - low, 1 + high) * advantages",
        "ratio.clamp(1 - high, 1 + low) * advantages",
        *contract("dapo"),
    ),
    of(
        "the larger of clipped and unclipped",
        IMPORTANCE,
        "return torch.minimum(ratio * advantages",
        "return torch.maximum(ratio * advantages",
        *contract("grpo"),
    ),
    of(
        "the ratio of a sequence grows with its length",
        IMPORTANCE,
        "on_steps(difference / lengths(mask).clamp(min=1), mask)",
        "on_steps(difference, mask)",
        *contract("gspo"),
    ),
    of(
        "the gradient of a clipped weight",
        "policy_gradients/cispo.py",
        "r = ratio(now.logprobs, past.before.logprobs, mask).detach()",
        "r = ratio(now.logprobs, past.before.logprobs, mask)",
        *contract("cispo"),
    ),
    of(
        "temperatures of SAPO swapped",
        "policy_gradients/sapo.py",
        "past.advantages > 0",
        "past.advantages < 0",
        *contract("sapo"),
    ),
    of(
        "a sharper reference counts against what it holds for likely",
        "core/kl.py",
        "(self.power - 1) * likely",
        "(1 - self.power) * likely",
        *contract("ppo"),
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
        "on_steps(total - greedy.to(total.dtype), mask)",
        "on_steps(total, mask)",
        *contract("remax"),
    ),
    of(
        "entropy is lowered",
        PPO,
        "token_mean, -self.entropy_coef)",
        "token_mean, self.entropy_coef)",
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
        "returns=advantages + values,",
        "returns=whiten(advantages, mask) + values,",
        *contract("ppo"),
    ),
    of(
        "chosen and rejected swapped",
        PREFERENCES,
        "above = past.rank[:, None] < past.rank[None, :]",
        "above = past.rank[:, None] > past.rank[None, :]",
        "tests/core/test_preferences.py",
    ),
    of(
        "measured rows make pairs",
        PREFERENCES,
        "ranked = past.rank >= 0",
        "ranked = past.rank >= -1",
        *contract("dpo"),
    ),
    of(
        "a pair as sure as its surer row",
        PREFERENCES,
        "torch.minimum(past.confidence[between.winner]",
        "torch.maximum(past.confidence[between.winner]",
        *contract("dpo"),
    ),
    of(
        "the weight of the label and of its opposite swapped",
        PREFERENCES,
        "return -(confidence * F.logsigmoid(difference) + (1 - confidence) * F.logsigmoid(-difference))",
        "return -(confidence * F.logsigmoid(-difference) + (1 - confidence) * F.logsigmoid(difference))",
        "tests/core/test_preferences.py",
    ),
    of(
        "the worst answer preferred",
        PREFERENCES,
        "order = (-paid).argsort(stable=True)",
        "order = paid.argsort(stable=True)",
        *contract("online_dpo"),
    ),
    of(
        "DPO without its reference",
        "core/implicit_reward.py",
        "return now.logprobs - past.reference.logprobs",
        "return now.logprobs",
        *contract("dpo"),
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
        "(log_ratio(now, past) - past.baseline)",
        "(log_ratio(now, past) - past.baseline + past.baseline.detach()"
        " - (log_ratio(now, past) * (past.rank < 0)).sum() / (past.rank < 0).sum().clamp(min=1))",
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
        "(place[None, :] > place[:, None])",
        "(place[None, :] >= place[:, None])",
        "tests/reward_losses/test_plackett_luce.py",
        *contract("plackett_luce"),
    ),
    of(
        "steps nobody judged count as wrong",
        "reward_losses/process.py",
        "spoken = past.rollouts.action_mask & ~past.labels.isnan()",
        "spoken = past.rollouts.action_mask",
        *contract("process"),
    ),
    of(
        "a price that falls where KL is too high",
        "training/kl_control.py",
        "coef * (1 + error",
        "coef * (1 - error",
        "tests/training/test_kl_control.py",
    ),
]
