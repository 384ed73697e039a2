"""A pole is balanced by a reward learned from comparisons of stretches of play (Christiano et al. 2017)."""

from __future__ import annotations

from dataclasses import replace

from posttrain.core.kl import KLInReward
from posttrain.environments.cartpole import CartPole
from posttrain.pipeline.stage import Stage
from posttrain.policy_gradients.ppo import PPO
from posttrain.rollouts.online_reward import Comparisons
from posttrain.stages.control import Control
from posttrain.stages.control_evaluation import ControlEvaluation

STRETCHES = Comparisons(  # what is asked about play in which most of a row is a fallen pole
    at_first=500,
    first_plays=256,
    each_step=20,
    balanced=True,
    length=50,
    batch_size=32,
    hidden=(32, 32),
    updates=2.0,
    weight_decay=0.1,
    normalised=True,
    bound=0.5,
    zero_untrained=True,
)


def cartpole_from_preferences(seed: int = 0, shuffled: bool = False, constant: bool = False) -> Stage:
    """Play of a fixed length in which a fallen pole lies where it is: neither the environment's reward nor an
    end tells the learner anything; simulated people compare stretches, Bradley and Terry make a reward of it
    while PPO maximises it.

    Parameters:
        seed: Seed of every stage.
        shuffled: Control: every comparison is decided by a coin.
        constant: Control: the learned reward stays 0.
    """
    world = CartPole(absorbing=True)  # as long as the plays it is judged on: drifting must be able to fail
    policy = Control(
        environment=world,
        comparisons=replace(STRETCHES, shuffled_labels=shuffled, constant=constant),
        method=PPO(gamma=0.99, kl=KLInReward(coef=0.0), bootstrap_truncated=True, epochs=4, minibatches=4),
        steps=50,
        starts=16,
        critic_only_steps=2,
        warmup_steps=4,
        average=0.99,
        seed=seed,
    )
    return ControlEvaluation(
        policy=policy, environment=replace(world, absorbing=False), control=shuffled or constant, seed=seed
    )
