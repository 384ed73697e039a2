"""Batches of about as many steps, however long play lasts."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from posttrain.core.batch import Rollouts, concatenate
from posttrain.models.mlp import OBSERVATIONS
from posttrain.rollouts.play import Player


class Waves:
    """``player``'s batches, played again and again from other starts until they have ``least`` steps.

    A policy that falls at once is learned from in many plays, one that goes on to the limit in few, so every
    update has about the same number of steps behind it and costs about the same. Plays are whole: none is
    preferred for being short.
    """

    def __init__(self, player: Player, least: int) -> None:
        self.player, self.least = player, least

    def __call__(self, step: int) -> Rollouts:
        waves = [self.player(step)]
        steps = int(waves[0].action_mask.sum())
        while steps < self.least:
            waves.append(self.player.wave(step, len(waves)))
            steps += int(waves[-1].action_mask.sum())
        longest = max(wave.action_mask.shape[1] for wave in waves)
        return concatenate([padded(wave, longest) for wave in waves])


def padded(rollouts: Rollouts, steps: int) -> Rollouts:
    """The same rows in ``steps`` columns; no policy chose in those that are new."""
    more = steps - rollouts.action_mask.shape[1]

    def wider(x: Tensor, fill: float) -> Tensor:
        return torch.cat([x, x.new_full((len(x), more, *x.shape[2:]), fill)], 1)

    return replace(
        rollouts,
        context={OBSERVATIONS: wider(rollouts.context[OBSERVATIONS], 0.0)},
        actions=wider(rollouts.actions, 0),
        action_mask=wider(rollouts.action_mask, 0),
        turn=wider(rollouts.turn, 0),
        logprobs=wider(rollouts.logprobs, float("nan")),
        rewards=wider(rollouts.rewards, 0.0),
    )
