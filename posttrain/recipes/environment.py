"""Any Gymnasium environment with discrete actions, by settings that follow what it shows and what it pays."""

from __future__ import annotations

from dataclasses import replace

from posttrain.core.kl import KLInReward
from posttrain.environments.gymnasium import Gymnasium
from posttrain.pipeline.stage import Stage
from posttrain.policy_gradients.ppo import PPO
from posttrain.stages.control import Control
from posttrain.stages.control_evaluation import ControlEvaluation


def environment(id: str = "CartPole-v1", limit: int = 0, seed: int = 0) -> Stage:
    """A Gymnasium environment by its id; needs the extra `gymnasium`, and LunarLander-v3 the extra `box2d`.

    PPO on batches of about 4,096 steps of whole plays. A Box observation is normalised and read by two layers
    of 64; a Discrete one has a table, a row for each state. Rewards are learned from in units of their
    discounted sums. rl.steps=200 is twice the training: LunarLander-v3 is judged after 150, Taxi-v4 after
    200. rl.method.entropy_coef and rl.method.gamma are what an environment may want changed next.

    Parameters:
        id: What gymnasium registered, such as LunarLander-v3, Taxi-v4, CliffWalking-v1 or Acrobot-v1.
        limit: Steps after which play is cut and goes on in the critic; 0 takes the registered limit.
            CliffWalking-v1 has none: limit=1000.
        seed: Seed of every stage.
    """
    world = Gymnasium(id=id, steps=limit)
    _ = world.limit  # raises where there is none, before anything is made
    method = PPO(
        gamma=0.99,
        entropy_coef=0.01,
        kl=KLInReward(coef=0.0),  # no reference to stay close to
        bootstrap_truncated=True,
        epochs=8,
        minibatches=8,
    )
    policy = Control(
        environment=world,
        method=method,
        steps=100,
        starts=8,
        least_steps=4096,
        hidden=(64, 64),
        learning_rate=1e-3,
        critic_learning_rate=2e-3,
        normalise=True,
        scale_rewards=True,
        seed=seed,
    )
    if world.one_hot:  # a table, a row for each state
        policy = replace(
            policy,
            hidden=(),
            bias=False,  # what an action costs in one state says nothing of another
            learning_rate=0.005,  # slow: a row that is seldom seen gives up actions that it tried once
            critic_learning_rate=0.1,
        )
    return ControlEvaluation(policy=policy, seed=seed)
