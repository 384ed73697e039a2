"""Which answers rejection sampling keeps: the rules, as functions of the rewards alone.

Each takes rewards [prompts][answers] (None where an answer could not be scored), how many to keep where the
rule leaves that open (0: as many as there are prompts), and a seed; it returns (prompt, answer) places.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

Scored = Sequence[Sequence[float | None]]
Places = list[tuple[int, int]]


def best_per_prompt(rewards: Scored, keep: int, seed: int) -> Places:
    """The answer with the highest reward to each prompt, the first of equals; of them the ``keep`` with the
    highest reward.
    """
    best = []
    for prompt, answers in enumerate(rewards):
        known = [place for place, reward in enumerate(answers) if reward is not None]
        if known:
            best.append((prompt, max(known, key=lambda place: (answers[place], -place))))
    return _first(best, rewards, keep or len(best))


def best_overall(rewards: Scored, keep: int, seed: int) -> Places:
    """The answers with the highest rewards, whichever prompts they answer."""
    known = [(p, a) for p, answers in enumerate(rewards) for a, r in enumerate(answers) if r is not None]
    return _first(known, rewards, keep or len(rewards))


def at_full_reward(rewards: Scored, keep: int, seed: int) -> Places:
    """Every answer with a reward of 1 or more, which a verifier accepted; up to ``keep`` of them, drawn
    evenly over prompts.
    """
    order = random.Random(f"full:{seed}")
    per_prompt = [[a for a, r in enumerate(answers) if r is not None and r >= 1] for answers in rewards]
    for places in per_prompt:
        order.shuffle(places)
    rounds = range(max(map(len, per_prompt), default=0))
    found = [(p, places[n]) for n in rounds for p, places in enumerate(per_prompt) if n < len(places)]
    return found[:keep] if keep else found


def random_per_prompt(rewards: Scored, keep: int, seed: int) -> Places:
    """One answer to each prompt by lot: the control of ``best_per_prompt``."""
    lot = random.Random(f"per prompt:{seed}")
    known = [[a for a, r in enumerate(answers) if r is not None] for answers in rewards]
    drawn = [(prompt, lot.choice(answers)) for prompt, answers in enumerate(known) if answers]
    return sorted(lot.sample(drawn, min(keep, len(drawn)))) if keep else drawn


def random_overall(rewards: Scored, keep: int, seed: int) -> Places:
    """Answers by lot, whichever prompts they answer: the control of ``best_overall``."""
    known = [(p, a) for p, answers in enumerate(rewards) for a, r in enumerate(answers) if r is not None]
    lot = random.Random(f"overall:{seed}")
    return sorted(lot.sample(known, min(keep or len(rewards), len(known))))


def _first(places: Places, rewards: Scored, count: int) -> Places:
    """The ``count`` places with the highest rewards, the first of equals, in their order."""
    by_reward = sorted(places, key=lambda at: -(rewards[at[0]][at[1]] or 0.0))
    return sorted(by_reward[:count])
