"""The optimizer of reinforcement: the policy, and the critic where there is one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from posttrain.stages.rl_work import Reinforcing

if TYPE_CHECKING:
    from posttrain.models.roles import PolicyRoles
    from posttrain.training.optimizer import Optimizer


def optimizer_of(stage: Reinforcing, roles: PolicyRoles) -> Optimizer:
    """Rates rise over ``warmup`` updates, those of the effective stage, and fall straight to a tenth."""
    from posttrain.training.optimizer import Group, Optimizer, linear

    groups = [
        Group(
            name="policy",
            parameters=roles.policy.parameters_of("policy"),
            learning_rate=stage.learning_rate,
            decay_to_start=stage.decay_to_start,
        )
    ]
    if stage.method.wants.values:
        parameters = roles.policy.parameters_of("critic")
        groups.append(Group(name="critic", parameters=parameters, learning_rate=stage.critic_learning_rate))
    updates = stage.steps * stage.method.epochs * stage.method.minibatches
    return Optimizer(groups, schedule=linear(updates, stage.warmup, floor=0.1))
