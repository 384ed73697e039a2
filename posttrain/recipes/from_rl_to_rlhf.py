"""From CartPole to a conversation in seven rows, each of which changes one thing of the row before."""

from __future__ import annotations

from dataclasses import replace

from posttrain.core.kl import KLInReward
from posttrain.environments.cartpole import CartPole
from posttrain.environments.writing import Writing
from posttrain.feedback.segments import SegmentAnnotator
from posttrain.pipeline.stage import Stage
from posttrain.policy_gradients.ppo import PPO
from posttrain.policy_gradients.rloo import RLOO
from posttrain.recipes.cartpole_from_preferences import STRETCHES
from posttrain.rollouts.online_reward import Comparisons
from posttrain.stages.control import Control
from posttrain.stages.side_by_side import SideBySide, TableRow


def from_rl_to_rlhf(seed: int = 0) -> Stage:  # size: one row after another, each a change of the last
    """Environment reward; learned reward; no state transition; a completion as one action; reward at the end;
    horizon 1; more turns.

    One loop trains all of them, on the same records: PPO, and where the horizon is 1, leave-one-out.

    Parameters:
        seed: Seed of every stage.
    """
    play = CartPole(limit=200, absorbing=True)
    word = Writing()
    control = PPO(gamma=0.99, kl=KLInReward(coef=0.0), bootstrap_truncated=True, epochs=4, minibatches=4)
    played = Control(
        name="environment_reward",
        environment=play,
        method=control,
        steps=60,
        starts=16,
        critic_only_steps=2,
        warmup_steps=4,
        seed=seed,
    )
    learned = replace(played, name="learned_reward", comparisons=STRETCHES)
    exploring = replace(control, entropy_coef=0.02)
    letters = replace(
        learned,
        name="no_transition",
        critic_only_steps=0,
        warmup_steps=0,
        environment=word,
        method=exploring,
        comparisons=Comparisons(
            most=1500,
            at_first=1000,
            hidden=(128,),
            length=word.length,
            same_start=True,
            updates=3.0,
            weight_decay=0.02,
            watcher=SegmentAnnotator(temperature=0.5),
        ),
        starts=64,
        group_size=4,
        steps=40,
        learning_rate=1e-3,
    )
    whole = replace(
        letters,
        name="one_action",
        environment=replace(word, whole=True),
        method=replace(exploring, gamma=1.0, gae_lambda=1.0, bootstrap_truncated=False),
    )
    at_the_end = replace(whole, name="reward_at_the_end", paid_at_the_end=True)
    one_choice = replace(
        at_the_end,
        name="horizon_1",
        method=RLOO(kl=KLInReward(coef=0.2)),
        steps=160,
        learning_rate=3e-3,
    )
    turns = replace(
        whole,
        name="more_turns",
        environment=replace(word, whole=True, turns=3),
        method=exploring,
    )
    longest = float(play.limit)
    return SideBySide(
        rows=(
            TableRow(changes="a step is a decision, paid at once; γ 0.99", training=played, most=longest),
            TableRow(changes="a reward learned from comparisons", training=learned, most=longest),
            TableRow(changes="nothing but what was said moves the state", training=letters, most=word.length),
            TableRow(
                changes="the letters of a word are one decision; γ = λ = 1", training=whole, most=word.length
            ),
            TableRow(
                changes="its reward in one sum, at the last letter", training=at_the_end, most=word.length
            ),
            TableRow(
                changes="no critic, no discount: four answers to a prompt; KL",
                training=one_choice,
                most=word.length,
            ),
            TableRow(
                changes="the world answers a word: three decisions, a critic again",
                training=turns,
                most=3.0 * word.length,
            ),
        )
    )
