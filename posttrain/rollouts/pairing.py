"""Which of several scored answers to a prompt become a comparison: the rules, as functions of rewards alone.

Each takes the rewards of the answers to one prompt (None where one could not be scored) and a random
generator, and returns the places of what is chosen and what is rejected; None where nothing is preferred.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

Pair = tuple[int, int] | None


def best_and_worst(rewards: Sequence[float | None], rng: Random) -> Pair:
    """The highest reward against the lowest, the first of equals each."""
    known = _known(rewards)
    if not known:
        return None
    best, worst = max(known, key=lambda one: (one[1], -one[0])), min(known, key=lambda one: (one[1], one[0]))
    return (best[0], worst[0]) if best[1] > worst[1] else None


def best_and_any(rewards: Sequence[float | None], rng: Random) -> Pair:
    """The highest reward against one of those below it, by lot (Tulu 3, Lambert et al. 2024, section 5.2)."""
    known = _known(rewards)
    if not known:
        return None
    best = max(known, key=lambda one: (one[1], -one[0]))
    below = [place for place, reward in known if reward < best[1]]
    return (best[0], rng.choice(below)) if below else None


def any_two(rewards: Sequence[float | None], rng: Random) -> Pair:
    """Two answers by lot that differ in reward, the better one chosen."""
    known = _known(rewards)
    differing = [(a, b) for a in known for b in known if a[1] > b[1]]
    if not differing:
        return None
    better, worse = rng.choice(differing)
    return better[0], worse[0]


def _known(rewards: Sequence[float | None]) -> list[tuple[int, float]]:
    return [(place, reward) for place, reward in enumerate(rewards) if reward is not None]
