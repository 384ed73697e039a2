"""Any Gymnasium environment with discrete actions, by settings that follow what it shows and what it pays."""

from __future__ import annotations

from posttrain.core.kl import KLInReward
from posttrain.environments.gymnasium import Gymnasium
from posttrain.pipeline.stage import Stage
from posttrain.policy_gradients.ppo import PPO
from posttrain.stages.control import Control, ControlEvaluation


def environment(id: str = "CartPole-v1", limit: int = 0, seed: int = 0) -> Stage:
    """A Gymnasium environment by its id; needs the extra `gymnasium`, and LunarLander-v3 the extra `box2d`.

    id: what gymnasium registered, such as LunarLander-v3, Taxi-v4, CliffWalking-v1, Acrobot-v1.
    limit: steps after which play is cut and goes on in the critic; 0: what is registered. CliffWalking-v1 has
    none: limit=200.

    A batch is about 4,096 steps of whole plays. Box observations are normalised, Discrete ones are one-hot,
    rewards are learned from in units of their discounted sums. rl.steps=200 is twice the training;
    rl.method.gamma and rl.method.entropy_coef are what an environment may want changed next.
    """
    method = PPO(
        gamma=0.99,
        entropy_coef=0.01,
        kl=KLInReward(coef=0.0),  # no reference to stay close to
        bootstrap_truncated=True,
        epochs=8,
        minibatches=8,
    )
    policy = Control(
        environment=Gymnasium(id=id, steps=limit),
        method=method,
        steps=100,
        starts=8,
        least_steps=4096,
        learning_rate=1e-3,
        critic_learning_rate=2e-3,
        normalise=True,
        scale_rewards=True,
        seed=seed,
    )
    return ControlEvaluation(policy=policy, seed=seed)
