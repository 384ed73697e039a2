"""What is right to say, when the world answers, and what a turn is."""

from __future__ import annotations

import pytest
import torch

from posttrain.environments.writing import Writing
from posttrain.models.mlp import MLPPolicy
from posttrain.rollouts.play import paid_at_the_end, play


def by_heart(world: Writing, slips: float = 0.0) -> MLPPolicy:
    """A policy that knows the words, written into its weights: a column for each prompt and place."""
    actor = MLPPolicy(world.observations, world.actions, ())

    def logits(seen: torch.Tensor) -> torch.Tensor:
        prompt = seen[:, : world.prompts].argmax(-1)
        place = seen[:, world.prompts :].reshape(len(seen), world.length, -1).sum(-1).sum(-1).long()
        right = world.words[prompt, place.clamp(max=world.length - 1)]
        return 50 * (1 - slips) * torch.eye(world.actions)[right]

    actor.logits = logits  # type: ignore[method-assign, assignment]
    return actor


@pytest.mark.parametrize("turns", [1, 3])
def test_who_knows_the_words_earns_them_all(turns: int) -> None:
    world = Writing(turns=turns)
    facts = play(world, by_heart(world), range(30))
    assert facts.parts["return"].tolist() == [world.length * turns] * 30
    assert bool(facts.action_mask.all())
    assert not facts.truncated.any()
    prompts = facts.context["observations"][:, :: world.length, : world.prompts].argmax(-1)
    assert len(prompts[:, 0].unique()) == world.prompts
    if turns > 1:
        assert torch.equal(prompts[:, 1], (prompts[:, 0] + 1) % world.prompts)


def test_a_wrong_word_ends_the_conversation() -> None:
    world = Writing(turns=3)
    facts = play(world, MLPPolicy(world.observations, world.actions), range(300))
    right = facts.rewards.reshape(300, -1, world.length).sum(-1) == world.length
    went_on = facts.action_mask.sum(1) // world.length
    for row in range(300):
        words = right[row].tolist()
        assert int(went_on[row]) == min(3, words.index(False) + 1 if False in words else 3)


def test_letters_or_whole_words_are_decisions() -> None:
    letters, words = (play(Writing(turns=2, whole=w), by_heart(Writing(turns=2)), [1]) for w in (False, True))
    assert letters.turn.tolist() == [[0, 1, 2, 3, 4, 5]]
    assert words.turn.tolist() == [[0, 0, 0, 1, 1, 1]]


def test_paid_at_the_end_is_the_same_sum_in_one_place() -> None:
    world = Writing(turns=3)
    facts = play(world, MLPPolicy(world.observations, world.actions), range(50))
    once = paid_at_the_end(facts)
    assert torch.equal(once.rewards.sum(1), facts.rewards.sum(1))
    assert int((once.rewards != 0).sum(1).max()) == 1
    last = facts.action_mask.sum(1) - 1
    assert torch.equal(once.rewards[torch.arange(50), last], facts.rewards.sum(1))


def test_worlds_without_meaning_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 1 prompt, 2 letters"):
        Writing(letters=1)
