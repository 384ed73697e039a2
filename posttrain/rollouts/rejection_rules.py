"""The rules by which rejection sampling selects answers, as functions of the rewards alone.

Each takes rewards [prompts][answers] (None where an answer could not be scored), how many to keep where the
rule leaves that open (0: as many as there are prompts), and a seed; it returns (prompt, answer) indices.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from posttrain.pipeline.fingerprint import recorded_as

Scored = Sequence[Sequence[float | None]]
Places = list[tuple[int, int]]


@recorded_as("posttrain.rollouts.choosing:best_per_prompt")
def best_per_prompt(rewards: Scored, keep: int, seed: int) -> Places:
    """The best answer to each prompt, with ties the first; of these the ``keep`` with the highest rewards."""
    best = []
    for prompt, answers in enumerate(rewards):
        scored = [index for index, reward in enumerate(answers) if reward is not None]
        if scored:
            best.append((prompt, max(scored, key=lambda index: (answers[index], -index))))
    return _first(best, rewards, keep or len(best))


@recorded_as("posttrain.rollouts.choosing:best_overall")
def best_overall(rewards: Scored, keep: int, seed: int) -> Places:
    """The answers with the highest rewards, whichever prompts they answer."""
    scored = [(p, a) for p, answers in enumerate(rewards) for a, r in enumerate(answers) if r is not None]
    return _first(scored, rewards, keep or len(rewards))


@recorded_as("posttrain.rollouts.choosing:at_full_reward")
def at_full_reward(rewards: Scored, keep: int, seed: int) -> Places:
    """Answers with a reward of 1 or more, which a verifier accepted; up to ``keep``, evenly over prompts."""
    order = random.Random(f"full:{seed}")
    per_prompt = [[a for a, r in enumerate(answers) if r is not None and r >= 1] for answers in rewards]
    for places in per_prompt:
        order.shuffle(places)
    rounds = range(max(map(len, per_prompt), default=0))
    accepted = [(p, places[n]) for n in rounds for p, places in enumerate(per_prompt) if n < len(places)]
    return accepted[:keep] if keep else accepted


@recorded_as("posttrain.rollouts.choosing:random_per_prompt")
def random_per_prompt(rewards: Scored, keep: int, seed: int) -> Places:
    """A random answer to each prompt: the control of ``best_per_prompt``."""
    lot = random.Random(f"per prompt:{seed}")
    scored = [[a for a, r in enumerate(answers) if r is not None] for answers in rewards]
    chosen = [(prompt, lot.choice(answers)) for prompt, answers in enumerate(scored) if answers]
    return sorted(lot.sample(chosen, min(keep, len(chosen)))) if keep else chosen


@recorded_as("posttrain.rollouts.choosing:random_overall")
def random_overall(rewards: Scored, keep: int, seed: int) -> Places:
    """Random answers, whichever prompts they answer: the control of ``best_overall``."""
    scored = [(p, a) for p, answers in enumerate(rewards) for a, r in enumerate(answers) if r is not None]
    lot = random.Random(f"overall:{seed}")
    return sorted(lot.sample(scored, min(keep or len(rewards), len(scored))))


def _first(places: Places, rewards: Scored, count: int) -> Places:
    """The ``count`` places with the highest rewards, the first of equals, in their order."""
    by_reward = sorted(places, key=lambda at: -(rewards[at[0]][at[1]] or 0.0))
    return sorted(by_reward[:count])
