"""A room is kept warm, for ever: a task small enough to know the best policy of."""

from __future__ import annotations

from posttrain.core.kl import KLInReward
from posttrain.environments.thermostat import Thermostat
from posttrain.pipeline.stage import Stage
from posttrain.policy_gradients.ppo import PPO
from posttrain.stages.control import Control
from posttrain.stages.control_evaluation import ControlEvaluation

GAMMA = 0.95


def thermostat(seed: int = 0) -> Stage:
    """A table for a policy and a table for a critic; play is cut after 40 steps and goes on in the critic.

    The evaluation says what share it earns of value iteration's optimum, and how much it heats when.

    Parameters:
        seed: Seed of every stage.
    """
    method = PPO(
        gamma=GAMMA,
        gae_lambda=0.8,  # a critic that is a table is soon right, and little of what chance earns is let in
        kl=KLInReward(coef=0.0),
        bootstrap_truncated=True,
        epochs=4,
        minibatches=4,
    )
    policy = Control(
        environment=Thermostat(),
        method=method,
        hidden=(),
        steps=120,
        starts=128,
        learning_rate=0.05,
        critic_learning_rate=0.3,
        seed=seed,
    )
    return ControlEvaluation(policy=policy, gamma=GAMMA, seed=seed)
