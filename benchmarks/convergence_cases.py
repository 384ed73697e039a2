"""Which method runs in the enumerable world with which settings, and why it ends where it does."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from posttrain.core.kl import KLExact, KLInLoss, KLInReward, k1, k2, k3
from posttrain.direct_alignment.dpo import DPO
from posttrain.direct_alignment.ipo import IPO

BETA = 0.5  # the price of KL, in units of reward per nat, everywhere
IN_REWARD = KLInReward(coef=BETA)


@dataclass(frozen=True)
class Case:
    """A method with settings. ``size`` answers are sampled to each prompt. ``target`` is the optimum it is
    compared with besides pi*, where it has one of its own. ``reason`` says why the distance is not zero."""

    method: str
    label: str
    settings: dict[str, Any] = field(default_factory=dict)
    reason: str = ""
    size: int = 1
    target: str = ""
    flipped: float = 0.0


NO_KL = "charges no KL by default: it goes on to the best answer, and only stopping holds it"
STD = (
    "rewards are divided by their prompt's deviation and the KL in the loss is not, so KL has another price "
    "at every prompt"
)
K3 = "k3 in the loss pulls with the gradient of KL(reference ‖ policy) of each step"
BOTH = f"{STD}; {K3}"
MAJORITY = (
    "linear in a sigmoid, so it follows the majority all or nothing; how far it got is where training ended"
)


def grouped(method: str) -> list[Case]:
    """The kin of GRPO: as published without KL, with KL in the reward, and without the deviation as well."""
    return [
        Case(method, "defaults", {}, NO_KL, size=4),
        Case(method, "KL in the reward", {"kl": IN_REWARD}, size=4),
        Case(method, "KL in the reward, no std", {"kl": IN_REWARD, "std": False}, size=4),
    ]


POLICY_GRADIENTS = [
    Case("reinforce", "defaults", {"kl": IN_REWARD}),
    Case("reinforce", "no baseline", {"kl": IN_REWARD, "baseline": False}),
    Case("reinforce", "exact KL", {"kl": KLExact(coef=BETA)}),
    Case(
        "reinforce",
        "k1 in the loss (negative control)",
        {"kl": KLInLoss(coef=BETA, estimator=k1)},
        "k1 as a loss has no gradient on average, so nothing holds the policy",
    ),
    Case(
        "reinforce",
        "k2 in the loss",
        {"kl": KLInLoss(coef=BETA, estimator=k2)},
        "each step pays for its own KL only, not for where it leads",
    ),
    Case("reinforce", "k3 in the loss", {"kl": KLInLoss(coef=BETA, estimator=k3)}, K3),
    Case("a2c", "defaults", {"kl": IN_REWARD}),
    Case("ppo", "defaults", {"kl": IN_REWARD}),
    Case("ppo", "no whitening, gae_lambda=1", {"kl": IN_REWARD, "whiten": False, "gae_lambda": 1.0}),
    Case("rloo", "defaults", {"kl": IN_REWARD}, size=4),
    Case("remax", "defaults", {"kl": IN_REWARD}),
    Case("grpo", "defaults", {"kl": KLInLoss(coef=BETA, estimator=k3)}, BOTH, size=4),
    Case("grpo", "no std", {"kl": KLInLoss(coef=BETA, estimator=k3), "std": False}, K3, size=4),
    Case("grpo", "KL in the reward", {"kl": IN_REWARD}, size=4),
    Case("grpo", "KL in the reward, no std", {"kl": IN_REWARD, "std": False}, size=4),
    Case("dr_grpo", "defaults", {}, NO_KL, size=4),
    Case("dr_grpo", "KL in the reward", {"kl": IN_REWARD}, size=4),
    *grouped("dapo"),
    *grouped("gspo"),
    *grouped("cispo"),
    *grouped("sapo"),
    Case("reinforce_plus_plus", "defaults", {"kl": IN_REWARD}),
    Case(
        "reinforce_plus_plus_baseline",
        "defaults",
        {"kl": KLInLoss(coef=BETA)},
        "the reward is divided by the batch's deviation and the KL in the loss is not: the surer the policy, "
        "the smaller the deviation, the cheaper the KL",
        size=4,
    ),
    Case("reinforce_plus_plus_baseline", "KL in the reward", {"kl": IN_REWARD}, size=4),
    Case("online_dpo", "defaults", {"alignment": DPO(beta=BETA)}, size=2),
    Case(
        "online_dpo",
        "labels always certain (negative control)",
        {"alignment": DPO(beta=BETA), "label_temperature": 0.0},
        "no gap of rewards is large enough for a label that is always certain",
        size=2,
    ),
    Case("online_dpo", "with IPO", {"alignment": IPO(beta=BETA)}, "IPO has an optimum of its own", size=2),
    Case(
        "xpo",
        "defaults",
        {"alignment": DPO(beta=BETA)},
        "the bonus moves probability away from what the reference says",
        size=2,
    ),
    Case(
        "nash_md",
        "defaults",
        {"kl": IN_REWARD},
        "maximises the chance of being preferred, at most 1, not the reward",
        size=2,
        target="nash",
    ),
    Case(
        "on_policy_distillation",
        "defaults",
        {},
        "its target is the teacher (here: the reference), not pi*",
        target="teacher",
    ),
]

DIRECT_ALIGNMENT = [
    Case(
        "sft", "defaults", {}, "learns the winners' distribution; how strongly it tilts is the labels' choice"
    ),
    Case("dpo", "defaults", {"beta": BETA}),
    Case(
        "dpo",
        "length_normalised",
        {"beta": BETA, "length_normalised": True},
        "gaps per step are not gaps of answers",
    ),
    Case(
        "dpo",
        "30 % of labels flipped",
        {"beta": BETA},
        "it believes the labels as they are",
        flipped=0.3,
    ),
    Case("c_dpo", "defaults", {"beta": BETA}, "smoothed labels shrink every gap"),
    Case("c_dpo", "label_smoothing=0", {"beta": BETA, "label_smoothing": 0.0}),
    Case("robust_dpo", "defaults, 10 % flipped", {"beta": BETA}, flipped=0.1),
    Case("robust_dpo", "flipped=0.3, 30 % flipped", {"beta": BETA, "flipped": 0.3}, flipped=0.3),
    Case(
        "ipo",
        "defaults",
        {"beta": BETA},
        "its optimum is ref exp(P(y preferred) / beta): a probability, not the reward",
        target="ipo",
    ),
    Case("slic", "defaults", {}, "a hinge on log-probabilities knows no reference"),
    Case("simpo", "defaults", {}, "no reference, and gaps per step with a margin"),
    Case("orpo", "defaults", {}, "no reference; mostly likelihood of the winners"),
    Case("cpo", "defaults", {"beta": BETA}, "no reference, and likelihood of the winners"),
    Case(
        "cpo",
        "nll_coef=0",
        {"beta": BETA, "nll_coef": 0.0},
        "DPO against a uniform reference",
        target="uniform",
    ),
    Case("kto", "defaults", {"beta": BETA}, MAJORITY),
    Case("apo_zero", "defaults", {"beta": BETA}, MAJORITY),
    Case("apo_down", "defaults", {"beta": BETA}, MAJORITY),
]

REWARD_LOSSES = [
    Case("bradley_terry", "defaults", {}, "centring keeps rewards near zero and shrinks gaps a little"),
    Case("bradley_terry", "center_coef=0", {"center_coef": 0.0}),
    Case("plackett_luce", "defaults, 3 answers", {}, "centring, as for Bradley-Terry", size=3),
    Case("plackett_luce", "center_coef=0, 3 answers", {"center_coef": 0.0}, size=3),
    Case("outcome", "defaults", {}),
    Case("process", "defaults", {}),
    Case("ensemble", "defaults", {}, "its members' centring"),
]
