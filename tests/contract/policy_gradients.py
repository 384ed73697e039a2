"""The policy gradients in plain numbers, written from the papers and not from the package."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor

from posttrain.core.importance import Masked, Truncated
from posttrain.core.kl import KLExact, KLInLoss, KLInReward, k2, k3
from posttrain.direct_alignment.dpo import DPO
from tests.contract.by_hand import (
    Entry,
    Row,
    against_reference,
    clip,
    fixed,
    larger,
    mean,
    nll,
    row_total,
    sequence_mean,
    sigmoid,
    smaller,
    spread,
    to_go,
    token_mean,
)
from tests.contract.kl_by_hand import charged, in_the_loss

NO_KL = KLInReward(coef=0.0)


def correction(how: Any, row: Row) -> list[float]:
    """What each step counts, where sampler and trainer disagree."""
    ratios = [float((a - b).exp()) for a, b in zip(row.before, row.sampler, strict=True)]
    if isinstance(how, Truncated):
        return [min(r, how.cap) for r in ratios]
    if isinstance(how, Masked):
        return [r if how.low <= r <= how.high else 0.0 for r in ratios]
    return [1.0] * len(row)


def advantages(m: Any, row: Row) -> list[float]:
    """GAE as the sum it is: (gamma lambda)^k times the k-th one-step error from here."""
    reward, value = charged(m.kl, row), fixed(row.old_value)
    after = [*value[1:], float(row.bootstrap) if m.bootstrap_truncated and row.truncated else 0.0]
    errors = [r + m.gamma * v1 - v for r, v1, v in zip(reward, after, value, strict=True)]
    decay = m.gamma * m.gae_lambda
    steps = range(len(errors))
    return [sum(decay ** (u - t) * errors[u] for u in steps if u >= t) for t in steps]


def standardized(per_row: list[list[float]]) -> list[list[float]]:
    every = [a for row in per_row for a in row]
    middle, width = mean(every), spread(every)
    return [[(a - middle) / (width + 1e-8) for a in row] for row in per_row]


def ppo(m: Any, rows: list[Row]) -> Tensor:
    raw = [advantages(m, row) for row in rows]
    used = standardized(raw) if m.whiten else raw
    policy, value = [], []
    for row, own, white in zip(rows, raw, used, strict=True):
        weight = correction(m.correction, row)
        gains, errors = [], []
        for t in range(len(row)):
            ratio = (row.now[t] - float(row.before[t])).exp()
            kept = clip(ratio, 1 - m.clip_range, 1 + m.clip_range)
            gains.append(-weight[t] * smaller(ratio * white[t], kept * white[t]))
            old, target = float(row.old_value[t]), own[t] + float(row.old_value[t])
            error = (row.value[t] - target) ** 2
            if m.value_clip_range is not None:
                near = old + clip(row.value[t] - old, -m.value_clip_range, m.value_clip_range)
                error = larger(error, (near - target) ** 2)
            errors.append(weight[t] * error / 2)
        policy.append(gains)
        value.append(errors)
    loss = token_mean(policy) + m.vf_coef * token_mean(value) + in_the_loss(m.kl, rows)
    return loss - m.entropy_coef * token_mean([row.entropy for row in rows])


def members(rows: list[Row], row: Row) -> list[Row]:
    """The answers to the same prompt."""
    return [other for other in rows if other.group == row.group]


def paid(m: Any, row: Row) -> float:
    """What a whole row earned, less its KL."""
    return sum(charged(m.kl, row))


def surrogate(rows: list[Row], advantage: list[list[float]], weight: list[list[float]]) -> list[list[Tensor]]:
    """-A log pi of every step, by row."""
    return [
        [-a * w * step for a, w, step in zip(own, weights, row.now, strict=True)]
        for row, own, weights in zip(rows, advantage, weight, strict=True)
    ]


def ratios(row: Row) -> list[Tensor]:
    return [(a - float(b)).exp() for a, b in zip(row.now, row.before, strict=True)]


def clipped(m: Any, rows: list[Row], advantage: list[float], low: float, high: float) -> list[list[Tensor]]:
    """-min(r A, clip(r) A) of every step, by row."""
    out = []
    for row, a in zip(rows, advantage, strict=True):
        weight = correction(m.correction, row)
        out.append(
            [
                -w * smaller(r * a, clip(r, 1 - low, 1 + high) * a)
                for w, r in zip(weight, ratios(row), strict=True)
            ]
        )
    return out


def reinforce(m: Any, rows: list[Row]) -> Tensor:
    returns = [to_go(charged(m.kl, row), m.gamma) for row in rows]
    advantage = []
    for i, own in enumerate(returns):
        others = [
            [g[k] for j, g in enumerate(returns) if j != i and len(g) > k] if m.baseline else []
            for k in range(len(own))
        ]
        advantage.append([g - (mean(o) if o else 0.0) for g, o in zip(own, others, strict=True)])
    loss = row_total(surrogate(rows, advantage, [correction(m.correction, row) for row in rows]))
    return loss + in_the_loss(m.kl, rows, row_total) - m.entropy_coef * row_total([r.entropy for r in rows])


def a2c(m: Any, rows: list[Row]) -> Tensor:
    own = [advantages(m, row) for row in rows]
    weight = [correction(m.correction, row) for row in rows]
    errors = [
        [w * (v - a - float(old)) ** 2 / 2 for w, v, a, old in zip(*four, strict=True)]
        for four in zip(weight, [r.value for r in rows], own, [r.old_value for r in rows], strict=True)
    ]
    loss = token_mean(surrogate(rows, own, weight)) + m.vf_coef * token_mean(errors)
    return loss + in_the_loss(m.kl, rows) - m.entropy_coef * token_mean([row.entropy for row in rows])


def rloo(m: Any, rows: list[Row]) -> Tensor:
    advantage = []
    for row in rows:
        others = [paid(m, other) for other in members(rows, row) if other is not row]
        advantage.append([paid(m, row) - mean(others)] * len(row))
    loss = row_total(surrogate(rows, advantage, [correction(m.correction, row) for row in rows]))
    return loss + in_the_loss(m.kl, rows, row_total)


def in_groups(m: Any, rows: list[Row], std: bool, eps: float = 0.0) -> list[float]:
    """(R - mean) / (std + eps) within each prompt, the deviation that of a sample."""
    out = []
    for row in rows:
        all_paid = [paid(m, other) for other in members(rows, row)]
        width = spread(all_paid, less=1) + eps if std else 1.0
        out.append((paid(m, row) - mean(all_paid)) / width)
    return out


def grpo(m: Any, rows: list[Row]) -> Tensor:
    gains = clipped(m, rows, in_groups(m, rows, m.std, m.std_eps), m.clip_range, m.clip_range)
    return sequence_mean(gains) + in_the_loss(m.kl, rows, sequence_mean)


def dr_grpo(m: Any, rows: list[Row]) -> Tensor:
    def over(per_row: list[list[Tensor]]) -> Tensor:
        return row_total(per_row) / m.max_length

    gains = clipped(m, rows, in_groups(m, rows, False), m.clip_range, m.clip_range)
    return over(gains) + in_the_loss(m.kl, rows, over)


def online_pairs(m: Any, rows: list[Row]) -> Tensor:
    """DPO on the best and the worst paid answer of each prompt."""
    losses, dpo = [], m.alignment
    for group in sorted({row.group for row in rows}):
        found = sorted((r for r in rows if r.group == group), key=lambda r: float(sum(r.reward)))
        lost, won = found[0], found[-1]
        if not m.label_temperature and float(sum(won.reward)) == float(sum(lost.reward)):
            continue  # equals, and a judge who is always sure
        sure = 1.0
        if m.label_temperature:
            sure = float(sigmoid((sum(won.reward) - sum(lost.reward)) / m.label_temperature))  # type: ignore[arg-type]
        gap = dpo.beta * (against_reference(won) - against_reference(lost))
        losses.append(sure * nll(gap) + (1 - sure) * nll(-gap))
    return mean(losses)  # type: ignore[no-any-return]


def xpo(m: Any, rows: list[Row]) -> Tensor:
    bonus = []
    for row in rows:
        weight = float((sum(row.ref) - sum(row.sampler)).exp())  # type: ignore[union-attr]
        bonus.append(min(weight, m.max_weight) * sum(row.now))
    return online_pairs(m, rows) + m.alpha * mean(bonus)


def nash_md(m: Any, rows: list[Row]) -> Tensor:
    advantage = []
    for row in rows:
        others = [other for other in members(rows, row) if other is not row]
        away = [m.mixture * float(sum(o.ref) - sum(o.before)) for o in others]
        share = [math.exp(x) / sum(math.exp(y) for y in away) for x in away]
        wins = [
            1 / (1 + math.exp(-float(sum(row.reward) - sum(o.reward)) / m.label_temperature)) for o in others
        ]
        won = sum(s * (w - 0.5) for s, w in zip(share, wins, strict=True))
        cost = paid(m, row) - float(sum(row.reward))
        advantage.append([won + cost] * len(row))
    loss = row_total(surrogate(rows, advantage, [[1.0] * len(row) for row in rows]))
    return loss + in_the_loss(m.kl, rows)


def shaped(m: Any, row: Row) -> float:
    """What a row earned, less what it pays for coming near the limit."""
    earned = float(sum(row.reward))
    if m.max_length is None:
        return earned
    free = m.max_length * (1 - m.overlong_buffer)
    return earned - m.overlong_penalty * min(max((len(row) - free) / (m.max_length - free), 0), 1)


def dapo(m: Any, rows: list[Row]) -> Tensor:
    telling = [row for row in rows if len({shaped(m, o) for o in members(rows, row)}) > 1]
    rows = telling if m.dynamic_sampling and telling else rows
    worth = {id(row): shaped(m, row) + paid(m, row) - float(sum(row.reward)) for row in rows}
    advantage = []
    for row in rows:
        all_worth = [worth[id(other)] for other in members(rows, row)]
        width = spread(all_worth, less=1) + 1e-4 if m.std else 1.0
        advantage.append((worth[id(row)] - mean(all_worth)) / width)
    if m.drop_truncated:
        advantage = [0.0 if row.truncated else a for row, a in zip(rows, advantage, strict=True)]
    gains = clipped(m, rows, advantage, m.clip_range, m.clip_range_high)
    return token_mean(gains) + in_the_loss(m.kl, rows)


def gspo(m: Any, rows: list[Row]) -> Tensor:
    """As GSPO-token: the value of each step is the row's ratio, its gradient that times the step's own."""
    gains = []
    for row, a in zip(rows, in_groups(m, rows, m.std, 1e-4), strict=True):
        whole = math.exp(mean(fixed(row.now)) - mean(fixed(row.before)))
        own = [whole * (step - float(step.detach())).exp() for step in row.now]
        weight = correction(m.correction, row)
        gains.append(
            [
                -w * smaller(s * a, clip(s, 1 - m.clip_range, 1 + m.clip_range_high) * a)
                for w, s in zip(weight, own, strict=True)
            ]
        )
    return sequence_mean(gains) + in_the_loss(m.kl, rows, sequence_mean)


def cispo(m: Any, rows: list[Row]) -> Tensor:
    gains = []
    for row, a in zip(rows, in_groups(m, rows, m.std, 1e-4), strict=True):
        bounded = [min(max(r, 1 - m.clip_range), 1 + m.clip_range_high) for r in fixed(ratios(row))]
        weight = correction(m.correction, row)
        gains.append([-w * r * a * step for w, r, step in zip(weight, bounded, row.now, strict=True)])
    return token_mean(gains) + in_the_loss(m.kl, rows)


def sapo(m: Any, rows: list[Row]) -> Tensor:
    gains = []
    for row, a in zip(rows, in_groups(m, rows, m.std, 1e-4), strict=True):
        tau = m.tau if a > 0 else m.tau_negative
        weight = correction(m.correction, row)
        gains.append(
            [-w * a * 4 / tau * sigmoid(tau * (r - 1)) for w, r in zip(weight, ratios(row), strict=True)]
        )
    return sequence_mean(gains) + in_the_loss(m.kl, rows, sequence_mean)


def clipped_steps(m: Any, rows: list[Row], advantage: list[list[float]]) -> Tensor:
    out = []
    for row, own in zip(rows, advantage, strict=True):
        weight = correction(m.correction, row)
        low, high = 1 - m.clip_range, 1 + m.clip_range
        steps = zip(weight, ratios(row), own, strict=True)
        out.append([-w * smaller(r * a, clip(r, low, high) * a) for w, r, a in steps])
    return token_mean(out) + in_the_loss(m.kl, rows)


def reinforce_plus_plus(m: Any, rows: list[Row]) -> Tensor:
    return clipped_steps(m, rows, standardized([to_go(charged(m.kl, row)) for row in rows]))


def reinforce_plus_plus_baseline(m: Any, rows: list[Row]) -> Tensor:
    centred = in_groups(m, rows, False)
    return clipped_steps(
        m, rows, standardized([[a] * len(row) for row, a in zip(rows, centred, strict=True)])
    )


def remax(m: Any, rows: list[Row]) -> Tensor:
    advantage = [[paid(m, row) - float(row.greedy)] * len(row) for row in rows]
    loss = row_total(surrogate(rows, advantage, [correction(m.correction, row) for row in rows]))
    return loss + in_the_loss(m.kl, rows, row_total)


def on_policy_distillation(m: Any, rows: list[Row]) -> Tensor:
    advantage = []
    for row in rows:
        earned = [m.reward_coef * x for x in to_go(fixed(row.reward))]
        free = [c - r for c, r in zip(charged(m.kl, row), fixed(row.reward), strict=True)]
        own = to_go(free, m.gamma)
        if isinstance(m.kl, KLExact):
            own = [m.gamma * x for x in own]
        advantage.append([a + b for a, b in zip(earned, own, strict=True)])
    loss = token_mean(surrogate(rows, advantage, [correction(m.correction, row) for row in rows]))
    return loss + in_the_loss(m.kl, rows)


NAN = float("nan")
KLS = [
    {"kl": KLInReward(coef=0.3)},
    {"kl": KLInReward(coef=0.3, power=1.6)},
    {"kl": KLInLoss(coef=0.2)},
    {"kl": KLInLoss(coef=0.2, estimator=k3), "correction": Masked(low=0.95, high=1.2)},
    {"kl": KLExact(coef=0.2), "correction": Truncated(cap=1.05)},
]
TEMPERATURE = [{"label_temperature": value} for value in (-1.0, NAN, math.inf)]
OF_PAIRS = ("accuracy", "gap", "reward_chosen", "reward_rejected")
MORE_THAN_NONE = (0.0, -1.0, NAN, math.inf)

ENTRIES: dict[str, Entry] = {
    "ppo": Entry(
        ppo,
        settings=[
            {},
            {
                "whiten": False,
                "gae_lambda": 0.6,
                "gamma": 0.9,
                "kl": KLInReward(coef=0.3, estimator=k3, power=1.4),
            },
            {"kl": KLExact(coef=0.2), "value_clip_range": 0.2, "entropy_coef": 0.1},
            {"kl": KLInLoss(coef=0.2, estimator=k2), "correction": Truncated(cap=1.05), "vf_coef": 0.0},
            {"kl": KLInLoss(coef=0.2, estimator=k3), "correction": Masked(low=0.95, high=1.2)},
            {"bootstrap_truncated": True, "kl": NO_KL, "clip_range": 0.05},
        ],
    ),
    "reinforce": Entry(
        reinforce,
        settings=[{}, *KLS, {"baseline": False, "gamma": 0.8, "entropy_coef": 0.2}],
        others_count=True,
    ),
    "a2c": Entry(
        a2c,
        settings=[
            {},
            *KLS,
            {"gae_lambda": 0.7, "gamma": 0.9, "entropy_coef": 0.1, "bootstrap_truncated": True},
        ],
    ),
    "rloo": Entry(rloo, settings=[{}, *KLS], grouped=True),
    "grpo": Entry(
        grpo,
        settings=[{}, *KLS, {"std": False, "clip_range": 0.05, "epochs": 2}],
        refused=[{"std_eps": value} for value in MORE_THAN_NONE],
        grouped=True,
    ),
    "dr_grpo": Entry(
        dr_grpo,
        settings=[{}, *KLS, {"max_length": 9, "clip_range": 0.05, "epochs": 2}],
        refused=[{"max_length": value} for value in (0, -3)],
        grouped=True,
    ),
    "online_dpo": Entry(
        online_pairs,
        settings=[{}, {"label_temperature": 0.0, "alignment": DPO(beta=0.7)}, {"label_temperature": 2.0}],
        refused=TEMPERATURE,
        grouped=True,
        unsteady=OF_PAIRS,
    ),
    "xpo": Entry(
        xpo,
        settings=[{}, {"alpha": 0.4, "max_weight": 1.1, "alignment": DPO(beta=0.7)}],
        refused=[
            *TEMPERATURE,
            *({"alpha": value} for value in (-0.1, NAN, math.inf)),
            *({"max_weight": value} for value in MORE_THAN_NONE),
        ],
        grouped=True,
        unsteady=OF_PAIRS,
    ),
    "nash_md": Entry(
        nash_md,
        settings=[{}, {"mixture": 0.8, "label_temperature": 0.5, "kl": KLInReward(coef=0.3)}],
        refused=[
            *({"label_temperature": value} for value in MORE_THAN_NONE),
            *({"mixture": value} for value in (-0.1, 1.1, NAN)),
        ],
        grouped=True,
    ),
    "dapo": Entry(
        dapo,
        settings=[
            {},
            {"max_length": 5, "overlong_buffer": 0.6, "overlong_penalty": 0.7, "drop_truncated": True},
            {"dynamic_sampling": False, "std": False, "clip_range": 0.05, "clip_range_high": 0.1},
            *KLS,
        ],
        refused=[
            *({"overlong_buffer": value} for value in (0.0, -0.1, 1.1, NAN)),
            *({"overlong_penalty": value} for value in (-0.1, NAN, math.inf)),
        ],
        grouped=True,
    ),
    "gspo": Entry(
        gspo,
        settings=[{}, {"clip_range": 0.2, "clip_range_high": 0.1, "std": False}, *KLS],
        grouped=True,
    ),
    "cispo": Entry(
        cispo,
        settings=[{}, {"clip_range": 0.1, "clip_range_high": 0.05, "std": False}, *KLS],
        grouped=True,
    ),
    "sapo": Entry(sapo, settings=[{}, {"tau": 2.0, "tau_negative": 5.0, "std": False}, *KLS], grouped=True),
    "reinforce_plus_plus": Entry(reinforce_plus_plus, settings=[{}, {"clip_range": 0.05}, *KLS]),
    "reinforce_plus_plus_baseline": Entry(
        reinforce_plus_plus_baseline, settings=[{}, {"clip_range": 0.05}, *KLS], grouped=True
    ),
    "remax": Entry(remax, settings=[{}, *KLS]),
    "on_policy_distillation": Entry(
        on_policy_distillation,
        settings=[
            {},
            {"gamma": 0.8, "reward_coef": 0.5},
            {"gamma": 1.0, "kl": KLExact(coef=0.7)},
            {"kl": KLExact(coef=1.0), "correction": Truncated(cap=1.05)},
        ],
        refused=[{"kl": KLInReward(coef=0.0)}],
    ),
}
