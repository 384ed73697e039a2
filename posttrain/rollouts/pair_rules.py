"""Which of several scored answers to a prompt become a comparison: the rules, as functions of rewards alone.

Each takes the rewards of the answers to one prompt (None where one could not be scored) and a random
generator, and returns the places of what is chosen and what is rejected; None where nothing is preferred.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from posttrain.pipeline.fingerprint import recorded_as

Pair = tuple[int, int] | None


@recorded_as("posttrain.rollouts.pairing:best_and_worst")
def best_and_worst(rewards: Sequence[float | None], rng: Random) -> Pair:
    """The highest reward against the lowest; with ties the first answer."""
    scored = _scored(rewards)
    if not scored:
        return None
    best, worst = (
        max(scored, key=lambda one: (one[1], -one[0])),
        min(scored, key=lambda one: (one[1], one[0])),
    )
    return (best[0], worst[0]) if best[1] > worst[1] else None


@recorded_as("posttrain.rollouts.pairing:best_and_any")
def best_and_any(rewards: Sequence[float | None], rng: Random) -> Pair:
    """The highest reward against a random lower one (Tulu 3, Lambert et al. 2024, section 5.2)."""
    scored = _scored(rewards)
    if not scored:
        return None
    best = max(scored, key=lambda one: (one[1], -one[0]))
    below = [index for index, reward in scored if reward < best[1]]
    return (best[0], rng.choice(below)) if below else None


@recorded_as("posttrain.rollouts.pairing:any_two")
def any_two(rewards: Sequence[float | None], rng: Random) -> Pair:
    """Two random answers that differ in reward, the better one chosen."""
    scored = _scored(rewards)
    differing = [(a, b) for a in scored for b in scored if a[1] > b[1]]
    if not differing:
        return None
    better, worse = rng.choice(differing)
    return better[0], worse[0]


def _scored(rewards: Sequence[float | None]) -> list[tuple[int, float]]:
    return [(index, reward) for index, reward in enumerate(rewards) if reward is not None]
