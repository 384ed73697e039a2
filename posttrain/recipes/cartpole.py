"""A pole is balanced by the environment's own reward: classic control, by the loop that trains language."""

from __future__ import annotations

from dataclasses import replace

from posttrain.core.kl import KLInReward
from posttrain.environments.cartpole import CartPole
from posttrain.pipeline.finding import UserError
from posttrain.pipeline.stage import Stage
from posttrain.policy_gradients.a2c import A2C
from posttrain.policy_gradients.ppo import PPO
from posttrain.policy_gradients.reinforce import Reinforce
from posttrain.stages.control import Control
from posttrain.stages.control_evaluation import ControlEvaluation

FREE = KLInReward(coef=0.0)  # no reference to stay close to
TRAINED = {
    "ppo": Control(
        environment=CartPole(),
        method=PPO(gamma=0.99, kl=FREE, bootstrap_truncated=True, epochs=8, minibatches=4),
        steps=40,
        starts=32,
        learning_rate=2e-3,
        critic_learning_rate=5e-3,
    ),
    "a2c": Control(
        environment=CartPole(),
        method=A2C(gamma=0.99, gae_lambda=0.98, kl=FREE, bootstrap_truncated=True),
        steps=120,
        starts=64,
        learning_rate=3e-3,
        critic_learning_rate=1e-2,
    ),
    "reinforce": Control(
        environment=CartPole(),
        method=Reinforce(gamma=0.99, kl=FREE),
        steps=120,
        starts=16,
        learning_rate=5e-3,
    ),
}


def cartpole(method: str = "ppo", seed: int = 0) -> Stage:
    """CartPole-v1: at most 500 steps, one for each that the pole stands.

    Parameters:
        method: ppo, a2c or reinforce, each with settings that suit it; ``rl.method=NAME`` takes any other.
        seed: Seed of every stage.
    """
    if method not in TRAINED:
        raise UserError(f"method={method}: expected one of {', '.join(TRAINED)}, or rl.method={method}")
    return ControlEvaluation(policy=replace(TRAINED[method], seed=seed), seed=seed)
