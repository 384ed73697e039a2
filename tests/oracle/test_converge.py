"""Where methods lead when they are trained: to the optimum within 0.02 nats, or visibly elsewhere."""

from __future__ import annotations

from typing import Any

import pytest

from posttrain.core.kl import KLExact, KLInLoss, KLInReward, k1, k3
from posttrain.direct_alignment.dpo import DPO
from posttrain.policy_gradients.a2c import A2C
from posttrain.policy_gradients.dr_grpo import DrGRPO
from posttrain.policy_gradients.grpo import GRPO
from posttrain.policy_gradients.online_dpo import OnlineDPO
from posttrain.policy_gradients.ppo import PPO
from posttrain.policy_gradients.reinforce import Reinforce
from posttrain.policy_gradients.reinforce_plus_plus import ReinforcePlusPlus
from posttrain.policy_gradients.remax import ReMax
from posttrain.policy_gradients.rloo import RLOO
from tests.oracle.converge import reinforced
from tests.oracle.prompts import Tabular, TinyTransformer, World

WORLD, BETA = World(), 0.5
IN_REWARD = KLInReward(coef=BETA)
ARRIVE: dict[str, tuple[Any, int]] = {
    "reinforce": (Reinforce(kl=IN_REWARD), 1),
    "reinforce, exact KL": (Reinforce(kl=KLExact(coef=BETA)), 1),
    "rloo": (RLOO(kl=IN_REWARD), 4),
    "remax": (ReMax(kl=IN_REWARD), 1),
    "ppo": (PPO(kl=IN_REWARD), 1),
    "a2c": (A2C(kl=IN_REWARD), 1),
    "reinforce++": (ReinforcePlusPlus(kl=IN_REWARD), 1),
    "online dpo": (OnlineDPO(alignment=DPO(beta=BETA)), 2),
    "grpo, KL in the reward, no std": (GRPO(kl=IN_REWARD, std=False), 4),
    "dr_grpo with KL": (DrGRPO(kl=IN_REWARD), 4),
}
STAY_AWAY: dict[str, tuple[Any, int]] = {
    "k1 in the loss": (Reinforce(kl=KLInLoss(coef=BETA, estimator=k1)), 1),
    "k3 in the loss": (Reinforce(kl=KLInLoss(coef=BETA, estimator=k3)), 1),
    "grpo as published": (GRPO(kl=KLInLoss(coef=BETA, estimator=k3)), 4),
    "online dpo, labels always certain": (OnlineDPO(alignment=DPO(beta=BETA), label_temperature=0.0), 2),
}


def distance(method: Any, size: int, kind: str = "table", steps: int = 150) -> float:
    """Nats from the optimum after training from the reference."""
    made = {"table": lambda: Tabular(WORLD, 1), "transformer": lambda: TinyTransformer(seed=1)}[kind]
    reference, policy = made(), made()
    before = WORLD.away(policy, WORLD.best(reference, BETA))
    assert before > 0.3
    count, rate = (32, 0.1) if kind == "table" else (64, 0.03)
    reinforced(WORLD, policy, method, reference, size=size, count=count, steps=steps, learning_rate=rate)
    return WORLD.away(policy, WORLD.best(reference, BETA))


@pytest.mark.parametrize("name", ARRIVE)
def test_it_arrives(name: str) -> None:
    assert distance(*ARRIVE[name]) <= 0.02


@pytest.mark.parametrize("name", STAY_AWAY)
def test_it_ends_elsewhere(name: str) -> None:
    assert distance(*STAY_AWAY[name]) >= 0.1


@pytest.mark.slow
@pytest.mark.parametrize("name", ARRIVE)
def test_a_transformer_arrives_too(name: str) -> None:
    assert distance(*ARRIVE[name], kind="transformer", steps=500) <= 0.02
